#include "vhost_user/inflight.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(struct vu_inflight_desc) == 16 && sizeof(struct vu_inflight_part) == 16, "the specification's");

/*
 * What counts is the order in which a successor sees these stores when this process dies between two of them. It is
 * that of the program: x86 does not reorder stores, a release keeps the compiler from it.
 */
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define LOAD(field)         __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

uint64_t vu_inflight_offset(unsigned int queue, unsigned int queue_size)
{
        uint64_t part = sizeof(struct vu_inflight_part) + (uint64_t)queue_size * sizeof(struct vu_inflight_desc);

        return queue * ((part + VU_INFLIGHT_ALIGN - 1) / VU_INFLIGHT_ALIGN * VU_INFLIGHT_ALIGN);
}

uint64_t vu_inflight_bytes(unsigned int queues, unsigned int queue_size)
{
        return vu_inflight_offset(queues, queue_size);
}

/* The predecessor moved the used ring's index and died before it could strike out what it had given back. */
static void finish_batch(struct vu_inflight_queue *q, uint16_t used_index)
{
        uint16_t batch = (uint16_t)(used_index - LOAD(q->part->used_idx));
        uint16_t head = LOAD(q->part->last_batch_head);

        for (unsigned int i = 0; i < batch && i < q->size && head < q->size; i++) {
                STORE(q->part->desc[head].inflight, 0);
                head = LOAD(q->part->desc[head].next);
        }
        STORE(q->part->used_idx, used_index);
}

struct left {
        uint64_t counter;
        uint16_t head;
};

static int left_order(const void *pa, const void *pb)
{
        const struct left *a = pa, *b = pb;

        if (a->counter != b->counter)
                return a->counter < b->counter ? -1 : 1;
        return (int)a->head - (int)b->head;
}

static void list_left(struct vu_inflight_queue *q, uint16_t ring_size)
{
        struct left left[VIRTQ_SIZE_MAX];

        for (uint16_t i = 0; i < ring_size; i++) {
                if (LOAD(q->part->desc[i].inflight) != 1)
                        continue;
                left[q->left_count++] = (struct left){LOAD(q->part->desc[i].counter), i};
        }
        qsort(left, q->left_count, sizeof(left[0]), left_order);
        for (uint16_t i = 0; i < q->left_count; i++)
                q->left[i] = left[i].head;
        if (q->left_count > 0)
                q->counter = left[q->left_count - 1].counter + 1;
}

int vu_inflight_begin(struct vu_inflight_queue *q, void *region, unsigned int queue, uint16_t queue_size,
                      uint16_t ring_size, uint16_t used_index)
{
        struct vu_inflight_part *part = (void *)((uint8_t *)region + vu_inflight_offset(queue, queue_size));
        uint16_t version = LOAD(part->version);

        if (queue_size > VIRTQ_SIZE_MAX || ring_size > queue_size || version > VU_INFLIGHT_VERSION ||
            LOAD(part->features) != 0)
                return -EINVAL;
        q->part = part;
        q->size = queue_size;
        q->counter = 0;
        q->left_count = 0;
        q->left_next = 0;
        if (version == 0) {
                STORE(part->desc_num, queue_size);
                STORE(part->used_idx, used_index);
                STORE(part->version, VU_INFLIGHT_VERSION);
        }
        finish_batch(q, used_index);
        list_left(q, ring_size);
        return 0;
}

bool vu_inflight_next(struct vu_inflight_queue *q, uint16_t *ret)
{
        if (q->left_next == q->left_count)
                return false;
        *ret = q->left[q->left_next++];
        return true;
}

void vu_inflight_take(struct vu_inflight_queue *q, uint16_t head)
{
        if (head >= q->size)
                return;
        STORE(q->part->desc[head].counter, q->counter++);
        STORE(q->part->desc[head].inflight, 1);
}

void vu_inflight_give(struct vu_inflight_queue *q, uint16_t head)
{
        if (head >= q->size)
                return;
        STORE(q->part->desc[head].next, LOAD(q->part->last_batch_head));
        STORE(q->part->last_batch_head, head);
}

void vu_inflight_given(struct vu_inflight_queue *q, uint16_t head, uint16_t used_index)
{
        if (head >= q->size)
                return;
        STORE(q->part->desc[head].inflight, 0);
        STORE(q->part->used_idx, used_index);
}
