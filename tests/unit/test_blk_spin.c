/* Whether a disk's process looks for a driver's next request: what drivers of several kinds make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "devices/blk/blk_spin.h"

/* The driver answers `ns` after a completion, again and again. Returns how often it was looked for in vain. */
static unsigned int rounds(struct blk_spin *s, unsigned int count, uint64_t ns)
{
        uint64_t now = 1000000;
        unsigned int vain = 0;

        for (unsigned int i = 0; i < count; i++, now += 1000000) {
                blk_spin_given(s, now);
                vain += blk_spin_on(s, now) && !blk_spin_on(s, now + ns);
                blk_spin_taken(s, now + ns);
        }
        return vain;
}

static void looks_for_its_time(void **state)
{
        struct blk_spin s;

        (void)state;
        blk_spin_init(&s);
        assert_false(blk_spin_on(&s, 5000)); /* nothing was given back */
        blk_spin_given(&s, 5000);
        blk_spin_given(&s, 6000); /* the first one counts: completions make it no longer */
        assert_true(blk_spin_on(&s, 5000));
        assert_true(blk_spin_on(&s, 5000 + BLK_SPIN_NS - 1));
        assert_false(blk_spin_on(&s, 5000 + BLK_SPIN_NS));
        blk_spin_taken(&s, 6000);
        assert_false(blk_spin_on(&s, 6000)); /* the answer is there */
        for (int i = 0; i < 100; i++)
                blk_spin_taken(&s, UINT64_MAX); /* requests that answer nothing */
        blk_spin_given(&s, 7000);
        assert_true(blk_spin_on(&s, 7000));
}

static void a_quick_driver_is_awaited(void **state)
{
        struct blk_spin s;

        (void)state;
        blk_spin_init(&s);
        assert_int_equal(rounds(&s, 1000, BLK_SPIN_NS - 1), 0);
        for (int i = 0; i < 1000; i++) { /* one out of three is late */
                (void)rounds(&s, 1, i % 3 ? 2000 : 1000000);
                assert_true(s.credit > 0);
        }
}

static void a_slow_driver_soon_costs_nothing(void **state)
{
        struct blk_spin s;

        (void)state;
        blk_spin_init(&s);
        (void)rounds(&s, 1000, 2000);
        assert_int_equal(rounds(&s, BLK_SPIN_CREDIT_MAX + BLK_SPIN_PAUSE_MIN, BLK_SPIN_NS), BLK_SPIN_CREDIT_MAX);
        assert_in_range(rounds(&s, 100000, BLK_SPIN_NS), 1, 7 + 100000 / BLK_SPIN_PAUSE_MAX);
        assert_in_range(rounds(&s, 100000, BLK_SPIN_TRY_NS), 1, 1 + 100000 / BLK_SPIN_PAUSE_MAX);
        assert_int_equal(s.pause, BLK_SPIN_PAUSE_MAX);
}

static void a_driver_that_becomes_quick_is_awaited_again(void **state)
{
        struct blk_spin s;

        (void)state;
        blk_spin_init(&s);
        (void)rounds(&s, 100000, 1000000);
        assert_int_equal(s.credit, 0);
        (void)rounds(&s, BLK_SPIN_PAUSE_MAX + 1 + BLK_SPIN_CREDIT_MAX, 2000);
        assert_int_equal(s.credit, BLK_SPIN_CREDIT_MAX);
        assert_int_equal(s.pause, BLK_SPIN_PAUSE_MIN);
}

/* How long the driver takes when it has to wake us, and when it has not. */
static unsigned int rounds_woken(struct blk_spin *s, unsigned int count, uint64_t ns, uint64_t woken_ns)
{
        bool asleep = true;
        unsigned int vain = 0;

        for (unsigned int i = 0; i < count; i++) {
                uint64_t answer = asleep ? woken_ns : ns;

                asleep = answer >= s->ns;
                vain += rounds(s, 1, answer);
        }
        return vain;
}

static void waking_may_take_long(void **state)
{
        struct blk_spin s;

        (void)state;
        blk_spin_init(&s);
        (void)rounds(&s, 10, 1000000);
        assert_int_equal(s.credit, 0);
        (void)rounds_woken(&s, 2 * BLK_SPIN_PAUSE_MIN + BLK_SPIN_CREDIT_MAX, 2000, 5 * BLK_SPIN_NS);
        assert_int_equal(s.credit, BLK_SPIN_CREDIT_MAX);
}

/* A driver that waits for this processor answers 2 microseconds after we sleep, however long we have looked. */
static void on_a_shared_processor_it_is_given_up(void **state)
{
        struct blk_spin s;
        unsigned int vain = 0;

        (void)state;
        blk_spin_init(&s);
        for (unsigned int i = 0; i < 100000; i++)
                vain += rounds(&s, 1, s.ns + 2000);
        assert_in_range(vain, 1, 4 + 8 + 100000 / BLK_SPIN_PAUSE_MAX);
        assert_int_equal(s.pause, BLK_SPIN_PAUSE_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(looks_for_its_time),
                cmocka_unit_test(a_quick_driver_is_awaited),
                cmocka_unit_test(a_slow_driver_soon_costs_nothing),
                cmocka_unit_test(a_driver_that_becomes_quick_is_awaited_again),
                cmocka_unit_test(waking_may_take_long),
                cmocka_unit_test(on_a_shared_processor_it_is_given_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
