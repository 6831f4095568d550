/* The supervisor, once the guest's jail is built and its VMM configured: what it may still do. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Keeps no capability; when restarts is true, CAP_SETUID and CAP_SETGID, to map the ids of a restarted guest. Sets
 * no_new_privs and installs the supervisor's system-call filter: supervisor_devices.policy for a guest with devices,
 * which are started again when they die; supervisor_restart.policy for another one when restarts is true; both are
 * inherited by the processes that are started then; else supervisor.policy, with which no process can be started.
 * Returns 0 or a negative errno: then the guest must end.
 */
int supervisor_narrow(bool restarts, bool has_devices, struct err *e);
