/* Which processors the supervisor runs on while a jail is built. */
#pragma once

#include <sched.h>
#include <stdbool.h>

#include "base/err.h"

struct processor {
        cpu_set_t allowed; /* what this thread had */
        bool left;
};

/*
 * Leaves the processor that this thread runs on to the child just cloned there, when it may use others. A child starts
 * beside its parent, and wakes its parent there: it would wait for it, while the other processors have nothing to do.
 * Not being able to only takes longer.
 */
void processor_leave(struct processor *p);

/* Back to all that were allowed. Returns 0 or a negative errno. Does nothing the second time. */
int processor_return(struct processor *p, struct err *e);
