/* What jailed processes, the VMM and the devices', say of themselves: bounded, checked, and judged in one way. */
#pragma once

#include "jail/layers.h"
#include "spec/control.h"

/* The layers that a program puts in force itself, after exec. */
#define PEER_SEAL_LAYERS (LAYER_BIT(LAYER_DUMPABLE) | LAYER_BIT(LAYER_MDWE) | LAYER_BIT(LAYER_LANDLOCK))

/* Returns 0 when have has every layer of required, or -EINVAL and which is missing (STATUS_ISOLATION). */
int peer_judge_layers(uint64_t have, uint64_t required, struct err *e);

/* Takes over what FAILED says, as far as it can be believed. Returns -EINVAL. */
int peer_failed(const char *program, const struct control_failed *m, struct err *e);

/* Says how a process that did not say it itself has ended; status: of waitpid(2). Returns a negative errno. */
int peer_died(const char *program, int status, struct err *e);
