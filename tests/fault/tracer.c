/*
 * fault_tracer --out FD [--main PROGRAM=OFFSET]... [--fail|--after ROLE KEY N ERRNO] -- COMMAND [ARG]...
 *
 * Runs the command and follows all that it starts. Without a fault it writes the calls that are made up to READY to
 * FD, one to a line: "call ROLE KEY N start|main DETAIL". With one, the N-th call KEY of ROLE after main()
 * was entered returns -ERRNO: --fail without being made, --after although it was. PTRACE_SYSEMU makes that possible
 * under a seccomp filter, which never sees the call.
 *
 * Besides: "injected DETAIL" when that happened, "next KEY" for the call that the thread made after it, "ready" each
 * time a supervisor has dealt with READY, "end exited|killed N" when the command has ended, "gone" when everything has.
 * What is left of the command dies with the tracer.
 */
#include "tracer.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define OPTIONS                                                                                                        \
        (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | \
         PTRACE_O_EXITKILL)

void give_up(const char *what)
{
        fprintf(stderr, "fault_tracer: %s\n", what);
        exit(1);
}

static struct task *task_find(struct tracer *t, pid_t tid)
{
        for (size_t i = 0; i < t->task_count; i++)
                if (t->tasks[i].tid == tid)
                        return &t->tasks[i];
        return NULL;
}

static struct task *task_new(struct tracer *t, pid_t tid)
{
        struct task *task = &t->tasks[t->task_count];

        if (t->task_count == TASKS_MAX)
                give_up("too many threads");
        t->task_count++;
        task->tid = tid;
        return task;
}

void role_set(struct tracer *t, struct task *task, const char *name)
{
        unsigned int before = 0;

        for (size_t i = 0; i < t->task_count; i++) {
                size_t len = strlen(name);

                if (&t->tasks[i] != task && strncmp(t->tasks[i].role, name, len) == 0 &&
                    (t->tasks[i].role[len] == '\0' || t->tasks[i].role[len] == '#'))
                        before++;
        }
        if (before)
                snprintf(task->role, sizeof(task->role), "%s#%u", name, before + 1);
        else
                snprintf(task->role, sizeof(task->role), "%s", name);
}

static void resume(const struct tracer *t, const struct task *task, int signal)
{
        long request = PTRACE_SYSCALL;

        if (task->closed && !task->in_call)
                request = PTRACE_CONT;
        else if (trace_is_target(t, task) && !task->in_call && !task->repeat)
                request = PTRACE_SYSEMU;
        /* ESRCH: it was killed while it was stopped, and waitpid() tells of that next. */
        if (ptrace((enum __ptrace_request)request, task->tid, 0, signal) < 0 && errno != ESRCH)
                give_up("cannot resume a thread");
}

/* The address of the program's entry point, or 0. */
static uint64_t entry_point(pid_t pid)
{
        char path[48];
        Elf64_auxv_t v;
        uint64_t entry = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
        f = fopen(path, "re");
        while (f && !entry && fread(&v, sizeof(v), 1, f) == 1)
                if (v.a_type == AT_ENTRY)
                        entry = v.a_un.a_val;
        if (f)
                fclose(f);
        return entry;
}

/* A new program: it has a new role, and the C library comes before its main(). */
static void on_exec(struct tracer *t, struct task *task)
{
        char link[48], path[PATH_MAX];
        const char *name;
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/%d/exe", (int)task->tid);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return; /* killed meanwhile */
        path[n] = '\0';
        name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        role_set(t, task, name);
        task->in_main = false;
        for (size_t i = 0; i < t->main_count; i++)
                if (strcmp(t->mains[i].program, name) == 0) {
                        task->breakpoint = entry_point(task->tid) + (uint64_t)t->mains[i].offset;
                        task->breakpoint_word = ptrace(PTRACE_PEEKTEXT, task->tid, task->breakpoint, 0);
                        ptrace(PTRACE_POKETEXT, task->tid, task->breakpoint, (task->breakpoint_word & ~0xffL) | 0xcc);
                }
}

/* True when it was the breakpoint at main(), which is gone then. */
static bool on_breakpoint(struct task *task)
{
        struct user_regs_struct regs;

        if (!task->breakpoint || ptrace(PTRACE_GETREGS, task->tid, 0, &regs) < 0 || regs.rip != task->breakpoint + 1)
                return false;
        ptrace(PTRACE_POKETEXT, task->tid, task->breakpoint, task->breakpoint_word);
        regs.rip = task->breakpoint;
        ptrace(PTRACE_SETREGS, task->tid, 0, &regs);
        task->breakpoint = 0;
        task->in_main = true;
        task->key_count = 0; /* counted from main() on */
        return true;
}

static void on_child(struct tracer *t, struct task *parent, bool thread)
{
        char name[ROLE_MAX + 16];
        unsigned long tid;
        struct task *child;

        if (ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid) < 0)
                return;
        child = task_find(t, (pid_t)tid);
        if (!child)
                child = task_new(t, (pid_t)tid);
        child->is_thread = thread;
        child->in_main = parent->in_main;
        if (thread)
                snprintf(name, sizeof(name), "%s:thread%u", parent->role, ++parent->threads);
        else
                snprintf(name, sizeof(name), "%s:child", parent->role);
        role_set(t, child, name);
        if (child->stopped_early)
                resume(t, child, 0);
}

static void on_syscall(struct tracer *t, struct task *task)
{
        struct __ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, sizeof(info), &info) <= 0)
                return;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                task->number = info.entry.nr;
                for (size_t i = 0; i < ARRAY_LEN(task->args); i++)
                        task->args[i] = info.entry.args[i];
                trace_entry(t, task);
        } else
                trace_exit(t, task);
}

static void on_stop(struct tracer *t, struct task *task, int status)
{
        int signal = WSTOPSIG(status), event = status >> 16;

        switch (event) {
        case 0:
                if (signal == (SIGTRAP | 0x80))
                        on_syscall(t, task);
                if (signal == (SIGTRAP | 0x80) || (signal == SIGTRAP && on_breakpoint(task)))
                        signal = 0;
                resume(t, task, signal);
                return;
        case PTRACE_EVENT_EXEC:
                on_exec(t, task);
                break;
        case PTRACE_EVENT_CLONE:
        case PTRACE_EVENT_FORK:
        case PTRACE_EVENT_VFORK:
                on_child(t, task, event == PTRACE_EVENT_CLONE);
                break;
        case PTRACE_EVENT_STOP:
                if (!task->role[0]) { /* its parent's stop comes next, and tells who it is */
                        task->stopped_early = true;
                        return;
                }
                break;
        default:
                break;
        }
        resume(t, task, 0);
}

static void follow(struct tracer *t)
{
        for (;;) {
                int status;
                pid_t tid = waitpid(-1, &status, __WALL);
                struct task *task;

                if (tid < 0 && errno == EINTR)
                        continue;
                if (tid < 0)
                        break;
                task = task_find(t, tid);
                if (WIFSTOPPED(status)) {
                        on_stop(t, task ? task : task_new(t, tid), status);
                        continue;
                }
                if (task)
                        task->tid = -1;
                if (tid == t->root)
                        fprintf(t->out, "end %s %d\n", WIFEXITED(status) ? "exited" : "killed",
                                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        }
        fprintf(t->out, "gone\n");
}

/* The command waits until it is traced. */
static void start(struct tracer *t, char *argv[])
{
        int go[2];
        char c = 0;

        if (pipe2(go, O_CLOEXEC) < 0)
                give_up("pipe");
        t->root = fork();
        if (t->root < 0)
                give_up("fork");
        if (t->root == 0) {
                close(go[1]);
                if (read(go[0], &c, 1) == 1)
                        execv(argv[0], argv);
                _exit(127);
        }
        close(go[0]);
        snprintf(task_new(t, t->root)->role, ROLE_MAX, "fault_tracer");
        if (ptrace(PTRACE_SEIZE, t->root, 0, OPTIONS) < 0)
                give_up("PTRACE_SEIZE");
        /* Without any stop until it executes the command. */
        if (write(go[1], &c, 1) != 1)
                give_up("write");
        close(go[1]);
}

/* Returns the command. */
static char **arguments(struct tracer *t, char *argv[])
{
        for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
                if (strcmp(*argv, "--main") == 0 && argv[1] && strchr(argv[1], '=') &&
                    t->main_count < MAIN_TABLE_SIZE) {
                        char *equals = strchr(*++argv, '=');

                        *equals = '\0';
                        t->mains[t->main_count++] =
                                (struct main_offset){.program = *argv, .offset = strtol(equals + 1, NULL, 0)};
                } else if (strcmp(*argv, "--out") == 0 && argv[1]) {
                        int fd = (int)strtol(*++argv, NULL, 10);

                        t->out = fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? NULL : fdopen(fd, "w");
                } else if ((strcmp(*argv, "--fail") == 0 || strcmp(*argv, "--after") == 0) && argv[1] && argv[2] &&
                           argv[3] && argv[4]) {
                        t->fault = (struct fault){.role = argv[1],
                                                  .key = argv[2],
                                                  .occurrence = (unsigned int)strtoul(argv[3], NULL, 10),
                                                  .error = (int)strtol(argv[4], NULL, 10),
                                                  .after = strcmp(*argv, "--after") == 0};
                        argv += 4;
                } else
                        give_up("usage: see the top of tracer.c");
        }
        if (!*argv || !argv[1])
                give_up("no command");
        return argv + 1;
}

int main(int argc, char *argv[])
{
        static struct tracer t;
        char **command;

        (void)argc;
        command = arguments(&t, argv);
        if (!t.out)
                give_up("no --out");
        setvbuf(t.out, NULL, _IOLBF, 1 << 16);
        start(&t, command);
        follow(&t);
        return 0;
}
