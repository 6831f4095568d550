#include "devices/blk/blk_engine.h"

#include <errno.h>

#include "base/cleanup.h"

static void done_add(struct blk_engine *g, struct blk_op *op)
{
        op->next = NULL;
        *g->done_tail = op;
        g->done_tail = &op->next;
}

void blk_engine_run(struct blk_engine *g, struct blk_op *op)
{
        blk_op_run(g->fd, g->block_device, op);
        done_add(g, op);
}

static struct blk_op *done_take(struct blk_engine *g)
{
        struct blk_op *op = g->done;

        if (!op)
                return NULL;
        g->done = op->next;
        if (!g->done)
                g->done_tail = &g->done;
        return op;
}

static void sync_submit(struct blk_engine *g, struct blk_op *op)
{
        g->under_way++;
        blk_engine_run(g, op);
}

static void sync_kick(struct blk_engine *g, bool wait)
{
        (void)g; /* everything submitted is done */
        (void)wait;
}

static const struct blk_engine_ops sync_ops = {.name = "sync", .submit = sync_submit, .kick = sync_kick};

void blk_engine_sync_open(struct blk_engine *g)
{
        g->ops = &sync_ops;
}

int blk_engine_open(struct blk_engine *g, enum disk_engine wanted, int fd, bool block_device, const int *held,
                    unsigned int held_count, struct err *e)
{
        int r = 0;

        *g = (struct blk_engine){.fd = fd, .block_device = block_device, .event_fd = -1, .ring.fd = -1};
        g->done_tail = &g->done;
        if (wanted != DISK_ENGINE_SYNC)
                r = blk_engine_uring_open(g, held, held_count, wanted == DISK_ENGINE_URING ? e : NULL);
        if (r < 0 && wanted == DISK_ENGINE_URING)
                return r;
        if (r < 0 || wanted == DISK_ENGINE_SYNC)
                blk_engine_sync_open(g);
        return 0;
}

/* A result of the ring that only says that it could not be done there: the plain call can do it. */
static bool again(int64_t result)
{
        return result == -EAGAIN || result == -EINTR || result == -ECANCELED;
}

struct blk_op *blk_engine_reap(struct blk_engine *g)
{
        struct blk_op *op = done_take(g);
        struct io_uring_cqe cqe;

        if (!op && g->ring.fd >= 0 && uring_reap(&g->ring, &cqe)) {
                op = (struct blk_op *)(uintptr_t)cqe.user_data; /* the kernel gives back what it was given */
                op->result = cqe.res;
                if (again(op->result))
                        blk_op_run(g->fd, g->block_device, op);
        }
        if (op)
                g->under_way--;
        return op;
}

void blk_engine_awake(struct blk_engine *g)
{
        if (g->ring.fd >= 0)
                uring_events_off(&g->ring);
}

bool blk_engine_rest(struct blk_engine *g)
{
        return (g->ring.fd >= 0 && uring_events_on(&g->ring)) || g->done;
}

bool blk_engine_ready(const struct blk_engine *g)
{
        return (g->ring.fd >= 0 && uring_ready(&g->ring)) || g->done;
}

bool blk_engine_stuck(const struct blk_engine *g)
{
        return g->ring.fd >= 0 && g->ring.unsubmitted > 0;
}

void blk_engine_close(struct blk_engine *g)
{
        if (g->ops)
                uring_close(&g->ring);
        fd_closep(&g->event_fd);
        g->ops = NULL;
}
