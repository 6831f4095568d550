/* Rate limits, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "devices/common/token_bucket.h"

#define S  1000000000ULL
#define MS 1000000ULL

static void starts_full_and_refills(void **state)
{
        struct token_bucket b;
        uint64_t now = 5 * S;

        token_bucket_init(&b, 1000, 100, now);
        for (int i = 0; i < 10; i++) {
                assert_true(token_bucket_ready(&b, now));
                assert_int_equal(token_bucket_wait_ns(&b), 0);
                token_bucket_charge(&b, 10);
        }
        assert_false(token_bucket_ready(&b, now));
        assert_int_equal(token_bucket_wait_ns(&b), MS); /* one token at 1000 a second */
        assert_false(token_bucket_ready(&b, now + MS - 1));
        assert_true(token_bucket_ready(&b, now + MS));
        token_bucket_charge(&b, 1);
        assert_false(token_bucket_ready(&b, now + MS));

        now += 3600 * S; /* a long rest fills it once, not more */
        assert_true(token_bucket_ready(&b, now));
        token_bucket_charge(&b, 100);
        assert_false(token_bucket_ready(&b, now));
}

static void a_large_request_is_paid_for_afterwards(void **state)
{
        struct token_bucket b;

        token_bucket_init(&b, 1000, 10, 0);
        assert_true(token_bucket_ready(&b, 0));
        token_bucket_charge(&b, 1010);
        assert_false(token_bucket_ready(&b, 0));
        assert_int_equal(token_bucket_wait_ns(&b), S + MS);
        assert_false(token_bucket_ready(&b, S));
        assert_int_equal(token_bucket_wait_ns(&b), MS);
        assert_true(token_bucket_ready(&b, S + MS));
}

/* Whatever the steps of time: never more than the rate, and hardly less. */
static void the_rate_holds(void **state)
{
        static const uint64_t rates[] = {1, 7, 1000, 999983, 123456789, TOKEN_BUCKET_RATE_MAX};
        static const uint64_t steps[] = {997, 31 * MS + 1, 3 * S + 7};

        for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
                for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
                        struct token_bucket b;
                        unsigned __int128 taken = 0, most;
                        uint64_t now = 77, burst = rates[i], piece = rates[i] / 1000 + 1;

                        token_bucket_init(&b, rates[i], burst, now);
                        for (int n = 0; n < 2000; n++) {
                                now += steps[k];
                                while (token_bucket_ready(&b, now)) {
                                        token_bucket_charge(&b, piece);
                                        taken += piece;
                                }
                        }
                        most = burst + (unsigned __int128)(now - 77) * rates[i] / S + piece;
                        assert_true(taken <= most);
                        if (steps[k] < S) /* beyond a second the burst is the limit */
                                assert_true(taken + taken / 100 + 2 * piece >= most - piece);
                }
}

static void waiting_that_long_is_enough(void **state)
{
        static const uint64_t rates[] = {1, 3, 1000003, TOKEN_BUCKET_RATE_MAX};
        struct token_bucket b;

        for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
                for (uint64_t tokens = 1; tokens < 1ULL << 33; tokens = tokens * 5 + 1) {
                        uint64_t wait;

                        token_bucket_init(&b, rates[i], 1, 9);
                        token_bucket_charge(&b, tokens);
                        assert_false(token_bucket_ready(&b, 9));
                        wait = token_bucket_wait_ns(&b);
                        assert_true(wait > 0);
                        assert_false(token_bucket_ready(&b, 9 + wait - 1));
                        assert_true(token_bucket_ready(&b, 9 + wait));
                }
}

static void extremes(void **state)
{
        struct token_bucket b;

        token_bucket_init(&b, 0, 0, 0); /* no limit */
        for (int i = 0; i < 10; i++) {
                token_bucket_charge(&b, UINT64_MAX);
                assert_true(token_bucket_ready(&b, 0));
                assert_int_equal(token_bucket_wait_ns(&b), 0);
        }

        token_bucket_init(&b, UINT64_MAX, UINT64_MAX, UINT64_MAX - 1);
        assert_int_equal(b.rate_per_s, TOKEN_BUCKET_RATE_MAX);
        assert_int_equal(b.burst, TOKEN_BUCKET_RATE_MAX);
        for (int i = 0; i < 100000; i++)
                token_bucket_charge(&b, UINT64_MAX);
        assert_false(token_bucket_ready(&b, UINT64_MAX));
        assert_true(token_bucket_wait_ns(&b) > 0);

        token_bucket_init(&b, 1, 0, 0);
        assert_true(token_bucket_ready(&b, 0));
        token_bucket_charge(&b, UINT64_MAX);
        assert_false(token_bucket_ready(&b, UINT64_MAX)); /* 584 years are not enough */

        token_bucket_init(&b, 1000, 1, 100 * S);
        token_bucket_charge(&b, 1);
        assert_false(token_bucket_ready(&b, 0)); /* a clock that goes backward gives nothing */
        assert_false(token_bucket_ready(&b, 100 * S));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(starts_full_and_refills),
                cmocka_unit_test(a_large_request_is_paid_for_afterwards),
                cmocka_unit_test(the_rate_holds),
                cmocka_unit_test(waiting_that_long_is_enough),
                cmocka_unit_test(extremes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
