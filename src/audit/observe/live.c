/* The live host: finds the handler of a question, and keeps a descriptor of each process asked about. */
#include "audit/observe/live.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "audit/text.h"
#include "base/cleanup.h"

struct process_dir {
        pid_t pid;
        int fd;
};

struct live {
        struct observer o;
        int root_fd, proc_fd;
        void *processes; /* tsearch(3) tree of struct process_dir */
};

struct arena *live_arena(struct live *l)
{
        return l->o.arena;
}

static int by_pid(const void *a, const void *b)
{
        pid_t x = ((const struct process_dir *)a)->pid, y = ((const struct process_dir *)b)->pid;

        return (x > y) - (x < y);
}

int live_process_dir(struct live *l, pid_t pid)
{
        struct process_dir key = {.pid = pid}, *new, *const *found = tfind(&key, &l->processes, by_pid);
        char name[16];

        if (found)
                return (*found)->fd;
        snprintf(name, sizeof(name), "%d", (int)pid);
        key.fd = openat(l->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (key.fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        new = arena_alloc(l->o.arena, sizeof(*new));
        *new = key;
        if (!tsearch(new, &l->processes, by_pid))
                l->o.arena->exhausted();
        return key.fd;
}

/* Whatever else keeps its files from being looked at, it is still there. */
static bool has_ended(int dirfd)
{
        return faccessat(dirfd, "stat", F_OK, 0) < 0 && (errno == ENOENT || errno == ESRCH);
}

int live_process_still(struct live *l, pid_t pid)
{
        int fd = live_process_dir(l, pid);

        if (fd < 0)
                return fd;
        return has_ended(fd) ? -ESRCH : 0;
}

static void live_forget(struct observer *o, pid_t pid)
{
        struct live *l = (struct live *)o;
        struct process_dir key = {.pid = pid}, *const *found = tfind(&key, &l->processes, by_pid), *entry;

        if (!found)
                return;
        entry = *found;
        tdelete(&key, &l->processes, by_pid);
        close(entry->fd);
}

int live_resolve(struct live *l, const char *path, int *ret_dirfd, const char **ret_rest)
{
        char *end;
        long pid;
        int fd;

        if (path[0] != '/')
                return -EINVAL;
        *ret_dirfd = l->root_fd;
        *ret_rest = path;
        if (!text_has_prefix(path, "/proc/") || path[6] < '1' || path[6] > '9')
                return 0;
        pid = strtol(path + 6, &end, 10);
        if (pid > INT32_MAX || (*end != '/' && *end != '\0'))
                return 0;
        fd = live_process_dir(l, (pid_t)pid);
        if (fd < 0)
                return fd;
        *ret_dirfd = fd;
        *ret_rest = *end == '/' && end[1] ? end + 1 : ".";
        return 0;
}

int live_answer(struct live *l, struct answer *ret, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        ret->bytes = arena_vprintf(l->o.arena, fmt, ap);
        va_end(ap);
        ret->len = strlen(ret->bytes);
        return 0;
}

/* What is asked about a process that has ended fails in many ways: its links may not be read, its files are not there.
 */
static int error_explain(struct live *l, const char *subject, int error)
{
        const char *rest;
        int dirfd;

        if ((error != -EACCES && error != -ENOENT) || live_resolve(l, subject, &dirfd, &rest) < 0 ||
            dirfd == l->root_fd)
                return error;
        return has_ended(dirfd) ? -ESRCH : error;
}

static void live_ask(struct observer *o, const char *question, struct answer *ret)
{
        static const struct live_verb *const tables[] = {live_file_verbs,      live_process_verbs,  live_kvm_verbs,
                                                         live_unix_verbs,      live_program_verbs,  live_elf_verbs,
                                                         live_link_verbs,      live_listener_verbs, live_nft_verbs,
                                                         live_namespace_verbs, live_kernel_verbs,   live_dm_verbs,
                                                         live_kernel_log_verbs};
        size_t n = strcspn(question, " ");
        const char *subject = question[n] ? question + n + 1 : "";

        for (size_t i = 0; i < ARRAY_LEN(tables); i++)
                for (const struct live_verb *v = tables[i]; v->verb; v++)
                        if (strlen(v->verb) == n && strncmp(v->verb, question, n) == 0) {
                                ret->error = v->answer((struct live *)o, subject, ret);
                                if (ret->error < 0) {
                                        ret->error = error_explain((struct live *)o, subject, ret->error);
                                        ret->bytes = NULL;
                                }
                                return;
                        }
        ret->error = -EOPNOTSUPP; /* our own mistake: a probe asks what nobody answers */
}

static void process_dir_free(void *p)
{
        close(((struct process_dir *)p)->fd);
}

static void live_close(struct observer *o)
{
        struct live *l = (struct live *)o;

        tdestroy(l->processes, process_dir_free);
        close(l->proc_fd);
        close(l->root_fd);
}

struct observer *observer_live(struct arena *a, struct err *e)
{
        struct live *l = arena_alloc(a, sizeof(*l));
        struct rlimit files;

        l->o = (struct observer){.arena = a, .ask = live_ask, .forget = live_forget, .close = live_close};
        l->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        l->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (l->root_fd < 0 || l->proc_fd < 0 || faccessat(l->proc_fd, "self/stat", F_OK, 0) < 0) {
                err_set(e, -errno, "look at the processes of this host in /proc");
                err_hint(e, "mount a proc file system on /proc");
                return NULL;
        }
        /* A descriptor for each process of a guest. When the hard limit is too low, questions fail with EMFILE and
         * checks are UNKNOWN. */
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
        return &l->o;
}
