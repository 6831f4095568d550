/* What the parts of the attacker share. */
#pragma once

#include <stddef.h>

#include "attempts/attempts.h"

/* One word name=value of what the attacker knows; value must outlive t. Other names are not for t. */
void target_set(struct attempt_target *t, const char *name, const char *value);

/* Gives each word name=value of the text, which is cut at its blanks, to take(). */
void words_take(char *text, void (*take)(const char *name, const char *value));

/* "escape: OUTCOME ERRNO DETAIL" and a newline. */
void result_line(const struct attempt_result *r, char *line, size_t size);

/* Writes to the guest's console, which every thread may do. */
void escape_say(const char *text);

/* Does to the supervisor what the name says (control_attacks.c); does not come back. Only the main thread can. */
_Noreturn void control_attack(const char *name);
