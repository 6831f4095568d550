#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/number.h"
#include "base/sys.h"
#include "cli/inspect/parse.h"

#define FILE_MAX (64U << 10) /* bytes of a file in /proc: a status with 4000 groups is shorter */

/* Calls fn for each numeric entry of a directory in /proc/PID. */
static int each_number(int proc_fd, const char *name, int (*fn)(int proc_fd, int number, struct inspect_facts *ret),
                       struct inspect_facts *ret)
{
        int fd = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        int r = 0;

        if (!dir) {
                r = -errno;
                fd_closep(&fd);
                return r;
        }
        errno = 0;
        while (r == 0 && (entry = readdir(dir))) {
                uint64_t number;

                if (number_parse(entry->d_name, INT32_MAX, &number) == 0)
                        r = fn(proc_fd, (int)number, ret);
                errno = 0;
        }
        if (r == 0 && errno != 0)
                r = -errno;
        closedir(dir);
        return r;
}

static int thread_read(int proc_fd, int tid, struct inspect_facts *ret)
{
        _cleanup_free_ char *text = malloc(FILE_MAX);
        char path[48];
        ssize_t n;
        int r;

        if (!text)
                return -ENOMEM;
        if (ret->thread_count == INSPECT_THREADS_MAX)
                return -E2BIG;
        snprintf(path, sizeof(path), "task/%d/status", tid);
        n = io_read_file_at(proc_fd, path, text, FILE_MAX);
        if (n == -ENOENT || n == -ESRCH) /* a thread may end */
                return 0;
        r = n < 0 ? (int)n : parse_status(text, &ret->threads[ret->thread_count]);
        if (r == 0)
                ret->thread_count++;
        return r;
}

static int by_tid(const void *a, const void *b)
{
        pid_t x = ((const struct thread_facts *)a)->tid, y = ((const struct thread_facts *)b)->tid;

        return (x > y) - (x < y);
}

/* The main thread, whose tid is the pid, comes first: tids wrap around, so that it need not be the lowest. */
static int main_thread_first(struct inspect_facts *f)
{
        for (size_t i = 0; i < f->thread_count; i++)
                if (f->threads[i].tid == f->pid) {
                        struct thread_facts t = f->threads[i];

                        memmove(&f->threads[1], &f->threads[0], i * sizeof(t));
                        f->threads[0] = t;
                        return 0;
                }
        return -ESRCH;
}

int inspect_threads(int proc_fd, struct inspect_facts *ret)
{
        int r;

        ret->thread_count = 0;
        r = each_number(proc_fd, "task", thread_read, ret);
        if (r < 0)
                return r;
        qsort(ret->threads, ret->thread_count, sizeof(ret->threads[0]), by_tid);
        return main_thread_first(ret);
}

static enum fd_kind kind_of(const struct stat *st, const char *link)
{
        static const struct {
                const char *prefix;
                enum fd_kind kind;
        } anonymous[] = {
                {"anon_inode:kvm-vm", FD_KVM_VM},     {"anon_inode:kvm-vcpu:", FD_KVM_VCPU},
                {"anon_inode:[eventfd]", FD_EVENTFD}, {"anon_inode:[eventpoll]", FD_EPOLL},
                {"anon_inode:[io_uring]", FD_URING},  {"anon_inode:[timerfd]", FD_TIMER},
                {"anon_inode:", FD_OTHER_ANON},
        };

        if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3)) /* Documentation/admin-guide/devices.txt */
                return FD_NULL;
        if (S_ISSOCK(st->st_mode))
                return FD_SOCKET;
        /* Links to what has a path begin with '/': none of these can be forged. */
        for (size_t i = 0; i < ARRAY_LEN(anonymous); i++)
                if (strncmp(link, anonymous[i].prefix, strlen(anonymous[i].prefix)) == 0)
                        return anonymous[i].kind;
        /* Only root can make a file look like one, in the root directory, and remove it. */
        if (S_ISREG(st->st_mode) && st->st_nlink == 0 && strncmp(link, "/memfd:", 7) == 0)
                return FD_MEMFD;
        return FD_FILE;
}

static int fd_read(int proc_fd, int number, struct inspect_facts *ret)
{
        char path[32], link[256];
        struct stat st;
        ssize_t n;

        if (ret->fd_count == INSPECT_FDS_MAX)
                return -E2BIG;
        snprintf(path, sizeof(path), "fd/%d", number);
        n = readlinkat(proc_fd, path, link, sizeof(link) - 1);
        if (n < 0 || fstatat(proc_fd, path, &st, 0) < 0)
                return errno == ENOENT ? 0 : -errno; /* closed since it was listed */
        link[n] = '\0';
        ret->fds[ret->fd_count++] = (struct fd_facts){.number = number,
                                                      .kind = kind_of(&st, link),
                                                      .device = st.st_dev,
                                                      .inode = st.st_ino,
                                                      .block_device = S_ISBLK(st.st_mode) ? st.st_rdev : 0};
        return 0;
}

static int by_number(const void *a, const void *b)
{
        return ((const struct fd_facts *)a)->number - ((const struct fd_facts *)b)->number;
}

int inspect_fds(int proc_fd, struct inspect_facts *ret)
{
        int r;

        ret->fd_count = 0;
        r = each_number(proc_fd, "fd", fd_read, ret);
        ret->fds_known = r != -EACCES;
        if (r == -EACCES && geteuid() != 0)
                return 0;
        qsort(ret->fds, ret->fd_count, sizeof(ret->fds[0]), by_number);
        return r;
}

static int root_read(int proc_fd, struct root_facts *ret)
{
        _cleanup_fd_ int fd = openat(proc_fd, "mountinfo", O_RDONLY | O_CLOEXEC);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
        int r;

        if (!f)
                return -errno;
        TAKE_FD(fd);
        r = parse_mountinfo(f, ret);
        fclose(f);
        return r;
}

static int cookie_read(pid_t pid, uint64_t *ret)
{
        return syscall(SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_GET, pid, PR_SCHED_CORE_SCOPE_THREAD, ret) < 0 ? -errno
                                                                                                              : 0;
}

int inspect_process(int proc_fd, struct inspect_facts *ret)
{
        char text[4096];
        struct stat st;
        ssize_t n = io_read_file_at(proc_fd, "limits", text, sizeof(text));
        int r = n < 0 ? (int)n : parse_limits(text, ret->limits);

        if (r == 0)
                r = root_read(proc_fd, &ret->root);
        if (r < 0)
                return r;
        n = io_read_file_at(proc_fd, "oom_score_adj", text, sizeof(text));
        if (n < 0)
                return (int)n;
        ret->oom_score_adj = strtol(text, NULL, 10);
        /* Any file that only its owner may read: proc(5), "the ownership of the files". */
        if (fstatat(proc_fd, "environ", &st, 0) < 0)
                return -errno;
        ret->owner = st.st_uid;
        ret->core_cookie_known =
                cookie_read(ret->pid, &ret->core_cookie) == 0 && cookie_read(0, &ret->own_core_cookie) == 0;
        return 0;
}
