/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7) over guest RAM. Everything in the rings is written by a
 * hostile guest, at any time: each descriptor is copied once, the copy is checked, and the queue never looks again.
 *
 * One thread owns a queue. Notification is the caller's: an eventfd in, an eventfd out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "memory/guest_ram.h"

#define VIRTQ_SIZE_MAX 1024 /* entries; a power of two. What we offer; the specification allows 32768 */
#define VIRTQ_IOV_MAX \
        1026 /* segments of one chain, indirect ones included: a request of seg_max 1024, header, status */

struct virtq_layout {
        uint16_t size;                     /* entries: a power of two, 1..VIRTQ_SIZE_MAX */
        gpa_t descriptors, driver, device; /* 16, 2 and 4 bytes aligned: table, available ring, used ring */
};

/* Plain state and pointers into guest RAM, that are valid as long as its regions are. */
struct virtq {
        const struct guest_ram *ram;
        struct virtq_layout layout;
        const void *table; /* struct vring_desc[size] */
        void *avail, *used;
        uint16_t next_avail; /* index of the next chain to take */
        uint16_t next_used;  /* index of the next used element to write */
        uint16_t signalled;  /* next_used when virtq_should_notify() was last asked */
        bool asked; /* it was: what a predecessor may have given back without a word is told of at the first asking */
        bool event_idx, indirect;
        bool broken; /* the guest broke the rules: nothing is taken until it is set up anew */
};

/*
 * One request: segments that the device reads come first (out), then those it writes (in). A buffer that crosses from
 * one region of RAM into the next one is several segments; an empty one is none. A chain may have no segment at all.
 */
struct virtq_chain {
        uint16_t head;
        uint16_t out_count, in_count; /* segments: iov[0..out_count) and iov[out_count..out_count+in_count) */
        uint64_t out_bytes, in_bytes;
        struct iovec iov[VIRTQ_IOV_MAX];
};

/*
 * Checks the layout against ram and maps it. Rings may lie anywhere in RAM, each inside one region. next_avail: where
 * the device goes on taking chains (0 for a fresh queue); next_used is read from the used ring. Returns 0 or -EINVAL
 * (size, alignment) or -EFAULT (not RAM).
 */
int virtq_init(struct virtq *q, const struct guest_ram *ram, const struct virtq_layout *layout, uint16_t next_avail,
               bool event_idx, bool indirect, struct err *e);

/*
 * Takes the next chain. Returns 1 and *ret, 0 when there is none, or -EPROTO when the guest broke the rules (an index
 * or address out of range, a loop, an indirect table that was not negotiated, is inside an indirect one or goes on
 * after itself, a writable segment before a readable one, more than VIRTQ_IOV_MAX segments or 2^32-1 bytes): the queue
 * is then broken. A hostile guest can offer a head again while the device still has it, and let chains share memory
 * with one another and with the rings.
 */
int virtq_pop(struct virtq *q, struct virtq_chain *ret);

/* Takes the chain that starts at this descriptor again: a request that a dead predecessor of this process had taken. */
int virtq_reread(struct virtq *q, uint16_t head, struct virtq_chain *ret);

/* Gives a chain back: written_bytes were written to its in segments. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written_bytes);

/* Does the driver want to be told of what was pushed since it was last told? Call after a batch of virtq_push(). */
bool virtq_should_notify(struct virtq *q);

/* Is there a chain to take? */
bool virtq_waiting(const struct virtq *q);

/* Asks the driver not to notify, while the caller looks itself. By an event index it does once in 65536 chains. */
void virtq_kicks_off(struct virtq *q);

/* Asks it to notify again. Returns true when chains came in the meantime: look again before waiting. */
bool virtq_kicks_on(struct virtq *q);

/* Copies between a chain's segments and a buffer, from byte offset off of the out (in) part on. Returns bytes copied.
 */
uint64_t virtq_read(const struct virtq_chain *c, uint64_t off, void *buf, uint64_t len_bytes);
uint64_t virtq_write(const struct virtq_chain *c, uint64_t off, const void *buf, uint64_t len_bytes);
