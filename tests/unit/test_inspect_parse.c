/* The parsers of /proc. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/inspect/parse.h"

static const char status_text[] = "Name:\tbulkhead-vmm\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t812\nPid:\t813\n"
                                  "PPid:\t1\nUid:\t5\t6\t7\t8\nGid:\t15\t16\t17\t18\nFDSize:\t256\nGroups:\t4 20 \n"
                                  "NSpid:\t813\t2\nCapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\n"
                                  "CapEff:\t0000000000000003\nCapBnd:\t0000000000000004\nCapAmb:\t0000000000000005\n"
                                  "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n"
                                  "Speculation_Store_Bypass:\tthread force mitigated\n"
                                  "SpeculationIndirectBranch:\tconditional force disabled\n";

static void test_status(void **state)
{
        struct thread_facts t;
        char text[sizeof(status_text)];

        (void)state;
        memcpy(text, status_text, sizeof(text));
        assert_int_equal(parse_status(text, &t), 0);
        assert_string_equal(t.name, "bulkhead-vmm");
        assert_int_equal(t.tid, 813);
        assert_int_equal(t.pid_inside, 2);
        for (unsigned int i = 0; i < 4; i++) {
                assert_int_equal(t.uids[i], 5 + i);
                assert_int_equal(t.gids[i], 15 + i);
        }
        assert_int_equal(t.groups, 2);
        assert_int_equal(t.caps[CAPS_INHERITABLE], 1);
        assert_int_equal(t.caps[CAPS_PERMITTED], 0x1ffffffffffULL);
        assert_int_equal(t.caps[CAPS_AMBIENT], 5);
        assert_int_equal(t.no_new_privs, 1);
        assert_int_equal(t.seccomp_mode, 2);
        assert_int_equal(t.seccomp_filters, 2);
        assert_string_equal(t.store_bypass, "thread force mitigated");
        assert_string_equal(t.indirect_branch, "conditional force disabled");
}

/* Any text cut short: an error, or facts from the lines that are whole; never a read past the end (the
 * sanitizer sees). */
static void test_status_cut(void **state)
{
        (void)state;
        for (size_t len = 0; len < sizeof(status_text); len++) {
                char *text = strndup(status_text, len);
                struct thread_facts t = {.tid = -7};
                int r = parse_status(text, &t);

                assert_true(r == 0 || r == -EPROTO);
                if (r < 0)
                        assert_int_equal(t.tid, -7);
                if (!strstr(text, "Seccomp:\t2"))
                        assert_int_equal(r, -EPROTO);
                free(text);
        }
}

/* A process chooses its own name: a line in it must not pass for one of the kernel's. */
static void test_status_hostile_name(void **state)
{
        char text[sizeof(status_text) + 64];
        struct thread_facts t;

        (void)state;
        snprintf(text, sizeof(text), "Name:\tSeccomp:\\n\x1b[2J%s", strchr(status_text, '\n'));
        assert_int_equal(parse_status(text, &t), 0);
        assert_int_equal(t.seccomp_mode, 2);
        assert_null(strchr(t.name, '\x1b'));
}

static void test_limits(void **state)
{
        static const char text[] = "Limit                     Soft Limit           Hard Limit           Units     \n"
                                   "Max file size             1                    2                    bytes     \n"
                                   "Max core file size        0                    unlimited            bytes     \n"
                                   "Max processes             7                    8                    processes \n"
                                   "Max open files            128                  129                  files     \n"
                                   "Max locked memory         3                    4                    bytes     \n"
                                   "Max msgqueue size         5                    6                    bytes     \n";
        struct limit_facts limits[LIMIT_COUNT];

        (void)state;
        assert_int_equal(parse_limits(text, limits), 0);
        assert_int_equal(limits[LIMIT_CORE].soft, 0);
        assert_true(limits[LIMIT_CORE].hard == LIMIT_UNLIMITED);
        assert_int_equal(limits[LIMIT_NOFILE].hard, 129);
        assert_int_equal(limits[LIMIT_MSGQUEUE].soft, 5);
        assert_int_equal(parse_limits("Max file size 1 2\n", limits), -EPROTO);
        assert_int_equal(parse_limits("", limits), -EPROTO);
}

static int mountinfo(const char *text, struct root_facts *ret)
{
        FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
        int r = parse_mountinfo(f, ret);

        fclose(f);
        return r;
}

static void test_mountinfo(void **state)
{
        struct root_facts root;

        (void)state;
        assert_int_equal(mountinfo("85 63 0:40 / / ro,nosuid shared:1 - tmpfs none ro,size=4k\n", &root), 0);
        assert_int_equal(root.mounts, 1);
        assert_true(root.at_root && root.mount_read_only && root.fs_read_only);
        assert_string_equal(root.fs_type, "tmpfs");
        assert_int_equal(mountinfo("1 1 0:1 / / rw,errors=ro - ext4 x rw,errors=remount-ro\n"
                                   "2 1 0:2 / /proc rw - proc proc rw\n",
                                   &root),
                         0);
        assert_int_equal(root.mounts, 2);
        assert_false(root.mount_read_only || root.fs_read_only);
        assert_int_equal(mountinfo("1 1 0:1 / / rw - ext4\n", &root), -EPROTO);
        assert_int_equal(mountinfo("1 1 0:1 / /\n", &root), -EPROTO);
        assert_int_equal(mountinfo("no newline", &root), -E2BIG);
}

static int smaps(const char *text, struct memory_facts *ret, struct ram_range *ram)
{
        FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
        int r = parse_smaps(f, ret, ram);

        fclose(f);
        return r;
}

#define RAM_LINE                                                                                     \
        "7f0000000000-7f0000200000 rw-s 00000000 00:01 275206                     /memfd:guest_ram " \
        "(deleted)\n"
#define OTHER_LINE "7f1000000000-7f1000001000 rw-p 00000000 00:00 0 \n"

static void test_smaps(void **state)
{
        struct memory_facts m;
        struct ram_range ram;

        (void)state;
        assert_int_equal(smaps(RAM_LINE "Size: 2048 kB\nVmFlags: rd wr sh mr dd \n" OTHER_LINE "VmFlags: rd wr \n", &m,
                               &ram),
                         0);
        assert_int_equal(m.ram_mappings, 1);
        assert_int_equal(m.ram_bytes, 2 << 20);
        assert_true(m.ram_shared && m.ram_dontdump);
        assert_int_equal(m.mergeable + m.writable_executable, 0);
        assert_true(ram.start == 0x7f0000000000 && ram.end == 0x7f0000200000);

        assert_int_equal(smaps(RAM_LINE "VmFlags: rd wr mg \n" RAM_LINE "VmFlags: dd \n", &m, &ram), 0);
        assert_int_equal(m.ram_mappings, 2);
        assert_false(m.ram_dontdump);
        assert_int_equal(m.mergeable, 1);

        assert_int_equal(smaps("7f1000000000-7f1000001000 rwxp 00000000 00:00 0 \nVmFlags: rd wr ex \n", &m, &ram), 0);
        assert_int_equal(m.writable_executable, 1);
        assert_int_equal(m.ram_mappings, 0);
        assert_false(m.ram_shared || m.ram_dontdump);

        /* A kernel without VmFlags, an empty text, a line that never ends. */
        assert_int_equal(smaps(RAM_LINE, &m, &ram), -EPROTO);
        assert_int_equal(smaps("x\n", &m, &ram), -EPROTO);
        assert_int_equal(smaps("no newline", &m, &ram), -E2BIG);
}

static void test_cgroup_path(void **state)
{
        static const char text[] = "8:pids:/bulkhead/web\n5:cpu,cpuacct:/bulkhead/web\n4:memory:/x:y\n0::/unified";
        char path[32], small[5];

        (void)state;
        assert_int_equal(parse_cgroup(text, "cpu", path, sizeof(path)), 0);
        assert_string_equal(path, "/bulkhead/web");
        assert_int_equal(parse_cgroup(text, "memory", path, sizeof(path)), 0);
        assert_string_equal(path, "/x:y");
        assert_int_equal(parse_cgroup(text, "", path, sizeof(path)), 0);
        assert_string_equal(path, "/unified");
        assert_int_equal(parse_cgroup(text, "blkio", path, sizeof(path)), -ENOENT);
        assert_int_equal(parse_cgroup(text, "pids", small, sizeof(small)), -ENAMETOOLONG);
        assert_int_equal(parse_cgroup("", "pids", path, sizeof(path)), -ENOENT);
        assert_int_equal(parse_cgroup("garbage\n", "", path, sizeof(path)), -ENOENT);
}

static void test_net_dev(void **state)
{
        static const char head[] = "Inter-|   Receive |  Transmit\n face |bytes    packets|bytes\n";
        char text[256];

        (void)state;
        assert_int_equal(parse_net_dev(head), 0);
        snprintf(text, sizeof(text), "%s    lo: 0 0\n  eth0: 1 1\n", head);
        assert_int_equal(parse_net_dev(text), 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status),
                cmocka_unit_test(test_status_cut),
                cmocka_unit_test(test_status_hostile_name),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_mountinfo),
                cmocka_unit_test(test_smaps),
                cmocka_unit_test(test_cgroup_path),
                cmocka_unit_test(test_net_dev),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
