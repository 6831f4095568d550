/*
 * io_uring on raw system calls, for one file: a ring that can do nothing but the operations and files it was made for.
 * It starts disabled, is restricted, and only then enabled, so that what goes past the system-call filter is decided by
 * a list of its own.
 */
#pragma once

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct uring {
        int fd;
        void *rings;
        size_t rings_bytes;
        unsigned int sq_mask, cq_mask;
        unsigned int *sq_head, *sq_tail, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_flags;
        struct io_uring_sqe *sqes;
        struct io_uring_cqe *cqes;
        unsigned int tail; /* of the submission queue, with what the kernel has not been told of */
        unsigned int unsubmitted;
};

struct uring_setup {
        unsigned int entries;      /* a power of two */
        const uint8_t *opcodes;    /* IORING_OP_*: nothing else can be submitted */
        unsigned int opcode_count; /* at most URING_OPCODES_MAX */
        const int *files;          /* IOSQE_FIXED_FILE is required, so that nothing else can be named */
        unsigned int file_count;
        int event_fd;         /* an eventfd that is written to when there is something to reap; -1: none */
        unsigned int workers; /* threads that the kernel may add to this process for what would block */
};

#define URING_OPCODES_MAX 8

/*
 * Makes the ring at descriptor number `at`. Every file is held until the last operation of the ring has ended, be it
 * after the death of this process. Returns 0 or a negative errno: -ENOSYS, -EPERM, -EINVAL where the kernel has none,
 * forbids it, or can't restrict it.
 */
int uring_open(struct uring *u, int at, const struct uring_setup *s, struct err *e);

/* An entry to fill in, zeroed, with IOSQE_FIXED_FILE set; NULL: the queue is full, submit first. */
struct io_uring_sqe *uring_next(struct uring *u);

/*
 * Submits what uring_next() gave out and waits for at least `wait` completions. Makes no call when there is nothing to
 * submit, to wait for, or to finish. Returns 0 or a negative errno.
 */
int uring_enter(struct uring *u, unsigned int wait);

/* The next completion, or false. */
bool uring_reap(struct uring *u, struct io_uring_cqe *ret);

/* Is there something to reap, or to finish by uring_enter()? */
bool uring_ready(const struct uring *u);

/*
 * Without events while the caller looks by itself. Turning them on again says whether something came meanwhile, to be
 * looked at before waiting.
 */
void uring_events_off(struct uring *u);
bool uring_events_on(struct uring *u);

/* Unmaps and closes. Accepts a zeroed object with fd -1. */
void uring_close(struct uring *u);
