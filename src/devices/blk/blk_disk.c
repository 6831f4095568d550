#include "devices/blk/blk_disk.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/blk/blk_config.h"

/* Requests taken in one turn of the event loop: the front end and the supervisor are heard after that many. */
#define TURN_MAX (4 * BLK_OPS_MAX)

#define FEATURE(d_features, bit) (((d_features) >> (bit)) & 1)

static _Alignas(BLK_MEMORY_ALIGN_MAX) uint8_t bounces[BLK_BOUNCES * BLK_BOUNCE_BYTES];

static uint64_t now_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Comes back in ns nanoseconds, at least one. */
static void timer_set(const struct blk_disk *d, uint64_t ns)
{
        struct itimerspec t = {0};

        ns = ns == 0 ? 1 : ns;
        t.it_value.tv_sec = (time_t)(ns / 1000000000);
        t.it_value.tv_nsec = (long)(ns % 1000000000);
        (void)timerfd_settime(d->timer_fd, 0, &t, NULL); /* cannot fail: the descriptor is ours, the time in range */
}

static void queue_ended(struct blk_disk *d, struct blk_task *t, uint32_t written_bytes)
{
        struct blk_disk_queue *q = &d->queues[t->queue];

        vu_queue_push(q->ring, t->head, written_bytes);
        q->pushed = true;
        q->under_way--;
        t->next = d->free;
        d->free = t;
}

static void ended(struct blk_disk *d, struct blk_task *t, int status)
{
        *(volatile uint8_t *)t->req.status = (uint8_t)status;
        queue_ended(d, t, status == VIRTIO_BLK_S_OK ? t->req.used_bytes : t->req.failed_bytes);
}

static void go_on(struct blk_disk *d, struct blk_task *t, enum blk_step s)
{
        switch (s) {
        case BLK_STEP_OP:
                d->engine.ops->submit(&d->engine, &t->op);
                break;
        case BLK_STEP_WAIT:
                t->next = NULL;
                *d->waiting_tail = t;
                d->waiting_tail = &t->next;
                break;
        case BLK_STEP_END:
                ended(d, t, t->status);
                break;
        }
}

/* Each that waits asks once; who gets no buffer waits again, behind the others. */
static void waiting_go_on(struct blk_disk *d)
{
        struct blk_task *t = d->waiting, *next;

        d->waiting = NULL;
        d->waiting_tail = &d->waiting;
        for (; t; t = next) {
                next = t->next;
                go_on(d, t, blk_task_step(&d->means, t));
        }
}

static void identity_write(const struct blk_disk *d, struct blk_task *t)
{
        char id[VIRTIO_BLK_ID_BYTES] = {0};
        size_t at = 0;

        memcpy(id, d->id, strnlen(d->id, sizeof(id)));
        for (unsigned int i = 0; i < t->req.iov_count && at < sizeof(id); i++) {
                size_t n = t->req.iov[i].iov_len < sizeof(id) - at ? t->req.iov[i].iov_len : sizeof(id) - at;

                memcpy(t->req.iov[i].iov_base, id + at, n);
                at += n;
        }
        if (t->req.len_bytes > sizeof(id)) /* what lies behind, the status apart, was not written */
                t->req.used_bytes = sizeof(id);
}

static bool task_there(const struct blk_disk *d)
{
        return d->free || d->touched < BLK_OPS_MAX;
}

/* Those that were used before, the last one first: memory grows with the depth that a driver needs. */
static struct blk_task *task_take(struct blk_disk *d)
{
        struct blk_task *t = d->free;

        if (!t)
                return &d->tasks[d->touched++];
        d->free = t->next;
        return t;
}

static void begin(struct blk_disk *d, unsigned int queue)
{
        struct blk_task *t = task_take(d);
        size_t i = (size_t)(t - d->tasks);
        int s;

        t->queue = queue;
        t->head = d->chain.head;
        d->queues[queue].under_way++;
        s = blk_request_parse(&d->chain, &d->rules, &t->req);
        if (s < 0) {
                queue_ended(d, t, 0);
                return;
        }
        token_bucket_charge(&d->operations, 1);
        token_bucket_charge(&d->bytes, t->req.len_bytes);
        if (s == VIRTIO_BLK_S_OK && t->req.type == VIRTIO_BLK_T_GET_ID)
                identity_write(d, t);
        if (s != VIRTIO_BLK_S_OK || t->req.type == VIRTIO_BLK_T_GET_ID) {
                ended(d, t, s);
                return;
        }
        t->iov = t->req.iov_count <= BLK_IOV_FEW ? d->few[i] : d->many[i];
        t->iov_count = t->req.iov_count;
        if (t->iov_count > 0)
                memcpy(t->iov, t->req.iov, t->iov_count * sizeof(t->iov[0]));
        go_on(d, t, blk_task_begin(&d->means, t));
}

/* When a limit is reached, sets the timer to when it is no more. */
static bool limited(struct blk_disk *d)
{
        uint64_t now, wait;
        bool ready;

        if (d->bytes.rate_per_s == 0 && d->operations.rate_per_s == 0)
                return false;
        now = now_ns();
        ready = token_bucket_ready(&d->bytes, now);
        ready = token_bucket_ready(&d->operations, now) && ready; /* both are brought up to now */
        if (ready)
                return false;
        wait = token_bucket_wait_ns(&d->bytes);
        if (wait < token_bucket_wait_ns(&d->operations))
                wait = token_bucket_wait_ns(&d->operations);
        timer_set(d, wait);
        return true;
}

static bool may_take(struct blk_disk *d)
{
        return task_there(d) && !limited(d);
}

/* Takes one request off a queue. Returns false when there is none, or the queue is broken. */
static bool take(struct blk_disk *d, unsigned int queue)
{
        struct vu_queue *q = d->queues[queue].queue;

        if (vu_queue_pop(q, &d->chain) <= 0)
                return false;
        begin(d, queue);
        return true;
}

/* Takes what is there, from each queue in turn. Returns how many, at most max. */
static unsigned int take_all(struct blk_disk *d, unsigned int max)
{
        unsigned int taken = 0, empty = 0;

        while (empty < d->ops.queues && taken < max && may_take(d)) {
                unsigned int queue = d->next_queue;

                if (d->queues[queue].queue && take(d, queue)) {
                        taken++;
                        empty = 0;
                } else {
                        empty++;
                }
                d->next_queue = (queue + 1) % d->ops.queues;
        }
        if (taken > 0)
                blk_spin_taken(&d->spin, now_ns());
        return taken;
}

/* Returns how many operations were done. */
static unsigned int reap(struct blk_disk *d, bool wait)
{
        unsigned int done = 0;
        struct blk_op *op;

        d->engine.ops->kick(&d->engine, wait);
        while ((op = blk_engine_reap(&d->engine)) != NULL) {
                struct blk_task *t = (struct blk_task *)op;

                go_on(d, t, blk_task_done(&d->means, t));
                done++;
        }
        if (done > 0)
                waiting_go_on(d);
        return done;
}

static void notify(struct blk_disk *d)
{
        bool given = false;

        for (unsigned int i = 0; i < d->ops.queues; i++)
                if (d->queues[i].pushed) {
                        d->queues[i].pushed = false;
                        vu_queue_notify(d->queues[i].ring);
                        given = true;
                }
        if (given)
                blk_spin_given(&d->spin, now_ns());
}

static void kicks_off(struct blk_disk *d)
{
        for (unsigned int i = 0; i < d->ops.queues; i++)
                if (d->queues[i].queue)
                        virtq_kicks_off(&d->queues[i].queue->ring);
}

/* Returns true when there is something to take already. */
static bool kicks_on(struct blk_disk *d)
{
        bool more = false;

        for (unsigned int i = 0; i < d->ops.queues; i++)
                if (d->queues[i].queue)
                        more |= virtq_kicks_on(&d->queues[i].queue->ring);
        return more;
}

static bool waiting_there(const struct blk_disk *d)
{
        for (unsigned int i = 0; i < d->ops.queues; i++)
                if (d->queues[i].queue && virtq_waiting(&d->queues[i].queue->ring))
                        return true;
        return false;
}

/* Looks for a while whether there is something to do. */
static bool spin(struct blk_disk *d)
{
        bool found = false;

        while (!found && may_take(d) && blk_spin_on(&d->spin, now_ns())) {
                __builtin_ia32_pause(); /* the driver may be on this core's other thread */
                found = waiting_there(d) || blk_engine_ready(&d->engine);
        }
        return found;
}

static void awake(struct blk_disk *d)
{
        blk_engine_awake(&d->engine);
        kicks_off(d);
}

/*
 * Before sleeping. Returns true when there is something to do all the same. Who may not take anything is not to be
 * kicked either: the timer or a completion wakes it.
 */
static bool rest(struct blk_disk *d)
{
        bool more = may_take(d) && kicks_on(d);

        more = blk_engine_rest(&d->engine) || more;
        if (more)
                awake(d);
        return more;
}

void blk_disk_run(struct blk_disk *d)
{
        unsigned int left = TURN_MAX, taken, done;

        awake(d);
        do {
                taken = take_all(d, left);
                left -= taken;
                done = reap(d, false);
                notify(d);
        } while (left > 0 && (taken > 0 || done > 0 || spin(d) || rest(d)));
        /* Nobody else would come back for this. */
        if (left == 0 || blk_engine_stuck(&d->engine))
                timer_set(d, 0);
}

void blk_disk_timer(struct blk_disk *d)
{
        uint64_t count;

        (void)!read(d->timer_fd, &count, sizeof(count)); /* an alarm that was put off since is not there any more */
}

int blk_disk_queue_start(struct blk_disk *d, struct vu_queue *q)
{
        d->queues[q->index] = (struct blk_disk_queue){.queue = q, .ring = q};
        timer_set(d, 0); /* it may have requests without a kick */
        return 0;
}

/*
 * What is under way was taken by the kernel, which ends it in its own time: there is no bound that would not leave it
 * writing to guest RAM afterwards. A front end that gives up meanwhile is told so by the end of this process, no
 * earlier.
 */
void blk_disk_queue_stop(struct blk_disk *d, struct vu_queue *q)
{
        struct blk_disk_queue *mine = &d->queues[q->index];

        mine->queue = NULL;
        while (mine->under_way > 0)
                (void)reap(d, d->engine.under_way > 0);
        notify(d);
        mine->ring = NULL;
}

static void config_read(void *ctx, uint8_t *config)
{
        const struct blk_disk *d = ctx;

        blk_config_read(&d->image, d->ops.queues, config);
}

/* Without FLUSH, the driver takes each write for stable once it is done (5.2.6.2). */
static void features_set(void *ctx, uint64_t features)
{
        struct blk_disk *d = ctx;

        d->means.stable = !FEATURE(features, VIRTIO_BLK_F_FLUSH);
        d->rules.discard = FEATURE(features, VIRTIO_BLK_F_DISCARD);
        d->rules.write_zeroes = FEATURE(features, VIRTIO_BLK_F_WRITE_ZEROES);
}

static void rules_set(struct blk_disk *d)
{
        d->rules.capacity_bytes = d->image.capacity_bytes;
        d->rules.block_bytes = d->image.block_bytes;
}

int blk_disk_open(struct blk_disk *d, const struct disk_spec *spec, unsigned int queues, int fd, int timer_fd,
                  const int *held, unsigned int held_count, struct err *e)
{
        uint64_t now = now_ns();
        int r = blk_image_open(&d->image, fd, spec->direct, e);

        if (r == 0)
                r = blk_engine_open(&d->engine, (enum disk_engine)spec->engine, fd, d->image.block_device, held,
                                    held_count, e);
        if (r < 0)
                return r;
        d->means = (struct blk_means){.image = &d->image, .stable = true, .bounces = bounces};
        d->rules.read_only = spec->read_only;
        rules_set(d);
        d->ops = (struct vu_device_ops){
                .features = blk_config_features(spec),
                .queues = queues,
                .config_bytes = BLK_CONFIG_BYTES,
                .config_read = config_read,
                .features_set = features_set,
        };
        memcpy(d->id, spec->id, sizeof(d->id));
        d->timer_fd = timer_fd;
        /* A tenth of a second's worth at once. */
        token_bucket_init(&d->bytes, spec->bytes_per_s, spec->bytes_per_s / 10, now);
        token_bucket_init(&d->operations, spec->ops_per_s, spec->ops_per_s / 10, now);
        d->waiting_tail = &d->waiting;
        blk_spin_init(&d->spin);
        return 0;
}

int blk_disk_resize(struct blk_disk *d, uint64_t bytes, struct err *e)
{
        struct blk_image now = d->image;
        int r = blk_image_resize(&now, e);

        if (r < 0)
                return r;
        /* The size is the image's own; what was announced has to be there. */
        if (now.capacity_bytes < bytes - bytes % now.block_bytes)
                return err_set(e, -ERANGE, "resize: the image has %llu bytes", (unsigned long long)now.capacity_bytes);
        d->image = now;
        rules_set(d);
        return 0;
}

void blk_disk_close(struct blk_disk *d)
{
        blk_engine_close(&d->engine);
}
