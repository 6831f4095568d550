/* E7: a neighbour's process, and the supervisor. */
#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define UNNAMED not_run("no neighbour is named")

static long kill_0(int pid)
{
        return CALL(SYS_kill, pid, 0);
}

static long tgkill_0(int pid)
{
        return CALL(SYS_tgkill, pid, pid, 0);
}

static long sigqueue_0(int pid)
{
        siginfo_t info = {.si_code = SI_QUEUE};

        return CALL(SYS_rt_sigqueueinfo, pid, 0, &info);
}

static long pidfd_signal(int pid)
{
        long fd = CALL(SYS_pidfd_open, pid, 0);

        return fd < 0 ? fd : CALL(SYS_pidfd_send_signal, fd, 0, NULL, 0);
}

static long ptrace_attach(int pid)
{
        return CALL(SYS_ptrace, PTRACE_ATTACH, pid, 0, 0);
}

static long vm_read(int pid)
{
        char byte;
        const struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)0x1000, 1};

        return CALL(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0);
}

static long vm_write(int pid)
{
        char byte = 0;
        const struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)0x1000, 1};

        return CALL(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0);
}

static long take_fd(int pid)
{
        long fd = CALL(SYS_pidfd_open, pid, 0);

        return fd < 0 ? fd : CALL(SYS_pidfd_getfd, fd, 0, 0);
}

static long compare(int pid)
{
        return CALL(SYS_kcmp, CALL(SYS_getpid), pid, KCMP_VM, 0, 0);
}

static long read_limit(int pid)
{
        struct rlimit limit;

        return CALL(SYS_prlimit64, pid, RLIMIT_NOFILE, NULL, &limit);
}

static long set_affinity(int pid)
{
        const unsigned long mask = 1;

        return CALL(SYS_sched_setaffinity, pid, sizeof(mask), &mask);
}

static long set_ioprio(int pid)
{
        return CALL(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
}

static long set_priority(int pid)
{
        return CALL(SYS_setpriority, PRIO_PROCESS, pid, 19);
}

static long move_pages(int pid)
{
        const void *page = (void *)(uintptr_t)0x1000;
        int status;

        return CALL(SYS_move_pages, pid, 1, &page, NULL, &status, 0);
}

static long advise(int pid)
{
        const struct iovec there = {(void *)(uintptr_t)0x1000, 0x1000};
        long fd = CALL(SYS_pidfd_open, pid, 0);

        return fd < 0 ? fd : CALL(SYS_process_madvise, fd, &there, 1, 20 /* MADV_COLD, asm-generic/mman-common.h */, 0);
}

/* The kernel sends the owner of a descriptor a signal of the sender's choice. */
static long signal_by_owner(int pid)
{
        return CALL(SYS_fcntl, 0, 8 /* F_SETOWN, asm-generic/fcntl.h */, pid);
}

typedef long process_call(int pid);

static process_call *const calls[] = {
        kill_0,  tgkill_0,   sigqueue_0,   pidfd_signal, ptrace_attach, vm_read,    vm_write, take_fd,
        compare, read_limit, set_affinity, set_ioprio,   set_priority,  move_pages, advise,   signal_by_owner,
};

enum {
        KILL,
        TGKILL,
        SIGQUEUE,
        PIDFD_SIGNAL,
        PTRACE,
        VM_READ,
        VM_WRITE,
        TAKE_FD,
        COMPARE,
        READ_LIMIT,
        AFFINITY,
        IOPRIO,
        PRIORITY,
        MOVE_PAGES,
        ADVISE,
        OWNER,
};

static struct attempt_result on_neighbour(const struct attempt_target *t, const struct attempt *a)
{
        return t->neighbour ? reached(calls[a->number](t->neighbour)) : UNNAMED;
}

static struct attempt_result on_supervisor(const struct attempt_target *t, const struct attempt *a)
{
        return t->supervisor ? reached(calls[a->number](t->supervisor)) : not_run("no supervisor is named");
}

/* /proc/PID/text of the neighbour. */
static struct attempt_result open_in_proc(const struct attempt_target *t, const struct attempt *a)
{
        char path[64] = "/proc/", digits[12];
        size_t at = 6, n = 0;

        if (!t->neighbour)
                return UNNAMED;
        for (int pid = t->neighbour; pid > 0; pid /= 10)
                digits[n++] = (char)('0' + pid % 10);
        while (n > 0)
                path[at++] = digits[--n];
        for (size_t i = 0; a->text[i]; i++)
                path[at++] = a->text[i];
        return reached(open_at_root(path, O_RDONLY));
}

/* Whoever it may signal; init itself is left out by the kernel. */
static struct attempt_result kill_all(const struct attempt_target *t, const struct attempt *a)
{
        const long r = signals_another();

        return r == 0 ? contained("the others refuse") : reached(r);
}

const struct attempt row_processes[] = {
        {"E7.1", "kill a neighbour (signal 0)", on_neighbour, KILL, NULL},
        {"E7.2", "tgkill a neighbour (signal 0)", on_neighbour, TGKILL, NULL},
        {"E7.3", "rt_sigqueueinfo to a neighbour (signal 0)", on_neighbour, SIGQUEUE, NULL},
        {"E7.4", "pidfd_send_signal to a neighbour", on_neighbour, PIDFD_SIGNAL, NULL},
        {"E7.5", "ptrace a neighbour", on_neighbour, PTRACE, NULL},
        {"E7.6", "process_vm_readv of a neighbour", on_neighbour, VM_READ, NULL},
        {"E7.7", "process_vm_writev to a neighbour", on_neighbour, VM_WRITE, NULL},
        {"E7.8", "pidfd_getfd of a neighbour", on_neighbour, TAKE_FD, NULL},
        {"E7.9", "open /proc/PID/mem of a neighbour", open_in_proc, 0, "/mem"},
        {"E7.10", "open /proc/PID/fd/0 of a neighbour", open_in_proc, 0, "/fd/0"},
        {"E7.11", "open /proc/PID/maps of a neighbour", open_in_proc, 0, "/maps"},
        {"E7.12", "open /proc/PID/map_files of a neighbour", open_in_proc, 0, "/map_files"},
        {"E7.13", "kcmp with a neighbour", on_neighbour, COMPARE, NULL},
        {"E7.14", "prlimit of a neighbour", on_neighbour, READ_LIMIT, NULL},
        {"E7.15", "sched_setaffinity of a neighbour", on_neighbour, AFFINITY, NULL},
        {"E7.16", "ioprio_set of a neighbour", on_neighbour, IOPRIO, NULL},
        {"E7.17", "setpriority of a neighbour", on_neighbour, PRIORITY, NULL},
        {"E7.18", "move_pages of a neighbour", on_neighbour, MOVE_PAGES, NULL},
        {"E7.19", "process_madvise of a neighbour", on_neighbour, ADVISE, NULL},
        {"E7.20", "F_SETOWN of a descriptor to a neighbour", on_neighbour, OWNER, NULL},
        {"E7.21", "kill the supervisor (signal 0)", on_supervisor, KILL, NULL},
        {"E7.22", "ptrace the supervisor", on_supervisor, PTRACE, NULL},
        {"E7.23", "pidfd_getfd of the supervisor", on_supervisor, TAKE_FD, NULL},
        {"E7.24", "kill everybody (signal 0)", kill_all, 0, NULL},
        {0},
};
