/*
 * The in-flight region: which requests a back end has taken and not given back, in memory that outlives it. The layout
 * and the order of steps are the specification's (vhost-user, "Inflight I/O tracking", split queues), so that any back
 * end can go on where another has died.
 *
 * The region is written by whoever holds it: read once, checked, and never trusted with more than an index below the
 * size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtq.h"

#define VU_INFLIGHT_VERSION 1
#define VU_INFLIGHT_ALIGN   64 /* bytes, of each queue's part, as all back ends do it */

struct vu_inflight_desc {
        uint8_t inflight; /* of a head: taken, not given back */
        uint8_t padding[5];
        uint16_t next;    /* in the list of the last batch given back */
        uint64_t counter; /* of a head: the order of taking */
};

struct vu_inflight_part {         /* one queue's */
        uint64_t features;        /* 0 */
        uint16_t version;         /* 0: never used */
        uint16_t desc_num;        /* of desc[] */
        uint16_t last_batch_head; /* the list of the last batch given back */
        uint16_t used_idx;        /* the used ring's index when the last batch was done with */
        struct vu_inflight_desc desc[];
};

struct vu_inflight_queue {
        struct vu_inflight_part *part;
        uint16_t size;                  /* of desc[], whatever desc_num says */
        uint64_t counter;               /* of the next head taken */
        uint16_t left_count, left_next; /* heads a predecessor left, in the order it took them */
        uint16_t left[VIRTQ_SIZE_MAX];
};

/* Bytes of a region for so many queues of that size (1..VIRTQ_SIZE_MAX), and where a queue's part begins. */
uint64_t vu_inflight_bytes(unsigned int queues, unsigned int queue_size);
uint64_t vu_inflight_offset(unsigned int queue, unsigned int queue_size);

/*
 * Begins, or goes on after a predecessor: finishes a batch it was about to finish, and lists what it left. used_index:
 * of the used ring; ring_size: at most queue_size, which the region was made for. Returns 0, and the queue goes on at
 * used_index + left_count; or -EINVAL when the part is of another kind.
 */
int vu_inflight_begin(struct vu_inflight_queue *q, void *region, unsigned int queue, uint16_t queue_size,
                      uint16_t ring_size, uint16_t used_index);

/* The next head that a predecessor left: true and *ret. It counts as taken since then. */
bool vu_inflight_next(struct vu_inflight_queue *q, uint16_t *ret);

/* head was taken; is about to be given back, before the used ring's index moves; has been given back, after. */
void vu_inflight_take(struct vu_inflight_queue *q, uint16_t head);
void vu_inflight_give(struct vu_inflight_queue *q, uint16_t head);
void vu_inflight_given(struct vu_inflight_queue *q, uint16_t head, uint16_t used_index);
