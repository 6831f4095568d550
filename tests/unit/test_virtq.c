/* Virtqueues: chains, of drivers that are well-behaved and of hostile ones. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "virtq_driver.h"

static void assert_segment(const struct driver *d, unsigned int i, gpa_t gpa, uint64_t len)
{
        assert_ptr_equal(d->chain.iov[i].iov_base, guest_ram_at(&d->ram, gpa, len));
        assert_int_equal(d->chain.iov[i].iov_len, len);
}

static void assert_counts(const struct driver *d, unsigned int out, unsigned int in, uint64_t out_bytes,
                          uint64_t in_bytes)
{
        assert_int_equal(d->chain.out_count, out);
        assert_int_equal(d->chain.in_count, in);
        assert_int_equal(d->chain.out_bytes, out_bytes);
        assert_int_equal(d->chain.in_bytes, in_bytes);
}

static void layouts(void **state)
{
        static const struct {
                struct virtq_layout l;
                int r;
        } cases[] = {
                {{1, TABLE, AVAIL, USED}, 0},
                {{1024, TABLE, AVAIL, USED}, 0},
                {{0, TABLE, AVAIL, USED}, -EINVAL},
                {{3, TABLE, AVAIL, USED}, -EINVAL},
                {{2048, TABLE, AVAIL, USED}, -EINVAL},
                {{8, TABLE + 8, AVAIL, USED}, -EINVAL},
                {{8, TABLE, AVAIL + 1, USED}, -EINVAL},
                {{8, TABLE, AVAIL, USED + 2}, -EINVAL},
                {{8, 2 * REGION - 128, AVAIL, USED}, 0}, /* each ring up to the last byte, and past it */
                {{8, 2 * REGION - 112, AVAIL, USED}, -EFAULT},
                {{8, TABLE, 2 * REGION - 22, USED}, 0},
                {{8, TABLE, 2 * REGION - 20, USED}, -EFAULT},
                {{8, TABLE, AVAIL, 2 * REGION - 72}, 0},
                {{8, TABLE, AVAIL, 2 * REGION - 68}, -EFAULT},
                {{8, REGION - 16, AVAIL, USED}, -EFAULT}, /* each inside one region */
                {{8, TABLE, REGION - 2, USED}, -EFAULT},
                {{8, TABLE, AVAIL, REGION - 4}, -EFAULT},
                {{8, UINT64_MAX - 15, AVAIL, USED}, -EFAULT},
                {{8, TABLE, UINT64_MAX - 1, USED}, -EFAULT},
                {{8, TABLE, AVAIL, UINT64_MAX - 3}, -EFAULT},
        };
        struct driver *d = *state;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct virtq q = {.next_avail = 77};

                assert_int_equal(virtq_init(&q, &d->ram, &cases[i].l, 5, true, true, NULL), cases[i].r);
                assert_int_equal(q.next_avail, cases[i].r ? 77 : 5); /* untouched on failure */
        }
}

static void chains_arrive(void **state)
{
        struct driver *d = *state;

        good_chain(d);
        desc(d->table, 7, BUFFER + 5, 3, 0, 99); /* without NEXT, next means nothing */
        assert_int_equal(virtq_pop(&d->q, &d->chain), 0);
        offer(d, 0);
        offer(d, 7);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_int_equal(d->chain.head, 0);
        assert_counts(d, 1, 2, 16, 513);
        assert_segment(d, 0, BUFFER, 16);
        assert_segment(d, 1, BUFFER + 0x1000, 512);
        assert_segment(d, 2, BUFFER + 0x2000, 1);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_int_equal(d->chain.head, 7);
        assert_counts(d, 1, 0, 3, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 0);
}

/* Indices run on beyond the queue's size and beyond 16 bits, on both rings. */
static void indices_wrap(void **state)
{
        struct driver *d = *state;

        good_chain(d);
        d->used->idx = 0xfffd;
        queue_set(d, 8, 0xfffd, false, true);
        for (uint16_t i = 0; i < 20; i++) {
                offer(d, 0);
                assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
                assert_int_equal(virtq_pop(&d->q, &d->chain), 0);
                virtq_push(&d->q, d->chain.head, 513u + i);
                assert_int_equal(d->used->idx, (uint16_t)(0xfffd + i + 1));
                assert_int_equal(d->used->ring[(uint16_t)(0xfffd + i) & 7].id, 0);
                assert_int_equal(d->used->ring[(uint16_t)(0xfffd + i) & 7].len, 513 + i);
        }
}

static void indirect_tables(void **state)
{
        struct driver *d = *state;

        /* Behind a direct descriptor; the flag IN of the table itself means nothing. */
        desc(d->table, 3, BUFFER, 16, NEXT, 4);
        desc(d->table, 4, INDIRECT, 3 * 16, INDI | IN, 0);
        desc(d->indirect, 0, BUFFER + 0x100, 32, NEXT, 2);
        desc(d->indirect, 2, BUFFER + 0x200, 64, NEXT | IN, 1);
        desc(d->indirect, 1, BUFFER + 0x300, 1, IN, 0);
        offer(d, 3);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_int_equal(d->chain.head, 3);
        assert_counts(d, 2, 2, 48, 65);
        assert_segment(d, 1, BUFFER + 0x100, 32);
        assert_segment(d, 2, BUFFER + 0x200, 64);
        assert_segment(d, 3, BUFFER + 0x300, 1);

        /* No alignment is asked of a table. */
        memmove((uint8_t *)d->indirect + 1, d->indirect, 3 * sizeof(struct vring_desc));
        desc(d->table, 3, INDIRECT + 1, 3 * 16, INDI, 0);
        offer(d, 3);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 1, 2, 32, 65);
}

static void buffers_may_cross_regions(void **state)
{
        struct driver *d = *state;

        desc(d->table, 0, REGION - 4, 4, NEXT, 1);
        desc(d->table, 1, REGION - 3, 10, NEXT | IN, 2);
        desc(d->table, 2, REGION, 4, IN, 0);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 1, 3, 4, 14);
        assert_segment(d, 1, REGION - 3, 3);
        assert_segment(d, 2, REGION, 7);
        assert_segment(d, 3, REGION, 4);
}

static void empty_buffers_are_no_segments(void **state)
{
        struct driver *d = *state;

        desc(d->table, 0, UINT64_MAX, 0, NEXT, 1);
        desc(d->table, 1, BUFFER, 8, NEXT, 2);
        desc(d->table, 2, 0, 0, IN, 0);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 1, 0, 8, 0);
        offer(d, 2);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 0, 0, 0, 0);
}

/* The largest chains that are allowed, and how each breaks with one more. */
static void longest_chains(struct driver *d, unsigned int direct, unsigned int entries, int expected)
{
        queue_set(d, 1024, 0, false, true);
        for (unsigned int i = 0; i < direct; i++)
                desc(d->table, (uint16_t)i, BUFFER, 1, NEXT, (uint16_t)(i + 1));
        desc(d->table, (uint16_t)direct, INDIRECT, entries * 16, INDI, 0);
        for (unsigned int i = 0; i < entries; i++)
                desc(d->indirect, (uint16_t)i, BUFFER, 1, i + 1 < entries ? NEXT : 0, (uint16_t)(i + 1));
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), expected);
        if (expected > 0)
                assert_counts(d, direct + entries, 0, direct + entries, 0);
}

static void longest(void **state)
{
        struct driver *d = *state;

        longest_chains(d, 0, VIRTQ_IOV_MAX, 1);
        longest_chains(d, 0, VIRTQ_IOV_MAX + 1, -EPROTO);
        longest_chains(d, 1023, 3, 1);
        longest_chains(d, 1023, 4, -EPROTO);

        queue_set(d, 1024, 0, false, false);
        for (uint16_t i = 0; i < 1024; i++)
                desc(d->table, i, BUFFER, 1, i < 1023 ? NEXT : 0, i + 1);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 1024, 0, 1024, 0);
        d->table[1023].flags = NEXT; /* back to the start: each entry once is the limit */
        d->table[1023].next = 0;
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), -EPROTO);
}

static void pieces_count_as_segments(void **state)
{
        struct driver *d = *state;

        for (unsigned int i = 0; i < VIRTQ_IOV_MAX; i++)
                desc(d->indirect, (uint16_t)i, REGION - 1, i == 0 ? 2 : 1, i + 1 < VIRTQ_IOV_MAX ? NEXT : 0,
                     (uint16_t)(i + 1));
        desc(d->table, 0, INDIRECT, VIRTQ_IOV_MAX * 16, INDI, 0);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), -EPROTO);
}

static void bytes_of_a_chain(void **state)
{
        struct driver *d = *state;
        unsigned int count = (unsigned int)((1ULL << 32) / BIG_BYTES);

        for (unsigned int i = 0; i < count; i++)
                desc(d->indirect, (uint16_t)i, BIG, BIG_BYTES, i + 1 < count ? NEXT | IN : IN, (uint16_t)(i + 1));
        d->indirect[0].flags = NEXT;
        d->indirect[7].len--;
        desc(d->table, 0, INDIRECT, count * 16, INDI, 0);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        assert_counts(d, 1, count - 1, BIG_BYTES, UINT32_MAX - BIG_BYTES);
        d->indirect[7].len++;
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), -EPROTO);
}

/* Each breaks one rule of a chain that is good without it. */
static void too_much_offered(struct driver *d)
{
        d->avail->idx += 8;
}

static void head_out_of_range(struct driver *d)
{
        d->avail->ring[0] = 8;
}

static void next_out_of_range(struct driver *d)
{
        d->table[1].next = 8;
}

static void loop_of_one(struct driver *d)
{
        d->table[1].next = 1;
}

static void loop_of_two(struct driver *d)
{
        desc(d->table, 2, BUFFER, 1, NEXT | IN, 1);
}

/* No number of segments or bytes ever ends it. */
static void loop_of_nothing(struct driver *d)
{
        d->table[0].len = 0;
        d->table[1].len = 0;
        d->table[1].next = 0;
        d->table[1].flags = NEXT;
}

static void not_ram(struct driver *d)
{
        d->table[1].addr = 2 * REGION;
}

static void out_of_ram(struct driver *d)
{
        d->table[1].addr = 2 * REGION - 511;
}

static void wrapping_address(struct driver *d)
{
        d->table[1].addr = UINT64_MAX - 1;
}

static void readable_last(struct driver *d)
{
        d->table[2].flags = 0;
}

static void readable_last_in_table(struct driver *d)
{
        desc(d->table, 2, INDIRECT, 16, INDI | IN, 0);
        desc(d->indirect, 0, BUFFER, 1, 0, 0);
}

static void one_table(struct driver *d, gpa_t addr, uint32_t len, uint16_t flags)
{
        desc(d->table, 2, addr, len, INDI | flags, 0);
        desc(d->indirect, 0, BUFFER, 1, NEXT | IN, 1);
        desc(d->indirect, 1, BUFFER, 1, IN, 0);
}

static void table_not_negotiated(struct driver *d)
{
        d->q.indirect = false;
        one_table(d, INDIRECT, 32, 0);
}

static void table_in_table(struct driver *d)
{
        one_table(d, INDIRECT, 32, 0);
        desc(d->indirect, 1, INDIRECT + 64, 16, INDI, 0);
        desc(d->indirect, 4, BUFFER, 1, IN, 0);
}

/* The queue's own table as indirect one, whose entry 0 says the same again. */
static void table_is_the_queues(struct driver *d)
{
        one_table(d, TABLE, 128, 0);
        desc(d->table, 0, TABLE, 128, INDI, 0);
}

static void table_goes_on(struct driver *d)
{
        one_table(d, INDIRECT, 32, NEXT);
        d->table[2].next = 3;
        desc(d->table, 3, BUFFER, 1, IN, 0);
}

static void table_empty(struct driver *d)
{
        one_table(d, INDIRECT, 0, 0);
}

static void table_of_a_fraction(struct driver *d)
{
        one_table(d, INDIRECT, 33, 0);
}

static void table_too_long(struct driver *d)
{
        one_table(d, INDIRECT, (VIRTQ_IOV_MAX + 1) * 16, 0);
}

static void table_not_ram(struct driver *d)
{
        one_table(d, 2 * REGION, 32, 0);
}

static void table_in_two_regions(struct driver *d)
{
        static const struct vring_desc first = {BUFFER, 1, NEXT | IN, 1}, second = {BUFFER, 1, IN, 0};

        one_table(d, REGION - 16, 32, 0);
        assert_int_equal(guest_ram_write(&d->ram, REGION - 16, &first, sizeof(first)), 0);
        assert_int_equal(guest_ram_write(&d->ram, REGION, &second, sizeof(second)), 0);
}

static void table_next_out_of_range(struct driver *d)
{
        one_table(d, INDIRECT, 32, 0);
        d->indirect[0].next = 2;
        desc(d->indirect, 2, BUFFER, 1, IN, 0);
}

static void table_loop(struct driver *d)
{
        one_table(d, INDIRECT, 32, 0);
        desc(d->indirect, 1, BUFFER, 1, NEXT | IN, 0);
}

static void table_good(struct driver *d)
{
        one_table(d, INDIRECT, 32, 0);
}

static void hostile_rings(void **state)
{
        static const struct {
                const char *rule;
                void (*violate)(struct driver *d);
        } rules[] = {
                {"more offered than the queue holds", too_much_offered},
                {"head", head_out_of_range},
                {"next", next_out_of_range},
                {"loop of one", loop_of_one},
                {"loop of two", loop_of_two},
                {"loop of empty buffers", loop_of_nothing},
                {"buffer that is no RAM", not_ram},
                {"buffer that ends outside RAM", out_of_ram},
                {"address that wraps", wrapping_address},
                {"readable after writable", readable_last},
                {"readable after writable, in a table", readable_last_in_table},
                {"table, not negotiated", table_not_negotiated},
                {"table in a table", table_in_table},
                {"the queue's table in itself", table_is_the_queues},
                {"table and next", table_goes_on},
                {"empty table", table_empty},
                {"fraction of a table", table_of_a_fraction},
                {"table too long", table_too_long},
                {"table that is no RAM", table_not_ram},
                {"table in two regions", table_in_two_regions},
                {"next in a table", table_next_out_of_range},
                {"loop in a table", table_loop},
        };
        struct driver *d = *state;
        struct virtq_chain *c = &d->chain;

        for (size_t i = 0; i <= ARRAY_LEN(rules); i++) {
                bool good = i == ARRAY_LEN(rules);

                queue_set(d, 8, 0, false, true);
                good_chain(d);
                offer(d, 0);
                assert_int_equal(virtq_reread(&d->q, 0, c), 1);
                (good ? table_good : rules[i].violate)(d);
                if (virtq_pop(&d->q, c) != (good ? 1 : -EPROTO))
                        fail_msg("rule \"%s\"", good ? "none" : rules[i].rule);
                assert_int_equal(d->q.broken, !good);
                if (good)
                        continue;
                /* Nothing mends it but being set up anew. */
                d->avail->idx = 1;
                d->avail->ring[0] = 0;
                good_chain(d);
                assert_int_equal(virtq_pop(&d->q, c), -EPROTO);
                assert_int_equal(virtq_reread(&d->q, 0, c), -EPROTO);
                assert_false(virtq_waiting(&d->q));
                assert_false(virtq_kicks_on(&d->q));
                assert_int_equal(d->q.next_avail, 0);
        }
}

static void taken_again(void **state)
{
        struct driver *d = *state;

        good_chain(d);
        queue_set(d, 8, 4, false, true);
        assert_int_equal(virtq_reread(&d->q, 0, &d->chain), 1);
        assert_int_equal(d->chain.head, 0);
        assert_counts(d, 1, 2, 16, 513);
        assert_int_equal(d->q.next_avail, 4);
        assert_int_equal(virtq_reread(&d->q, 8, &d->chain), -EPROTO);
        assert_true(d->q.broken);
}

static void copies(void **state)
{
        struct driver *d = *state;
        char buf[16] = {0};

        desc(d->table, 0, BUFFER, 3, NEXT, 1);
        desc(d->table, 1, BUFFER + 0x100, 4, NEXT, 2);
        desc(d->table, 2, BUFFER + 0x200, 2, NEXT | IN, 3);
        desc(d->table, 3, BUFFER + 0x300, 5, IN, 0);
        assert_int_equal(guest_ram_write(&d->ram, BUFFER, "abc", 3), 0);
        assert_int_equal(guest_ram_write(&d->ram, BUFFER + 0x100, "defg", 4), 0);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);

        assert_int_equal(virtq_read(&d->chain, 0, buf, sizeof(buf)), 7);
        assert_string_equal(buf, "abcdefg");
        memset(buf, 0, sizeof(buf));
        assert_int_equal(virtq_read(&d->chain, 2, buf, 3), 3);
        assert_string_equal(buf, "cde");
        assert_int_equal(virtq_read(&d->chain, 3, buf, 1), 1);
        assert_int_equal(buf[0], 'd');
        assert_int_equal(virtq_read(&d->chain, 7, buf, 1), 0);
        assert_int_equal(virtq_read(&d->chain, UINT64_MAX, buf, 1), 0);
        assert_int_equal(virtq_read(&d->chain, 0, buf, 0), 0);

        assert_int_equal(virtq_write(&d->chain, 1, "12345678", 8), 6);
        assert_memory_equal(guest_ram_at(&d->ram, BUFFER + 0x200, 3), "\0001\0", 3); /* nothing beyond the segment */
        assert_memory_equal(guest_ram_at(&d->ram, BUFFER + 0x300, 6), "23456\0", 6);
        assert_int_equal(virtq_write(&d->chain, 6, "x", 1), 1);
        assert_memory_equal(guest_ram_at(&d->ram, BUFFER + 0x300, 6), "2345x\0", 6);
        assert_int_equal(virtq_write(&d->chain, 7, "x", 1), 0);
        assert_memory_equal(guest_ram_at(&d->ram, BUFFER, 3), "abc", 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(layouts),
                TEST(chains_arrive),
                TEST(indices_wrap),
                TEST(indirect_tables),
                TEST(buffers_may_cross_regions),
                TEST(empty_buffers_are_no_segments),
                TEST(longest),
                TEST(pieces_count_as_segments),
                TEST(bytes_of_a_chain),
                TEST(hostile_rings),
                TEST(taken_again),
                TEST(copies),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
