/* The in-flight region of a queue, store by store. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vhost_user/backend.h"
#include "vhost_user/inflight.h"

#define PART_SIZE 8

static union {
        struct vu_inflight_part part;
        uint8_t bytes[1024];
} region;

static void region_begin(struct vu_inflight_queue *q, uint16_t used_index)
{
        assert_int_equal(vu_inflight_begin(q, &region, 0, PART_SIZE, PART_SIZE, used_index), 0);
}

static void region_layout(void **state)
{
        assert_int_equal(offsetof(struct vu_inflight_part, version), 8);
        assert_int_equal(offsetof(struct vu_inflight_part, desc_num), 10);
        assert_int_equal(offsetof(struct vu_inflight_part, last_batch_head), 12);
        assert_int_equal(offsetof(struct vu_inflight_part, used_idx), 14);
        assert_int_equal(offsetof(struct vu_inflight_part, desc), 16);
        assert_int_equal(offsetof(struct vu_inflight_desc, next), 6);
        assert_int_equal(offsetof(struct vu_inflight_desc, counter), 8);
        assert_int_equal(vu_inflight_offset(1, 8), 192); /* 16 + 128, in steps of 64 */
        assert_int_equal(vu_inflight_bytes(2, 128), 2 * 2112);
        assert_int_equal(vu_inflight_bytes(VU_QUEUES_MAX, VIRTQ_SIZE_MAX), 16ULL * 16448);
}

static void a_fresh_region(void **state)
{
        struct vu_inflight_queue q;
        uint16_t head;

        memset(&region, 0, sizeof(region));
        region_begin(&q, 77);
        assert_int_equal(region.part.version, 1);
        assert_int_equal(region.part.desc_num, PART_SIZE);
        assert_int_equal(region.part.used_idx, 77);
        assert_false(vu_inflight_next(&q, &head));
}

static void what_is_left_comes_in_the_order_it_was_taken(void **state)
{
        static const uint16_t taken[] = {5, 2, 7, 0, 3};
        struct vu_inflight_queue q;
        uint16_t head;

        memset(&region, 0, sizeof(region));
        region_begin(&q, 0);
        for (size_t i = 0; i < ARRAY_LEN(taken); i++)
                vu_inflight_take(&q, taken[i]);
        vu_inflight_give(&q, 7);
        vu_inflight_given(&q, 7, 1);
        for (unsigned int life = 0; life < 3; life++) {
                region_begin(&q, 1);
                assert_int_equal(q.left_count, 4);
                for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
                        if (taken[i] == 7)
                                continue;
                        assert_true(vu_inflight_next(&q, &head));
                        assert_int_equal(head, taken[i]);
                }
                assert_false(vu_inflight_next(&q, &head));
        }
        vu_inflight_take(&q, 7);
        region_begin(&q, 1);
        assert_int_equal(q.left[q.left_count - 1], 7);
}

/* Death between any two of the steps that give a request back: it is left before the used index moved, and not after.
 */
static void death_while_giving_back(void **state)
{
        for (unsigned int step = 0; step < 4; step++) {
                struct vu_inflight_queue q;
                uint16_t used = 9;

                memset(&region, 0, sizeof(region));
                region_begin(&q, used);
                vu_inflight_take(&q, 4);
                vu_inflight_take(&q, 6);
                if (step >= 1)
                        vu_inflight_give(&q, 4);
                if (step >= 2)
                        used++;
                if (step >= 3)
                        vu_inflight_given(&q, 4, used);
                region_begin(&q, used);
                assert_int_equal(q.left_count, step < 2 ? 2 : 1);
                assert_int_equal(q.left[q.left_count - 1], 6);
                assert_int_equal(region.part.used_idx, used);
        }
}

/* Another back end's: a batch of several, that was given back and not struck out. */
static void a_batch_of_a_predecessor(void **state)
{
        struct vu_inflight_queue q;

        memset(&region, 0, sizeof(region));
        region_begin(&q, 65534);
        for (uint16_t head = 0; head < 5; head++)
                vu_inflight_take(&q, head);
        vu_inflight_give(&q, 1);
        vu_inflight_give(&q, 3);
        vu_inflight_give(&q, 4);
        region_begin(&q, 1); /* 65534 + 3 */
        assert_int_equal(q.left_count, 2);
        assert_true(q.left[0] == 0 && q.left[1] == 2);
}

/* Any bytes: nothing outside of the part is read or written, and it ends. */
static void a_region_of_any_bytes(void **state)
{
        struct vu_inflight_queue q;
        uint16_t head;

        for (unsigned int i = 0; i < 3; i++) {
                memset(&region, 0xff, sizeof(region));
                region.part.features = i == 0;
                region.part.version = i == 1 ? 2 : 1;
                if (i < 2) {
                        assert_int_equal(vu_inflight_begin(&q, &region, 0, PART_SIZE, PART_SIZE, 0), -EINVAL);
                        continue;
                }
                region_begin(&q, 0);
                assert_int_equal(q.left_count, 0); /* 0xff is not 1 */
        }
        assert_int_equal(vu_inflight_begin(&q, &region, 0, PART_SIZE, PART_SIZE + 1, 0), -EINVAL);
        for (uint16_t i = 0; i < PART_SIZE; i++)
                region.part.desc[i] = (struct vu_inflight_desc){.inflight = 1, .next = i}; /* a loop, equal counters */
        region.part.last_batch_head = 3;
        region.part.used_idx = 60000;
        region_begin(&q, 0);
        assert_int_equal(q.left_count, PART_SIZE - 1);
        while (vu_inflight_next(&q, &head))
                assert_true(head < PART_SIZE && head != 3);
        memset(region.bytes + 192, 0x5a, sizeof(region) - 192);
        vu_inflight_take(&q, PART_SIZE);
        vu_inflight_give(&q, PART_SIZE);
        vu_inflight_given(&q, UINT16_MAX, 3);
        for (size_t i = 192; i < sizeof(region); i++)
                assert_int_equal(region.bytes[i], 0x5a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(region_layout),
                cmocka_unit_test(a_fresh_region),
                cmocka_unit_test(what_is_left_comes_in_the_order_it_was_taken),
                cmocka_unit_test(death_while_giving_back),
                cmocka_unit_test(a_batch_of_a_predecessor),
                cmocka_unit_test(a_region_of_any_bytes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
