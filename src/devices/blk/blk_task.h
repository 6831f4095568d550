/*
 * A request under way: the operations that it takes, one after the other. Short transfers go on where they stopped,
 * buffers that direct I/O can't use go through one of ours, and what the file system can't do is done another way.
 */
#pragma once

#include "devices/blk/blk_image.h"
#include "devices/blk/blk_op.h"
#include "devices/blk/blk_request.h"

#define BLK_BOUNCE_BYTES 65536 /* of one buffer: longer requests go through in pieces */
#define BLK_BOUNCES      8     /* requests that need one wait for each other */

/* What all requests of a disk share. */
struct blk_means {
        const struct blk_image *image;
        bool stable;               /* a write is on stable storage before it is acknowledged */
        bool no_punch, no_zero;    /* the file system has said so */
        uint8_t *bounces;          /* BLK_BOUNCES of BLK_BOUNCE_BYTES, aligned as the image wants it */
        unsigned int bounces_used; /* a bit each */
};

struct blk_task {
        struct blk_op op; /* first: an operation that is done leads back to its task */
        struct blk_request req;
        struct iovec *iov; /* the data, of which done_bytes are done; not bounced: what is left of it */
        unsigned int iov_count;
        struct iovec one; /* a bounce buffer, or zeroes */
        int bounce;       /* its number; -1: none */
        bool bounced;
        unsigned int range;
        uint64_t done_bytes; /* of the data, or of the range */
        uint8_t status;      /* when the task ended */
        /* the disk's: */
        unsigned int queue;
        uint16_t head;
        struct blk_task *next;
};

enum blk_step {
        BLK_STEP_OP,   /* carry task->op out, then call blk_task_done() */
        BLK_STEP_WAIT, /* every bounce buffer is in use: ask again when another task has ended */
        BLK_STEP_END,  /* over: task->status */
};

/* Begins t, whose req, iov and iov_count are filled in. req.type: what blk_request_parse() lets through, without
 * GET_ID. */
enum blk_step blk_task_begin(struct blk_means *m, struct blk_task *t);

/* t->op is done: what next? */
enum blk_step blk_task_done(struct blk_means *m, struct blk_task *t);

/* After BLK_STEP_WAIT. */
enum blk_step blk_task_step(struct blk_means *m, struct blk_task *t);
