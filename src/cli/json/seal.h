/* The cell in which this program reads what others wrote. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Gives up, for the rest of the process's life, everything that turning fd 0 into fd 1 does not need; see
 * seal.c. with_stat: keep stat(2), for a configuration that names a block device by its path. Call it before
 * the first byte of input is read; after a failure the process must not go on. Errors have STATUS_ISOLATION.
 * Returns 0 or a negative errno.
 */
int seal_self(bool with_stat, struct err *e);
