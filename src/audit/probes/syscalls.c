/* System calls: whether each thread is filtered, what its filters let through, and what else restricts it. */
#include "audit/probes/syscalls.h"

#include "audit/audit.h"
#include "audit/probes/rows.h"
#include "audit/probes/tables.h"

#define SHOWN_MAX 8 /* threads or descriptors that evidence lists */

/* ---- SYS-SECCOMP ---- */

static const char *const seccomp_lines[] = {"Name:", "Seccomp:", "Seccomp_filters:", NULL};

struct thread_count {
        size_t filtered, bare, workers;
};

static void seccomp_count(struct audit *a, struct finding *f, const struct guest *g, const struct process *p,
                          struct thread_count *n)
{
        for (size_t i = 0; i < p->threads.count; i++) {
                const struct thread *t = &p->threads.items[i];
                char *question = arena_printf(a->arena, "read /proc/%d/task/%d/status", p->pid, t->tid);

                n->workers += t->kernel_worker;
                n->filtered += !t->kernel_worker && t->seccomp > 0;
                if (t->kernel_worker || t->seccomp > 0)
                        continue;
                if (n->bare++ < SHOWN_MAX)
                        finding_show_lines(a, f, GUEST_OWNER(g), question, t->status, seccomp_lines);
        }
}

static void seccomp_guest(struct audit *a, struct guest *g)
{
        const struct process *unread = MEMBERS_UNREAD(g, threads_error);
        struct thread_count n = {0};
        struct finding *f;

        f = finding_add(a, VERDICT_PASS, g, "Every thread of every process of %s has a system-call filter.",
                        GUEST_MARK(a, g));
        for (size_t i = 0; i < g->members.count; i++)
                seccomp_count(a, f, g, g->members.items[i].process, &n);
        finding_showf(a, f, GUEST_OWNER(g), "Seccomp: of /proc/PID/task/TID/status of every thread",
                      "%zu processes: %zu threads filtered, %zu without a filter, %zu of the kernel's own",
                      g->members.count, n.filtered, n.bare, n.workers);
        if (n.bare == 0 && unread)
                finding_turn_unknown(a, f, g, unread->threads_error,
                                     arena_printf(a->arena, "list /proc/%d/task", unread->pid));
        if (n.bare == 0)
                return;
        f->verdict = f->unsoftened = VERDICT_FAIL;
        f->text =
                arena_printf(a->arena,
                             "%zu of %zu threads of %s may make every system call of the kernel: they have no filter.",
                             n.bare, n.bare + n.filtered, GUEST_MARK(a, g));
}

/* ---- SYS-URING ---- */

static void uring_guest(struct audit *a, struct guest *g)
{
        const struct process *unread = MEMBERS_UNREAD(g, fds_error);
        struct finding *f;
        size_t rings = 0;

        f = finding_add(a, VERDICT_PASS, g, "No process of %s has an io_uring.", GUEST_MARK(a, g));
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                for (size_t k = 0; k < p->fds.count; k++)
                        if (p->fds.items[k].kind == FD_IO_URING && rings++ < SHOWN_MAX)
                                finding_showf(a, f, GUEST_OWNER(g),
                                              arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid,
                                                           p->fds.items[k].number),
                                              "%s", p->fds.items[k].link);
        }
        finding_showf(a, f, GUEST_OWNER(g), "links of /proc/PID/fd of every process", "%zu processes, %zu rings",
                      g->members.count, rings);
        if (rings == 0 && unread)
                finding_turn_unknown(a, f, g, unread->fds_error,
                                     arena_printf(a->arena, "list /proc/%d/fd", unread->pid));
        if (rings == 0)
                return;
        f->verdict = f->unsoftened = VERDICT_WARN;
        f->text =
                arena_printf(a->arena, "A process of %s has an io_uring, whose operations no system-call filter sees.",
                             GUEST_MARK(a, g));
}

#define DEEP_NEEDS \
        "root (CAP_SYS_ADMIN and CAP_SYS_PTRACE), no system-call filter on the auditor, CONFIG_CHECKPOINT_RESTORE"

const struct check checks_syscalls[] = {
        {
                .id = "SYS-SECCOMP",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "Every thread that works for a guest is limited to the system calls of a filter.",
                .examined =
                        "Seccomp: in /proc/PID/task/TID/status of every thread of every process of the guest; threads that the "
                        "kernel made there for itself, which never run the process's code, aside",
                .rule = "a thread without a filter FAIL, else PASS",
                .source =
                        "seccomp(2): a filter belongs to a thread; Firecracker docs/seccomp.md, Cloud Hypervisor docs/seccomp.md",
                .remedy = "run a monitor that filters every thread, and leave its filter on (QEMU: -sandbox on,...)",
                .needs = "",
                .guest = seccomp_guest,
        },
        {
                .id = "SYS-POLICY",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim =
                        "The filters refuse what they do not know, and every call that takes over a process or the host.",
                .examined =
                        "each filter of each thread, run over risky calls with usual arguments, zeros and ones, and over a "
                        "number that is no call",
                .rule = "an unknown call, or one that takes over a process or the host (execve, ptrace, mount, setns, bpf, ...) "
                        "allowed FAIL; one that another process decides (USER_NOTIF, TRACE) UNKNOWN; one that reaches for files, networks or "
                        "new processes (openat, socket, fork, io_uring, executable memory, ...) WARN",
                .source = "kernel/seccomp.c, seccomp_run_filters(); PTRACE_SECCOMP_GET_FILTER in ptrace(2)",
                .remedy = "run a monitor with an allowlist; QEMU's -sandbox is a list of what is refused",
                .needs = DEEP_NEEDS,
                .deep = true,
                .guest = syscalls_policy,
        },
        {
                .id = "SYS-ARCH",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A filter cannot be passed by the numbers of another table of system calls.",
                .examined = "each filter of each thread, run over every number of the i386 table and of x32",
                .rule = "any allowed FAIL; any that another process decides (USER_NOTIF, TRACE) UNKNOWN",
                .source = "seccomp(2): arch must be checked, and x32 has the arch of x86-64",
                .remedy = "a filter that looks at arch first, and refuses numbers from 0x40000000",
                .needs = DEEP_NEEDS,
                .deep = true,
                .guest = syscalls_arch,
        },
        {
                .id = "SYS-ACTION",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The first refused call that takes over a process or the host ends the process that tries it.",
                .examined = "what each filter of each thread returns for such calls",
                .rule = "anything but KILL_PROCESS WARN",
                .source = "seccomp(2), SECCOMP_RET_KILL_PROCESS",
                .remedy = "a filter whose default action is SECCOMP_RET_KILL_PROCESS",
                .needs = DEEP_NEEDS,
                .deep = true,
                .guest = syscalls_action,
        },
        {
                .id = "SYS-IOCTL",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The filters know which device requests a monitor needs, and refuse the others.",
                .examined =
                        "each filter of each thread, run over ioctl(2) with risky requests on every open descriptor",
                .rule = "a request that no device has, TIOCSTI, TIOCLINUX, SIOCSIFFLAGS, KVM_CREATE_VM, FS_IOC_SETFLAGS, "
                        "FS_IOC_FSSETXATTR or FICLONE allowed WARN; any that another process decides (USER_NOTIF, TRACE) UNKNOWN",
                .source = "ioctl(2), ioctl_tty(2); seccomp(2) sees the request in args[1]",
                .remedy = "a filter that compares the second argument of ioctl",
                .needs = DEEP_NEEDS,
                .deep = true,
                .guest = syscalls_ioctl,
        },
        {
                .id = "SYS-LANDLOCK",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim =
                        "By their own word, a guest's processes are in a Landlock domain that uses all this kernel has.",
                .examined =
                        "what was written down of each process when it entered the domain; the kernel's Landlock ABI",
                .rule = "no domain, or an older ABI than the kernel's WARN; a process that says nothing UNKNOWN",
                .source = "Documentation/userspace-api/landlock.rst: no file of /proc shows a domain",
                .remedy = "a monitor that enters a Landlock domain, and a kernel with landlock in lsm=",
                .needs = "root, or the guest's own user",
                .guest = syscalls_landlock,
        },
        {
                .id = "SYS-URING",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "No process of a guest can do by io_uring what its filter forbids.",
                .examined = "links of /proc/PID/fd of every process of the guest",
                .rule = "an io_uring WARN",
                .source = "io_uring(7): operations are not system calls, so that seccomp does not see them",
                .remedy =
                        "sysctl kernel.io_uring_disabled=2, or a monitor that restricts its rings (IORING_REGISTER_RESTRICTIONS)",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = uring_guest,
        },
        {.id = NULL},
};
