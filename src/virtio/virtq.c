#include "virtio/virtq.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

static struct vring_avail *avail_of(const struct virtq *q)
{
        return q->avail;
}

static struct vring_used *used_of(const struct virtq *q)
{
        return q->used;
}

/*
 * The guest changes these at any time: each access is one load or store of the C11 memory model. Alignment was checked
 * by virtq_init().
 */
static uint16_t load16(const uint16_t *p)
{
        return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store16(uint16_t *p, uint16_t value)
{
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* Where the driver says when it wants to hear of used buffers, and the device when of available ones: behind the rings.
 */
static uint16_t used_event(const struct virtq *q)
{
        return load16(&avail_of(q)->ring[q->layout.size]);
}

static void avail_event_set(const struct virtq *q, uint16_t index)
{
        store16((uint16_t *)&used_of(q)->ring[q->layout.size], index);
}

int virtq_init(struct virtq *q, const struct guest_ram *ram, const struct virtq_layout *layout, uint16_t next_avail,
               bool event_idx, bool indirect, struct err *e)
{
        struct virtq new = {
                .ram = ram, .layout = *layout, .next_avail = next_avail, .event_idx = event_idx, .indirect = indirect};
        uint64_t size = layout->size;

        if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
                return err_set(e, -EINVAL, "a queue of %u entries", layout->size);
        if (layout->descriptors % 16 || layout->driver % 2 || layout->device % 4)
                return err_set(e, -EINVAL, "a queue at %#llx, %#llx, %#llx", (unsigned long long)layout->descriptors,
                               (unsigned long long)layout->driver, (unsigned long long)layout->device);
        /* 2.7: both rings end with the other side's event index, negotiated or not. */
        new.table = guest_ram_at(ram, layout->descriptors, size * sizeof(struct vring_desc));
        new.avail = guest_ram_at(ram, layout->driver, sizeof(struct vring_avail) + (size + 1) * sizeof(uint16_t));
        new.used = guest_ram_at(ram, layout->device,
                                sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + sizeof(uint16_t));
        if (!new.table || !new.avail || !new.used)
                return err_set(e, -EFAULT, "a queue at %#llx, %#llx, %#llx", (unsigned long long)layout->descriptors,
                               (unsigned long long)layout->driver, (unsigned long long)layout->device);
        new.next_used = new.signalled = load16(&used_of(&new)->idx);
        *q = new;
        return 0;
}

/* Copies the descriptor once: behind the barrier the compiler knows nothing of where the copy came from. */
static struct vring_desc descriptor_copy(const void *table, uint32_t index)
{
        struct vring_desc d;

        memcpy(&d, (const uint8_t *)table + index * sizeof(d), sizeof(d));
        __asm__ volatile("" : "+m"(d));
        return d;
}

static int segments_add(const struct virtq *q, struct virtq_chain *c, const struct vring_desc *d)
{
        bool in = d->flags & VRING_DESC_F_WRITE;
        uint64_t left = d->len, bytes;

        if (!in && c->in_count > 0)
                return -EPROTO;
        for (gpa_t gpa = d->addr; left > 0; gpa += bytes, left -= bytes) {
                unsigned int count = c->out_count + c->in_count;
                void *p = guest_ram_part(q->ram, gpa, left, &bytes);

                if (!p || count == VIRTQ_IOV_MAX)
                        return -EPROTO;
                c->iov[count] = (struct iovec){p, bytes};
                c->out_count += !in;
                c->in_count += in;
        }
        *(in ? &c->in_bytes : &c->out_bytes) += d->len;
        return c->out_bytes + c->in_bytes > UINT32_MAX ? -EPROTO : 0;
}

/* 2.7.5.3: at the end of a chain, the rest of it in a table of its own. Its flag WRITE means nothing. */
static const void *indirect_table(const struct virtq *q, const struct vring_desc *d, uint32_t *ret_count)
{
        if (!q->indirect || (d->flags & VRING_DESC_F_NEXT) || d->len % sizeof(*d) ||
            d->len / sizeof(*d) > VIRTQ_IOV_MAX)
                return NULL;
        *ret_count = d->len / sizeof(*d);
        return guest_ram_at(q->ram, d->addr, d->len);
}

/* A chain visits each entry of a table at most once: more steps than entries are a loop. */
static int chain_walk(const struct virtq *q, uint16_t head, struct virtq_chain *c)
{
        const void *table = q->table;
        uint32_t count = q->layout.size, index = head, steps = 0;
        bool indirect = false; /* not to be told by where the table is: it may be the queue's own */

        for (;;) {
                struct vring_desc d;

                if (index >= count || steps++ == count)
                        return -EPROTO;
                d = descriptor_copy(table, index);
                if (d.flags & VRING_DESC_F_INDIRECT) {
                        if (indirect)
                                return -EPROTO;
                        indirect = true;
                        table = indirect_table(q, &d, &count);
                        if (!table)
                                return -EPROTO;
                        index = steps = 0;
                        continue;
                }
                if (segments_add(q, c, &d) < 0)
                        return -EPROTO;
                if (!(d.flags & VRING_DESC_F_NEXT))
                        return 0;
                index = d.next;
        }
}

int virtq_reread(struct virtq *q, uint16_t head, struct virtq_chain *ret)
{
        if (q->broken)
                return -EPROTO;
        ret->head = head;
        ret->out_count = ret->in_count = 0;
        ret->out_bytes = ret->in_bytes = 0;
        if (chain_walk(q, head, ret) < 0) {
                q->broken = true;
                return -EPROTO;
        }
        return 1;
}

int virtq_pop(struct virtq *q, struct virtq_chain *ret)
{
        uint16_t waiting, head;
        int r;

        if (q->broken)
                return -EPROTO;
        /* Pairs with the driver's barrier between filling an entry and publishing it. */
        waiting = __atomic_load_n(&avail_of(q)->idx, __ATOMIC_ACQUIRE) - q->next_avail;
        if (waiting == 0)
                return 0;
        if (waiting > q->layout.size) {
                q->broken = true;
                return -EPROTO;
        }
        head = load16(&avail_of(q)->ring[q->next_avail & (q->layout.size - 1)]);
        r = virtq_reread(q, head, ret);
        if (r > 0)
                q->next_avail++;
        return r;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written_bytes)
{
        struct vring_used_elem *elem = &used_of(q)->ring[q->next_used & (q->layout.size - 1)];

        *elem = (struct vring_used_elem){.id = head, .len = written_bytes};
        q->next_used++;
        /* Data and element are there before the index says so. */
        __atomic_store_n(&used_of(q)->idx, q->next_used, __ATOMIC_RELEASE);
}

bool virtq_should_notify(struct virtq *q)
{
        uint16_t old = q->signalled;
        bool asked = q->asked;

        if (asked && old == q->next_used)
                return false;
        q->signalled = q->next_used;
        q->asked = true;
        /* The used index is visible before the driver's wish is read: it writes its wish, then looks at the index. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!q->event_idx)
                return !(load16(&avail_of(q)->flags) & VRING_AVAIL_F_NO_INTERRUPT);
        return !asked || vring_need_event(used_event(q), q->next_used, old);
}

bool virtq_waiting(const struct virtq *q)
{
        return !q->broken && load16(&avail_of(q)->idx) != q->next_avail;
}

/* An event index cannot say "never": the chain before the next one is what the driver passes again after all others. */
void virtq_kicks_off(struct virtq *q)
{
        if (q->event_idx)
                avail_event_set(q, (uint16_t)(q->next_avail - 1));
        else
                store16(&used_of(q)->flags, VRING_USED_F_NO_NOTIFY);
}

bool virtq_kicks_on(struct virtq *q)
{
        if (q->event_idx)
                avail_event_set(q, q->next_avail);
        else
                store16(&used_of(q)->flags, 0);
        /* The wish is visible before the index is read: the driver publishes the index, then looks at the wish. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return virtq_waiting(q);
}

uint64_t virtq_read(const struct virtq_chain *c, uint64_t off, void *buf, uint64_t len_bytes)
{
        uint64_t done = 0;

        for (unsigned int i = 0; i < c->out_count && done < len_bytes; i++) {
                const struct iovec *v = &c->iov[i];
                uint64_t n;

                if (off >= v->iov_len) {
                        off -= v->iov_len;
                        continue;
                }
                n = v->iov_len - off < len_bytes - done ? v->iov_len - off : len_bytes - done;
                memcpy((uint8_t *)buf + done, (const uint8_t *)v->iov_base + off, n);
                done += n;
                off = 0;
        }
        return done;
}

uint64_t virtq_write(const struct virtq_chain *c, uint64_t off, const void *buf, uint64_t len_bytes)
{
        uint64_t done = 0;

        for (unsigned int i = 0; i < c->in_count && done < len_bytes; i++) {
                const struct iovec *v = &c->iov[c->out_count + i];
                uint64_t n;

                if (off >= v->iov_len) {
                        off -= v->iov_len;
                        continue;
                }
                n = v->iov_len - off < len_bytes - done ? v->iov_len - off : len_bytes - done;
                memcpy((uint8_t *)v->iov_base + off, (const uint8_t *)buf + done, n);
                done += n;
                off = 0;
        }
        return done;
}
