/*
 * A device that is somebody else's process: the supervisor connects to its socket and hands the connection to the VMM.
 * It maps all guest RAM outside of the jail; what it does there is its own matter.
 */
#pragma once

#include "supervisor/device_process.h"

/* One that is lost is connected to again after 100 ms, then after twice as long each time, up to 5 s; after
 * OUTSIDE_TRIES_MAX failures in a row, half a minute, it is given up. */
#define OUTSIDE_DELAY_MIN_MS 100
#define OUTSIDE_DELAY_MAX_MS 5000
#define OUTSIDE_TRIES_MAX    10

extern const struct device_role device_role_outside_blk, device_role_outside_rng;

/* Connects to it. Returns 0 or a negative errno. */
int device_outside_connect(struct device *dv, struct err *e);

/* The VMM has the connection. */
void device_outside_start(struct devices *d, struct device *dv);

/* Connects again when that is due. */
void device_outside_handle(struct devices *d, struct device *dv, int vmm_fd);

/* The VMM has lost it; for_good: and does not want it back. */
void device_outside_lost(struct devices *d, struct device *dv, bool for_good);
