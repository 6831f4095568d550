/* What is claimed of a guest's jail, layer by layer, against what the kernel says. */
#pragma once

#include "cli/inspect/facts.h"
#include "state/state.h"

enum layer_found {
        FOUND_YES,
        FOUND_NO,
        FOUND_UNKNOWN, /* no kernel shows it from outside, or this one does not */
};

enum layer_verdict {
        LAYER_IN_FORCE,     /* found in the kernel */
        LAYER_ATTESTED,     /* claimed in the state file; the kernel does not show it */
        LAYER_UNCLAIMED,    /* not claimed, and found all the same */
        LAYER_ABSENT,       /* not claimed, and not found */
        LAYER_CONTRADICTED, /* claimed, not found */
};

struct layer_view {
        enum layer_verdict verdict;
        char detail[128]; /* what the kernel says; may be empty */
};

/* Judges one layer. state is what the supervisor wrote down, f what the kernel says. */
void layer_judge(enum jail_layer layer, const struct guest_state *state, const struct inspect_facts *f,
                 struct layer_view *ret);

const char *layer_verdict_text(enum layer_verdict v);                       /* "in force" */
const char *layer_source_text(enum jail_layer layer, enum layer_verdict v); /* who says so */
