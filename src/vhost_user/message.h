/*
 * vhost-user messages (the protocol's specification: QEMU docs/interop/vhost-user): one codec for both ends, made of
 * one table. It knows sizes, descriptors and ranges of fields; what a message means in which state is the ends'
 * business.
 *
 * A message is a 12-byte header, a payload, and descriptors that come with the first byte. Everything received is
 * hostile.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VU_FDS_MAX     8   /* of one message: what the specification allows for a memory table */
#define VU_REGIONS_MAX 8   /* in SET_MEM_TABLE; ADD_MEM_REG goes on to GUEST_RAM_REGIONS_MAX */
#define VU_CONFIG_MAX  256 /* bytes of device configuration space */

enum vu_request { /* from the front end */
                  VU_GET_FEATURES = 1,
                  VU_SET_FEATURES = 2,
                  VU_SET_OWNER = 3,
                  VU_RESET_OWNER = 4,
                  VU_SET_MEM_TABLE = 5,
                  VU_SET_LOG_BASE = 6,
                  VU_SET_LOG_FD = 7,
                  VU_SET_VRING_NUM = 8,
                  VU_SET_VRING_ADDR = 9,
                  VU_SET_VRING_BASE = 10,
                  VU_GET_VRING_BASE = 11,
                  VU_SET_VRING_KICK = 12,
                  VU_SET_VRING_CALL = 13,
                  VU_SET_VRING_ERR = 14,
                  VU_GET_PROTOCOL_FEATURES = 15,
                  VU_SET_PROTOCOL_FEATURES = 16,
                  VU_GET_QUEUE_NUM = 17,
                  VU_SET_VRING_ENABLE = 18,
                  VU_SET_BACKEND_REQ_FD = 21,
                  VU_GET_CONFIG = 24,
                  VU_SET_CONFIG = 25,
                  VU_GET_INFLIGHT_FD = 31,
                  VU_SET_INFLIGHT_FD = 32,
                  VU_RESET_DEVICE = 34,
                  VU_GET_MAX_MEM_SLOTS = 36,
                  VU_ADD_MEM_REG = 37,
                  VU_REM_MEM_REG = 38,
                  VU_SET_STATUS = 39,
                  VU_GET_STATUS = 40,
                  VU_REQUEST_END,
};

enum vu_backend_request { /* from the back end, on the channel of SET_BACKEND_REQ_FD */
                          VU_BACKEND_CONFIG_CHANGE = 2,
                          VU_BACKEND_REQUEST_END,
};

#define VU_F_PROTOCOL_FEATURES (1ULL << 30) /* feature bit, never shown to a guest */

#define VU_PROTOCOL_MQ                  (1ULL << 0)
#define VU_PROTOCOL_REPLY_ACK           (1ULL << 3)
#define VU_PROTOCOL_BACKEND_REQ         (1ULL << 5)
#define VU_PROTOCOL_CONFIG              (1ULL << 9)
#define VU_PROTOCOL_INFLIGHT_SHMFD      (1ULL << 12)
#define VU_PROTOCOL_RESET_DEVICE        (1ULL << 13)
#define VU_PROTOCOL_CONFIGURE_MEM_SLOTS (1ULL << 15)
#define VU_PROTOCOL_STATUS              (1ULL << 16)

#define VU_FLAG_VERSION    0x1U
#define VU_FLAG_REPLY      0x4U
#define VU_FLAG_NEED_REPLY 0x8U

struct vu_header {
        uint32_t request, flags, size_bytes;
};

struct vu_region {
        uint64_t base, len_bytes, peer, off_bytes;
};

struct vu_payload_mem_table {
        uint32_t count, padding;
        struct vu_region regions[VU_REGIONS_MAX];
};

struct vu_payload_mem_reg {
        uint64_t padding;
        struct vu_region region;
};

struct vu_payload_vring_state {
        uint32_t index, num;
};

struct vu_payload_vring_addr {
        uint32_t index, flags;
        uint64_t descriptors, used, avail, log; /* peer addresses */
};

struct vu_payload_config {
        uint32_t off_bytes, size_bytes, flags; /* flags: 0 writable fields, 1 migration */
        uint8_t data[VU_CONFIG_MAX];
};

struct vu_payload_inflight {
        uint64_t size_bytes, off_bytes;
        uint16_t queues, queue_size;
        uint32_t padding; /* of the C structure: others send it or not, 20 or 24 bytes; we send it */
};

#define VU_VRING_INDEX_MASK 0xffU  /* SET_VRING_KICK, _CALL, _ERR: u64 with the queue's index */
#define VU_VRING_NO_FD      0x100U /* and no descriptor */

/* Plain bytes as on the wire (x86: little endian), with the descriptors that came along. */
struct vu_message {
        struct vu_header head;
        union {
                uint64_t u64;
                struct vu_payload_mem_table mem_table;
                struct vu_payload_mem_reg mem_reg;
                struct vu_payload_vring_state state;
                struct vu_payload_vring_addr addr;
                struct vu_payload_config config;
                struct vu_payload_inflight inflight;
                uint8_t bytes[sizeof(struct vu_payload_config)]; /* the longest; more is refused unread */
        } body;
        int fds[VU_FDS_MAX];
        unsigned int fd_count;
};

#define VU_MESSAGE_TIMEOUT_MS 1000 /* for the rest of a message whose first byte has come */

/*
 * What a message may look like; found by request number. Tests and fuzzers enumerate the table. What is not in it (the
 * log of dirty pages, postcopy, IOTLB …) belongs to protocol features that neither end offers.
 */
struct vu_message_kind {
        const char *name;
        uint32_t request;
        uint16_t size_min, size_max; /* of the payload from its sender; bytes */
        uint8_t fds_min, fds_max;
        bool reply_always; /* has an answer of its own kind; the others only a u64 when NEED_REPLY is set */
        uint64_t protocol; /* the VU_PROTOCOL_* that must have been agreed on; 0: always there */
        uint16_t reply_min, reply_max;
        uint8_t reply_fds_max;
};

extern const struct vu_message_kind vu_front_messages[], vu_back_messages[];
extern const size_t vu_front_message_count, vu_back_message_count;

const struct vu_message_kind *vu_message_kind(uint32_t request, bool to_backend); /* NULL: unknown */

/* Numbers of bytes: of a payload with n regions, and with n bytes of configuration space. */
#define VU_MEM_TABLE_BYTES(n) (offsetof(struct vu_payload_mem_table, regions) + (n) * sizeof(struct vu_region))
#define VU_CONFIG_BYTES(n)    (offsetof(struct vu_payload_config, data) + (n))

/*
 * Receives one message with its descriptors, all close-on-exec. Checks version, flags, ranges of fields, and size and
 * number of descriptors against the table (an answer's against that of `expect`, NULL for a request). The whole message
 * must be there within timeout_ms, whatever the blocking mode of fd. Returns 0, -EPIPE (the peer has gone), -EPROTO,
 * -ETIMEDOUT, or another negative errno; after an error nothing is left open and the stream is of no further use. An
 * unknown request is -EPROTO. System calls: recvmsg, poll, close (and clock_gettime where there is no vDSO).
 */
int vu_message_receive(int fd, bool to_backend, const struct vu_message_kind *expect, int timeout_ms,
                       struct vu_message *ret);

/* Sends head (size filled in by the caller), payload and descriptors, which stay the caller's. Returns 0 or negative
 * errno. System calls: sendmsg, poll. */
int vu_message_send(int fd, const struct vu_message *m, int timeout_ms);

/* Closes the descriptors that nobody took (those that are not -1). */
void vu_message_close(struct vu_message *m);
