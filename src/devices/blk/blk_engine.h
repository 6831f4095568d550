/*
 * What carries operations out: io_uring, or plain system calls where that is not to be had. One interface, so that
 * nothing above it differs.
 *
 *   submit() as many as there are, kick() once, then reap() until it says NULL; later, when the engine's descriptor is
 *   readable, kick() and reap() again. Between blk_engine_awake() and blk_engine_rest() it does not become readable.
 */
#pragma once

#include "devices/blk/blk_op.h"
#include "devices/blk/uring.h"
#include "spec/guest_spec.h"

#define BLK_OPS_MAX 256 /* under way at once; a power of two: entries of the ring */

struct blk_engine;

struct blk_engine_ops {
        const char *name;
        void (*submit)(struct blk_engine *g, struct blk_op *op); /* op stays where it is until it is reaped */
        void (*kick)(struct blk_engine *g, bool wait);           /* wait: until at least one can be reaped */
};

struct blk_engine {
        const struct blk_engine_ops *ops;
        int fd;            /* the disk */
        bool block_device; /* it is one */
        int event_fd;      /* becomes readable (an edge) when something can be reaped; -1: never by itself */
        unsigned int under_way;
        struct blk_op *done, **done_tail; /* what was carried out at once */
        struct uring ring;
};

/*
 * Opens the wanted engine for fd, which stays the caller's; AUTO takes io_uring where it can be had. Before the narrow
 * filter closes. The ring takes descriptors DEVICE_FD_RING and DEVICE_FD_EVENT, and holds `held` (count of them) as
 * well as fd until the last operation has ended. Returns 0 or a negative errno.
 */
int blk_engine_open(struct blk_engine *g, enum disk_engine wanted, int fd, bool block_device, const int *held,
                    unsigned int held_count, struct err *e);

/* An operation that is done, or NULL. */
struct blk_op *blk_engine_reap(struct blk_engine *g);

/* The caller looks by itself; rest: it is about to wait. Returns true when there is something to kick or reap already.
 */
void blk_engine_awake(struct blk_engine *g);
bool blk_engine_rest(struct blk_engine *g);

/* Would kick() or reap() find something? */
bool blk_engine_ready(const struct blk_engine *g);

/* True when something submitted could not be handed to the kernel yet: kick again, without waiting for event_fd. */
bool blk_engine_stuck(const struct blk_engine *g);

/* Nothing may be under way. Accepts a zeroed object. */
void blk_engine_close(struct blk_engine *g);

#define BLK_ENGINE_HELD_MAX 2

/* One for each engine; the ops of none that cannot be had are ever used. */
int blk_engine_uring_open(struct blk_engine *g, const int *held, unsigned int held_count, struct err *e);
void blk_engine_sync_open(struct blk_engine *g);

/* For engines: carries op out at once and queues it to be reaped. */
void blk_engine_run(struct blk_engine *g, struct blk_op *op);
