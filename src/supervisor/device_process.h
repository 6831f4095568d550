/* One device's process: from clone to reaped, and from there to the next one. */
#pragma once

#include "supervisor/devices.h"

/* What all devices of a type have in common. */
struct device_role {
        unsigned int number; /* index of its program */
        uint16_t virtio_id;
        const char *program;
        const struct jail_policy *policy; /* from the last stage of the jail to READY */
        uint64_t without_layers;          /* LAYER_BIT()s that it cannot have */
        uint64_t tasks;                   /* threads of the program and of the kernel's on its behalf */
        uint64_t file_size_bytes;         /* RLIMIT_FSIZE: a disk may be written anywhere */
        uint64_t locked_bytes;            /* RLIMIT_MEMLOCK */
};

extern const struct device_role device_role_blk, device_role_rng;

/* Makes the vhost-user socket pair of the next process. Returns 0 or a negative errno. */
int device_process_connect(struct device *dv, struct err *e);

/* Starts the process with the sockets that there are. Returns 0 or a negative errno. */
int device_process_start(struct devices *d, struct device *dv, struct err *e);

/*
 * told: there is something to read from it; died: its pidfd says so. Looks at the deadline, too. Returns 0, or a
 * negative errno when a process that is needed for the guest's start has failed.
 */
int device_process_handle(struct devices *d, struct device *dv, bool told, bool died, int vmm_fd, struct err *e);

/* Does a deadline of its phase pass before now_ms? */
bool device_process_is_due(const struct device *dv, int64_t now_ms);

/* Tells the VMM that a device will not come back. */
void device_tell_given_up(const struct device *dv, int vmm_fd);

/* Has the VMM ended, or is about to? Then nothing is started again. */
bool device_run_is_ending(int vmm_fd);

/* The VMM has lost it; for_good: and does not want it back. */
void device_process_lost(struct devices *d, struct device *dv, bool for_good, int vmm_fd);

/* Tells it that its disk has another size. Returns 0 or a negative errno. */
int device_process_resize(struct device *dv, uint64_t bytes, struct err *e);

/* Waits timeout_ms for its end. Returns a negative errno and why, when it ended and was not killed with SIGKILL, else
 * 0. */
int device_process_blame(struct device *dv, int timeout_ms, struct err *e);

/* Sends it a SIGKILL, if there is a process. */
void device_process_kill(const struct device *dv);

/* Kills, reaps, and closes everything of the run. Can be called twice. */
void device_process_end(struct device *dv);
