#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/spec_flags.h"

#define ARGS_MAX 16

struct args {
        int argc;
        char *argv[ARGS_MAX + 1];
};

/* "run" and the words up to NULL. */
static struct args args_of(const char *const *words)
{
        struct args a = {.argc = 1, .argv = {(char *)"run"}};

        for (; *words; words++) {
                assert_true(a.argc < ARGS_MAX);
                a.argv[a.argc++] = (char *)*words;
        }
        return a;
}

#define ARGS(...) args_of((const char *const[]){__VA_ARGS__, NULL})

/* Both passes, as the command line does them; the error of the first that fails. */
static int parse(struct args a, struct run_options *o, struct guest_spec *s, struct err *e)
{
        int r = run_options_parse(a.argc, a.argv, o, e);

        return r < 0 ? r : spec_flags_apply(a.argc, a.argv, s, e);
}

static struct guest_spec parse_good(struct args a)
{
        struct err e = ERR_INIT;
        struct run_options o;
        struct guest_spec s;

        guest_spec_init(&s);
        if (parse(a, &o, &s, &e) < 0)
                fail_msg("%s", e.text);
        return s;
}

static void assert_bad(struct args a, enum exit_status status, const char *text)
{
        struct guest_spec s, before;
        struct err e = ERR_INIT;
        struct run_options o;

        guest_spec_init(&s);
        before = s;
        assert_int_equal(parse(a, &o, &s, &e), -EINVAL);
        assert_string_equal(e.text, text);
        assert_int_equal(e.status, status);
        assert_memory_equal(&s, &before, sizeof(s));
}

static void everything(void **state)
{
        struct guest_spec s = parse_good(ARGS("--kernel", "/k", "vm1", "--initrd=/i", "--cmdline", "-a --b",
                                              "--cpus=64", "--mem", "1G", "--cpu", "baseline"));

        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        assert_string_equal(s.name, "vm1");
        assert_string_equal(s.kernel, "/k");
        assert_string_equal(s.initrd, "/i");
        assert_string_equal(s.cmdline, "-a --b");
        assert_int_equal(s.vcpus, 64);
        assert_true(s.memory_bytes == 1ULL << 30);
        assert_int_equal(s.cpu_model, CPU_BASELINE);

        s = parse_good(ARGS("--on-reset", "exit", "--cpu-limit", "150", "--require-all-layers", "--test-device",
                            "--io-limit", "8:0,rbps=1M,wbps=2G,riops=3,wiops=4", "--io-limit", "8:16,rbps=9"));
        assert_int_equal(s.on_reset, ON_RESET_EXIT);
        assert_int_equal(s.cpu_limit_percent, 150);
        assert_int_equal(s.require_all_layers, 1);
        assert_int_equal(s.test_device, 1);
        assert_int_equal(s.io_limit_count, 2);
        assert_int_equal(s.io_limits[0].major, 8);
        assert_true(s.io_limits[0].read_bytes_per_s == 1 << 20 && s.io_limits[0].write_bytes_per_s == 2ULL << 30);
        assert_true(s.io_limits[0].read_ops_per_s == 3 && s.io_limits[0].write_ops_per_s == 4);
        assert_int_equal(s.io_limits[1].minor, 16);
}

static void options_of_the_run(void **state)
{
        struct args a = ARGS("vm", "--config", "a.json", "--print-config", "--config=b.json");
        struct run_options o = {0};

        assert_int_equal(run_options_parse(a.argc, a.argv, &o, NULL), 0);
        assert_string_equal(o.config, "b.json");
        assert_true(o.print_config);
        assert_false(o.help);

        /* Help is given even to who does not know how to go on. */
        a = ARGS("--help", "--bogus");
        assert_int_equal(run_options_parse(a.argc, a.argv, &o, NULL), 0);
        assert_true(o.help);
        assert_null(o.config);
        a = ARGS("--bogus", "--help");
        assert_int_equal(run_options_parse(a.argc, a.argv, &o, NULL), -EINVAL);
        assert_true(o.help);
        a = (struct args){.argc = 1, .argv = {(char *)"run"}};
        assert_int_equal(run_options_parse(a.argc, a.argv, &o, NULL), 0);
        assert_false(o.help);
}

static void help_is_complete(void **state)
{
        static const char *const names[] = {"--kernel FILE",
                                            "--initrd FILE",
                                            "--cmdline TEXT",
                                            "--cpus N",
                                            "--mem SIZE",
                                            "--cpu MODEL",
                                            "--on-reset ACTION",
                                            "--cpu-limit PERCENT",
                                            "--io-limit DEVICE,",
                                            "--disk [raw:|qcow2:]FILE",
                                            "--rng, --no-rng",
                                            "--require-all-layers",
                                            "--test-device",
                                            "--config FILE",
                                            "--print-config",
                                            "--device",
                                            "--help",
                                            NULL};
        size_t options = 0;

        for (const char *const *name = names; *name; name++)
                assert_non_null(strstr(run_help, *name));
        for (const char *p = strstr(run_help, "\n  --"); p; p = strstr(p + 1, "\n  --"))
                options++;
        assert_int_equal(options, sizeof(names) / sizeof(names[0]) - 1);
}

static void override(void **state)
{
        struct args a = ARGS("--cpus", "3", "--cpus", "2", "--io-limit", "8:0,wbps=5", "--initrd", "");
        struct io_limit l = {.major = 8, .read_bytes_per_s = 1, .write_bytes_per_s = 1};
        struct guest_spec s;

        /* As a configuration file would have left it. */
        guest_spec_init(&s);
        assert_int_equal(guest_spec_set_name(&s, "file", NULL), 0);
        assert_int_equal(guest_spec_set_initrd(&s, "file", NULL), 0);
        assert_int_equal(guest_spec_set_memory(&s, 64 << 20, NULL), 0);
        assert_int_equal(guest_spec_add_io_limit(&s, &l, NULL), 0);
        assert_int_equal(spec_flags_apply(a.argc, a.argv, &s, NULL), 0);
        assert_string_equal(s.name, "file");
        assert_string_equal(s.initrd, "");
        assert_int_equal(s.vcpus, 2);
        assert_true(s.memory_bytes == 64 << 20);
        assert_int_equal(s.io_limit_count, 1);
        assert_true(s.io_limits[0].read_bytes_per_s == 1 && s.io_limits[0].write_bytes_per_s == 5);
}

static void disks(void **state)
{
        struct guest_spec s =
                parse_good(ARGS("--disk", "raw:/a,ro,direct,id=root,engine=io_uring,queues=16,bps=2G,iops=7",
                                "--no-rng", "--disk=raw", "--disk", "./raw:x", "--disk", "qcow2:q,ro,direct"));

        assert_int_equal(s.rng, 0);
        assert_int_equal(s.disk_count, 4);
        assert_string_equal(s.disks[0].path, "/a");
        assert_string_equal(s.disks[0].id, "root");
        assert_true(s.disks[0].read_only == 1 && s.disks[0].direct == 1);
        assert_true(s.disks[0].engine == DISK_ENGINE_URING && s.disks[0].queues == 16);
        assert_true(s.disks[0].bytes_per_s == 2ULL << 30 && s.disks[0].ops_per_s == 7);
        assert_string_equal(s.disks[1].path, "raw");
        assert_string_equal(s.disks[1].id, "disk1");
        assert_string_equal(s.disks[2].path, "./raw:x");
        assert_string_equal(s.disks[3].path, "q");
        assert_true(s.disks[2].format == DISK_FORMAT_RAW && s.disks[3].format == DISK_FORMAT_QCOW2);
        assert_int_equal(parse_good(ARGS("--no-rng", "--rng")).rng, 1);
        assert_int_equal(parse_good(ARGS("--rng", "--no-rng")).rng, 0);
}

static void backends(void **state)
{
        struct guest_spec s = parse_good(ARGS("--device", "vhost-user,type=blk,socket=/s,id=other", "--device",
                                              "vhost-user,socket=t,type=rng", "--disk", "/a"));

        assert_int_equal(s.backend_count, 2);
        assert_int_equal(s.backends[0].type, BACKEND_BLK);
        assert_string_equal(s.backends[0].socket, "/s");
        assert_string_equal(s.backends[0].id, "other");
        assert_int_equal(s.backends[1].type, BACKEND_RNG);
        assert_string_equal(s.backends[1].socket, "t");
        assert_string_equal(s.backends[1].id, "vhost-user1");
        assert_int_equal(s.disk_count, 1);
}

#define GOOD_BACKEND "vhost-user,type=blk,socket=s"

static void bad_backends(void **state)
{
        char longest[SPEC_SOCKET_MAX + 40], text[256];

        assert_bad(ARGS("--device", "vfio,type=blk"), STATUS_USAGE,
                   "--device vfio,type=blk: protocol must be vhost-user");
        assert_bad(ARGS("--device", "vhost-user,socket=s"), STATUS_USAGE,
                   "--device vhost-user,socket=s: devices[0]: type must be blk or rng");
        assert_bad(ARGS("--device", "vhost-user,type=net,socket=s"), STATUS_USAGE,
                   "--device vhost-user,type=net,socket=s: type must be blk or rng");
        assert_bad(ARGS("--device", "vhost-user,type=blk"), STATUS_USAGE,
                   "--device vhost-user,type=blk: devices[0]: socket must be 1 to 107 bytes");
        assert_bad(ARGS("--device", "vhost-user,type=blk,socket="), STATUS_USAGE,
                   "--device vhost-user,type=blk,socket=: socket must be 1 to 107 bytes");
        assert_bad(ARGS("--device", "vhost-user,ro"), STATUS_USAGE,
                   "--device vhost-user,ro: 'ro' is none of type=TYPE, socket=PATH, id=NAME");
        assert_bad(ARGS("--device", GOOD_BACKEND ",id=rng"), STATUS_USAGE,
                   "--device " GOOD_BACKEND ",id=rng: id must be 1 to 20 of A-Z a-z 0-9 . _ -, start with a letter or "
                   "digit, and not be rng");
        assert_bad(ARGS("--device", GOOD_BACKEND ",id=disk0", "--disk", "a"), STATUS_USAGE,
                   "--disk a: devices: two have the id \"disk0\"");
        assert_bad(ARGS("--disk", "a", "--device", GOOD_BACKEND ",id=disk0"), STATUS_USAGE,
                   "--device " GOOD_BACKEND ",id=disk0: devices: two have the id \"disk0\"");
        assert_bad(ARGS("--device", GOOD_BACKEND, "--device", GOOD_BACKEND, "--device", GOOD_BACKEND, "--device",
                        GOOD_BACKEND),
                   STATUS_USAGE, "--device " GOOD_BACKEND ": devices must be at most 3");
        memset(longest, 'a', sizeof(longest));
        memcpy(longest, "vhost-user,type=blk,socket=", 27);
        longest[27 + SPEC_SOCKET_MAX - 1] = '\0';
        assert_int_equal(parse_good(ARGS("--device", longest)).backend_count, 1);
        longest[27 + SPEC_SOCKET_MAX - 1] = 'a';
        longest[27 + SPEC_SOCKET_MAX] = '\0';
        snprintf(text, sizeof(text), "--device %.80s: socket must be 1 to 107 bytes", longest);
        assert_bad(ARGS("--device", longest), STATUS_USAGE, text);
}

#define DISK_OPTIONS                                                                                          \
        " is none of ro, direct, id=NAME, engine=ENGINE, queues=N, bps=SIZE, iops=N; a path with a comma in " \
        "it can be given in a configuration file"

#define QCOW2_REFUSES "disks[0]: engine, bytes_per_s and ops_per_s cannot be chosen for a disk in format qcow2"

static void bad_disks(void **state)
{
        assert_bad(ARGS("--disk", ""), STATUS_USAGE, "--disk : path must be 1 to 1023 bytes");
        assert_bad(ARGS("--disk", "raw:"), STATUS_USAGE, "--disk raw:: path must be 1 to 1023 bytes");
        assert_bad(ARGS("--disk", "qcow2:"), STATUS_USAGE, "--disk qcow2:: path must be 1 to 1023 bytes");
        assert_bad(ARGS("--disk", "qcow2:a,engine=sync"), STATUS_USAGE, "--disk qcow2:a,engine=sync: " QCOW2_REFUSES);
        assert_bad(ARGS("--disk", "qcow2:a,bps=1M"), STATUS_USAGE, "--disk qcow2:a,bps=1M: " QCOW2_REFUSES);
        assert_bad(ARGS("--disk", "qcow2:a,iops=1"), STATUS_USAGE, "--disk qcow2:a,iops=1: " QCOW2_REFUSES);
        assert_bad(ARGS("--disk", "a,b"), STATUS_USAGE, "--disk a,b: 'b'" DISK_OPTIONS);
        assert_bad(ARGS("--disk", "a,"), STATUS_USAGE, "--disk a,: ''" DISK_OPTIONS);
        assert_bad(ARGS("--disk", "a,ro=1"), STATUS_USAGE, "--disk a,ro=1: 'ro=1'" DISK_OPTIONS);
        assert_bad(ARGS("--disk", "a,id"), STATUS_USAGE, "--disk a,id: 'id'" DISK_OPTIONS);
        assert_bad(ARGS("--disk", "a,queue=1"), STATUS_USAGE, "--disk a,queue=1: 'queue=1'" DISK_OPTIONS);
        assert_bad(ARGS("--disk", "a,queues=17"), STATUS_USAGE, "--disk a,queues=17: queues must be 1 to 16");
        assert_bad(ARGS("--disk", "a,queues=x"), STATUS_USAGE, "--disk a,queues=x: 'x' is not a number");
        assert_bad(ARGS("--disk", "a,bps=x"), STATUS_USAGE, "--disk a,bps=x: 'x' is not a size");
        assert_bad(ARGS("--disk", "a,bps=2P"), STATUS_USAGE,
                   "--disk a,bps=2P: bytes_per_s must be 1 to 1125899906842624");
        assert_bad(ARGS("--disk", "a,iops=0"), STATUS_USAGE,
                   "--disk a,iops=0: ops_per_s must be 1 to 1125899906842624");
        assert_bad(ARGS("--disk", "a,engine=x"), STATUS_USAGE,
                   "--disk a,engine=x: engine must be auto, io_uring or sync");
        assert_bad(ARGS("--disk", "a", "--disk", "b,id=disk0"), STATUS_USAGE,
                   "--disk b,id=disk0: disks: two have the id \"disk0\"");
        assert_bad(ARGS("--rng=1"), STATUS_USAGE, "no value may be given in '--rng=1'; see bulkhead run --help");
}

static void operands(void **state)
{
        static char *const posix[] = {(char *)"run", (char *)"vm", (char *)"--cpus", (char *)"2", NULL};
        struct guest_spec s = parse_good(ARGS("--cpus", "2", "--", "vm"));

        assert_string_equal(s.name, "vm");
        /* The environment does not change what the arguments mean. */
        setenv("POSIXLY_CORRECT", "1", 1);
        guest_spec_init(&s);
        assert_int_equal(spec_flags_apply(4, posix, &s, NULL), 0);
        unsetenv("POSIXLY_CORRECT");
        assert_string_equal(s.name, "vm");
        assert_int_equal(s.vcpus, 2);

#define HINT "; see bulkhead run --help"
        assert_bad(ARGS("a", "b"), STATUS_USAGE, "one name is enough; stray argument 'b'" HINT);
        assert_bad(ARGS("a", "--", "--cpus"), STATUS_USAGE, "one name is enough; stray argument '--cpus'" HINT);
}

static void syntax(void **state)
{
        assert_bad(ARGS("vm", "--bogus"), STATUS_USAGE, "unknown option '--bogus'" HINT);
        assert_bad(ARGS("vm", "--bogus=1"), STATUS_USAGE, "unknown option '--bogus=1'" HINT);
        assert_bad(ARGS("-k", "x"), STATUS_USAGE, "unknown option '-k'" HINT);
        assert_bad(ARGS("-kx"), STATUS_USAGE, "unknown option '-kx'" HINT);
        assert_bad(ARGS("--kern", "x"), STATUS_USAGE, "unknown option '--kern'" HINT);
        assert_bad(ARGS("--kern=x"), STATUS_USAGE, "unknown option '--kern=x'" HINT);
        assert_bad(ARGS("--c", "x"), STATUS_USAGE, "unknown option '--c'" HINT);
        assert_bad(ARGS("vm", "--kernel"), STATUS_USAGE, "a value is missing after '--kernel'" HINT);
        assert_bad(ARGS("--test-device=1"), STATUS_USAGE, "no value may be given in '--test-device=1'" HINT);
}

static void values(void **state)
{
#define CPUS "cpus must be 1 to 64"
#define MEM  "memory must be a multiple of 1M from 2M to 64T"
#define NAME "name must be 1 to 63 of A-Z a-z 0-9 . _ - and start with a letter or digit"
        char name[301], long_text[SPEC_CMDLINE_MAX + 1], limit[2048];

        assert_bad(ARGS("--cpus", "0"), STATUS_USAGE, "--cpus 0: " CPUS);
        assert_bad(ARGS("--cpus=65"), STATUS_USAGE, "--cpus 65: " CPUS);
        assert_bad(ARGS("--cpus", "1000000000"), STATUS_USAGE, "--cpus 1000000000: " CPUS);
        assert_bad(ARGS("--cpus", "99999999999999999999"), STATUS_USAGE, "--cpus 99999999999999999999: " CPUS);
        assert_bad(ARGS("--cpus", "two"), STATUS_USAGE, "--cpus two: not a number");
        assert_bad(ARGS("--cpus", "-1"), STATUS_USAGE, "--cpus -1: not a number");
        assert_bad(ARGS("--cpu-limit", "0"), STATUS_USAGE, "--cpu-limit 0: cpu_limit_percent must be 1 to 6500");
        assert_bad(ARGS("--cpu-limit", "50%"), STATUS_USAGE, "--cpu-limit 50%: not a number");
        assert_bad(ARGS("--mem", "0"), STATUS_USAGE, "--mem 0: " MEM);
        assert_bad(ARGS("--mem", "1M"), STATUS_USAGE, "--mem 1M: " MEM);
        assert_bad(ARGS("--mem", "1P"), STATUS_USAGE, "--mem 1P: " MEM);
        assert_bad(ARGS("--mem", "99999P"), STATUS_USAGE, "--mem 99999P: " MEM);
        assert_bad(ARGS("--mem", "1MB"), STATUS_USAGE,
                   "--mem 1MB: not a size (a number with K, M, G, T, P or nothing after it)");
        assert_bad(ARGS("--cpu", "fast"), STATUS_USAGE, "--cpu fast: cpu must be host or baseline");
        assert_bad(ARGS("--on-reset", "stop"), STATUS_USAGE, "--on-reset stop: on_reset must be restart or exit");
        assert_bad(ARGS("a/b"), STATUS_USAGE, "'a/b': " NAME);
        assert_bad(ARGS(""), STATUS_USAGE, "'': " NAME);
        memset(name, 'n', 300);
        name[300] = '\0';
        {
                char text[256] = "'";

                memset(text + 1, 'n', 80);
                strncat(text, "': " NAME, 160);
                assert_bad(ARGS(name), STATUS_USAGE, text);
        }
        memset(long_text, 'c', SPEC_CMDLINE_MAX);
        long_text[SPEC_CMDLINE_MAX] = '\0';
        {
                char text[256] = "--cmdline ";

                memset(text + 10, 'c', 80);
                strncat(text, ": cmdline must be at most 2047 bytes", 100);
                assert_bad(ARGS("--cmdline", long_text), STATUS_IMAGE, text);
        }
        memset(limit, 'd', sizeof(limit) - 1);
        limit[sizeof(limit) - 1] = '\0';
        {
                char text[256] = "--io-limit ";

                memset(text + 11, 'd', 80);
                strncat(text, ": longer than 1151 bytes", 100);
                assert_bad(ARGS("--io-limit", limit), STATUS_USAGE, text);
        }
}

static void io_limits(void **state)
{
#define RATE "must be a size from 1 to 1125899906842624"
#define KEYS "is none of rbps=SIZE, wbps=SIZE, riops=N, wiops=N"
        assert_bad(ARGS("--io-limit", "8:0"), STATUS_USAGE, "--io-limit 8:0: io_limits: device 8:0 has no limit");
        assert_bad(ARGS("--io-limit", "8:0,"), STATUS_USAGE, "--io-limit 8:0,: '' " KEYS);
        assert_bad(ARGS("--io-limit", "8:0,bps=1"), STATUS_USAGE, "--io-limit 8:0,bps=1: 'bps=1' " KEYS);
        assert_bad(ARGS("--io-limit", "8:0,rbps"), STATUS_USAGE, "--io-limit 8:0,rbps: 'rbps' " KEYS);
        assert_bad(ARGS("--io-limit", "8:0,rbps="), STATUS_USAGE, "--io-limit 8:0,rbps=: rbps=: " RATE);
        assert_bad(ARGS("--io-limit", "8:0,rbps=0"), STATUS_USAGE, "--io-limit 8:0,rbps=0: rbps=0: " RATE);
        assert_bad(ARGS("--io-limit", "8:0,rbps=2P"), STATUS_USAGE, "--io-limit 8:0,rbps=2P: rbps=2P: " RATE);
        assert_bad(ARGS("--io-limit", "8:0,riops=1K"), STATUS_USAGE,
                   "--io-limit 8:0,riops=1K: riops=1K: must be a number from 1 to 1125899906842624");
        assert_bad(ARGS("--io-limit", "/dev/null,rbps=1"), STATUS_USAGE,
                   "--io-limit /dev/null,rbps=1: device /dev/null: not a block device");
        assert_bad(ARGS("--io-limit", ",rbps=1"), STATUS_USAGE,
                   "--io-limit ,rbps=1: device : No such file or directory");
        assert_bad(ARGS("--io-limit", "5000:0,rbps=1"), STATUS_USAGE,
                   "--io-limit 5000:0,rbps=1: device 5000:0: must be 1:0 to 4095:1048575");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(everything),
                cmocka_unit_test(options_of_the_run),
                cmocka_unit_test(help_is_complete),
                cmocka_unit_test(override),
                cmocka_unit_test(disks),
                cmocka_unit_test(backends),
                cmocka_unit_test(bad_backends),
                cmocka_unit_test(bad_disks),
                cmocka_unit_test(operands),
                cmocka_unit_test(syntax),
                cmocka_unit_test(values),
                cmocka_unit_test(io_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
