/* Strangers' text made printable: at its limits, and whatever the bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

static __attribute__((noreturn)) void exhausted(void)
{
        abort();
}

static struct arena arena = {.exhausted = exhausted};

static char *printable(const char *bytes, size_t len)
{
        return text_printable(&arena, bytes, len, 4096, false);
}

#define P(literal) printable(literal, sizeof(literal) - 1)

static void plain_text_stays(void **state)
{
        (void)state;
        assert_string_equal(P("web-1 /dev/kvm ~"), "web-1 /dev/kvm ~");
        assert_string_equal(P("Zürich 漢字 \xf0\x9f\x90\xa7"), "Zürich 漢字 \xf0\x9f\x90\xa7");
        assert_string_equal(P(""), "");
}

static void controls_are_named(void **state)
{
        (void)state;
        assert_string_equal(P("\033[2J\a\r\n\t\\\177"), "\\x1b[2J\\x07\\x0d\\n\\t\\\\\\x7f");
        assert_string_equal(P("a\0b"), "a\\x00b");
        assert_string_equal(P("\xc2\x9b"
                              "1m"),
                            "\\xc2\\x9b1m"); /* CSI of 8-bit terminals */
}

static void broken_utf8_is_named(void **state)
{
        static const char *const broken[] = {
                "\xff",
                "\x80",
                "\xc3",
                "\xc0\xaf",
                "\xe0\x80\x80",
                "\xed\xa0\x80",
                "\xf0\x80\x80\x80",
                "\xf4\x90\x80\x80",
                "\xf8\x88\x80\x80\x80",
                "\xe2\x82",
                "\xf0\x9f\x90",
        };

        (void)state;
        for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
                char *out = printable(broken[i], strlen(broken[i]));

                assert_int_equal(strlen(out), 4 * strlen(broken[i]));
                assert_null(strpbrk(out, broken[i]));
        }
        assert_string_equal(P("\xe2\x82x"), "\\xe2\\x82x"); /* what follows a broken one is not lost */
}

static void invisible_characters_are_named(void **state)
{
        (void)state;
        assert_string_equal(P("\u202e\u2066"), "\\xe2\\x80\\xae\\xe2\\x81\\xa6");
        assert_string_equal(P("\u200b\ufeff"), "\\xe2\\x80\\x8b\\xef\\xbb\\xbf");
        assert_string_equal(P("\xef\xbf\xbe\xef\xb7\x90"), "\\xef\\xbf\\xbe\\xef\\xb7\\x90"); /* U+FFFE, U+FDD0 */
        assert_string_equal(P("\xf0\x9f\xbf\xbf"), "\\xf0\\x9f\\xbf\\xbf");                   /* U+1FFFF */
        assert_string_equal(P("\U000e0041"), "\\xf3\\xa0\\x81\\x81");
}

static void cut_between_characters(void **state)
{
        (void)state;
        assert_string_equal(text_printable(&arena, "abcdef", 6, 6, false), "abcdef");
        assert_string_equal(text_printable(&arena, "abcdef", 6, 5, false), "abcde...");
        assert_string_equal(text_printable(&arena, "漢漢", 6, 5, false), "漢...");
        assert_string_equal(text_printable(&arena, "\001\001", 2, 7, false), "\\x01...");
        assert_string_equal(text_printable(&arena, "a", 1, 0, false), "...");
        assert_string_equal(text_printable(&arena, "", 0, 0, false), "");
        assert_string_equal(text_printable(&arena, "a", 1, SIZE_MAX, false), "a");
}

static void newlines_are_kept_on_demand(void **state)
{
        (void)state;
        assert_string_equal(text_printable(&arena, "a\n\tb\r", 5, 99, true), "a\n b\\x0d");
        assert_string_equal(text_harmless(&arena, "a\nb", 3, true), "a\nb");
        assert_string_equal(text_harmless(&arena, "a\nb", 3, false), "a\\nb");
}

/* Whatever the bytes are: the result is text, is harmless, stays as it is, and takes the columns it says. */
static void any_bytes(void **state)
{
        unsigned int seed = 1;

        (void)state;
        for (int round = 0; round < 3000; round++) {
                char bytes[64], *out, *line;
                size_t len = (size_t)(rand_r(&seed) % (int)sizeof(bytes)), fits;

                for (size_t i = 0; i < len; i++)
                        bytes[i] = (char)(rand_r(&seed) % 3 ? 0xe0 + rand_r(&seed) % 32 : rand_r(&seed));
                out = text_printable(&arena, bytes, len, 40, false);
                assert_true(strlen(out) <= 43);
                for (const char *p = out; *p; p++)
                        assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
                assert_string_equal(text_harmless(&arena, out, strlen(out), false), out);
                fits = text_fitting(out, 10);
                assert_true(fits <= strlen(out) && (fits > 0 || !*out));
                line = arena_copy(&arena, out, fits);
                assert_string_equal(text_harmless(&arena, line, fits, false), line); /* no character was cut in two */
        }
}

static void escape_and_back(void **state)
{
        char all[512], *there, *back;
        size_t len;

        (void)state;
        for (size_t i = 0; i < sizeof(all); i++)
                all[i] = (char)i;
        there = text_escape(&arena, all, sizeof(all));
        back = text_unescape(&arena, there, strlen(there), &len);
        assert_int_equal(len, sizeof(all));
        assert_memory_equal(back, all, len);
        for (const char *p = there; *p; p++)
                assert_true(*p >= 0x20 && *p < 0x7f);
        assert_null(text_unescape(&arena, "a\\", 2, &len));
        assert_null(text_unescape(&arena, "\\x4", 3, &len));
        assert_null(text_unescape(&arena, "\\x4g", 4, &len));
        assert_null(text_unescape(&arena, "\\q", 2, &len));
}

static void columns(void **state)
{
        (void)state;
        assert_int_equal(text_columns("abc"), 3);
        assert_int_equal(text_columns("漢字"), 4);
        assert_int_equal(text_columns("e\u0301"), 1);
        assert_int_equal(text_fitting("漢字", 3), 3);
        assert_int_equal(text_fitting("漢字", 1), 3); /* at least one, or no line would ever end */
        assert_int_equal(text_fitting("abc", 3), 3);
        assert_int_equal(text_fitting("", 3), 0);
}

static void lines_and_fields(void **state)
{
        char text[] = "a\n\nb", *rest = text;

        (void)state;
        assert_string_equal(text_next_line(&rest), "a");
        assert_string_equal(text_next_line(&rest), "");
        assert_string_equal(text_next_line(&rest), "b");
        assert_null(text_next_line(&rest));
        assert_string_equal(text_field(&arena, "Uid:\t1\nGid:\t 2 \n", "Gid:"), "2 ");
        assert_string_equal(text_field(&arena, "Uid:", "Uid:"), "");
        assert_null(text_field(&arena, "xUid:\t1\n", "Uid:"));
        assert_true(text_has_suffix("abc", "bc") && !text_has_suffix("c", "bc") && text_has_prefix("abc", "ab"));
}

static void buffers_grow(void **state)
{
        struct text_buffer b = {0};

        (void)state;
        for (int i = 0; i < 1000; i++)
                text_appendf(&arena, &b, "%03d", i);
        text_append(&arena, &b, "", 0);
        assert_int_equal(b.count, 3000);
        assert_int_equal(strlen(b.items), 3000);
        assert_string_equal(b.items + 2994, "998999");
}

static int arena_end(void **state)
{
        (void)state;
        arena_free(&arena);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_text_stays),
                cmocka_unit_test(controls_are_named),
                cmocka_unit_test(broken_utf8_is_named),
                cmocka_unit_test(invisible_characters_are_named),
                cmocka_unit_test(cut_between_characters),
                cmocka_unit_test(newlines_are_kept_on_demand),
                cmocka_unit_test(any_bytes),
                cmocka_unit_test(escape_and_back),
                cmocka_unit_test(columns),
                cmocka_unit_test(lines_and_fields),
                cmocka_unit_test(buffers_grow),
        };

        return cmocka_run_group_tests(tests, NULL, arena_end);
}
