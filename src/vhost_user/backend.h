/*
 * The device's end of vhost-user. It owns the protocol's state: features, memory, rings, in-flight region. A device
 * gives it a table of functions and its event loop's descriptors. Single-threaded, but that a device may run its queues
 * where it likes between queue_start() and queue_stop().
 *
 * The front end is hostile. A message that the codec refuses, or that the protocol does not allow, ends the connection.
 * One that only asks for what cannot be (a ring outside of memory) is answered by failure when the front end asked for
 * an answer, and leaves everything as it was; without one to tell it, it ends the connection too.
 *
 * System calls after vu_backend_init(): recvmsg, sendmsg, poll, close, fstat, fcntl (F_GETFL, F_SETFL, F_GET_SEALS,
 * F_ADD_SEALS), mmap and munmap (shared, read and write), madvise, memfd_create, ftruncate, write (to call_fd and
 * err_fd).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory/guest_ram.h"
#include "vhost_user/inflight.h"
#include "vhost_user/message.h"
#include "virtio/virtq.h"

#define VU_QUEUES_MAX 16

struct vu_backend;

struct vu_queue {
        unsigned int index;
        struct virtq ring;            /* valid while started */
        int kick_fd, call_fd, err_fd; /* -1: none */
        bool enabled, started;
        struct vu_inflight_queue *inflight; /* NULL: the front end keeps none */
        /* private to the back end: */
        struct vu_backend *backend;
        struct vu_payload_vring_addr addr;
        uint16_t size, base;
        bool addr_set;
        bool live; /* between SET_VRING_KICK and GET_VRING_BASE: started whenever it is enabled and its ring is in
                      memory */
};

struct vu_device_ops {
        uint64_t features; /* virtio features offered; the transport's (VERSION_1, EVENT_IDX, INDIRECT_DESC) included */
        unsigned int queues;                             /* 1..VU_QUEUES_MAX */
        uint32_t config_bytes;                           /* of configuration space, at most VU_CONFIG_MAX; 0: none */
        void (*config_read)(void *ctx, uint8_t *config); /* config_bytes of it */
        int (*config_write)(void *ctx, uint32_t off_bytes, const uint8_t *data,
                            uint32_t len_bytes);            /* 0 or -EINVAL; NULL: read-only */
        void (*features_set)(void *ctx, uint64_t features); /* without VU_F_PROTOCOL_FEATURES; may be NULL */
        /*
         * The ring is ready and enabled: take chains from it (vu_queue_pop()) from now on, those that are there already
         * without waiting for a notification. kick_fd is of an anonymous inode (an eventfd, if the front end is honest)
         * and was made non-blocking, which the front end can undo: watch it edge-triggered and never read it. Returns 0
         * or a negative errno: the queue is then not started.
         */
        int (*queue_start)(void *ctx, struct vu_queue *q, struct err *e);
        /*
         * When it returns, no request of the queue is under way, all are given back, and nothing touches its ring, its
         * kick_fd or guest RAM any more. It can be started again at once: memory changed meanwhile.
         */
        void (*queue_stop)(void *ctx, struct vu_queue *q);
};

struct vu_backend {
        const struct vu_device_ops *ops;
        void *ctx;
        int fd;         /* the front end; non-blocking or not */
        int request_fd; /* to the front end; -1: none */
        struct guest_ram ram;
        uint64_t features, protocol_features;
        uint8_t status;
        struct vu_queue queues[VU_QUEUES_MAX];
        /* private: inflight mapping */
        void *inflight_map;
        uint64_t inflight_bytes;
        uint16_t inflight_queues, inflight_size;
        struct vu_inflight_queue inflight[VU_QUEUES_MAX];
};

/* fd becomes the back end's. b is not moved afterwards. */
void vu_backend_init(struct vu_backend *b, const struct vu_device_ops *ops, void *ctx, int fd);

/*
 * Handles one message, which must be there (poll first; a message that comes in pieces is waited for, at most
 * VU_MESSAGE_TIMEOUT_MS). Returns 0, -EPIPE when the front end has gone, or a negative errno with e when it broke the
 * protocol: the connection is then of no further use.
 */
int vu_backend_handle(struct vu_backend *b, struct err *e);

/* Tells the front end that configuration space changed (a resize). Returns 0 or negative errno; -ENOTSUP: not
 * negotiated; -EAGAIN: the front end does not read. */
int vu_backend_config_changed(struct vu_backend *b);

/* Stops every queue, unmaps, closes. Twice does no harm. */
void vu_backend_fini(struct vu_backend *b);

/*
 * Queue helpers for devices. pop: takes the next request, those left in flight by a dead predecessor first, and records
 * it in the in-flight region; returns as virtq_pop(), and tells the front end, once, that a queue is broken (err_fd, or
 * GET_STATUS with DEVICE_NEEDS_RESET and a change of configuration); push: gives it back and records that; notify:
 * writes call_fd if the driver wants it, never blocks.
 */
int vu_queue_pop(struct vu_queue *q, struct virtq_chain *ret);
void vu_queue_push(struct vu_queue *q, uint16_t head, uint32_t written_bytes);
void vu_queue_notify(struct vu_queue *q);
