#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "spec/disk_spec.h"
#include "spec/guest_spec.h"
#include "spec/io_device.h"

/* A spec that validates. */
static struct guest_spec good_spec(void)
{
        struct guest_spec s;

        guest_spec_init(&s);
        assert_int_equal(guest_spec_set_name(&s, "web-1", NULL), 0);
        assert_int_equal(guest_spec_set_kernel(&s, "/boot/vmlinux", NULL), 0);
        return s;
}

/* Text of len times c; up to 4095. */
static const char *repeat(char c, size_t len)
{
        static char text[4096];

        assert_true(len < sizeof(text));
        memset(text, c, len);
        text[len] = '\0';
        return text;
}

static void assert_invalid(const struct guest_spec *s, enum exit_status status, const char *part)
{
        struct err e = ERR_INIT;

        assert_int_equal(guest_spec_validate(s, &e), -EINVAL);
        assert_int_equal(e.status, status);
        if (!strstr(e.text, part))
                fail_msg("'%s' does not say '%s'", e.text, part);
}

static void defaults(void **state)
{
        struct guest_spec s;

        memset(&s, 0xff, sizeof(s));
        guest_spec_init(&s);
        assert_int_equal(s.version, SPEC_VERSION);
        assert_int_equal(s.size_bytes, sizeof(s));
        assert_string_equal(s.cmdline, "console=ttyS0 panic=-1");
        assert_true(s.memory_bytes == 512ULL << 20);
        assert_int_equal(s.vcpus, 1);
        assert_int_equal(s.io_limit_count, 0);
        assert_int_equal(s.disk_count, 0);
        assert_int_equal(s.rng, 1);
        assert_invalid(&s, STATUS_USAGE, "name is missing");
        assert_int_equal(guest_spec_set_name(&s, "a", NULL), 0);
        assert_invalid(&s, STATUS_USAGE, "kernel is missing");
        assert_int_equal(guest_spec_set_kernel(&s, "k", NULL), 0);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
}

static void names(void **state)
{
        static const char *const good[] = {"a", "0", "Z9", "a.b_c-d", "a..", NULL};
        static const char *const bad[] = {"",    ".",   "..",  "-a",       "_a",    "a/b", "a b",
                                          "a\n", "a:b", "a\\", "\xc3\xa4", "a\x7f", NULL};
        struct guest_spec s = good_spec();
        struct err e = ERR_INIT;

        for (const char *const *n = good; *n; n++)
                assert_true(guest_name_valid(*n));
        for (const char *const *n = bad; *n; n++) {
                assert_false(guest_name_valid(*n));
                assert_int_equal(guest_spec_set_name(&s, *n, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_USAGE);
                assert_string_equal(s.name, "web-1");
        }
        assert_true(guest_name_valid(repeat('a', 63)));
        assert_int_equal(guest_spec_set_name(&s, repeat('a', 63), NULL), 0);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        assert_false(guest_name_valid(repeat('a', 64)));
        assert_false(guest_name_valid(repeat('a', 300)));
}

static void texts(void **state)
{
        struct guest_spec s = good_spec();
        struct err e = ERR_INIT;

        assert_int_equal(guest_spec_set_kernel(&s, repeat('k', SPEC_PATH_MAX - 1), NULL), 0);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        assert_int_equal(guest_spec_set_kernel(&s, repeat('k', SPEC_PATH_MAX), &e), -EINVAL);
        assert_int_equal(e.status, STATUS_USAGE);
        assert_int_equal(guest_spec_set_kernel(&s, "", &e), -EINVAL);
        assert_int_equal(guest_spec_set_initrd(&s, repeat('i', SPEC_PATH_MAX - 1), NULL), 0);
        assert_int_equal(guest_spec_set_initrd(&s, repeat('i', SPEC_PATH_MAX), &e), -EINVAL);
        assert_int_equal(guest_spec_set_initrd(&s, "", NULL), 0);
        assert_int_equal(guest_spec_set_cmdline(&s, repeat('c', SPEC_CMDLINE_MAX - 1), NULL), 0);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        assert_int_equal(guest_spec_set_cmdline(&s, repeat('c', SPEC_CMDLINE_MAX), &e), -EINVAL);
        assert_int_equal(e.status, STATUS_IMAGE);

        /* A shorter text leaves nothing of the longer one behind. */
        assert_int_equal(guest_spec_set_cmdline(&s, "x", NULL), 0);
        for (size_t i = 1; i < sizeof(s.cmdline); i++)
                assert_int_equal(s.cmdline[i], 0);
        for (size_t i = 0; i < sizeof(s.initrd); i++)
                assert_int_equal(s.initrd[i], 0);
}

static void numbers(void **state)
{
        struct guest_spec s = good_spec();
        struct err e = ERR_INIT;

        assert_int_equal(guest_spec_set_vcpus(&s, 1, NULL), 0);
        assert_int_equal(guest_spec_set_vcpus(&s, 64, NULL), 0);
        for (const uint64_t *v = (const uint64_t[]){65, 1000000000, UINT64_MAX, (1ULL << 32) + 1, 0};; v++) {
                assert_int_equal(guest_spec_set_vcpus(&s, *v, &e), -EINVAL);
                assert_string_equal(e.text, "cpus must be 1 to 64");
                assert_int_equal(e.status, STATUS_USAGE);
                if (*v == 0)
                        break;
        }
        assert_int_equal(s.vcpus, 64);

        assert_int_equal(guest_spec_set_memory(&s, 2ULL << 20, NULL), 0);
        assert_int_equal(guest_spec_set_memory(&s, 64ULL << 40, NULL), 0);
        for (const uint64_t *v = (const uint64_t[]){1ULL << 20, (2ULL << 20) - 1, (2ULL << 20) + 1,
                                                    (64ULL << 40) + (1 << 20), 1ULL << 50, UINT64_MAX, 0};
             ; v++) {
                assert_int_equal(guest_spec_set_memory(&s, *v, &e), -EINVAL);
                assert_string_equal(e.text, "memory must be a multiple of 1M from 2M to 64T");
                if (*v == 0)
                        break;
        }
        assert_true(s.memory_bytes == 64ULL << 40);

        assert_int_equal(guest_spec_set_cpu_limit(&s, 1, NULL), 0);
        assert_int_equal(guest_spec_set_cpu_limit(&s, 6500, NULL), 0);
        assert_int_equal(guest_spec_set_cpu_limit(&s, 0, &e), -EINVAL);
        assert_int_equal(guest_spec_set_cpu_limit(&s, 6501, &e), -EINVAL);
        assert_int_equal(s.cpu_limit_percent, 6500);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
}

static void words(void **state)
{
        struct guest_spec s = good_spec();

        assert_int_equal(guest_spec_set_cpu_model(&s, "baseline", NULL), 0);
        assert_int_equal(s.cpu_model, CPU_BASELINE);
        assert_int_equal(guest_spec_set_cpu_model(&s, "Host", NULL), -EINVAL);
        assert_int_equal(guest_spec_set_on_reset(&s, "exit", NULL), 0);
        assert_int_equal(s.on_reset, ON_RESET_EXIT);
        assert_int_equal(guest_spec_set_on_reset(&s, "", NULL), -EINVAL);
        assert_string_equal(cpu_model_name(CPU_HOST), "host");
        assert_string_equal(cpu_model_name(2), "unknown");
        assert_string_equal(on_reset_name(ON_RESET_RESTART), "restart");
        assert_string_equal(on_reset_name(UINT32_MAX), "unknown");
}

static void io_limits(void **state)
{
        struct guest_spec s = good_spec();
        struct io_limit l = {.major = 8, .read_bytes_per_s = 1};

        for (uint32_t i = 0; i < SPEC_IO_LIMITS_MAX; i++) {
                l.minor = i;
                assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), 0);
        }
        l.minor = SPEC_IO_LIMITS_MAX;
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
        assert_int_equal(s.io_limit_count, SPEC_IO_LIMITS_MAX);

        /* The same device again: what is given replaces, the rest stays. */
        l = (struct io_limit){.major = 8, .minor = 3, .write_ops_per_s = SPEC_IO_RATE_MAX};
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), 0);
        assert_int_equal(s.io_limit_count, SPEC_IO_LIMITS_MAX);
        assert_true(s.io_limits[3].read_bytes_per_s == 1);
        assert_true(s.io_limits[3].write_ops_per_s == SPEC_IO_RATE_MAX);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);

        l.write_ops_per_s = SPEC_IO_RATE_MAX + 1;
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
        l.write_ops_per_s = 0;
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
        l = (struct io_limit){.major = 0, .read_bytes_per_s = 1};
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
        l.major = SPEC_DEV_MAJOR_MAX + 1;
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
        s.io_limit_count = 0;
        l = (struct io_limit){SPEC_DEV_MAJOR_MAX, SPEC_DEV_MINOR_MAX, .read_bytes_per_s = 1};
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), 0);
        l.minor++;
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), -EINVAL);
}

/* What only bytes from another process can bring. */
static void hostile_fields(void **state)
{
        struct guest_spec s = good_spec();

        memset(s.name, 'a', sizeof(s.name));
        assert_invalid(&s, STATUS_USAGE, "name must");
        s = good_spec();
        memset(s.kernel, 'a', sizeof(s.kernel));
        assert_invalid(&s, STATUS_USAGE, "kernel must");
        s = good_spec();
        memset(s.initrd, 'a', sizeof(s.initrd));
        assert_invalid(&s, STATUS_USAGE, "initrd must");
        s = good_spec();
        memset(s.cmdline, 'a', sizeof(s.cmdline));
        assert_invalid(&s, STATUS_IMAGE, "cmdline must");
        s = good_spec();
        s.memory_bytes = 1;
        assert_invalid(&s, STATUS_USAGE, "memory must");
        s = good_spec();
        s.vcpus = 65;
        assert_invalid(&s, STATUS_USAGE, "cpus must");
        s = good_spec();
        s.cpu_model = 2;
        assert_invalid(&s, STATUS_USAGE, "cpu has");
        s = good_spec();
        s.on_reset = 2;
        assert_invalid(&s, STATUS_USAGE, "on_reset has");
        s = good_spec();
        s.cpu_limit_percent = 6501;
        assert_invalid(&s, STATUS_USAGE, "cpu_limit_percent");
        s = good_spec();
        s.test_device = 2;
        assert_invalid(&s, STATUS_USAGE, "test_device");
        s = good_spec();
        s.require_all_layers = 2;
        assert_invalid(&s, STATUS_USAGE, "require_all_layers");
        s = good_spec();
        s.reserved = 1;
        assert_invalid(&s, STATUS_USAGE, "0 or 1");
        s = good_spec();
        s.io_limit_count = SPEC_IO_LIMITS_MAX + 1;
        assert_invalid(&s, STATUS_USAGE, "at most 8");
        s.io_limit_count = UINT32_MAX;
        assert_invalid(&s, STATUS_USAGE, "at most 8");
        s.io_limit_count = 1;
        assert_invalid(&s, STATUS_USAGE, "io_limits");
        s.io_limit_count = 2;
        s.io_limits[0] = s.io_limits[1] = (struct io_limit){.major = 8, .read_ops_per_s = 1};
        assert_invalid(&s, STATUS_USAGE, "listed twice");
}

static void invalid_disk(void (*spoil)(struct disk_spec *d), const char *part)
{
        struct guest_spec s = good_spec();
        struct disk_spec d = {.path = "/d"};

        assert_int_equal(guest_spec_add_disk(&s, &d, NULL), 0);
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        spoil(&s.disks[0]);
        assert_invalid(&s, STATUS_USAGE, part);
}

#define SPOIL(name, act)                      \
        static void name(struct disk_spec *d) \
        {                                     \
                act;                          \
        }
SPOIL(no_path, d->path[0] = '\0')
SPOIL(endless_path, memset(d->path, 'a', sizeof(d->path)))
SPOIL(no_id, d->id[0] = '\0')
SPOIL(endless_id, memset(d->id, 'a', sizeof(d->id)))
SPOIL(taken_id, memcpy(d->id, "rng", 4))
SPOIL(bad_read_only, d->read_only = 2)
SPOIL(bad_direct, d->direct = 2)
SPOIL(bad_engine, d->engine = 3)
SPOIL(bad_queues, d->queues = 17)
SPOIL(bad_format, d->format = 2)
SPOIL(qcow2_engine, (d->format = DISK_FORMAT_QCOW2, d->engine = DISK_ENGINE_SYNC))
SPOIL(qcow2_bytes, (d->format = DISK_FORMAT_QCOW2, d->bytes_per_s = 1))
SPOIL(qcow2_ops, (d->format = DISK_FORMAT_QCOW2, d->ops_per_s = 1))
SPOIL(bad_bytes, d->bytes_per_s = SPEC_IO_RATE_MAX + 1)
SPOIL(bad_ops, d->ops_per_s = SPEC_IO_RATE_MAX + 1)

static void invalid_disks(void **state)
{
        struct guest_spec s = good_spec();

        invalid_disk(no_path, "disks[0]: path must");
        invalid_disk(endless_path, "disks[0]: path must");
        invalid_disk(no_id, "disks[0]: id must");
        invalid_disk(endless_id, "disks[0]: id must");
        invalid_disk(taken_id, "disks[0]: id must");
        invalid_disk(bad_read_only, "must be 0 or 1");
        invalid_disk(bad_direct, "must be 0 or 1");
        invalid_disk(bad_format, "format has");
        invalid_disk(qcow2_engine, "in format qcow2");
        invalid_disk(qcow2_bytes, "in format qcow2");
        invalid_disk(qcow2_ops, "in format qcow2");
        invalid_disk(bad_engine, "engine has");
        invalid_disk(bad_queues, "queues must");
        invalid_disk(bad_bytes, "bytes_per_s must");
        invalid_disk(bad_ops, "ops_per_s must");
        s.rng = 2;
        assert_invalid(&s, STATUS_USAGE, "0 or 1");
        s = good_spec();
        s.disk_count = SPEC_DISKS_MAX + 1;
        assert_invalid(&s, STATUS_USAGE, "disks must be at most 12");
        s.disk_count = UINT32_MAX;
        assert_invalid(&s, STATUS_USAGE, "disks must be at most 12");
}

static void disks(void **state)
{
        struct guest_spec s = good_spec(), before;
        struct disk_spec d = {.path = "/d"};
        struct err e = ERR_INIT;

        assert_int_equal(disk_spec_set_id(&d, "disk1", NULL), 0);
        assert_int_equal(guest_spec_add_disk(&s, &d, NULL), 0);
        d.id[0] = '\0';
        /* The second one's own default is taken. */
        before = s;
        assert_int_equal(guest_spec_add_disk(&s, &d, &e), -EINVAL);
        assert_string_equal(e.text, "disks: two have the id \"disk1\"");
        assert_memory_equal(&s, &before, sizeof(s));
        s = good_spec();
        memset(d.id, 0, sizeof(d.id));
        for (int i = 0; i < SPEC_DISKS_MAX; i++)
                assert_int_equal(guest_spec_add_disk(&s, &d, NULL), 0);
        assert_string_equal(s.disks[0].id, "disk0");
        assert_string_equal(s.disks[SPEC_DISKS_MAX - 1].id, "disk11");
        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        before = s;
        assert_int_equal(guest_spec_add_disk(&s, &d, &e), -EINVAL);
        assert_memory_equal(&s, &before, sizeof(s));
        assert_string_equal(disk_engine_name(DISK_ENGINE_URING), "io_uring");
        assert_string_equal(disk_engine_name(3), "unknown");
}

static void bytes(void **state)
{
        struct guest_spec s = good_spec(), got, before;
        unsigned char buf[sizeof(s) + 1] = {0}; /* unaligned on purpose */
        struct err e = ERR_INIT;

        memset(&before, 0x55, sizeof(before));
        got = before;
        memcpy(buf + 1, &s, sizeof(s));
        for (const size_t *len = (const size_t[]){sizeof(s) - 1, sizeof(s) + 1, SIZE_MAX, 0};; len++) {
                assert_int_equal(guest_spec_draft_from_bytes(buf + 1, *len, &got, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_FAILURE);
                if (*len == 0)
                        break;
        }
        s.version++;
        assert_int_equal(guest_spec_draft_from_bytes(&s, sizeof(s), &got, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_FAILURE);
        s = good_spec();
        s.size_bytes--;
        assert_int_equal(guest_spec_draft_from_bytes(&s, sizeof(s), &got, &e), -EINVAL);
        assert_memory_equal(&got, &before, sizeof(got));

        s = good_spec();
        s.kernel[0] = '\0';
        assert_int_equal(guest_spec_validate(&s, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_USAGE);
        assert_int_equal(guest_spec_draft_from_bytes(&s, sizeof(s), &got, &e), 0);
        assert_memory_equal(&got, &s, sizeof(got));
        s.vcpus = 0;
        assert_int_equal(guest_spec_draft_from_bytes(&s, sizeof(s), &got, &e), -EINVAL);
        s = good_spec();
        assert_int_equal(guest_spec_draft_from_bytes(buf + 1, sizeof(s), &got, &e), 0);
        assert_memory_equal(&got, &s, sizeof(got));
}

static void devices(void **state)
{
        static const char *const bad[] = {
                "",      "0:0",  "4096:0",    "1:1048576", "99999999999:0",          "1:", ":1",
                "1:2:3", "1:-2", "/dev/null", "/nonesuch", "8:99999999999999999999", NULL};
        uint32_t maj = 7, min = 7;
        struct err e = ERR_INIT;
        char line[256], name[64], path[80];
        FILE *partitions;

        assert_int_equal(io_device_parse("8:16", &maj, &min, NULL), 0);
        assert_true(maj == 8 && min == 16);
        assert_int_equal(io_device_parse("4095:1048575", &maj, &min, NULL), 0);
        assert_true(maj == 4095 && min == 1048575);
        for (const char *const *text = bad; *text; text++) {
                assert_int_equal(io_device_parse(*text, &maj, &min, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_USAGE);
                assert_true(maj == 4095 && min == 1048575);
        }

        /* Block devices by their paths, as many as the host has. */
        partitions = fopen("/proc/partitions", "re");
        assert_non_null(partitions);
        while (fgets(line, sizeof(line), partitions)) {
                unsigned int want_major, want_minor;
                struct stat st;

                if (sscanf(line, " %u %u %*u %63s", &want_major, &want_minor, name) != 3)
                        continue;
                snprintf(path, sizeof(path), "/dev/%s", name);
                if (stat(path, &st) < 0)
                        continue;
                assert_int_equal(io_device_parse(path, &maj, &min, NULL), 0);
                assert_int_equal(maj, want_major);
                assert_int_equal(min, want_minor);
        }
        fclose(partitions);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults), cmocka_unit_test(names),         cmocka_unit_test(texts),
                cmocka_unit_test(numbers),  cmocka_unit_test(words),         cmocka_unit_test(io_limits),
                cmocka_unit_test(disks),    cmocka_unit_test(invalid_disks), cmocka_unit_test(hostile_fields),
                cmocka_unit_test(bytes),    cmocka_unit_test(devices),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
