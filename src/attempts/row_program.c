/* E1: run a program. E2: a new process, a new namespace, somebody else's namespace. */
#include <elf.h>
#include <linux/sched.h>
#include <signal.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define MFD_NOEXEC_SEAL 0x8  /* linux/memfd.h, Linux 6.3 */
#define MFD_EXEC        0x10 /* likewise */
#define PROCESSES_MAX   64   /* more than any limit of a small guest leaves room for */
#define LOAD_ADDRESS    0x400000

/* exit_group(ATTEMPT_PROGRAM_STATUS), as a whole program. */
static const struct program {
        Elf64_Ehdr head;
        Elf64_Phdr segment;
        uint8_t code[12];
} program = {
        .head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                 .e_type = ET_EXEC,
                 .e_machine = EM_X86_64,
                 .e_version = EV_CURRENT,
                 .e_entry = LOAD_ADDRESS + offsetof(struct program, code),
                 .e_phoff = offsetof(struct program, segment),
                 .e_ehsize = sizeof(Elf64_Ehdr),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = 1},
        .segment = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_vaddr = LOAD_ADDRESS,
                    .p_filesz = sizeof(struct program),
                    .p_memsz = sizeof(struct program),
                    .p_align = 0x1000},
        .code = {0xbf, ATTEMPT_PROGRAM_STATUS, 0, 0, 0, /* mov edi, status */
                 0xb8, SYS_exit_group, 0, 0, 0,         /* mov eax, exit_group */
                 0x0f, 0x05},                           /* syscall */
};

static const char *const no_strings[] = {NULL};

static struct attempt_result execve_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_execve, a->text, no_strings, no_strings));
}

static struct attempt_result execveat_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_execveat, AT_FDCWD, a->text, no_strings, no_strings, 0));
}

/* Does not come back when it goes through: the program's exit status tells. */
static struct attempt_result execveat_memfd(const struct attempt_target *t, const struct attempt *a)
{
        long fd = CALL(SYS_memfd_create, "program", a->number);

        if (fd < 0)
                return refused(fd);
        /* Where it may not be written, the refusal to execute it empty still tells whether it would have been. */
        CALL(SYS_write, fd, &program, sizeof(program));
        return reached(CALL(SYS_execveat, fd, "", no_strings, no_strings, AT_EMPTY_PATH));
}

/* Children end at once and are not waited for, so that they go on counting against the limits. */
static struct attempt_result processes_until_refused(long (*create)(void))
{
        for (int n = 0; n < PROCESSES_MAX; n++) {
                long r = create();

                if (r == 0)
                        CALL(SYS_exit_group, 0);
                if (r < 0)
                        return n == 0 ? refused(r) : contained("a few of its own, then EAGAIN");
        }
        return succeeded("as many as it likes");
}

static long by_fork(void)
{
        return CALL(SYS_fork);
}

static long by_clone3(void)
{
        struct clone_args args = {.exit_signal = SIGCHLD};

        return CALL(SYS_clone3, &args, sizeof(args));
}

static struct attempt_result fork_many(const struct attempt_target *t, const struct attempt *a)
{
        return processes_until_refused(by_fork);
}

static struct attempt_result clone3_many(const struct attempt_target *t, const struct attempt *a)
{
        return processes_until_refused(by_clone3);
}

static struct attempt_result clone3_namespace(const struct attempt_target *t, const struct attempt *a)
{
        struct clone_args args = {.exit_signal = SIGCHLD, .flags = (uint64_t)a->number};
        long r = CALL(SYS_clone3, &args, sizeof(args));

        if (r == 0)
                CALL(SYS_exit_group, 0);
        return reached(r);
}

static struct attempt_result unshare_one(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_unshare, a->number));
}

static struct attempt_result setns_of(int pid)
{
        long fd = CALL(SYS_pidfd_open, pid, 0);

        return fd < 0 ? refused(fd) : reached(CALL(SYS_setns, fd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID));
}

static struct attempt_result setns_neighbour(const struct attempt_target *t, const struct attempt *a)
{
        return t->neighbour ? setns_of(t->neighbour) : not_run("no neighbour is named");
}

static struct attempt_result setns_supervisor(const struct attempt_target *t, const struct attempt *a)
{
        return t->supervisor ? setns_of(t->supervisor) : not_run("no supervisor is named");
}

static struct attempt_result setns_own(const struct attempt_target *t, const struct attempt *a)
{
        return setns_of((int)CALL(SYS_getpid));
}

const struct attempt row_program[] = {
        {"E1.1", "execve /bin/sh", execve_path, 0, "/bin/sh"},
        {"E1.2", "execveat /bin/sh", execveat_path, 0, "/bin/sh"},
        {"E1.3", "execve /proc/self/exe", execve_path, 0, "/proc/self/exe"},
        {"E1.4", "execveat a memfd", execveat_memfd, 0, NULL},
        {"E1.5", "execveat a memfd sealed against it", execveat_memfd, MFD_NOEXEC_SEAL, NULL},
        {"E1.6", "execveat a memfd made for it", execveat_memfd, MFD_EXEC, NULL},
        {"E2.1", "fork until refused", fork_many, 0, NULL},
        {"E2.2", "clone3 until refused", clone3_many, 0, NULL},
        {"E2.3", "clone3 into a new user namespace", clone3_namespace, CLONE_NEWUSER, NULL},
        {"E2.4", "clone3 into new user and network namespaces", clone3_namespace, CLONE_NEWUSER | CLONE_NEWNET, NULL},
        {"E2.5", "unshare the user namespace", unshare_one, CLONE_NEWUSER, NULL},
        {"E2.6", "unshare the PID namespace", unshare_one, CLONE_NEWPID, NULL},
        {"E2.7", "unshare the mount namespace", unshare_one, CLONE_NEWNS, NULL},
        {"E2.8", "unshare the network namespace", unshare_one, CLONE_NEWNET, NULL},
        {"E2.9", "unshare the IPC namespace", unshare_one, CLONE_NEWIPC, NULL},
        {"E2.10", "unshare the UTS namespace", unshare_one, CLONE_NEWUTS, NULL},
        {"E2.11", "unshare the cgroup namespace", unshare_one, CLONE_NEWCGROUP, NULL},
        {"E2.12", "unshare the time namespace", unshare_one, CLONE_NEWTIME, NULL},
        {"E2.13", "setns by a neighbour's pidfd", setns_neighbour, 0, NULL},
        {"E2.14", "setns by the supervisor's pidfd", setns_supervisor, 0, NULL},
        {"E2.15", "setns by its own pidfd", setns_own, 0, NULL},
        {0},
};
