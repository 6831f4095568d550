/* The life of one guest on the host: its name, ids, cgroup, console, runs and end. */
#pragma once

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Runs the guest in the foreground until it ends for good, and removes everything it had. Returns the exit status for
 * the process; when that tells of an error, e says it.
 */
int supervise(const struct guest_spec *spec, struct err *e);
