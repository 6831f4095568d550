/*
 * The VMM's end of vhost-user. Synchronous, for the VMM's main thread: each call takes at most VU_REPLY_TIMEOUT_MS of a
 * silent back end (connecting and stopping longer), after which the connection counts as dead (-ETIMEDOUT). The back
 * end is hostile: lengths, flags, values and descriptors of every reply are checked. Makes no descriptor after
 * vu_frontend_connect().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory/guest_ram.h"
#include "vhost_user/message.h"

#define VU_REPLY_TIMEOUT_MS 1000  /* for one call with all its messages */
#define VU_FIRST_TIMEOUT_MS 10000 /* for the first answer of all: the process may only be starting, on a busy host */
#define VU_STOP_TIMEOUT_MS  5000  /* of vu_frontend_stop(): requests under way are finished first */

struct vu_frontend {
        int fd;                     /* the back end; -1: none */
        int request_fd;             /* messages of the back end come here; -1: none */
        uint64_t features;          /* what the back end offers, of those in `wanted`, without VU_F_PROTOCOL_FEATURES */
        uint64_t protocol_features; /* agreed on */
        unsigned int queues;        /* how many the back end has, at most `queues_max` */
        uint32_t config_bytes;
        uint8_t config[VU_CONFIG_MAX]; /* a copy, fetched by connect and config_fetch */
        bool needs_reset; /* a queue is broken: as of the last config_fetch, when the back end tells its status */
        int inflight_fd;  /* -1: none. Lives as long as the device runs: the next back end gets it too */
        struct vu_payload_inflight inflight;
        /* private: */
        int inflight_at;      /* the number an in-flight descriptor gets; not above 0: any */
        bool offers_protocol; /* VU_F_PROTOCOL_FEATURES */
        bool has_memory;      /* the back end knows RAM */
        int64_t deadline_ms;  /* of the call under way */
};

struct vu_frontend_queue {
        uint16_t size; /* 0: not enabled by the driver */
        gpa_t descriptors, driver, device;
        uint16_t next_avail;  /* where to go on; not looked at when a dead back end has left an in-flight region */
        int kick_fd, call_fd; /* the caller's */
};

/* No back end yet. inflight_at: the number that an in-flight descriptor gets (nothing else may be open there); -1: any.
 */
void vu_frontend_init(struct vu_frontend *f, int inflight_at);

/*
 * Introduces itself on fd, where none is connected: features, protocol features, queues, configuration space, back-end
 * channel. wanted: the features the VMM passes through; config_bytes: how much configuration space the device type has
 * (less when the back end has less; the copy is zero behind it). backend_pair: the two ends of a socket pair made
 * before the filter closed, [0] ours, [1] sent, which stays the caller's; NULL or -1: none. fd and [0] become the front
 * end's, and are closed when they are of no use or it fails.
 */
int vu_frontend_connect(struct vu_frontend *f, int fd, uint64_t wanted, unsigned int queues_max, uint32_t config_bytes,
                        const int backend_pair[2], struct err *e);

/*
 * Features that guest and device agreed on (a part of f->features), RAM, in-flight region, then each queue, then all
 * enabled: the device runs. After the death of a back end that ran (vu_frontend_disconnect(), vu_frontend_connect())
 * the new one gets its in-flight region and goes on where the used rings say; -ENOTSUP when it cannot. ram is the same
 * for the life of a connection.
 */
int vu_frontend_start(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, uint64_t features,
                      const struct vu_frontend_queue *queues, unsigned int count, struct err *e);

/*
 * Stops count queues (GET_VRING_BASE), resets the device where the back end can, and forgets what was in flight. After
 * it, also after a failure and vu_frontend_disconnect() with the process gone, the device touches nothing of the
 * guest's.
 */
int vu_frontend_stop(struct vu_frontend *f, unsigned int count, struct err *e);

/* Fetches configuration space into f->config, and f->needs_reset. After vu_frontend_request_handle() returned 1. */
int vu_frontend_config_fetch(struct vu_frontend *f, struct err *e);

/* A write of the driver's. -EINVAL when the back end refuses it (and goes on); not told apart when it acknowledges
 * nothing. */
int vu_frontend_config_write(struct vu_frontend *f, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes,
                             struct err *e);

/* A message on request_fd. Returns 1: configuration or status changed; or negative errno (-EPIPE: the back end closed
 * it). */
int vu_frontend_request_handle(struct vu_frontend *f, struct err *e);

/* The back end died: closes its descriptors, keeps the in-flight region. vu_frontend_connect() can follow. */
void vu_frontend_disconnect(struct vu_frontend *f);

/* Disconnects and drops the in-flight region. */
void vu_frontend_fini(struct vu_frontend *f);
