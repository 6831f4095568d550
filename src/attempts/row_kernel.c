/* E10: parts of the kernel that the program does not need. */
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/kexec.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/userfaultfd.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define X32_BIT 0x40000000 /* __X32_SYSCALL_BIT, asm/unistd.h */

/* Calls that need a privilege before they look at their arguments, which are all zero. */
static struct attempt_result bare_call(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(a->number));
}

static struct attempt_result bpf_load(const struct attempt_target *t, const struct attempt *a)
{
        const struct bpf_insn code[] = {
                {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
                {.code = BPF_JMP | BPF_EXIT},
        };
        union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                               .insn_cnt = 2,
                               .insns = (uintptr_t)code,
                               .license = (uintptr_t) "GPL"};

        return reached(CALL(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
}

static struct attempt_result bpf_map(const struct attempt_target *t, const struct attempt *a)
{
        union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};

        return reached(CALL(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static struct attempt_result perf_event(const struct attempt_target *t, const struct attempt *a)
{
        struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                       .size = sizeof(attr),
                                       .config = PERF_COUNT_SW_TASK_CLOCK,
                                       .exclude_kernel = 1,
                                       .exclude_hv = 1};
        const long pid = a->number, cpu = pid < 0 ? 0 : -1;

        return reached(CALL(SYS_perf_event_open, &attr, pid, cpu, -1, 0));
}

static struct attempt_result userfault(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_userfaultfd, a->number));
}

static struct attempt_result uring(const struct attempt_target *t, const struct attempt *a)
{
        struct io_uring_params params = {0};

        return reached(CALL(SYS_io_uring_setup, 1, &params));
}

static struct attempt_result add_key(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_add_key, "user", "attempt", "x", 1, KEY_SPEC_PROCESS_KEYRING));
}

static struct attempt_result init_module(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_init_module, "", 0, ""));
}

static struct attempt_result finit_module(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_finit_module, 0, "", 0));
}

static struct attempt_result mount_tmpfs(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mount, "none", "/", "tmpfs", 0, NULL));
}

static struct attempt_result remount_writable(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mount, NULL, "/", NULL, 32 /* MS_REMOUNT, linux/mount.h */, NULL));
}

static struct attempt_result open_fs(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_fsopen, a->text, 0));
}

static struct attempt_result clone_tree(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
}

static struct attempt_result move_root(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_move_mount, AT_FDCWD, "/", AT_FDCWD, "/", 0));
}

static struct attempt_result pivot(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_pivot_root, "/", "/"));
}

static struct attempt_result by_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(a->number, "/", 0));
}

/* Checked like a restart, but only arms Ctrl-Alt-Del. */
static struct attempt_result reboot(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, NULL));
}

static struct attempt_result kexec(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_kexec_load, 0, 0, NULL, KEXEC_ARCH_DEFAULT));
}

static struct attempt_result quota(const struct attempt_target *t, const struct attempt *a)
{
        /* Q_SYNC of one device (quotactl(2)). */
        return reached(CALL(SYS_quotactl, 0x800001 << 8, "/disk", 0, NULL));
}

static struct attempt_result host_name(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_sethostname, "attempt", 7));
}

static struct attempt_result clock_set(const struct attempt_target *t, const struct attempt *a)
{
        const long now[2] = {0, 0};

        return reached(CALL(SYS_clock_settime, 0 /* CLOCK_REALTIME */, now));
}

static struct attempt_result kernel_log(const struct attempt_target *t, const struct attempt *a)
{
        char text[16];

        return reached(CALL(SYS_syslog, 3 /* SYSLOG_ACTION_READ_ALL, syslog(2) */, text, sizeof(text)));
}

static struct attempt_result io_ports(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_iopl, 3));
}

/* getpid, 20 there: the way in is what matters. */
static struct attempt_result i386_call(const struct attempt_target *t, const struct attempt *a)
{
        long r = 20;

        __asm__ volatile("int $0x80" : "+a"(r) : : "r8", "r9", "r10", "r11", "memory");
        return reached((int)r);
}

static struct attempt_result x32_call(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_getpid | X32_BIT));
}

const struct attempt row_kernel[] = {
        {"E10.1", "load a BPF program", bpf_load, 0, NULL},
        {"E10.2", "create a BPF map", bpf_map, 0, NULL},
        {"E10.3", "perf_event_open of itself", perf_event, 0, NULL},
        {"E10.4", "perf_event_open of a CPU", perf_event, -1, NULL},
        {"E10.5", "userfaultfd for user mode", userfault, UFFD_USER_MODE_ONLY, NULL},
        {"E10.6", "userfaultfd for the kernel too", userfault, 0, NULL},
        {"E10.7", "io_uring_setup", uring, 0, NULL},
        {"E10.8", "add_key", add_key, 0, NULL},
        {"E10.9", "init_module", init_module, 0, NULL},
        {"E10.10", "finit_module", finit_module, 0, NULL},
        {"E10.11", "kexec_load", kexec, 0, NULL},
        {"E10.12", "mount a tmpfs", mount_tmpfs, 0, NULL},
        {"E10.13", "remount the root writable", remount_writable, 0, NULL},
        {"E10.14", "fsopen proc", open_fs, 0, "proc"},
        {"E10.15", "open_tree of a clone of the root", clone_tree, 0, NULL},
        {"E10.16", "move_mount of the root", move_root, 0, NULL},
        {"E10.17", "pivot_root", pivot, 0, NULL},
        {"E10.18", "umount the root", by_path, SYS_umount2, NULL},
        {"E10.19", "swapon", by_path, SYS_swapon, NULL},
        {"E10.20", "swapoff", by_path, SYS_swapoff, NULL},
        {"E10.21", "acct", by_path, SYS_acct, NULL},
        {"E10.22", "reboot", reboot, 0, NULL},
        {"E10.23", "quotactl", quota, 0, NULL},
        {"E10.24", "nfsservctl", bare_call, SYS_nfsservctl, NULL},
        {"E10.25", "vhangup", bare_call, SYS_vhangup, NULL},
        {"E10.26", "sethostname", host_name, 0, NULL},
        {"E10.27", "clock_settime", clock_set, 0, NULL},
        {"E10.28", "read the kernel log", kernel_log, 0, NULL},
        {"E10.29", "iopl", io_ports, 0, NULL},
        {"E10.30", "a call of i386 by int 0x80", i386_call, 0, NULL},
        {"E10.31", "a call by its x32 number", x32_call, 0, NULL},
        {0},
};
