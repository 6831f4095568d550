/* A system call without the C library, and what the rows share. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "attempts/attempts.h"

/* Highest descriptor that is tried. */
#define FDS_MAX 128

static inline long call6(long nr, long a, long b, long c, long d, long e, long f)
{
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        register long r9 __asm__("r9") = f;
        long r = nr;

        __asm__ volatile("syscall"
                         : "+a"(r)
                         : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return r;
}

#define CALL_(nr, a, b, c, d, e, f, ...) call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* CALL(number, arguments...): the result, or a negative errno. */
#define CALL(...)                        CALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline struct attempt_result refused(long r)
{
        return (struct attempt_result){.outcome = ATTEMPT_REFUSED, .error = (int)-r};
}

static inline struct attempt_result contained(const char *detail)
{
        return (struct attempt_result){.outcome = ATTEMPT_CONTAINED, .detail = detail};
}

static inline struct attempt_result succeeded(const char *detail)
{
        return (struct attempt_result){.outcome = ATTEMPT_SUCCEEDED, .detail = detail};
}

static inline struct attempt_result not_run(const char *detail)
{
        return (struct attempt_result){.outcome = ATTEMPT_NOT_RUN, .detail = detail};
}

#define PIDS_MAX 1024 /* of the caller's PID namespace, which has few */

/*
 * May the caller send a signal to any other process? The kernel's answer to one for everybody does not tell: it is 0
 * where all that there are refused. Returns 1, 0 or -ESRCH: there is no other.
 */
static inline long signals_another(void)
{
        const long own = CALL(SYS_getpid), all = CALL(SYS_kill, -1, 0);

        if (all < 0)
                return all;
        for (long pid = 1; pid <= PIDS_MAX; pid++)
                if (pid != own && CALL(SYS_kill, pid, 0) == 0)
                        return 1;
        return 0;
}

/* Of a call that must not go through. */
static inline struct attempt_result reached(long r)
{
        return r < 0 ? refused(r) : succeeded(NULL);
}

/* Of a call on every descriptor: any that works counts; else the first refusal of one that is open. */
static inline struct attempt_result on_every_fd(long (*call)(int fd, const struct attempt *a), const struct attempt *a)
{
        long first = -EBADF;

        for (int fd = 0; fd < FDS_MAX; fd++) {
                long r = call(fd, a);

                if (r >= 0)
                        return succeeded(NULL);
                if (first == -EBADF)
                        first = r;
        }
        return refused(first);
}

static inline long open_at_root(const char *path, long flags)
{
        return CALL(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC);
}

/* A memfd that nobody may execute, where the kernel knows of such (Linux 6.3). */
static inline long memfd(void)
{
        long fd = CALL(SYS_memfd_create, "attempt", 0x8 /* MFD_NOEXEC_SEAL, linux/memfd.h */);

        return fd == -EINVAL ? CALL(SYS_memfd_create, "attempt", 0) : fd;
}
