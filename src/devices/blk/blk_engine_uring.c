/*
 * io_uring. What the ring cannot do (BLKDISCARD), and what it gives up on (no worker to be had), is done by the plain
 * calls, which the filter therefore allows too: on the same descriptor they are no more than what the ring may do.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/blk/blk_engine.h"
#include "spec/device_fds.h"

#define WORKERS 4 /* threads for what would block: fdatasync, fallocate, buffered writes. They count as the guest's */

static const uint8_t opcodes[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};

static void prepare(struct io_uring_sqe *sqe, struct blk_op *op)
{
        sqe->fd = 0; /* of the registered files: the disk */
        sqe->user_data = (uint64_t)(uintptr_t)op;
        sqe->off = op->off_bytes;
        switch (op->kind) {
        case BLK_OP_READ:
        case BLK_OP_WRITE:
                sqe->opcode = op->kind == BLK_OP_READ ? IORING_OP_READV : IORING_OP_WRITEV;
                sqe->addr = (uint64_t)(uintptr_t)op->iov;
                sqe->len = op->iov_count;
                sqe->rw_flags = op->kind == BLK_OP_WRITE && op->stable ? RWF_DSYNC : 0;
                break;
        case BLK_OP_SYNC:
                sqe->opcode = IORING_OP_FSYNC;
                sqe->off = 0;
                sqe->fsync_flags = IORING_FSYNC_DATASYNC;
                break;
        case BLK_OP_DISCARD:
        case BLK_OP_PUNCH:
        case BLK_OP_ZERO:
                sqe->opcode = IORING_OP_FALLOCATE;
                sqe->addr = op->len_bytes;
                sqe->len =
                        FALLOC_FL_KEEP_SIZE | (op->kind == BLK_OP_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
                break;
        }
}

static void uring_kick(struct blk_engine *g, bool wait)
{
        int r;

        /* A done operation is enough to wait for. Busy (-EBUSY, -EAGAIN): the kernel wants completions to be reaped or
         * memory to be freed; what was not submitted stays in the queue for the next kick. Anything else is our bug. */
        r = uring_enter(&g->ring, wait && !g->done ? 1 : 0);
        assert(r == 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY);
}

static void uring_submit(struct blk_engine *g, struct blk_op *op)
{
        struct io_uring_sqe *sqe;

        g->under_way++;
        if (op->kind == BLK_OP_DISCARD && g->block_device) {
                blk_engine_run(g, op);
                return;
        }
        sqe = uring_next(&g->ring);
        if (!sqe) {
                uring_kick(g, false);
                sqe = uring_next(&g->ring);
        }
        if (sqe)
                prepare(sqe, op);
        else
                blk_engine_run(g, op);
}

static const struct blk_engine_ops uring_ops = {.name = "io_uring", .submit = uring_submit, .kick = uring_kick};

static int event_make(struct err *e)
{
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r = 0;

        if (fd < 0)
                return err_set(e, -errno, "create an event descriptor");
        if (fd == DEVICE_FD_EVENT)
                return 0;
        if (dup3(fd, DEVICE_FD_EVENT, O_CLOEXEC) < 0)
                r = err_set(e, -errno, "move an event descriptor to its number");
        close(fd);
        return r;
}

int blk_engine_uring_open(struct blk_engine *g, const int *held, unsigned int held_count, struct err *e)
{
        int files[1 + BLK_ENGINE_HELD_MAX] = {g->fd};
        struct uring_setup s = {
                .entries = BLK_OPS_MAX,
                .opcodes = opcodes,
                .opcode_count = sizeof(opcodes),
                .files = files,
                .workers = WORKERS,
        };
        int r;

        assert(held_count <= BLK_ENGINE_HELD_MAX);
        for (unsigned int i = 0; i < held_count; i++)
                files[1 + i] = held[i];
        s.file_count = 1 + held_count;
        r = event_make(e);
        if (r < 0)
                return r;
        s.event_fd = DEVICE_FD_EVENT;
        r = uring_open(&g->ring, DEVICE_FD_RING, &s, e);
        if (r < 0) {
                close(DEVICE_FD_EVENT);
                return r;
        }
        g->ops = &uring_ops;
        g->event_fd = DEVICE_FD_EVENT;
        return 0;
}
