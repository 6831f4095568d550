/*
 * bulkhead-blk whose flush does nothing, to see that the test of durability finds that out. Linked from the product's
 * own object files (ld --wrap): what opens an engine gets one that acknowledges a flush at once, and writes as if into
 * a cache.
 */
#include "devices/blk/blk_engine.h"

static const struct blk_engine_ops *engine_ops;
static struct blk_engine_ops stub_ops;

/* A read of no byte in the place of a flush. */
static void stub_submit(struct blk_engine *g, struct blk_op *op)
{
        op->stable = false;
        if (op->kind == BLK_OP_SYNC) {
                op->kind = BLK_OP_READ;
                op->iov_count = 0;
        }
        engine_ops->submit(g, op);
}

int __real_blk_engine_open(struct blk_engine *g, enum disk_engine wanted, int fd, bool block_device, const int *held,
                           unsigned int held_count, struct err *e);
int __wrap_blk_engine_open(struct blk_engine *g, enum disk_engine wanted, int fd, bool block_device, const int *held,
                           unsigned int held_count, struct err *e);
int __wrap_blk_engine_open(struct blk_engine *g, enum disk_engine wanted, int fd, bool block_device, const int *held,
                           unsigned int held_count, struct err *e)
{
        int r = __real_blk_engine_open(g, wanted, fd, block_device, held, held_count, e);

        if (r < 0)
                return r;
        engine_ops = g->ops;
        stub_ops = *g->ops;
        stub_ops.submit = stub_submit;
        g->ops = &stub_ops;
        return 0;
}
