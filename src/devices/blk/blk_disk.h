/*
 * A disk: its queues, the requests under way, and its configuration space (virtio 1.2, 5.2). One thread. Requests of
 * all queues share the slots and the engine; each queue gets its turn.
 */
#pragma once

#include "devices/blk/blk_engine.h"
#include "devices/blk/blk_image.h"
#include "devices/blk/blk_spin.h"
#include "devices/blk/blk_task.h"
#include "devices/common/token_bucket.h"
#include "spec/guest_spec.h"
#include "vhost_user/backend.h"

#define BLK_IOV_FEW 4 /* segments that most requests get along with */

struct blk_disk_queue {
        struct vu_queue *queue; /* NULL: nothing is taken from it any more */
        struct vu_queue *ring;  /* where what is under way is given back */
        unsigned int under_way;
        bool pushed; /* something was given back since the driver was last told */
};

struct blk_disk {
        struct blk_image image;
        struct blk_engine engine;
        struct blk_means means;
        struct blk_rules rules;
        struct vu_device_ops ops;
        char id[SPEC_ID_MAX];
        int timer_fd; /* rate limits, and work that is left for the next turn */
        struct token_bucket bytes, operations;
        struct blk_spin spin;
        struct blk_disk_queue queues[VU_QUEUES_MAX];
        unsigned int next_queue;
        struct virtq_chain chain;                        /* the request that is being read */
        struct blk_task *free, *waiting, **waiting_tail; /* waiting: for a bounce buffer */
        unsigned int touched;                            /* tasks that were ever in use: the first ones */
        struct blk_task tasks[BLK_OPS_MAX];
        struct iovec few[BLK_OPS_MAX][BLK_IOV_FEW];
        struct iovec many[BLK_OPS_MAX][BLK_IOV_MAX]; /* of the same task: memory that is not touched without need */
};

/*
 * Prepares everything: image fd, engine, timer_fd (a timer of CLOCK_MONOTONIC, non-blocking; stays the caller's). held:
 * see blk_engine_open(). queues: 1..VU_QUEUES_MAX. d is large, zeroed, and stays where it is. Returns 0 or a negative
 * errno.
 */
int blk_disk_open(struct blk_disk *d, const struct disk_spec *spec, unsigned int queues, int fd, int timer_fd,
                  const int *held, unsigned int held_count, struct err *e);

/*
 * For queue_start and queue_stop of d->ops, whose context is d: the caller watches the kicks. Stopping waits for all
 * requests of the queue that are under way.
 */
int blk_disk_queue_start(struct blk_disk *d, struct vu_queue *q);
void blk_disk_queue_stop(struct blk_disk *d, struct vu_queue *q);

/* A kick, a completion, the timer: does all that can be done now without waiting, up to a bound. */
void blk_disk_run(struct blk_disk *d);

/* The timer is readable: before blk_disk_run(). */
void blk_disk_timer(struct blk_disk *d);

/* The image has another size. Returns 0 when configuration space changed, or a negative errno. */
int blk_disk_resize(struct blk_disk *d, uint64_t bytes, struct err *e);

/* All queues are stopped. Accepts a zeroed object. */
void blk_disk_close(struct blk_disk *d);
