/*
 * A driver for virtio over PCI, modern only (virtio 1.2, 4.1), and for split rings (2.7), polled. It behaves; guests
 * that do not reach for the registers and rings themselves, which is why everything is in the open.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_MODERN 0x1040 /* the PCI device id of virtio type 0 */

#define VIRTIO_TYPE_BLOCK 2
#define VIRTIO_TYPE_RNG   4

/* Capabilities, 4.1.4: offsets in one, and cfg_type. */
#define VIRTIO_CAP_TYPE       3
#define VIRTIO_CAP_BAR        4
#define VIRTIO_CAP_OFFSET     8
#define VIRTIO_CAP_LENGTH     12
#define VIRTIO_CAP_MULTIPLIER 16 /* of the notification capability */
#define VIRTIO_CAP_DATA       16 /* of the PCI configuration access capability */
#define VIRTIO_CFG_COMMON     1
#define VIRTIO_CFG_NOTIFY     2
#define VIRTIO_CFG_ISR        3
#define VIRTIO_CFG_DEVICE     4
#define VIRTIO_CFG_PCI        5

/* Common configuration, 4.1.4.3. */
#define VIRTIO_DEVICE_FEATURE_SELECT 0x00
#define VIRTIO_DEVICE_FEATURE        0x04
#define VIRTIO_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_DRIVER_FEATURE        0x0c
#define VIRTIO_CONFIG_VECTOR         0x10
#define VIRTIO_NUM_QUEUES            0x12
#define VIRTIO_STATUS                0x14
#define VIRTIO_GENERATION            0x15
#define VIRTIO_QUEUE_SELECT          0x16
#define VIRTIO_QUEUE_SIZE            0x18
#define VIRTIO_QUEUE_VECTOR          0x1a
#define VIRTIO_QUEUE_ENABLE          0x1c
#define VIRTIO_QUEUE_NOTIFY_OFF      0x1e
#define VIRTIO_QUEUE_DESC            0x20
#define VIRTIO_QUEUE_DRIVER          0x28
#define VIRTIO_QUEUE_DEVICE          0x30
#define VIRTIO_COMMON_BYTES          0x38

#define VIRTIO_NO_VECTOR 0xffff

/* Device status, 2.1. */
#define VIRTIO_ACKNOWLEDGE 1
#define VIRTIO_DRIVER      2
#define VIRTIO_DRIVER_OK   4
#define VIRTIO_FEATURES_OK 8
#define VIRTIO_NEEDS_RESET 64
#define VIRTIO_FAILED      128

/* Features, 6. */
#define VIRTIO_F_INDIRECT_DESC   (1ULL << 28)
#define VIRTIO_F_EVENT_IDX       (1ULL << 29)
#define VIRTIO_F_VERSION_1       (1ULL << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ULL << 33)
#define VIRTIO_F_RING_PACKED     (1ULL << 34)

/* Split rings, 2.7. */
#define VIRTQ_NEXT         1
#define VIRTQ_WRITE        2
#define VIRTQ_INDIRECT     4
#define VIRTQ_NO_INTERRUPT 1 /* flags of the available ring */
#define VIRTQ_NO_NOTIFY    1 /* flags of the used ring */
#define VIRTQ_SIZE_MAX     256

struct virtq_desc {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
};

/* Behind the last entry both rings have one more 16-bit field, the event index. */
struct virtq_avail {
        uint16_t flags, idx, ring[VIRTQ_SIZE_MAX + 1];
};

struct virtq_used {
        uint16_t flags, idx;
        struct {
                uint32_t id, len;
        } ring[VIRTQ_SIZE_MAX];
        uint16_t avail_event;
};

struct virtio {
        unsigned int slot;
        uint64_t common, notify, isr, device; /* addresses; 0: the device has no such capability */
        uint32_t device_bytes, notify_bytes, notify_multiplier;
        uint64_t features; /* negotiated */
};

struct virtq {
        struct virtio *dev;
        uint16_t index, size;
        uint64_t doorbell; /* address */
        volatile struct virtq_desc *desc;
        volatile struct virtq_avail *avail;
        volatile struct virtq_used *used;
        uint16_t next_desc; /* where the next chain's descriptors are taken, round the table */
        uint16_t next_used; /* the used index the driver has seen */
};

struct virtq_segment {
        const volatile void *data;
        uint32_t len;
};

/* The nth device (from 0) of a type on bus 0, its BARs placed and decoded. Returns false: there is none. */
bool virtio_find(uint16_t type, unsigned int nth, struct virtio *ret);

/* Reads the capabilities again: after a BAR was moved. */
void virtio_find_again(struct virtio *v);

uint8_t virtio_status(const struct virtio *v);
void virtio_set_status(const struct virtio *v, uint8_t status);

/* Writes 0 and waits until the device has followed. Returns false when it does not, within ten seconds and more. */
bool virtio_reset(struct virtio *v);

uint64_t virtio_offered(const struct virtio *v);
void virtio_write_features(const struct virtio *v, uint64_t features);

/* From reset to FEATURES_OK, with what is both wanted and offered, VERSION_1 always. False: the device refuses. */
bool virtio_negotiate(struct virtio *v, uint64_t wanted);

/* One queue of at most size entries, rings from the heap unless q has some of an earlier set-up. Between
 * virtio_negotiate() and virtio_go(). False: the device has no such queue. The second leaves it to be enabled. */
bool virtq_set_up(struct virtq *q, struct virtio *v, uint16_t index, uint16_t size);
bool virtq_prepare(struct virtq *q, struct virtio *v, uint16_t index, uint16_t size);
void virtq_enable(const struct virtq *q);

/* DRIVER_OK. */
void virtio_go(const struct virtio *v);

/* The whole way: reset, negotiate, queue 0, go. */
bool virtio_start(struct virtio *v, uint64_t wanted, struct virtq *q, uint16_t size);

/*
 * Makes a chain available: first what the device reads, then what it writes. It takes the descriptors after the last
 * chain's, so the caller may have size / (segments of a chain) requests under way. Returns the head.
 */
uint16_t virtq_add(struct virtq *q, const struct virtq_segment *segments, unsigned int out, unsigned int in);

/* Notifies the device unless it said it looks by itself. */
void virtq_kick(struct virtq *q);

/* Takes one used element. Returns false when there is none. */
bool virtq_take(struct virtq *q, uint32_t *ret_id, uint32_t *ret_len);

/* The same, but waits at most that many ticks of the TSC. */
bool virtq_wait(struct virtq *q, uint64_t ticks, uint32_t *ret_id, uint32_t *ret_len);

/* One request alone: add, kick, wait WAIT_TICKS. */
bool virtq_request(struct virtq *q, const struct virtq_segment *segments, unsigned int out, unsigned int in,
                   uint32_t *ret_len);
