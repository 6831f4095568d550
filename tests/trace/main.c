/*
 * syscall-trace: counts every system call that a program and all it starts make under their system-call filters.
 *
 *     syscall-trace --out FILE [--defines HEADER]... [--policy NAME=FILE]... -- PROGRAM [ARGUMENT]...
 *
 * The program keeps this process's id, standard streams and parent; the tracer is a process in the background, which
 * ends, with the report complete in FILE, when everything it traces has ended. It stops each thread at the entry of
 * each call, before the kernel asks the filters. A filter is known by its program, which is read when it is installed
 * and compared with what the policies compile to; that, not a name, says in which role a thread is. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/audit.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "filters.h"

#define TASKS_MAX 1024 /* threads at once */

#define OPTIONS                                                                                                        \
        (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | \
         PTRACE_O_EXITKILL)
#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

struct task {
        pid_t tid; /* 0: free */
        struct filter_stack stack;
        bool born;               /* its creator has said so: the stack is right */
        bool waiting;            /* stopped since before that */
        unsigned int installing; /* the filter that the call in progress installs, plus 1 */
};

static struct task tasks[TASKS_MAX];
static struct filters filters;
static FILE *report;

static _Noreturn void give_up(const char *what)
{
        fprintf(report, "broken\t%s: %s\n", what, strerror(errno));
        fclose(report);
        _exit(1); /* and EXITKILL ends what is traced */
}

static struct task *task_find(pid_t tid)
{
        struct task *unused = NULL;

        for (size_t i = 0; i < TASKS_MAX; i++) {
                if (tasks[i].tid == tid)
                        return &tasks[i];
                if (tasks[i].tid == 0 && !unused)
                        unused = &tasks[i];
        }
        if (!unused) {
                errno = ENOSPC;
                give_up("more threads than can be traced");
        }
        *unused = (struct task){.tid = tid};
        return unused;
}

/* A thread that was killed meanwhile cannot be resumed, and needs not be. */
static void resume(const struct task *t, int sig)
{
        if (ptrace(PTRACE_SYSCALL, t->tid, 0, sig) < 0 && errno != ESRCH)
                give_up("PTRACE_SYSCALL");
}

static bool memory_read(pid_t tid, uint64_t from, void *to, size_t size)
{
        struct iovec local = {.iov_base = to, .iov_len = size}, remote = {(void *)(uintptr_t)from, size};

        return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* Which of the filters does this call install? 0: none; else its index plus 1. */
static unsigned int filter_of_call(pid_t tid, const struct seccomp_data *d)
{
        static struct sock_filter program[BPF_MAXINSNS];
        struct sock_fprog fprog;
        uint64_t address;

        if (d->nr == SYS_seccomp && d->args[0] == SECCOMP_SET_MODE_FILTER)
                address = d->args[2];
        else if (d->nr == SYS_prctl && d->args[0] == PR_SET_SECCOMP && d->args[1] == SECCOMP_MODE_FILTER)
                address = d->args[2];
        else
                return 0;
        if (!memory_read(tid, address, &fprog, sizeof(fprog)) || fprog.len > BPF_MAXINSNS ||
            !memory_read(tid, (uintptr_t)fprog.filter, program, fprog.len * sizeof(program[0])))
                return FILTER_UNKNOWN + 1;
        return filters_find(&filters, program, fprog.len) + 1;
}

static void syscall_stop(struct task *t)
{
        struct __ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) < 0) {
                if (errno == ESRCH)
                        return;
                give_up("PTRACE_GET_SYSCALL_INFO");
        }
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                struct seccomp_data d = {.nr = (int)info.entry.nr, .arch = info.arch};

                memcpy(d.args, info.entry.args, sizeof(d.args));
                filters_count(&filters, &t->stack, &d, report);
                t->installing = filter_of_call(t->tid, &d);
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->installing) {
                if (info.exit.rval == 0)
                        filters_push(&filters, &t->stack, t->installing - 1);
                t->installing = 0;
        }
}

/* A new thread or process starts with the filters of the one that made it. */
static void creation_stop(const struct task *parent)
{
        unsigned long tid;
        struct task *child;

        if (ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid) < 0) {
                if (errno == ESRCH)
                        return;
                give_up("PTRACE_GETEVENTMSG");
        }
        child = task_find((pid_t)tid);
        child->stack = parent->stack;
        child->born = true;
        if (child->waiting)
                resume(child, 0);
        child->waiting = false;
}

static void stop_handle(struct task *t, int status)
{
        int sig = WSTOPSIG(status);

        switch (status >> 16) {
        case 0:
                if (sig == SYSCALL_STOP) {
                        syscall_stop(t);
                        sig = 0;
                }
                break;
        case PTRACE_EVENT_CLONE:
        case PTRACE_EVENT_FORK:
        case PTRACE_EVENT_VFORK:
                creation_stop(t);
                sig = 0;
                break;
        case PTRACE_EVENT_STOP:
                if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
                        if (ptrace(PTRACE_LISTEN, t->tid, 0, 0) < 0 && errno != ESRCH)
                                give_up("PTRACE_LISTEN");
                        return;
                }
                sig = 0;
                t->waiting = !t->born;
                if (t->waiting)
                        return;
                break;
        default: /* exec */
                sig = 0;
                break;
        }
        resume(t, sig);
}

static void trace(void)
{
        for (;;) {
                int status;
                pid_t tid = waitpid(-1, &status, __WALL);

                if (tid < 0 && errno == EINTR)
                        continue;
                if (tid < 0 && errno == ECHILD)
                        return;
                if (tid < 0)
                        give_up("waitpid");
                if (WIFSTOPPED(status))
                        stop_handle(task_find(tid), status);
                else
                        *task_find(tid) = (struct task){0};
        }
}

/* The streams belong to the program: whoever reads them waits for their end. */
static void streams_drop(int keep)
{
        int null = open("/dev/null", O_RDWR);

        for (int fd = 0; fd < 3; fd++)
                if (null < 0 || dup2(null, fd) < 0)
                        give_up("drop the standard streams");
        for (int fd = 3; fd < 1024; fd++)
                if (fd != keep && fd != fileno(report))
                        close(fd);
}

static _Noreturn void tracer_main(pid_t program, int go_fd, const char *out, const char *out_new)
{
        struct task *first = task_find(program);

        if (setsid() < 0)
                give_up("setsid");
        streams_drop(go_fd);
        first->born = true;
        if (ptrace(PTRACE_SEIZE, program, 0, OPTIONS) < 0)
                give_up("PTRACE_SEIZE");
        if (ptrace(PTRACE_INTERRUPT, program, 0, 0) < 0)
                give_up("PTRACE_INTERRUPT");
        /* The program waits for this byte; it comes to read it in the state that the stop leaves it in. */
        if (write(go_fd, "", 1) != 1)
                give_up("start the program");
        close(go_fd);
        trace();
        filters_report(&filters, report);
        if (fclose(report) != 0 || rename(out_new, out) < 0)
                _exit(1);
        _exit(0);
}

/* Makes the tracer, as nobody's child, and waits until it traces this process. */
static int tracer_start(const char *out, struct err *e)
{
        char out_new[PATH_MAX], byte;
        int go[2], status;
        pid_t self = getpid(), pid;

        snprintf(out_new, sizeof(out_new), "%s.new", out);
        report = fopen(out_new, "we");
        if (!report)
                return err_set(e, -errno, "%s", out_new);
        if (pipe2(go, O_CLOEXEC) < 0)
                return err_set(e, -errno, "create a pipe");
        pid = fork();
        if (pid == 0) {
                pid = fork();
                if (pid == 0)
                        tracer_main(self, go[1], out, out_new);
                _exit(pid < 0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                return err_set(e, -errno, "start the tracer");
        close(go[1]);
        fclose(report);
        return read(go[0], &byte, 1) == 1 ? 0 : err_bad(e, STATUS_FAILURE, "the tracer cannot trace; see %s", out_new);
}

int main(int argc, char **argv)
{
        static const struct option names[] = {{"out", required_argument, NULL, 'o'},
                                              {"defines", required_argument, NULL, 'd'},
                                              {"policy", required_argument, NULL, 'p'},
                                              {0}};
        const char *out = NULL, *defines[POLICY_FILES_MAX];
        unsigned int define_count = 0;
        struct err e = ERR_INIT;
        int c, r = 0;

        while (r == 0 && (c = getopt_long(argc, argv, "+", names, NULL)) != -1) {
                if (c == 'o')
                        out = optarg;
                else if (c == 'd' && define_count < POLICY_FILES_MAX)
                        defines[define_count++] = optarg;
                else if (c == 'p')
                        r = filters_add(&filters, optarg, defines, define_count, &e);
                else
                        r = err_bad(&e, STATUS_USAGE, "unknown option");
        }
        if (r == 0 && (!out || optind >= argc))
                r = err_bad(&e, STATUS_USAGE, "no --out, or no program");
        if (r == 0)
                r = tracer_start(out, &e);
        if (r == 0) {
                execv(argv[optind], argv + optind);
                r = err_set(&e, -errno, "execute %s", argv[optind]);
        }
        err_print(&e, 2, "syscall-trace");
        return (int)e.status;
}
