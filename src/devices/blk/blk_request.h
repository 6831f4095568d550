/*
 * What a driver asks of a disk (virtio 1.2, 5.2.6): one chain of a virtqueue, read once, checked against the disk as it
 * is now. Pure: it does no I/O and keeps nothing.
 */
#pragma once

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtq.h"

#define BLK_SECTOR_BYTES 512 /* the protocol's unit, whatever the disk's own blocks are */

/* Segments of data that drivers are told to keep to: with header and status, a chain fits a queue of 128 entries, the
 * smallest that front ends make for a disk. */
#define BLK_SEG_MAX 126
#define BLK_IOV_MAX (BLK_SEG_MAX + 2) /* taken all the same: data may share its segments with header and status */

#define BLK_DISCARD_RANGES_MAX  16 /* of one request */
#define BLK_ZEROES_RANGES_MAX   1
#define BLK_DISCARD_SECTORS_MAX (1U << 21) /* of one range: 1 GiB */
#define BLK_ZEROES_SECTORS_MAX  (1U << 18) /* 128 MiB: where there is no quicker way, they are written */

struct blk_range {
        uint64_t off_bytes, len_bytes;
};

/* What a request is held against. */
struct blk_rules {
        uint64_t capacity_bytes;
        uint32_t block_bytes; /* offsets and lengths are multiples of it: a power of two, at least 512 */
        bool read_only;
        bool discard, write_zeroes; /* negotiated */
};

struct blk_request {
        uint32_t type;          /* VIRTIO_BLK_T_* */
        uint8_t *status;        /* in guest RAM */
        uint32_t used_bytes;    /* for virtq_push() when it goes well, */
        uint32_t failed_bytes;  /* and when it does not: what lies before the status was then not written */
        uint64_t off_bytes;     /* IN, OUT */
        uint64_t len_bytes;     /* IN, OUT, GET_ID: of the data */
        struct iovec *iov;      /* IN, OUT, GET_ID: the data, inside the chain's own array */
        unsigned int iov_count; /* at most BLK_IOV_MAX */
        bool unmap;             /* WRITE_ZEROES: space may be given back */
        unsigned int range_count;
        struct blk_range ranges[BLK_DISCARD_RANGES_MAX];
};

/*
 * Reads and checks c, whose segments it cuts. Returns VIRTIO_BLK_S_OK: carry it out; another VIRTIO_BLK_S_*: answer
 * that; in both cases *ret has status, used_bytes and failed_bytes. -EPROTO: there is no room for a status: push it
 * back with 0 bytes.
 */
int blk_request_parse(struct virtq_chain *c, const struct blk_rules *rules, struct blk_request *ret);
