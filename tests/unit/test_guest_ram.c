/* Guest RAM: where it lies, what the accessor gives out, and how the memfd behind it is protected. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/guest_ram.h"

#define HOLE_START 0xc0000000ULL
#define HOLE_END   0x100000000ULL
#define MIB        (1ULL << 20)

static void map(struct guest_ram *ram, uint64_t len)
{
        assert_int_equal(guest_ram_map(ram, len, HOLE_START, HOLE_END, NULL, NULL), 0);
}

static void regions_leave_the_hole_free(void **state)
{
        static const struct {
                uint64_t len, below, above;
        } cases[] = {
                {MIB, MIB, 0},
                {HOLE_START, HOLE_START, 0},
                {HOLE_START + MIB, HOLE_START, MIB},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct guest_ram ram;

                map(&ram, cases[i].len);
                assert_int_equal(ram.region_count, cases[i].above ? 2 : 1);
                assert_true(ram.regions[0].base == 0 && ram.regions[0].len_bytes == cases[i].below);
                if (cases[i].above)
                        assert_true(ram.regions[1].base == HOLE_END && ram.regions[1].len_bytes == cases[i].above);
                guest_ram_unmap(&ram);
                guest_ram_unmap(&ram); /* twice is allowed */
        }
}

static void sizes_that_are_none(void **state)
{
        static const uint64_t bad[] = {0, 1, 4095, 4097, UINT64_MAX, 1ULL << 63};
        struct guest_ram ram = {.region_count = 77};

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_true(guest_ram_map(&ram, bad[i], HOLE_START, HOLE_END, NULL, NULL) < 0);
        assert_int_equal(ram.region_count, 77); /* untouched on failure */
}

static void accessor_stays_inside(void **state)
{
        struct guest_ram ram;

        map(&ram, HOLE_START + 2 * MIB);
        assert_ptr_equal(guest_ram_at(&ram, 0, 1), ram.regions[0].host);
        assert_non_null(guest_ram_at(&ram, 0, HOLE_START));
        assert_null(guest_ram_at(&ram, 0, HOLE_START + 1));
        assert_non_null(guest_ram_at(&ram, HOLE_START - 1, 1));
        assert_null(guest_ram_at(&ram, HOLE_START - 1, 2)); /* into the hole */
        assert_null(guest_ram_at(&ram, HOLE_START, 1));
        assert_null(guest_ram_at(&ram, HOLE_END - 1, 1));
        assert_null(guest_ram_at(&ram, HOLE_START - 1, 2 * MIB + (HOLE_END - HOLE_START))); /* across it */
        assert_ptr_equal(guest_ram_at(&ram, HOLE_END, 1), ram.regions[1].host);
        assert_non_null(guest_ram_at(&ram, HOLE_END, 2 * MIB));
        assert_null(guest_ram_at(&ram, HOLE_END, 2 * MIB + 1));
        assert_null(guest_ram_at(&ram, HOLE_END + 2 * MIB, 1));
        assert_null(guest_ram_at(&ram, UINT64_MAX, 1)); /* nothing wraps */
        assert_null(guest_ram_at(&ram, UINT64_MAX, UINT64_MAX));
        assert_null(guest_ram_at(&ram, 1, UINT64_MAX));
        guest_ram_unmap(&ram);
        assert_null(guest_ram_at(&ram, 0, 1));
}

static void copies(void **state)
{
        struct guest_ram ram;
        FILE *f = tmpfile();
        char got[8];

        map(&ram, MIB);
        assert_int_equal(guest_ram_write(&ram, MIB - 4, "abcd", 4), 0);
        assert_int_equal(guest_ram_write(&ram, MIB - 3, "abcd", 4), -EFAULT);
        assert_memory_equal(guest_ram_at(&ram, MIB - 4, 4), "abcd", 4);

        assert_non_null(f);
        assert_int_equal(fwrite("12345678", 1, 8, f), 8);
        assert_int_equal(fflush(f), 0);
        assert_int_equal(guest_ram_read_file(&ram, 16, 8, fileno(f), 0), 0);
        memcpy(got, guest_ram_at(&ram, 16, 8), 8);
        assert_memory_equal(got, "12345678", 8);
        assert_int_equal(guest_ram_read_file(&ram, 16, 8, fileno(f), 1), -ENODATA);
        assert_int_equal(guest_ram_read_file(&ram, MIB, 1, fileno(f), 0), -EFAULT);
        assert_int_equal(guest_ram_read_file(&ram, 0, 8, fileno(f), UINT64_MAX), -ENODATA);
        fclose(f);
        guest_ram_unmap(&ram);
}

/* What the kernel says of the mapping: shared, of the memfd, out of core dumps, not mergeable. */
static void the_kernel_agrees(void **state)
{
        struct guest_ram ram;
        FILE *f;
        char line[512], flags[512] = "";
        bool ours = false, found = false;

        map(&ram, MIB);
        f = fopen("/proc/self/smaps", "re");
        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                if (strstr(line, "rw-s") && strstr(line, "/memfd:guest_ram"))
                        ours = found = true;
                if (ours && strncmp(line, "VmFlags:", 8) == 0) {
                        memcpy(flags, line, sizeof(flags));
                        ours = false;
                }
        }
        fclose(f);
        assert_true(found);
        assert_non_null(strstr(flags, " dd"));
        assert_null(strstr(flags, " mg"));
        guest_ram_unmap(&ram);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(regions_leave_the_hole_free), cmocka_unit_test(sizes_that_are_none),
                cmocka_unit_test(accessor_stays_inside),       cmocka_unit_test(copies),
                cmocka_unit_test(the_kernel_agrees),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
