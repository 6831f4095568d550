/*
 * What every device's process does: seal itself, hear CONFIG, make what it needs, close its filter, say READY, and
 * serve its front end until that is gone. One table per device type.
 */
#pragma once

#include "base/err.h"
#include "jail/policy.h"
#include "spec/control.h"
#include "vhost_user/backend.h"

struct device_program {
        const char *name;                 /* "bulkhead-blk" */
        const struct jail_policy *policy; /* the narrow filter; prepare() may choose it */
        uint32_t engine;                  /* told in READY; prepare() chooses it, if there is a choice */
        /* Before the filter closes: descriptors, memory, rings. ret: what the back end offers. */
        int (*prepare)(const struct control_device_config *c, const struct vu_device_ops **ret, void **ret_ctx,
                       struct err *e);
        /*
         * A descriptor of the device (registered with device_watch()) is ready, or, with the queue's index as tag,
         * queue `tag` was kicked (device_queue_watch()). Only queues that are started are told of.
         */
        void (*event)(void *ctx, uint64_t tag);
        /* RESIZE from the supervisor. Returns 0 when configuration space changed. NULL: this device has no size. */
        int (*resize)(void *ctx, uint64_t bytes, struct err *e);
};

/* The whole main(). Never returns. */
_Noreturn void device_main(const struct device_program *p);

/* Adds to the event loop: tag comes back to event(), as long as fd is readable. Tags from DEVICE_TAG_FIRST on are the
 * device's. Return 0 or a negative errno. */
#define DEVICE_TAG_FIRST VU_QUEUES_MAX
int device_watch(int fd, uint64_t tag);
int device_unwatch(int fd);

/* The same, but once each time that something is written to fd, an eventfd which need not be read then. */
int device_watch_edge(int fd, uint64_t tag);

/*
 * For queue_start() and queue_stop(): the queue's kicks come to event() with its index, once for each or for several,
 * and are not to be read. What was kicked before comes too; a queue may also have chains without a kick (left by a
 * predecessor), so look at it when it starts. A queue without a kick descriptor is refused: nobody polls here.
 */
int device_queue_watch(const struct vu_queue *q, struct err *e);
void device_queue_unwatch(const struct vu_queue *q);

/* Moves fd, close-on-exec, to its number among those of spec/device_fds.h. fd must be open, and is gone afterwards. */
int device_fd_place(int fd, int number, struct err *e);
