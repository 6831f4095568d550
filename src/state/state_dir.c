#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "spec/request.h"
#include "state/state.h"

#define STATE_NEW    "state.new"
#define ATTESTED_NEW "attested.new"

static int subdir_open(int at, const char *name)
{
        if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int runtime_path(char *buf, size_t size, struct err *e)
{
        const char *xdg;
        int n;

        if (geteuid() == 0)
                n = snprintf(buf, size, "%s", STATE_DIR_ROOT);
        else {
                xdg = getenv("XDG_RUNTIME_DIR");
                if (!xdg || *xdg != '/') {
                        err_bad(e, STATUS_HOST, "XDG_RUNTIME_DIR is not set, so there is no place for guests' state");
                        err_hint(e, "log in through a session manager, or export it");
                        return -EINVAL;
                }
                n = snprintf(buf, size, "%s/bulkhead", xdg);
        }
        return n < 0 || (size_t)n >= size ? err_set(e, -ENAMETOOLONG, "runtime directory") : 0;
}

int state_dir_open(struct state_dir *ret, struct err *e)
{
        struct state_dir d = {.fd = -1, .guests_fd = -1, .ids_fd = -1};
        struct stat st;
        int r = runtime_path(d.path, sizeof(d.path), e);

        if (r < 0)
                return r;
        d.fd = subdir_open(AT_FDCWD, d.path);
        if (d.fd < 0)
                return err_set(e, d.fd, "open the runtime directory %s", d.path);
        if (fstat(d.fd, &st) < 0) {
                r = err_set(e, -errno, "look at the runtime directory %s", d.path);
                state_dir_close(&d);
                return r;
        }
        if (st.st_uid != geteuid() || (st.st_mode & 022)) {
                state_dir_close(&d);
                err_bad(e, STATUS_FAILURE, "the runtime directory %s can be written by others", d.path);
                err_hint(e, "remove it; bulkhead creates it with mode 0700");
                return -EINVAL;
        }
        d.guests_fd = subdir_open(d.fd, "guests");
        d.ids_fd = subdir_open(d.fd, "ids");
        r = d.guests_fd < 0 ? d.guests_fd : d.ids_fd < 0 ? d.ids_fd : 0;
        if (r < 0) {
                state_dir_close(&d);
                return err_set(e, r, "create guests and ids in %s", d.path);
        }
        *ret = d;
        return 0;
}

void state_dir_close(struct state_dir *d)
{
        fd_closep(&d->fd);
        fd_closep(&d->guests_fd);
        fd_closep(&d->ids_fd);
}

/* Who holds a lock is told by its length; both exclude each other. */
#define LOCK_SUPERVISOR 0 /* the whole file */
#define LOCK_SWEEPER    1 /* the first byte: the guest is dead, and being removed */

#define TAKE_RETRIES 100 /* each is lost only to a sweeper that looks at just this name at just this moment */

/* How long a sweeper is waited for: as long as it may wait for a cgroup in each hierarchy. */
#define SWEEP_TIMEOUT_MS (CGROUP_REMOVE_MS * CGROUP_V1_MAX)

/* Opens and locks NAME/lock. -EAGAIN: held by a live process. -ESTALE: removed while we waited; try again. */
static int lock_take(int dir_fd, off_t length, int *ret_fd)
{
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = length};
        _cleanup_fd_ int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fcntl(fd, F_SETLK, &l) < 0)
                return errno == EACCES ? -EAGAIN : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_nlink == 0)
                return -ESTALE;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Returns 0 or a negative errno: -EAGAIN when a live process holds the lock. */
static int guest_take(struct state_dir *d, const char *name, off_t length, struct state_guest *ret)
{
        struct state_guest g = {.dir_fd = -1, .lock_fd = -1};
        int r = -ENOENT;

        snprintf(g.path, sizeof(g.path), "%s/guests/%s", d->path, name);
        /* ENOENT: a sweeper removed the directory between two steps. */
        for (int i = 0; i < TAKE_RETRIES && (r == -ESTALE || r == -ENOENT); i++) {
                fd_closep(&g.dir_fd);
                g.dir_fd = subdir_open(d->guests_fd, name);
                r = g.dir_fd < 0 ? g.dir_fd : lock_take(g.dir_fd, length, &g.lock_fd);
        }
        if (r < 0) {
                if (r != -EAGAIN)
                        (void)unlinkat(d->guests_fd, name, AT_REMOVEDIR); /* empty, or somebody else's */
                fd_closep(&g.dir_fd);
                return r;
        }
        *ret = g;
        return 0;
}

int state_guest_take(struct state_dir *d, const char *name, struct state_guest *ret, struct err *e)
{
        const struct timespec ms = {.tv_nsec = 1000000};
        int r = guest_take(d, name, LOCK_SUPERVISOR, ret);

        /* No owner, yet locked: a sweeper has it, and will be done with it soon. */
        for (int i = 0; i < SWEEP_TIMEOUT_MS && r == -EAGAIN && state_lock_owner(d, name) == 0; i++) {
                nanosleep(&ms, NULL);
                r = guest_take(d, name, LOCK_SUPERVISOR, ret);
        }
        if (r == -EAGAIN) {
                err_bad(e, STATUS_NAME, "a guest named \"%s\" is running", name);
                err_hint(e, "choose another name, or end it with: bulkhead kill %s", name);
                return -EBUSY;
        }
        return r < 0 ? err_set(e, r, "create the state of guest \"%s\" in %s", name, d->path) : 0;
}

int state_guest_take_dead(struct state_dir *d, const char *name, struct state_guest *ret)
{
        return guest_take(d, name, LOCK_SWEEPER, ret);
}

void state_guest_drop(struct state_dir *d, const char *name, struct state_guest *g)
{
        static const char *const files[] = {"state", STATE_NEW, "attested", ATTESTED_NEW, "cgroup", REQUEST_SOCKET};

        /* A file that is not there needs no removal, and the directory's own removal tells of one that stays. */
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
                (void)unlinkat(g->dir_fd, files[i], 0);
        (void)unlinkat(g->dir_fd, "lock", 0);
        (void)unlinkat(d->guests_fd, name, AT_REMOVEDIR);
        fd_closep(&g->lock_fd);
        fd_closep(&g->dir_fd);
}

static int new_open(const struct state_guest *g, const char *name, int *ret_fd, struct err *e)
{
        *ret_fd = openat(g->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        return *ret_fd < 0 ? err_set(e, -errno, "create %s/%s", g->path, name) : 0;
}

int state_new_open(const struct state_guest *g, struct state_new *ret, struct err *e)
{
        int r = new_open(g, ATTESTED_NEW, &ret->attested_fd, e);

        return r < 0 ? r : new_open(g, STATE_NEW, &ret->state_fd, e);
}

void state_new_close(struct state_new *n)
{
        fd_closep(&n->attested_fd);
        fd_closep(&n->state_fd);
}

/* Puts a new file with these bytes in the place of the old one, if there is one. */
static int file_replace(const struct state_guest *g, const char *name, const char *scratch, int fd, const void *bytes,
                        size_t len, struct err *e)
{
        int r = io_write_all(fd, bytes, len);

        if (r == 0 && renameat(g->dir_fd, scratch, g->dir_fd, name) < 0)
                r = -errno;
        return r < 0 ? err_set(e, r, "write %s/%s", g->path, name) : 0;
}

#define ATTESTED_LINE_MAX 64

int state_attest(const struct state_guest *g, const struct state_new *n, const struct guest_state *s, struct err *e)
{
        char text[ATTESTED_LINE_MAX * (3 + VMM_DEVICES_MAX)];
        size_t len =
                (size_t)snprintf(text, sizeof(text), "landlock %" PRIu32 "\npid %" PRId32 "\nstart_time %" PRIu64 "\n",
                                 s->landlock_abi, s->vmm.pid, s->vmm.start_time);

        for (uint32_t i = 0; i < s->device_count; i++) {
                const struct device_state *d = &s->devices[i];

                if (d->process.pid > 0)
                        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                                "device %" PRIu32 " %" PRId32 " %" PRIu64 "\n", d->landlock_abi,
                                                d->process.pid, d->process.start_time);
        }
        return file_replace(g, "attested", ATTESTED_NEW, n->attested_fd, text, len, e);
}

int state_write(const struct state_guest *g, const struct state_new *n, const struct guest_state *s, struct err *e)
{
        return file_replace(g, "state", STATE_NEW, n->state_fd, s, sizeof(*s), e);
}

int state_rewrite(const struct state_guest *g, const struct guest_state *s, struct err *e)
{
        struct state_new n = STATE_NEW_INIT;
        int r = state_new_open(g, &n, e);

        if (r == 0)
                r = state_attest(g, &n, s, e);
        if (r == 0)
                r = state_write(g, &n, s, e);
        state_new_close(&n);
        return r;
}

/* Everything that is used without another look at it. */
static bool state_valid(struct guest_state *s)
{
        if (s->version != STATE_VERSION || s->size_bytes != sizeof(*s) || s->device_count > VMM_DEVICES_MAX)
                return false;
        for (uint32_t i = 0; i < s->device_count; i++)
                if (!memchr(s->devices[i].id, '\0', sizeof(s->devices[i].id)))
                        return false;
        if (s->alone) /* without a kernel */
                return s->alone == 1 && s->device_count == 1 &&
                       guest_spec_draft_from_bytes(&s->spec, sizeof(s->spec), &s->spec, NULL) == 0;
        return guest_spec_validate(&s->spec, NULL) == 0;
}

int state_read(const struct state_dir *d, const char *name, struct guest_state *ret)
{
        char path[SPEC_NAME_MAX + 16];
        _cleanup_fd_ int fd = -1;
        struct guest_state s;
        int r;

        snprintf(path, sizeof(path), "%s/state", name);
        fd = openat(d->guests_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = io_pread_all(fd, &s, sizeof(s), 0);
        if (r < 0)
                return r;
        if (!state_valid(&s))
                return -EPROTO;
        *ret = s;
        return 0;
}

int state_cgroup_note(const struct state_guest *g, const char *base, struct err *e)
{
        (void)unlinkat(g->dir_fd, "cgroup", 0); /* of a guest that is gone */
        return symlinkat(base, g->dir_fd, "cgroup") < 0 ? err_set(e, -errno, "create %s/cgroup", g->path) : 0;
}

int state_cgroup_base(const struct state_dir *d, const char *name, char base[CGROUP_BASE_MAX])
{
        char path[SPEC_NAME_MAX + 16];
        ssize_t n;

        base[0] = '\0';
        if (geteuid() == 0)
                return 0;
        snprintf(path, sizeof(path), "%s/cgroup", name);
        n = readlinkat(d->guests_fd, path, base, CGROUP_BASE_MAX);
        if (n < 0 || n == CGROUP_BASE_MAX)
                return n < 0 ? -errno : -ENAMETOOLONG;
        base[n] = '\0';
        return 0;
}

pid_t state_lock_owner(const struct state_dir *d, const char *name)
{
        char path[SPEC_NAME_MAX + 16];
        _cleanup_fd_ int fd = -1;
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        snprintf(path, sizeof(path), "%s/lock", name);
        fd = openat(d->guests_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fcntl(fd, F_GETLK, &l) < 0 || l.l_type == F_UNLCK || l.l_len == LOCK_SWEEPER)
                return 0;
        return l.l_pid;
}

uint64_t process_start_time(pid_t pid)
{
        char path[48], buf[1024];
        char *p;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (io_read_file_at(AT_FDCWD, path, buf, sizeof(buf)) < 0)
                return 0;
        /* The command in field 2 is in parentheses and can contain anything, parentheses too. */
        p = strrchr(buf, ')');
        for (int field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        return p ? strtoull(p + 1, NULL, 10) : 0;
}
