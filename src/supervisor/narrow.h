/* The supervisor, once the guest's jail is built and its VMM configured: what it may still do. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Keeps only the capabilities that cleaning up and another start need (CAP_SETUID and CAP_SETGID, to map the ids of a
 * restarted guest, when restarts is true), sets no_new_privs and installs the supervisor's system-call filter, which a
 * restarted guest's processes inherit. Returns 0 or a negative errno: then the guest must end.
 */
int supervisor_narrow(bool restarts, struct err *e);
