/* What the supervisor makes of the dynamic loader's answer and of the head of a qcow2 image: neither is its own. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "supervisor/disk_qcow2.h"
#include "supervisor/storage_program.h"

/* ---- one line of the loader ---- */

static int line_read(const char *text, const char **ret_path, char ret_inside[STORAGE_NAME_MAX])
{
        static char line[512];

        snprintf(line, sizeof(line), "%s", text);
        return storage_program_line(line, ret_path, ret_inside);
}

static void lines_with_files(void **state)
{
        static const struct {
                const char *line, *path, *inside;
        } good[] = {
                {"\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1d4b70a000)",
                 "/lib/x86_64-linux-gnu/libc.so.6", "/lib/libc.so.6"},
                {"\t/lib64/ld-linux-x86-64.so.2 (0x00007f1d4bf95000)", "/lib64/ld-linux-x86-64.so.2",
                 "/lib64/ld-linux-x86-64.so.2"},
                {"\ta b.so => /odd (place)/a b.so (0x1)", "/odd (place)/a b.so", "/lib/a b.so"},
        };

        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
                char inside[STORAGE_NAME_MAX];
                const char *path;

                assert_int_equal(line_read(good[i].line, &path, inside), 1);
                assert_string_equal(path, good[i].path);
                assert_string_equal(inside, good[i].inside);
        }
}

static void lines_without(void **state)
{
        char inside[STORAGE_NAME_MAX], longest[256];
        const char *path;

        assert_int_equal(line_read("\tlinux-vdso.so.1 (0x00007f1d4bf93000)", &path, inside), 0);
        assert_int_equal(line_read("\tlibx.so => not found", &path, inside), -EPROTO);
        assert_int_equal(line_read("\tstatically linked", &path, inside), -EPROTO);
        assert_int_equal(line_read("libc.so.6 => /lib/libc.so.6 (0x1)", &path, inside), -EPROTO);
        assert_int_equal(line_read("\tlibc.so.6 => lib/libc.so.6 (0x1)", &path, inside), -EPROTO);
        assert_int_equal(line_read("\t../libc.so.6 => /lib/libc.so.6 (0x1)", &path, inside), -EPROTO);
        assert_int_equal(line_read("\t => /lib/libc.so.6 (0x1)", &path, inside), -EPROTO);
        assert_int_equal(line_read("\t(0x1)", &path, inside), -EPROTO);
        assert_int_equal(line_read("\t", &path, inside), -EPROTO);
        /* "/lib/" and the name, with the zero: at the maximum and one past it */
        snprintf(longest, sizeof(longest), "\t%0*d => /x (0x1)", STORAGE_NAME_MAX - 6, 0);
        assert_int_equal(line_read(longest, &path, inside), 1);
        snprintf(longest, sizeof(longest), "\t%0*d => /x (0x1)", STORAGE_NAME_MAX - 5, 0);
        assert_int_equal(line_read(longest, &path, inside), -EPROTO);
}

static void answer_of_this_host(void **state)
{
        static struct storage_files f;
        struct err e = ERR_INIT;
        bool loader = false, c_library = false;

        if (access(STORAGE_PROGRAM, X_OK) < 0)
                skip();
        assert_int_equal(storage_files_find(&f, &e), 0);
        assert_string_equal(f.list[0].path, "/qemu-storage-daemon");
        assert_int_equal(f.list[0].mode, 0555);
        for (size_t i = 1; i < f.count; i++) {
                loader |= strncmp(f.list[i].path, "/lib64/ld-", 10) == 0 && f.list[i].mode == 0555;
                c_library |= strcmp(f.list[i].path, "/lib/libc.so.6") == 0 && f.list[i].mode == 0444;
        }
        assert_true(loader && c_library);
        storage_files_close(&f);
        assert_int_equal(f.count, 0);
}

/* ---- the head of an image ---- */

static const struct disk_spec disk = {.path = "/i", .format = DISK_FORMAT_QCOW2};

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
        for (size_t i = 0; i < bytes; i++)
                at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

/* Offsets are those of docs/interop/qcow2.txt. */
static void good_image(uint8_t head[112])
{
        memset(head, 0, 112);
        put(head, 0x514649fb, 4);
        put(head + 4, 3, 4);
        put(head + 20, 16, 4);
        put(head + 24, 1 << 20, 8);
}

static int check(const uint8_t *head, size_t len, struct err *e)
{
        _cleanup_fd_ int fd = memfd_create("image", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, head, len), len);
        return disk_qcow2_check(&disk, false, fd, e);
}

static void refused(const uint8_t *head, size_t len, const char *why)
{
        struct err e = ERR_INIT;

        assert_int_equal(check(head, len, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_IMAGE);
        assert_non_null(strstr(e.text, why));
}

static void images(void **state)
{
        uint8_t head[112];

        good_image(head);
        assert_int_equal(check(head, sizeof(head), NULL), 0);
        assert_int_equal(check(head, 80, NULL), 0);
        refused(head, 79, "is in a version of qcow2");
        put(head + 4, 2, 4);
        assert_int_equal(check(head, 72, NULL), 0);
        refused(head, 71, "is not in format qcow2");
        refused(head, 0, "is not in format qcow2");
}

static void what_leads_elsewhere(void **state)
{
        static const struct {
                size_t offset, bytes;
                uint64_t value;
                const char *why;
        } bad[] = {
                {0, 4, 0x514649fa, "is not in format qcow2"},
                {4, 4, 1, "is in a version of qcow2"},
                {4, 4, 4, "is in a version of qcow2"},
                {8, 8, 1, "has a backing file"},
                {8, 8, 1ULL << 63, "has a backing file"},
                {72, 8, 4, "has its data in another file"},
                {72, 8, UINT64_MAX, "has its data in another file"},
                {32, 4, 1, "is encrypted"},
                {32, 4, 2, "is encrypted"},
        };
        uint8_t head[112];

        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                good_image(head);
                put(head + bad[i].offset, bad[i].value, bad[i].bytes);
                refused(head, sizeof(head), bad[i].why);
        }
        /* Version 2 has no such field, whatever is there. */
        good_image(head);
        put(head + 4, 2, 4);
        put(head + 72, 4, 8);
        assert_int_equal(check(head, sizeof(head), NULL), 0);
}

static void no_file(void **state)
{
        struct err e = ERR_INIT;

        assert_int_equal(disk_qcow2_check(&disk, true, -1, &e), -EINVAL);
        assert_non_null(strstr(e.text, "is a block device"));
        assert_true(disk_qcow2_check(&disk, false, -1, &e) < 0);
        assert_int_equal(e.status, STATUS_IMAGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_with_files),     cmocka_unit_test(lines_without),
                cmocka_unit_test(answer_of_this_host),  cmocka_unit_test(images),
                cmocka_unit_test(what_leads_elsewhere), cmocka_unit_test(no_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
