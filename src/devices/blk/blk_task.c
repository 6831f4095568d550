#include "devices/blk/blk_task.h"

#include <errno.h>
#include <string.h>

#define ZERO_BYTES    65536
#define ZERO_SEGMENTS 16

/* Never written, so that it takes no memory. */
static _Alignas(BLK_MEMORY_ALIGN_MAX) uint8_t zeroes[ZERO_BYTES];

static enum blk_step end(struct blk_means *m, struct blk_task *t, uint8_t status)
{
        if (t->bounce >= 0)
                m->bounces_used &= ~(1U << t->bounce);
        t->bounce = -1;
        t->status = status;
        return BLK_STEP_END;
}

static enum blk_step op(struct blk_task *t, enum blk_op_kind kind, uint64_t off_bytes, uint64_t len_bytes)
{
        t->op.kind = kind;
        t->op.off_bytes = off_bytes;
        t->op.len_bytes = len_bytes;
        return BLK_STEP_OP;
}

/* Direct I/O wants every segment aligned, in address and length. */
static bool needs_bounce(const struct blk_image *m, const struct blk_task *t)
{
        if (!m->direct)
                return false;
        for (unsigned int i = 0; i < t->iov_count; i++)
                if ((uintptr_t)t->iov[i].iov_base % m->memory_align || t->iov[i].iov_len % m->block_bytes)
                        return true;
        return false;
}

/* Copies len bytes between buf and the data from done_bytes on. */
static void bounce_copy(const struct blk_task *t, uint8_t *buf, uint64_t len, bool to_guest)
{
        uint64_t skip = t->done_bytes;

        for (unsigned int i = 0; i < t->iov_count && len > 0; i++) {
                uint8_t *p = t->iov[i].iov_base;
                uint64_t n = t->iov[i].iov_len;

                if (skip >= n) {
                        skip -= n;
                        continue;
                }
                p += skip;
                n = n - skip < len ? n - skip : len;
                skip = 0;
                memcpy(to_guest ? p : buf, to_guest ? buf : p, n);
                buf += n;
                len -= n;
        }
}

static bool bounce_take(struct blk_means *m, struct blk_task *t)
{
        for (int i = 0; i < BLK_BOUNCES && t->bounce < 0; i++)
                if (!(m->bounces_used & (1U << i))) {
                        m->bounces_used |= 1U << i;
                        t->bounce = i;
                }
        return t->bounce >= 0;
}

static enum blk_step data_step(struct blk_means *m, struct blk_task *t)
{
        bool in = t->req.type == VIRTIO_BLK_T_IN;
        uint64_t left = t->req.len_bytes - t->done_bytes;

        if (left == 0)
                return end(m, t, VIRTIO_BLK_S_OK);
        t->op.iov = t->iov;
        t->op.iov_count = t->iov_count;
        t->op.stable = m->stable;
        if (t->bounced) {
                if (!bounce_take(m, t))
                        return BLK_STEP_WAIT;
                left = left < BLK_BOUNCE_BYTES ? left : BLK_BOUNCE_BYTES;
                t->one = (struct iovec){m->bounces + (size_t)t->bounce * BLK_BOUNCE_BYTES, left};
                t->op.iov = &t->one;
                t->op.iov_count = 1;
                if (!in)
                        bounce_copy(t, t->one.iov_base, left, false);
        }
        return op(t, in ? BLK_OP_READ : BLK_OP_WRITE, t->req.off_bytes + t->done_bytes, left);
}

static enum blk_step data_done(struct blk_means *m, struct blk_task *t)
{
        uint64_t n = (uint64_t)t->op.result;

        /* Nothing transferred is the end of a file that became shorter. */
        if (t->op.result <= 0 || n > t->op.len_bytes)
                return end(m, t, VIRTIO_BLK_S_IOERR);
        if (t->bounced && t->req.type == VIRTIO_BLK_T_IN)
                bounce_copy(t, t->one.iov_base, n, true);
        t->done_bytes += n;
        while (!t->bounced && n > 0) {
                uint64_t cut = n < t->iov->iov_len ? n : t->iov->iov_len;

                t->iov->iov_base = (uint8_t *)t->iov->iov_base + cut;
                t->iov->iov_len -= cut;
                n -= cut;
                if (t->iov->iov_len == 0) {
                        t->iov++;
                        t->iov_count--;
                }
        }
        return data_step(m, t);
}

static enum blk_step zeroes_write(struct blk_means *m, struct blk_task *t, const struct blk_range *range)
{
        static const struct iovec full[ZERO_SEGMENTS] = {[0 ... ZERO_SEGMENTS - 1] = {zeroes, ZERO_BYTES}};
        uint64_t left = range->len_bytes - t->done_bytes;

        t->op.stable = m->stable;
        if (left < ZERO_BYTES) {
                t->one = (struct iovec){zeroes, left};
                t->op.iov = &t->one;
                t->op.iov_count = 1;
        } else {
                t->op.iov = full;
                t->op.iov_count = left / ZERO_BYTES < ZERO_SEGMENTS ? (unsigned int)(left / ZERO_BYTES) : ZERO_SEGMENTS;
                left = (uint64_t)t->op.iov_count * ZERO_BYTES;
        }
        return op(t, BLK_OP_WRITE, range->off_bytes + t->done_bytes, left);
}

static enum blk_step ranges_step(struct blk_means *m, struct blk_task *t)
{
        const struct blk_range *range;

        while (t->range < t->req.range_count && t->done_bytes >= t->req.ranges[t->range].len_bytes) {
                t->range++;
                t->done_bytes = 0;
        }
        if (t->range == t->req.range_count)
                return end(m, t, VIRTIO_BLK_S_OK);
        range = &t->req.ranges[t->range];
        if (t->req.type == VIRTIO_BLK_T_DISCARD)
                return op(t, BLK_OP_DISCARD, range->off_bytes, range->len_bytes);
        if (t->req.unmap && !m->no_punch)
                return op(t, BLK_OP_PUNCH, range->off_bytes, range->len_bytes);
        if (!m->no_zero)
                return op(t, BLK_OP_ZERO, range->off_bytes, range->len_bytes);
        return zeroes_write(m, t, range);
}

static enum blk_step ranges_done(struct blk_means *m, struct blk_task *t)
{
        bool supported = t->op.result != -EOPNOTSUPP;

        if (t->op.kind == BLK_OP_WRITE) {
                if (t->op.result <= 0)
                        return end(m, t, VIRTIO_BLK_S_IOERR);
                t->done_bytes += (uint64_t)t->op.result;
                return ranges_step(m, t);
        }
        if (t->op.kind == BLK_OP_PUNCH && !supported) {
                m->no_punch = true;
                return ranges_step(m, t);
        }
        if (t->op.kind == BLK_OP_ZERO && !supported) {
                m->no_zero = true;
                return ranges_step(m, t);
        }
        /* To discard is advice: where there is nothing to give back, that is well, too. */
        if (t->op.result < 0 && (supported || t->op.kind != BLK_OP_DISCARD))
                return end(m, t, VIRTIO_BLK_S_IOERR);
        if (m->stable && (t->op.kind == BLK_OP_PUNCH || t->op.kind == BLK_OP_ZERO))
                return op(t, BLK_OP_SYNC, 0, 0);
        t->done_bytes = t->req.ranges[t->range].len_bytes;
        return ranges_step(m, t);
}

enum blk_step blk_task_step(struct blk_means *m, struct blk_task *t)
{
        switch (t->req.type) {
        case VIRTIO_BLK_T_IN:
        case VIRTIO_BLK_T_OUT:
                return data_step(m, t);
        case VIRTIO_BLK_T_FLUSH:
                return op(t, BLK_OP_SYNC, 0, 0);
        case VIRTIO_BLK_T_DISCARD:
        case VIRTIO_BLK_T_WRITE_ZEROES:
                return ranges_step(m, t);
        default:
                return end(m, t, VIRTIO_BLK_S_UNSUPP);
        }
}

enum blk_step blk_task_begin(struct blk_means *m, struct blk_task *t)
{
        t->bounce = -1;
        t->bounced = needs_bounce(m->image, t);
        t->range = 0;
        t->done_bytes = 0;
        return blk_task_step(m, t);
}

enum blk_step blk_task_done(struct blk_means *m, struct blk_task *t)
{
        switch (t->req.type) {
        case VIRTIO_BLK_T_IN:
        case VIRTIO_BLK_T_OUT:
                return data_done(m, t);
        case VIRTIO_BLK_T_FLUSH:
                return end(m, t, t->op.result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
        default:
                return ranges_done(m, t);
        }
}
