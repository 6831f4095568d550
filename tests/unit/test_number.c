#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/number.h"

static void numbers(void **state)
{
        uint64_t v = 7;

        assert_int_equal(number_parse("0", 10, &v), 0);
        assert_int_equal(v, 0);
        assert_int_equal(number_parse("10", 10, &v), 0);
        assert_int_equal(v, 10);
        v = 7;
        assert_int_equal(number_parse("11", 10, &v), -ERANGE);
        assert_int_equal(number_parse("99999999999999999999", UINT64_MAX, &v), -ERANGE);
        assert_int_equal(number_parse("18446744073709551615", UINT64_MAX, &v), 0);
        assert_true(v == UINT64_MAX);
        for (const char *const *bad = (const char *const[]){"", "-1", "+1", " 1", "1 ", "0x1", "1K", NULL}; *bad; bad++)
                assert_int_equal(number_parse(*bad, UINT64_MAX, &v), -EINVAL);
}

static void sizes(void **state)
{
        uint64_t v = 7;

        assert_int_equal(size_parse("512M", &v), 0);
        assert_true(v == 512ULL << 20);
        assert_int_equal(size_parse("1P", &v), 0);
        assert_true(v == 1ULL << 50);
        assert_int_equal(size_parse("4096", &v), 0);
        assert_true(v == 4096);
        assert_int_equal(size_parse("16384P", &v), -ERANGE);
        assert_int_equal(size_parse("16383P", &v), 0);
        for (const char *const *bad = (const char *const[]){"", "M", "1m", "1MB", "1 M", "-1M", "1.5G", NULL}; *bad;
             bad++)
                assert_int_equal(size_parse(*bad, &v), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(sizes)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
