#include "devices/rng/rng.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/common/token_bucket.h"
#include "spec/device_fds.h"

extern const struct jail_policy policy_rng_main; /* compiled from policy/main.policy */

#define TAG_TIMER DEVICE_TAG_FIRST
#define SOON_NS   1 /* after what else the event loop has */

static struct rng {
        struct vu_queue *queue; /* NULL: none is started */
        struct token_bucket bucket;
        struct virtq_chain chain;
} rng;

static uint64_t now_ns(void)
{
        return (uint64_t)clock_now_us() * 1000;
}

/* 0: never. Cannot fail: the descriptor and the time are good. */
static void timer_set(uint64_t ns)
{
        const struct itimerspec t = {
                .it_value = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)}};

        (void)timerfd_settime(DEVICE_FD_TIMER, 0, &t, NULL);
}

/* Fills the buffers, up to the limit of one request. A guest that has lost its memory gets less. Returns bytes. */
static uint32_t chain_fill(const struct virtq_chain *c)
{
        uint32_t done = 0;

        for (unsigned int i = 0; i < c->in_count && done < RNG_CHAIN_BYTES_MAX; i++) {
                const struct iovec *v = &c->iov[c->out_count + i];
                size_t want = v->iov_len < RNG_CHAIN_BYTES_MAX - done ? v->iov_len : RNG_CHAIN_BYTES_MAX - done;
                ssize_t n;

                do
                        n = getrandom(v->iov_base, want, 0);
                while (n < 0 && errno == EINTR);
                if (n > 0)
                        done += (uint32_t)n;
                if (n < (ssize_t)want)
                        break;
        }
        return done;
}

enum turn { TURN_IDLE, TURN_OVER, TURN_LIMITED };

static enum turn turn(struct rng *r)
{
        for (unsigned int n = 0; n < RNG_CHAINS_PER_TURN; n++) {
                uint32_t bytes;

                if (!token_bucket_ready(&r->bucket, now_ns()))
                        return TURN_LIMITED;
                if (vu_queue_pop(r->queue, &r->chain) <= 0)
                        return TURN_IDLE; /* or broken: nothing comes any more */
                bytes = chain_fill(&r->chain);
                token_bucket_charge(&r->bucket, bytes > 0 ? bytes : 1);
                vu_queue_push(r->queue, r->chain.head, bytes);
        }
        return TURN_OVER;
}

static void serve(struct rng *r)
{
        enum turn end;

        do {
                virtq_kicks_off(&r->queue->ring);
                end = turn(r);
                vu_queue_notify(r->queue);
        } while (end == TURN_IDLE && virtq_kicks_on(&r->queue->ring));
        if (end != TURN_IDLE)
                timer_set(end == TURN_LIMITED ? token_bucket_wait_ns(&r->bucket) : SOON_NS);
}

static void rng_event(void *ctx, uint64_t tag)
{
        struct rng *r = ctx;
        uint64_t ticks;

        if (tag == TAG_TIMER)
                (void)read(DEVICE_FD_TIMER, &ticks, sizeof(ticks)); /* EAGAIN: it was set anew meanwhile */
        if (r->queue)
                serve(r);
}

/* What the queue holds already is served by the timer, when the queue has started. */
static int rng_queue_start(void *ctx, struct vu_queue *q, struct err *e)
{
        struct rng *r = ctx;
        int result = device_queue_watch(q, e);

        if (result < 0)
                return result;
        r->queue = q;
        timer_set(SOON_NS);
        return 0;
}

static void rng_queue_stop(void *ctx, struct vu_queue *q)
{
        struct rng *r = ctx;

        device_queue_unwatch(q);
        r->queue = NULL;
        timer_set(0);
}

static const struct vu_device_ops ops = {
        .features = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
        .queues = 1,
        .queue_start = rng_queue_start,
        .queue_stop = rng_queue_stop,
};

static int rng_prepare(const struct control_device_config *c, const struct vu_device_ops **ret, void **ret_ctx,
                       struct err *e)
{
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), r;

        if (fd < 0)
                return err_set(e, -errno, "create a timer");
        r = device_fd_place(fd, DEVICE_FD_TIMER, e);
        if (r < 0)
                return r;
        r = device_watch(DEVICE_FD_TIMER, TAG_TIMER);
        if (r < 0)
                return err_set(e, r, "wait for the timer");
        token_bucket_init(&rng.bucket, c->rng_bytes_per_s, c->rng_bytes_per_s, now_ns());
        *ret = &ops;
        *ret_ctx = &rng;
        return 0;
}

const struct device_program rng_program = {
        .name = "bulkhead-rng",
        .policy = &policy_rng_main,
        .prepare = rng_prepare,
        .event = rng_event,
};
