/* One operation on the disk's file or block device: what requests are made of, and what every engine carries out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum blk_op_kind {
        BLK_OP_READ,
        BLK_OP_WRITE,
        BLK_OP_SYNC,    /* everything that is done so far becomes stable */
        BLK_OP_DISCARD, /* contents are then unspecified, as far as the protocol goes */
        BLK_OP_PUNCH,   /* zeroes; space is given back */
        BLK_OP_ZERO,    /* zeroes; space stays allocated */
};

struct blk_op {
        enum blk_op_kind kind;
        bool stable;                   /* WRITE: is done when it is on stable storage */
        uint64_t off_bytes, len_bytes; /* READ, WRITE: len_bytes is the sum of iov */
        const struct iovec *iov;
        unsigned int iov_count;
        int64_t result;      /* when done: bytes, 0, or a negative errno */
        struct blk_op *next; /* the engine's */
};

/* Carries op out on fd, here and now, however long it takes. block_device: fd is one. */
void blk_op_run(int fd, bool block_device, struct blk_op *op);
