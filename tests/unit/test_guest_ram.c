/* Guest RAM: where it lies, what the accessor gives out, and how the memfd behind it is protected. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static void parts_end_with_their_region(void **state)
{
        struct guest_ram ram;
        uint64_t got = 77;

        map(&ram, HOLE_START + 2 * MIB);
        assert_null(guest_ram_part(&ram, 0, 0, &got));
        assert_null(guest_ram_part(&ram, HOLE_START, 1, &got));
        assert_null(guest_ram_part(&ram, HOLE_END - 1, 2, &got));
        assert_null(guest_ram_part(&ram, UINT64_MAX, UINT64_MAX, &got));
        assert_int_equal(got, 77);
        assert_ptr_equal(guest_ram_part(&ram, 5, 6, &got), ram.regions[0].host + 5);
        assert_int_equal(got, 6);
        assert_ptr_equal(guest_ram_part(&ram, HOLE_START - 3, 4, &got), ram.regions[0].host + HOLE_START - 3);
        assert_int_equal(got, 3);
        assert_ptr_equal(guest_ram_part(&ram, HOLE_END + 1, UINT64_MAX, &got), ram.regions[1].host + 1);
        assert_int_equal(got, 2 * MIB - 1);
        guest_ram_unmap(&ram);
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

/* True when nothing is mapped in these pages. */
static bool unmapped(const void *p, uint64_t len)
{
        return msync((void *)p, len, MS_ASYNC) < 0 && errno == ENOMEM;
}

static void unmap_takes_every_region(void **state)
{
        struct guest_ram ram;
        const uint8_t *low, *high;

        map(&ram, HOLE_START + MIB);
        low = ram.regions[0].host;
        high = ram.regions[1].host;
        assert_int_equal(ram.regions[0].file_off_bytes, 0);
        assert_int_equal(ram.regions[1].file_off_bytes, HOLE_START);
        guest_ram_unmap(&ram);
        assert_true(unmapped(low, 4096) && unmapped(high, MIB));
}

static int file(uint64_t len)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)len), 0);
        return fd;
}

#define PEER 0x7f0000000000ULL

static void regions_of_a_front_end(void **state)
{
        struct guest_ram ram = {0}, other = {0};
        int fd = file(4 * MIB);
        const uint8_t *second;
        gpa_t gpa = 77;

        assert_int_equal(guest_ram_add(&ram, fd, 0, 0, MIB, PEER, NULL), 0);
        assert_int_equal(guest_ram_add(&ram, fd, 2 * MIB, HOLE_END, 2 * MIB, PEER + MIB, NULL), 0);
        assert_int_equal(guest_ram_add(&other, fd, 0, 0, 4 * MIB, PEER, NULL), 0);
        close(fd); /* the caller's; mappings stay */
        assert_int_equal(ram.len_bytes, 3 * MIB);

        assert_int_equal(guest_ram_write(&ram, HOLE_END + 1, "x", 1), 0);
        assert_memory_equal(guest_ram_at(&other, 2 * MIB + 1, 1), "x", 1);
        assert_null(guest_ram_at(&ram, MIB, 1));

        assert_int_equal(guest_ram_from_peer(&ram, PEER, MIB, &gpa), 0);
        assert_int_equal(gpa, 0);
        assert_int_equal(guest_ram_from_peer(&ram, PEER + MIB + 5, 2 * MIB - 5, &gpa), 0);
        assert_int_equal(gpa, HOLE_END + 5);
        assert_int_equal(guest_ram_from_peer(&ram, PEER + MIB - 1, 2, &gpa), -EFAULT); /* two regions */
        assert_int_equal(guest_ram_from_peer(&ram, PEER + MIB + 5, 2 * MIB - 4, &gpa), -EFAULT);
        assert_int_equal(guest_ram_from_peer(&ram, PEER - 1, 1, &gpa), -EFAULT);
        assert_int_equal(guest_ram_from_peer(&ram, PEER + 1, UINT64_MAX, &gpa), -EFAULT);
        assert_int_equal(gpa, HOLE_END + 5); /* untouched */

        assert_int_equal(guest_ram_remove(&ram, 0, MIB - 4096, PEER), -ENOENT);
        assert_int_equal(guest_ram_remove(&ram, 0, MIB, PEER + 4096), -ENOENT);
        assert_int_equal(guest_ram_remove(&ram, 4096, MIB, PEER), -ENOENT);
        second = ram.regions[0].host;
        assert_int_equal(guest_ram_remove(&ram, 0, MIB, PEER), 0);
        assert_true(unmapped(second, MIB));
        assert_int_equal(guest_ram_remove(&ram, 0, MIB, PEER), -ENOENT);
        assert_int_equal(ram.region_count, 1);
        assert_int_equal(ram.len_bytes, 2 * MIB);
        assert_null(guest_ram_at(&ram, 0, 1));
        assert_memory_equal(guest_ram_at(&ram, HOLE_END + 1, 1), "x", 1);
        second = ram.regions[0].host;
        guest_ram_unmap(&ram);
        assert_true(unmapped(second, 2 * MIB));
        guest_ram_unmap(&other);
}

static void regions_that_are_none(void **state)
{
        static const struct {
                uint64_t off, base, len, peer;
                int r;
        } cases[] = {
                {1, 8 * MIB, MIB, PEER + 8 * MIB, -EINVAL}, /* not aligned, each in turn */
                {0, 8 * MIB + 8, MIB, PEER + 8 * MIB, -EINVAL},
                {0, 8 * MIB, MIB + 512, PEER + 8 * MIB, -EINVAL},
                {0, 8 * MIB, MIB, PEER + 8 * MIB + 2048, -EINVAL},
                {0, 8 * MIB, 0, PEER + 8 * MIB, -EINVAL},
                {0, UINT64_MAX - 4095, 8192, PEER + 8 * MIB, -EINVAL}, /* they wrap, each in turn */
                {0, 8 * MIB, 8192, UINT64_MAX - 4095, -EINVAL},
                {UINT64_MAX - 4095, 8 * MIB, 8192, PEER + 8 * MIB, -EINVAL},
                {1ULL << 63, 8 * MIB, 4096, PEER + 8 * MIB, -EINVAL},
                {4096, 8 * MIB, 4 * MIB, PEER + 8 * MIB, -EINVAL}, /* beyond the file */
                {4 * MIB, 8 * MIB, 4096, PEER + 8 * MIB, -EINVAL},
                {0, 0, 4096, PEER + 8 * MIB,
                 -EEXIST}, /* same start, last page, around, in guest and in peer addresses */
                {0, 2 * MIB - 4096, MIB, PEER + 8 * MIB, -EEXIST},
                {0, 4096, 4096, PEER + 8 * MIB, -EEXIST},
                {0, 8 * MIB, 4096, PEER, -EEXIST},
                {0, 8 * MIB, MIB, PEER + 2 * MIB - 4096, -EEXIST},
                {0, 8 * MIB, MIB, PEER - MIB + 4096, -EEXIST},
                {0, 2 * MIB, MIB, PEER + 2 * MIB, 0}, /* just beside it */
                {0, 8 * MIB, MIB, PEER - MIB, 0},
        };
        struct guest_ram ram = {0};
        int fd = file(4 * MIB), pipe_fds[2];

        assert_int_equal(guest_ram_add(&ram, fd, 0, 0, 2 * MIB, PEER, NULL), 0);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                unsigned int count = ram.region_count;

                assert_int_equal(guest_ram_add(&ram, fd, cases[i].off, cases[i].base, cases[i].len, cases[i].peer,
                                               NULL),
                                 cases[i].r);
                assert_int_equal(ram.region_count, count + (cases[i].r == 0));
                if (cases[i].r == 0)
                        assert_int_equal(guest_ram_remove(&ram, cases[i].base, cases[i].len, cases[i].peer), 0);
        }
        assert_int_equal(pipe(pipe_fds), 0);
        assert_int_equal(guest_ram_add(&ram, pipe_fds[0], 0, 8 * MIB, 4096, PEER + 8 * MIB, NULL), -EINVAL);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        assert_int_equal(guest_ram_add(&ram, pipe_fds[0], 0, 8 * MIB, 4096, PEER + 8 * MIB, NULL), -EBADF);
        guest_ram_unmap(&ram);
        close(fd);
}

static void regions_have_a_limit(void **state)
{
        struct guest_ram ram = {0};
        int fd = file(4096);

        for (unsigned int i = 0; i < GUEST_RAM_REGIONS_MAX; i++)
                assert_int_equal(guest_ram_add(&ram, fd, 0, i * MIB, 4096, PEER + i * MIB, NULL), 0);
        assert_int_equal(guest_ram_add(&ram, fd, 0, GUEST_RAM_REGIONS_MAX * MIB, 4096,
                                       PEER + GUEST_RAM_REGIONS_MAX * MIB, NULL),
                         -ENOSPC);
        guest_ram_unmap(&ram);
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(regions_leave_the_hole_free), cmocka_unit_test(sizes_that_are_none),
                cmocka_unit_test(accessor_stays_inside),       cmocka_unit_test(copies),
                cmocka_unit_test(the_kernel_agrees),           cmocka_unit_test(unmap_takes_every_region),
                cmocka_unit_test(regions_of_a_front_end),      cmocka_unit_test(regions_that_are_none),
                cmocka_unit_test(regions_have_a_limit),        cmocka_unit_test(parts_end_with_their_region),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
