/* The supervisor, once the guest's jail is built and its VMM configured: what it may still do. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Keeps no capability; when restarts is true, CAP_SETUID and CAP_SETGID, to map the ids of a restarted guest. Sets
 * no_new_privs and installs the supervisor's system-call filter: supervisor_restart.policy when restarts is true, which
 * a restarted guest's processes inherit, else supervisor.policy, with which no process can be started. Returns 0 or a
 * negative errno: then the guest must end.
 */
int supervisor_narrow(bool restarts, struct err *e);
