/*
 * The VMM's end of vhost-user. Synchronous, for the VMM's main thread: each call takes at most VU_REPLY_TIMEOUT_MS of a silent
 * back end, after which the connection counts as dead (-ETIMEDOUT). The back end is hostile: lengths, flags, values and
 * descriptors of every reply are checked. Makes no descriptor after vu_frontend_connect().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory/guest_ram.h"
#include "vhost_user/message.h"

#define VU_REPLY_TIMEOUT_MS 1000

struct vu_frontend {
        int fd;         /* the back end; -1: none */
        int request_fd; /* messages of the back end come here; -1: none */
        uint64_t features;          /* what the back end offers, of those in `wanted`, without VU_F_PROTOCOL_FEATURES */
        uint64_t protocol_features; /* agreed on */
        unsigned int queues;        /* how many the back end has, at most `queues_max` */
        uint32_t config_bytes;
        uint8_t config[VU_CONFIG_MAX]; /* a copy, fetched by connect and config_fetch */
        int inflight_fd;               /* -1: none. Lives as long as the guest: the next back end gets it too */
        struct vu_payload_inflight inflight;
};

struct vu_frontend_queue {
        uint16_t size;
        gpa_t descriptors, driver, device;
        uint16_t next_avail;  /* in: where to go on */
        int kick_fd, call_fd; /* the caller's */
};

/*
 * Introduces itself on fd (which becomes the front end's): features, protocol features, queues, configuration space, back-end channel.
 * wanted: the features the VMM passes through; config_bytes: how much configuration space the device type has (less when
 * the back end has less). backend_pair: the two ends of a socket pair made before the filter closed, [0] ours, [1] sent; -1: none.
 */
int vu_frontend_connect(struct vu_frontend *f, int fd, uint64_t wanted, unsigned int queues_max, uint32_t config_bytes,
                        const int backend_pair[2], struct err *e);

/* Features that guest and device agreed on, RAM, in-flight region, then each queue, then all enabled: the device runs. */
int vu_frontend_start(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, uint64_t features,
                      struct vu_frontend_queue *queues, unsigned int count, struct err *e);

/* Stops every queue (GET_VRING_BASE), and forgets what was in flight. After it, the device touches nothing of the guest's. */
int vu_frontend_stop(struct vu_frontend *f, unsigned int count, struct err *e);

int vu_frontend_config_fetch(struct vu_frontend *f, struct err *e);
int vu_frontend_config_write(struct vu_frontend *f, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes,
                             struct err *e);

/* A message on request_fd. Returns 1: configuration changed; 0: nothing; or negative errno. */
int vu_frontend_request_handle(struct vu_frontend *f, struct err *e);

/* The back end died: closes its descriptors, keeps the in-flight region. vu_frontend_connect() can follow. */
void vu_frontend_disconnect(struct vu_frontend *f);
