/* What the kernel says about a process by system call and not by file. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

static int answer_kcmp(struct live *l, const char *subject, struct answer *ret)
{
        pid_t p[2];
        unsigned int fd[2];
        long order;
        int r;

        if (sscanf(subject, "%d %u %d %u", &p[0], &fd[0], &p[1], &fd[1]) != 4)
                return -EINVAL;
        order = syscall(SYS_kcmp, p[0], p[1], KCMP_FILE, (unsigned long)fd[0], (unsigned long)fd[1]);
        if (order < 0)
                return -errno;
        for (int i = 0; i < 2; i++) {
                r = live_process_still(l, p[i]);
                if (r < 0)
                        return r;
        }
        return order > 2 ? -EPROTO : live_answer(l, ret, "%ld", order);
}

/* Opened anew by its link, so that no reference to the process's own open file is held. */
static int answer_seals(struct live *l, const char *subject, struct answer *ret)
{
        char path[32];
        pid_t pid;
        int number, seals, dirfd;

        if (sscanf(subject, "%d %d", &pid, &number) != 2)
                return -EINVAL;
        dirfd = live_process_dir(l, pid);
        if (dirfd < 0)
                return dirfd;
        snprintf(path, sizeof(path), "fd/%d", number);
        _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        seals = fcntl(fd, F_GET_SEALS);
        return seals < 0 ? -errno : live_answer(l, ret, "%d", seals);
}

static int answer_cookie(struct live *l, const char *subject, struct answer *ret)
{
        unsigned long cookie = 0;
        int tid = (int)strtol(subject, NULL, 10);

        if (syscall(SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_GET, tid, PR_SCHED_CORE_SCOPE_THREAD, &cookie) < 0)
                return -errno;
        return live_answer(l, ret, "%lu", cookie);
}

#define STOP_WAIT_MS 1000 /* a thread in uninterruptible sleep does not stop */

/* Stops thread tid. It stays stopped until PTRACE_DETACH, or until this process ends. A signal that stopped it before
 * the interruption did must be passed on then, or it never hears of it: 0 is none. */
static int thread_stop(pid_t tid, int *ret_signal)
{
        int64_t deadline = clock_now_ms() + STOP_WAIT_MS;
        int status;

        if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0)
                return -errno;
        if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0) {
                int r = -errno;

                ptrace(PTRACE_DETACH, tid, 0, 0);
                return r;
        }
        for (;;) {
                const struct timespec pause = {.tv_nsec = 50000};
                pid_t ended = waitpid(tid, &status, __WALL | WNOHANG);

                if (ended < 0 && errno != EINTR)
                        return -errno;
                if (ended > 0 && !WIFSTOPPED(status))
                        return -ESRCH;
                if (ended > 0) {
                        *ret_signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
                        return 0;
                }
                if (clock_now_ms() >= deadline)
                        return -ETIMEDOUT; /* it is let go when this process ends, at the latest */
                nanosleep(&pause, NULL);
        }
}

static int answer_seccomp(struct live *l, const char *subject, struct answer *ret)
{
        struct sock_filter *program;
        unsigned int index;
        pid_t tid;
        long n;
        int r, number = 0; /* of a signal */

        if (sscanf(subject, "%d %u", &tid, &index) != 2)
                return -EINVAL;
        r = thread_stop(tid, &number);
        if (r < 0)
                return r;
        n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, NULL);
        r = n < 0 ? -errno : 0;
        if (r == 0) {
                program = arena_array(live_arena(l), (size_t)n + 1, sizeof(*program));
                n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, program);
                r = n < 0 ? -errno : 0;
                ret->bytes = (char *)program;
                ret->len = n < 0 ? 0 : (size_t)n * sizeof(*program);
        }
        /* It may have been killed meanwhile. */
        ptrace(PTRACE_DETACH, tid, 0, (long)number);
        return r;
}

#define PAGEMAP_PRESENT (1ULL << 63) /* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PFN     ((1ULL << 55) - 1)
#define PAGE_BYTES      4096U /* of x86-64 */
#define PAGES_AT_ONCE   4096U

/* Frames in a row. */
struct frames {
        uint64_t pfn, count;
};

static void frames_flush(struct live_lines *out, struct frames *f)
{
        if (f->count > 0)
                live_line(out, "%" PRIu64 " %" PRIu64 "\n", f->pfn, f->count);
        f->count = 0;
}

static int answer_pages(struct live *l, const char *subject, struct answer *ret)
{
        struct live_lines out = {.l = l};
        struct frames f = {0};
        _cleanup_free_ uint64_t *entries = malloc(PAGES_AT_ONCE * sizeof(*entries));
        uint64_t start, end;
        pid_t pid;
        int dirfd;

        if (!entries)
                return -ENOMEM;
        if (sscanf(subject, "%d %" SCNx64 " %" SCNx64, &pid, &start, &end) != 3 || end < start)
                return -EINVAL;
        dirfd = live_process_dir(l, pid);
        if (dirfd < 0)
                return dirfd;
        _cleanup_fd_ int fd = openat(dirfd, "pagemap", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (uint64_t page = start / PAGE_BYTES; page < end / PAGE_BYTES;) {
                uint64_t left = end / PAGE_BYTES - page, n = left < PAGES_AT_ONCE ? left : PAGES_AT_ONCE;
                int r = io_pread_all(fd, entries, n * sizeof(*entries), page * sizeof(*entries));

                if (r < 0)
                        return r == -ENODATA ? -ESRCH : r;
                for (uint64_t i = 0; i < n; i++) {
                        uint64_t pfn = entries[i] & PAGEMAP_PFN;

                        if (!(entries[i] & PAGEMAP_PRESENT))
                                continue;
                        if (pfn == 0) /* hidden from readers without CAP_SYS_ADMIN */
                                return -EPERM;
                        if (f.count > 0 && pfn == f.pfn + f.count) {
                                f.count++;
                                continue;
                        }
                        frames_flush(&out, &f);
                        f.pfn = pfn;
                        f.count = 1;
                }
                page += n;
        }
        frames_flush(&out, &f);
        return live_lines_answer(&out, 0, ret);
}

static int answer_pageflags(struct live *l, const char *subject, struct answer *ret)
{
        uint64_t flags, pfn = strtoull(subject, NULL, 10);
        _cleanup_fd_ int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = io_pread_all(fd, &flags, sizeof(flags), pfn * sizeof(flags));
        return r < 0 ? r : live_answer(l, ret, "%" PRIu64, flags);
}

const struct live_verb live_process_verbs[] = {
        {"kcmp", answer_kcmp},
        {"seals", answer_seals},
        {"cookie", answer_cookie},
        {"seccomp", answer_seccomp},
        {"pages", answer_pages},
        {"pageflags", answer_pageflags},
        {NULL, NULL},
};
