#include "devices/blk/blk_op.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x2 /* linux/fs.h */
#endif

/* Raw calls: not every C library has the forms with flags. x86-64 takes the offset from the first of its two halves. */
static int64_t read_write(int fd, const struct blk_op *op)
{
        if (op->kind == BLK_OP_READ)
                return syscall(SYS_preadv2, fd, op->iov, op->iov_count, op->off_bytes, 0, 0);
        return syscall(SYS_pwritev2, fd, op->iov, op->iov_count, op->off_bytes, 0, op->stable ? RWF_DSYNC : 0);
}

static int64_t run_once(int fd, bool block_device, const struct blk_op *op)
{
        switch (op->kind) {
        case BLK_OP_READ:
        case BLK_OP_WRITE:
                return read_write(fd, op);
        case BLK_OP_SYNC:
                return fdatasync(fd);
        case BLK_OP_DISCARD:
                if (block_device)
                        return ioctl(fd, BLKDISCARD, (uint64_t[2]){op->off_bytes, op->len_bytes});
                __attribute__((fallthrough));
        case BLK_OP_PUNCH:
                return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->off_bytes,
                                 (off_t)op->len_bytes);
        case BLK_OP_ZERO:
                return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)op->off_bytes,
                                 (off_t)op->len_bytes);
        }
        errno = EINVAL;
        return -1;
}

void blk_op_run(int fd, bool block_device, struct blk_op *op)
{
        do {
                op->result = run_once(fd, block_device, op);
                if (op->result < 0)
                        op->result = -errno;
        } while (op->result == -EINTR);
}
