/* E12: exhaust what the host has. E13: leave the cgroup. */
#include <linux/mman.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define DESCRIPTORS_MAX 512          /* more than the limit of a role */
#define THREADS_MAX     64           /* likewise, for a small guest */
#define MEMORY_BYTES    (384L << 20) /* likewise, for one of 64 MiB */
#define FILE_BYTES      (1L << 40)

static struct attempt_result many_descriptors(const struct attempt_target *t, const struct attempt *a)
{
        for (int n = 0; n < DESCRIPTORS_MAX; n++) {
                long r = CALL(SYS_dup, 0);

                if (r < 0)
                        return refused(r);
        }
        return succeeded("as many as it likes");
}

/* A limit of its own that it could raise would be none. */
static struct attempt_result raise_limit(const struct attempt_target *t, const struct attempt *a)
{
        struct rlimit limit = {0};
        long r = CALL(SYS_prlimit64, 0, a->number, NULL, &limit);

        if (r < 0)
                return refused(r);
        limit.rlim_max = limit.rlim_cur = limit.rlim_max + 1;
        return reached(CALL(SYS_prlimit64, 0, a->number, &limit, NULL));
}

static struct attempt_result long_file(const struct attempt_target *t, const struct attempt *a)
{
        long fd = memfd();

        return fd < 0 ? refused(fd) : reached(CALL(SYS_ftruncate, fd, FILE_BYTES));
}

static struct attempt_result written_file(const struct attempt_target *t, const struct attempt *a)
{
        long fd = memfd();

        return fd < 0 ? refused(fd) : reached(CALL(SYS_write, fd, "x", 1));
}

/* Killed on the way, where there is a limit. */
static struct attempt_result much_memory(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_mmap, NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        volatile char *memory;

        if (r < 0)
                return refused(r);
        memory = (volatile char *)(uintptr_t)r;
        for (long at = 0; at < MEMORY_BYTES; at += 4096)
                memory[at] = 1;
        CALL(SYS_munmap, r, MEMORY_BYTES);
        return succeeded("as much as it likes");
}

/* A thread that needs no stack: it never leaves these lines. */
static long spinning_thread(void)
{
        long r = SYS_clone;

        __asm__ volatile("xor %%r10d, %%r10d\n\t"
                         "xor %%r8d, %%r8d\n\t"
                         "syscall\n\t"
                         "test %%rax, %%rax\n\t"
                         "jnz 2f\n"
                         "1:\tpause\n\t"
                         "jmp 1b\n"
                         "2:"
                         : "+a"(r)
                         : "D"(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM),
                           "S"(0), "d"(0)
                         : "rcx", "r8", "r10", "r11", "memory");
        return r;
}

static struct attempt_result many_threads(const struct attempt_target *t, const struct attempt *a)
{
        for (int n = 0; n < THREADS_MAX; n++) {
                long r = spinning_thread();

                if (r < 0)
                        return n == 0 ? refused(r) : contained("a few of its own, then EAGAIN");
        }
        return succeeded("as many as it likes");
}

static long sync_fd(int fd, const struct attempt *a)
{
        return CALL(SYS_fsync, fd);
}

static struct attempt_result sync_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(sync_fd, a);
}

static struct attempt_result real_time(const struct attempt_target *t, const struct attempt *a)
{
        const int priority = 1; /* struct sched_param */

        return reached(CALL(SYS_sched_setscheduler, 0, 1 /* SCHED_FIFO, linux/sched.h */, &priority));
}

static struct attempt_result write_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root(a->text, O_WRONLY));
}

static struct attempt_result mount_cgroup(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mount, "none", "/", a->text, 0, NULL));
}

/* Into the cgroup that a descriptor stands for. */
static long clone_into(int fd, const struct attempt *a)
{
        struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = 17, .cgroup = (uint64_t)fd};
        long r = CALL(SYS_clone3, &args, sizeof(args));

        if (r == 0)
                CALL(SYS_exit_group, 0);
        return r;
}

static struct attempt_result clone_into_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(clone_into, a);
}

const struct attempt row_limits[] = {
        {"E12.1", "open descriptors until refused", many_descriptors, 0, NULL},
        {"E12.2", "raise RLIMIT_NOFILE", raise_limit, RLIMIT_NOFILE, NULL},
        {"E12.3", "raise RLIMIT_NPROC", raise_limit, RLIMIT_NPROC, NULL},
        {"E12.4", "make a file of 1 TiB", long_file, 0, NULL},
        {"E12.5", "write to a file of its own", written_file, 0, NULL},
        {"E12.6", "touch more memory than the guest has", much_memory, 0, NULL},
        {"E12.7", "start spinning threads until refused", many_threads, 0, NULL},
        {"E12.8", "fsync every descriptor", sync_every, 0, NULL},
        {"E12.9", "run in real time", real_time, 0, NULL},
        {"E13.1", "write /sys/fs/cgroup/cgroup.procs", write_path, 0, "/sys/fs/cgroup/cgroup.procs"},
        {"E13.2", "write /sys/fs/cgroup/memory/tasks", write_path, 0, "/sys/fs/cgroup/memory/tasks"},
        {"E13.3", "write /sys/fs/cgroup/memory/notify_on_release", write_path, 0,
         "/sys/fs/cgroup/memory/notify_on_release"},
        {"E13.4", "write /proc/self/cgroup", write_path, 0, "/proc/self/cgroup"},
        {"E13.5", "mount cgroup2", mount_cgroup, 0, "cgroup2"},
        {"E13.6", "mount cgroup", mount_cgroup, 0, "cgroup"},
        {"E13.7", "clone3 into a cgroup by every descriptor", clone_into_every, 0, NULL},
        {0},
};
