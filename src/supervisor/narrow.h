/* The supervisor, once the guest's jail is built and its VMM configured: what it may still do. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* Each is inherited by the processes that are started under it, but for the first, with which none can be started. */
enum narrow_to {
        NARROW_ONCE,     /* supervisor.policy: a guest that runs once */
        NARROW_RESTARTS, /* supervisor_restart.policy: one that a reset starts again */
        NARROW_DEVICES,  /* supervisor_devices.policy: one with devices, which are started again when they die */
        NARROW_SOCKETS,  /* supervisor_sockets.policy: with sockets that have names */
        NARROW_STORAGE,  /* supervisor_storage.policy: with disks in format qcow2 */
};

/*
 * Keeps no capability; when maps_ids is true, CAP_SETUID and CAP_SETGID, to map the ids of the next jail. Sets
 * no_new_privs and installs the supervisor's system-call filter. Returns 0 or a negative errno: then the guest must
 * end.
 */
int supervisor_narrow(enum narrow_to to, bool maps_ids, struct err *e);
