/*
 * bulkhead-blk: one disk of one guest, started by the supervisor in its jail with the descriptors of spec/device_fds.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/timerfd.h>

#include "base/cleanup.h"

#include "devices/blk/blk_disk.h"
#include "devices/common/device.h"
#include "spec/device_fds.h"

/* Compiled from policy/. */
extern const struct jail_policy policy_blk_main, policy_blk_uring;

/* Queues' tags are their indices. */
#define TAG_TIMER  DEVICE_TAG_FIRST
#define TAG_ENGINE (DEVICE_TAG_FIRST + 1)

/*
 * The ring holds them: their other ends hear of this process's end when the kernel has done the last of its operations,
 * not before. Until then it may write to the guest's RAM and to the disk, and no successor may start.
 */
static const int held[] = {DEVICE_FD_FRONTEND, DEVICE_FD_CONTROL};

static struct blk_disk disk;
static struct device_program program;

static int queue_start(void *ctx, struct vu_queue *q, struct err *e)
{
        int r = device_queue_watch(q, e);

        return r < 0 ? r : blk_disk_queue_start(ctx, q);
}

static void queue_stop(void *ctx, struct vu_queue *q)
{
        device_queue_unwatch(q);
        blk_disk_queue_stop(ctx, q);
}

static int config_check(const struct control_device_config *c, struct err *e)
{
        if (c->queues < 1 || c->queues > VU_QUEUES_MAX || c->disk.engine > DISK_ENGINE_SYNC || c->disk.read_only > 1 ||
            c->disk.direct > 1)
                return err_set(e, -EPROTO, "receive the disk's configuration");
        return 0;
}

/* A disk's file is opened without waiting for anything; operations on it do wait. */
static int resource_block(struct err *e)
{
        int flags = fcntl(DEVICE_FD_RESOURCE, F_GETFL);

        if (flags < 0 || fcntl(DEVICE_FD_RESOURCE, F_SETFL, flags & ~O_NONBLOCK) < 0)
                return err_set(e, -errno, "make the disk's descriptor blocking");
        return 0;
}

static int prepare(const struct control_device_config *c, const struct vu_device_ops **ret, void **ret_ctx,
                   struct err *e)
{
        int timer, r = config_check(c, e);

        if (r < 0)
                return r;
        r = resource_block(e);
        if (r < 0)
                return r;
        if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
                return err_set(e, -errno, "ignore SIGXFSZ");
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (timer < 0)
                return err_set(e, -errno, "create a timer");
        r = device_fd_place(timer, DEVICE_FD_TIMER, e);
        if (r == 0)
                r = blk_disk_open(&disk, &c->disk, c->queues, DEVICE_FD_RESOURCE, DEVICE_FD_TIMER, held,
                                  ARRAY_LEN(held), e);
        if (r < 0)
                return r;
        r = device_watch(DEVICE_FD_TIMER, TAG_TIMER);
        if (r == 0 && disk.engine.event_fd >= 0)
                r = device_watch_edge(disk.engine.event_fd, TAG_ENGINE);
        if (r < 0)
                return err_set(e, r, "wait for the timer and the engine");
        program.engine = disk.engine.event_fd >= 0 ? DISK_ENGINE_URING : DISK_ENGINE_SYNC;
        program.policy = disk.engine.event_fd >= 0 ? &policy_blk_uring : &policy_blk_main;
        disk.ops.queue_start = queue_start;
        disk.ops.queue_stop = queue_stop;
        *ret = &disk.ops;
        *ret_ctx = &disk;
        return 0;
}

static void event(void *ctx, uint64_t tag)
{
        if (tag == TAG_TIMER)
                blk_disk_timer(ctx);
        blk_disk_run(ctx);
}

static int resize(void *ctx, uint64_t bytes, struct err *e)
{
        return blk_disk_resize(ctx, bytes, e);
}

static struct device_program program = {.name = "bulkhead-blk", .prepare = prepare, .event = event, .resize = resize};

int main(void)
{
        device_main(&program);
}
