/* The back end's queues: what each ring is made of, when it runs, and what a device does with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "vhost_user/backend_parts.h"

int vu_event_accept(int fd, struct err *e)
{
        struct stat st;
        int flags;

        if (fstat(fd, &st) < 0)
                return err_set(e, -errno, "look at an event descriptor");
        if (st.st_mode & S_IFMT)
                return err_set(e, -EINVAL, "an event descriptor that is a file of type %#o", st.st_mode & S_IFMT);
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return err_set(e, -errno, "make an event descriptor non-blocking");
        return 0;
}

/* A counter that is full, or that is none, tells nobody; whoever waits for it made it so. */
static void event_signal(int fd)
{
        static const uint64_t one = 1;
        ssize_t n;

        if (fd < 0)
                return;
        do
                n = write(fd, &one, sizeof(one));
        while (n < 0 && errno == EINTR);
}

static bool feature(const struct vu_backend *b, unsigned int bit)
{
        return b->features >> bit & 1;
}

static bool queue_wanted(const struct vu_queue *q)
{
        return q->live && q->enabled;
}

static int queue_layout(const struct vu_backend *b, const struct vu_queue *q, struct virtq_layout *ret, struct err *e)
{
        uint64_t size = q->size;

        ret->size = q->size;
        if (guest_ram_from_peer(&b->ram, q->addr.descriptors, size * sizeof(struct vring_desc), &ret->descriptors) <
                    0 ||
            guest_ram_from_peer(&b->ram, q->addr.avail, sizeof(struct vring_avail) + size * sizeof(uint16_t),
                                &ret->driver) < 0 ||
            guest_ram_from_peer(&b->ram, q->addr.used,
                                sizeof(struct vring_used) + size * sizeof(struct vring_used_elem), &ret->device) < 0)
                return err_set(e, -EFAULT, "the rings of queue %u", q->index);
        return 0;
}

/* With an in-flight region, what was taken is what was given back and what is in flight. */
static int queue_track(struct vu_backend *b, struct vu_queue *q, struct err *e)
{
        struct vu_inflight_queue *iq = &b->inflight[q->index];
        int r;

        q->inflight = NULL;
        if (!b->inflight_map || q->index >= b->inflight_queues)
                return 0;
        r = vu_inflight_begin(iq, b->inflight_map, q->index, b->inflight_size, q->size, q->ring.next_used);
        if (r < 0)
                return err_set(e, r, "the in-flight region of queue %u", q->index);
        q->ring.next_avail = (uint16_t)(q->ring.next_used + iq->left_count);
        q->inflight = iq;
        return 0;
}

static int queue_start(struct vu_backend *b, struct vu_queue *q, bool must, struct err *e)
{
        struct virtq_layout layout;
        int r;

        r = queue_layout(b, q, &layout, must ? e : NULL);
        if (r < 0)
                return must ? r : 0;
        r = virtq_init(&q->ring, &b->ram, &layout, q->base, feature(b, VIRTIO_RING_F_EVENT_IDX),
                       feature(b, VIRTIO_RING_F_INDIRECT_DESC), must ? e : NULL);
        if (r < 0)
                return must || r != -EFAULT ? r : 0;
        r = queue_track(b, q, e);
        if (r < 0)
                return r;
        r = b->ops->queue_start(b->ctx, q, e);
        if (r < 0)
                return r;
        q->started = true;
        event_signal(q->call_fd); /* a predecessor may have died before it could tell of what it had given back */
        return 0;
}

static void queue_stop(struct vu_backend *b, struct vu_queue *q)
{
        if (!q->started)
                return;
        b->ops->queue_stop(b->ctx, q);
        q->started = false;
        q->base = q->ring.next_avail;
        q->inflight = NULL;
        q->ring = (struct virtq){.broken = true}; /* nothing is taken from it */
}

int vu_queue_apply(struct vu_backend *b, struct vu_queue *q, bool must, struct err *e)
{
        if (!queue_wanted(q)) {
                queue_stop(b, q);
                return 0;
        }
        return q->started ? 0 : queue_start(b, q, must, e);
}

void vu_queues_pause(struct vu_backend *b)
{
        for (unsigned int i = 0; i < b->ops->queues; i++)
                queue_stop(b, &b->queues[i]);
}

int vu_queues_resume(struct vu_backend *b, struct err *e)
{
        int first = 0;

        for (unsigned int i = 0; i < b->ops->queues; i++) {
                int r = vu_queue_apply(b, &b->queues[i], false, first ? NULL : e);

                if (r < 0 && !first)
                        first = r;
        }
        return first;
}

bool vu_queues_live(const struct vu_backend *b)
{
        for (unsigned int i = 0; i < b->ops->queues; i++)
                if (b->queues[i].live)
                        return true;
        return false;
}

/* What it signals stays: front ends say it once for a connection. */
void vu_queue_reset(struct vu_backend *b, struct vu_queue *q)
{
        queue_stop(b, q);
        fd_closep(&q->kick_fd);
        *q = (struct vu_queue){.index = q->index,
                               .backend = b,
                               .ring = {.broken = true},
                               .kick_fd = -1,
                               .call_fd = q->call_fd,
                               .err_fd = q->err_fd};
}

static struct vu_queue *queue_at(struct vu_backend *b, uint64_t index, struct err *e)
{
        if (index < b->ops->queues)
                return &b->queues[index];
        err_set(e, -EINVAL, "queue %llu of %u", (unsigned long long)index, b->ops->queues);
        return NULL;
}

/* What a ring is made of is settled while it runs. */
static struct vu_queue *queue_at_rest(struct vu_backend *b, uint64_t index, struct err *e)
{
        struct vu_queue *q = queue_at(b, index, e);

        if (!q || !q->live)
                return q;
        err_set(e, -EBUSY, "queue %u runs", q->index);
        return NULL;
}

int vu_on_vring_num(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        uint32_t size = m->body.state.num;
        struct vu_queue *q = queue_at_rest(b, m->body.state.index, e);

        if (!q)
                return -EINVAL;
        if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
                return err_set(e, -EINVAL, "queue %u of %u entries", q->index, size);
        q->size = (uint16_t)size;
        return 0;
}

/* The log's address means nothing: logging is not offered. */
int vu_on_vring_addr(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        const struct vu_payload_vring_addr *a = &m->body.addr;
        struct vu_queue *q = queue_at_rest(b, a->index, e);

        if (!q)
                return -EINVAL;
        if (a->flags != 0 || a->descriptors % 16 || a->avail % 2 || a->used % 4)
                return err_set(e, -EINVAL, "the addresses of queue %u", q->index);
        q->addr = *a;
        q->addr_set = true;
        return 0;
}

int vu_on_vring_set_base(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at_rest(b, m->body.state.index, e);

        if (!q)
                return -EINVAL;
        q->base = (uint16_t)m->body.state.num;
        return 0;
}

/* Stops the queue. */
int vu_on_vring_get_base(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at(b, m->body.state.index, e);

        if (!q)
                return -EINVAL;
        q->live = false;
        queue_stop(b, q);
        fd_closep(&q->kick_fd);
        m->body.state.num = q->base;
        return 0;
}

/* Puts a message's descriptor, or none, in the place of *fd. */
static void event_replace(int *fd, struct vu_message *m)
{
        fd_closep(fd);
        if (m->fd_count == 1)
                *fd = TAKE_FD(m->fds[0]);
}

/* Starts the queue (when it is enabled). Another descriptor for one that runs: it starts anew. */
int vu_on_vring_kick(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at(b, m->body.u64 & VU_VRING_INDEX_MASK, e);
        int r;

        if (!q)
                return -EINVAL;
        if (m->fd_count == 0)
                return err_set(e, -ENOTSUP, "poll queue %u", q->index);
        if (q->size == 0 || !q->addr_set)
                return err_set(e, -EINVAL, "start queue %u, which has no size or no address", q->index);
        r = vu_event_accept(m->fds[0], e);
        if (r < 0)
                return r;
        queue_stop(b, q);
        event_replace(&q->kick_fd, m);
        q->live = true;
        r = vu_queue_apply(b, q, true, e);
        if (r < 0) {
                q->live = false;
                fd_closep(&q->kick_fd);
        }
        return r;
}

int vu_on_vring_call(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at(b, m->body.u64 & VU_VRING_INDEX_MASK, e);
        int r = q ? 0 : -EINVAL;

        if (r == 0 && m->fd_count == 1)
                r = vu_event_accept(m->fds[0], e);
        if (r < 0)
                return r;
        event_replace(&q->call_fd, m);
        if (q->started)
                event_signal(q->call_fd); /* what came while there was another, or none */
        return 0;
}

int vu_on_vring_err(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at(b, m->body.u64 & VU_VRING_INDEX_MASK, e);
        int r = q ? 0 : -EINVAL;

        if (r == 0 && m->fd_count == 1)
                r = vu_event_accept(m->fds[0], e);
        if (r < 0)
                return r;
        event_replace(&q->err_fd, m);
        return 0;
}

/* QEMU 7.2 agrees on protocol features, leaves their bit out of SET_FEATURES for some devices, and sends this all the
 * same. */
int vu_on_vring_enable(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_queue *q = queue_at(b, m->body.state.index, e);
        bool before;
        int r;

        if (!q)
                return -EINVAL;
        if (!(b->features & VU_F_PROTOCOL_FEATURES) && b->protocol_features == 0)
                return err_set(e, -EPROTO, "enable queue %u before protocol features are agreed on", q->index);
        before = q->enabled;
        q->enabled = m->body.state.num == 1;
        r = vu_queue_apply(b, q, true, e);
        if (r < 0)
                q->enabled = before;
        return r;
}

/* A queue that a guest has broken: the front end learns it by err_fd, or asks for the status when it hears of a change.
 */
static void queue_broken(struct vu_queue *q)
{
        if (q->err_fd >= 0)
                event_signal(q->err_fd);
        else
                (void)vu_backend_config_changed(q->backend); /* one that cannot be told sees the queue stand still */
}

/* What a predecessor left keeps its counter: should this process die too, the order is still that of the guest. */
int vu_queue_pop(struct vu_queue *q, struct virtq_chain *ret)
{
        bool before = q->ring.broken;
        uint16_t head;
        int r;

        if (q->inflight && !before && vu_inflight_next(q->inflight, &head)) {
                r = virtq_reread(&q->ring, head, ret);
        } else {
                r = virtq_pop(&q->ring, ret);
                if (r == 1 && q->inflight)
                        vu_inflight_take(q->inflight, ret->head);
        }
        if (q->ring.broken && !before)
                queue_broken(q);
        return r;
}

void vu_queue_push(struct vu_queue *q, uint16_t head, uint32_t written_bytes)
{
        if (q->inflight)
                vu_inflight_give(q->inflight, head);
        virtq_push(&q->ring, head, written_bytes);
        if (q->inflight)
                vu_inflight_given(q->inflight, head, q->ring.next_used);
}

void vu_queue_notify(struct vu_queue *q)
{
        if (virtq_should_notify(&q->ring))
                event_signal(q->call_fd);
}
