/*
 * What every device's process does: seal itself, hear CONFIG, make what it needs, close its filter, say READY, and serve its
 * front end until that is gone. One table per device type.
 */
#pragma once

#include "base/err.h"
#include "jail/policy.h"
#include "spec/control.h"
#include "vhost_user/backend.h"

struct device_program {
        const char *name; /* "bulkhead-blk" */
        const struct jail_policy *policy; /* the narrow filter */
        /* Before the filter closes: descriptors, memory, rings. ret: what the back end offers. */
        int (*prepare)(const struct control_device_config *c, const struct vu_device_ops **ret, void **ret_ctx, struct err *e);
        /* epoll says that a descriptor of the device (registered with device_watch()) is ready. */
        void (*event)(void *ctx, uint64_t tag);
        /* RESIZE from the supervisor. Returns 0 when configuration space changed. NULL: this device has no size. */
        int (*resize)(void *ctx, uint64_t bytes, struct err *e);
};

/* The whole main(). Never returns. */
_Noreturn void device_main(const struct device_program *p);

/* Adds to the event loop: tag comes back to event(). Tags from DEVICE_TAG_FIRST on are the device's. */
#define DEVICE_TAG_FIRST 16
int device_watch(int fd, uint64_t tag);
int device_unwatch(int fd);
