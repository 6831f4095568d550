/* What a command that becomes a supervisor makes of what it was started with. */
#pragma once

#include "base/err.h"

/*
 * Whoever started this may have closed 0, 1 or 2. The next descriptors opened would take their numbers, and
 * be read as console input or written to as output. Returns 0 or a negative errno.
 */
int standard_fds_fill(struct err *e);

/* Wipes the environment, which can hold secrets, from a process that lives as long as the guest and is copied into its
 * jail. What stays is where an ordinary user's runtime directory is. */
void environment_wipe(void);
