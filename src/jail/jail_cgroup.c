/*
 * Stage cgroup: everything the guest does is accounted to it and limited.
 *
 * Should:  be in the guest's cgroup before anything is allocated, and make that cgroup the root of a new cgroup
 * namespace. Mustn't: move the supervisor; leave one of the four limits unset when the guest is loaded: they are
 * written while the child builds its jail. Fails closed: a limit that cannot be written stops the start. On v1 the
 * child itself writes 0 to each tasks file: a parent that writes the child's pid waits for an RCU grace period.
 */
#include "jail/jail_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "jail/jail_stages.h"

#define CGROUP2_MAGIC  0x63677270 /* linux/magic.h: CGROUP2_SUPER_MAGIC */
#define CPU_PERIOD_US  100000     /* the kernel's default period */
#define CREATE_RETRIES 8          /* a sweep may remove the empty parent at the same moment */

static const char *const v1_controllers[CGROUP_V1_MAX] = {"memory", "pids", "cpu", "blkio"};

static bool is_unified(const struct statfs *fs)
{
        return (uint32_t)fs->f_type == CGROUP2_MAGIC;
}

bool jail_cgroup_is_unified(void)
{
        struct statfs fs;

        return statfs(CGROUP_ROOT, &fs) == 0 && is_unified(&fs);
}

/* The hierarchies of this host, "" for the unified one. Returns how many, or a negative errno. */
static int hierarchies(const char *ret[CGROUP_V1_MAX])
{
        struct statfs fs;

        memcpy(ret, v1_controllers, sizeof(v1_controllers));
        if (statfs(CGROUP_ROOT, &fs) < 0)
                return -errno;
        if (!is_unified(&fs))
                return CGROUP_V1_MAX;
        ret[0] = "";
        return 1;
}

#define PATH_SIZE (CGROUP_BASE_MAX + 128)

static void path_of(char *buf, size_t size, const char *hierarchy, const char *base, const char *name)
{
        snprintf(buf, size, CGROUP_ROOT "%s%s%s/" CGROUP_PARENT "%s%s", *hierarchy ? "/" : "", hierarchy, base,
                 name ? "/" : "", name ? name : "");
}

__attribute__((format(printf, 3, 4))) static int limit_write(int dir, const char *file, const char *fmt, ...)
{
        char text[128];
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        return io_write_file_at(dir, file, text);
}

static int refuse(struct err *e, int r, const char *file)
{
        err_set(e, r, "set the guest's cgroup limit %s", file);
        err_hint(e, "see bulkhead doctor");
        if (e)
                e->status = STATUS_ISOLATION;
        return r;
}

static int io_limits_v2(int dir, const struct cgroup_limits *l, struct err *e)
{
        for (size_t i = 0; i < l->io_count; i++) {
                const struct io_limit *io = &l->io[i];
                const struct {
                        const char *key;
                        uint64_t value;
                } keys[] = {{"rbps", io->read_bytes_per_s},
                            {"wbps", io->write_bytes_per_s},
                            {"riops", io->read_ops_per_s},
                            {"wiops", io->write_ops_per_s}};

                for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
                        int r = 0;

                        if (keys[k].value)
                                r = limit_write(dir, "io.max", "%u:%u %s=%" PRIu64, io->major, io->minor, keys[k].key,
                                                keys[k].value);
                        if (r < 0)
                                return refuse(e, r, "io.max");
                }
        }
        return 0;
}

static int limits_v2(int dir, const struct cgroup_limits *l, struct err *e)
{
        int r = limit_write(dir, "memory.max", "%" PRIu64, l->memory_bytes);

        if (r < 0)
                return refuse(e, r, "memory.max");
        r = limit_write(dir, "memory.swap.max", "0");
        if (r < 0)
                return refuse(e, r, "memory.swap.max");
        /* One process out of memory ends the whole guest, not a part of it. */
        r = limit_write(dir, "memory.oom.group", "1");
        if (r < 0)
                return refuse(e, r, "memory.oom.group");
        r = limit_write(dir, "pids.max", "%" PRIu64, l->pids);
        if (r < 0)
                return refuse(e, r, "pids.max");
        r = limit_write(dir, "cpu.max", "%" PRIu64 " %d", l->cpu_percent * CPU_PERIOD_US / 100, CPU_PERIOD_US);
        if (r < 0)
                return refuse(e, r, "cpu.max");
        return io_limits_v2(dir, l, e);
}

static int io_limits_v1(int dir, const struct cgroup_limits *l, struct err *e)
{
        for (size_t i = 0; i < l->io_count; i++) {
                const struct io_limit *io = &l->io[i];
                const struct {
                        const char *file;
                        uint64_t value;
                } files[] = {{"blkio.throttle.read_bps_device", io->read_bytes_per_s},
                             {"blkio.throttle.write_bps_device", io->write_bytes_per_s},
                             {"blkio.throttle.read_iops_device", io->read_ops_per_s},
                             {"blkio.throttle.write_iops_device", io->write_ops_per_s}};

                for (size_t k = 0; k < ARRAY_LEN(files); k++) {
                        int r = 0;

                        if (files[k].value)
                                r = limit_write(dir, files[k].file, "%u:%u %" PRIu64, io->major, io->minor,
                                                files[k].value);
                        if (r < 0)
                                return refuse(e, r, files[k].file);
                }
        }
        return 0;
}

static int limits_v1(int dir, const char *controller, const struct cgroup_limits *l, struct err *e)
{
        int r;

        if (strcmp(controller, "memory") == 0) {
                r = limit_write(dir, "memory.limit_in_bytes", "%" PRIu64, l->memory_bytes);
                if (r < 0)
                        return refuse(e, r, "memory.limit_in_bytes");
                /* Memory and swap together: no more than memory alone, so no swap. Absent without swap accounting. */
                r = limit_write(dir, "memory.memsw.limit_in_bytes", "%" PRIu64, l->memory_bytes);
                if (r == -ENOENT)
                        r = limit_write(dir, "memory.swappiness", "0");
                return r < 0 ? refuse(e, r, "memory.memsw.limit_in_bytes") : 0;
        }
        if (strcmp(controller, "pids") == 0) {
                r = limit_write(dir, "pids.max", "%" PRIu64, l->pids);
                return r < 0 ? refuse(e, r, "pids.max") : 0;
        }
        if (strcmp(controller, "cpu") == 0) {
                r = limit_write(dir, "cpu.cfs_quota_us", "%" PRIu64, l->cpu_percent * CPU_PERIOD_US / 100);
                return r < 0 ? refuse(e, r, "cpu.cfs_quota_us") : 0;
        }
        return io_limits_v1(dir, l, e);
}

/* Where systemd delegates to users, it keeps io back: only a guest with I/O limits needs it, and those will not take.
 */
static int controllers_enable(const char *file, bool delegated)
{
        int r = io_write_file_at(AT_FDCWD, file, "+memory +pids +cpu +io");

        return r < 0 && delegated ? io_write_file_at(AT_FDCWD, file, "+memory +pids +cpu") : r;
}

/* Hands the controllers down to the parent, and by it to what is below it. */
static int controllers_hand_down(const char *base)
{
        char control[PATH_SIZE + 32];
        int r;

        snprintf(control, sizeof(control), CGROUP_ROOT "%s/cgroup.subtree_control", base);
        r = controllers_enable(control, *base != '\0');
        snprintf(control, sizeof(control), CGROUP_ROOT "%s/" CGROUP_PARENT "/cgroup.subtree_control", base);
        return r < 0 ? r : controllers_enable(control, *base != '\0');
}

bool jail_cgroup_has_controller(const char *list, const char *controller)
{
        size_t len = strlen(controller);

        for (const char *p = list; (p = strstr(p, controller)); p += len)
                if ((p == list || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
                        return true;
        return false;
}

/* Sees to it that the guest's cgroup, dir, of the unified hierarchy has its controllers. Writing subtree_control may
 * wait for cgroups that are just ending, so it is written only where the parent does not hand all of them down. The
 * parent cannot vanish any more, and it may be another guest that made it and is not this far yet. */
static int controllers_ensure(int dir, const char *base)
{
        static const char *const needed[] = {"memory", "pids", "cpu", "io"};
        char list[512];
        ssize_t n = io_read_file_at(dir, "cgroup.controllers", list, sizeof(list));

        if (n < 0)
                return (int)n;
        for (size_t i = 0; i < ARRAY_LEN(needed); i++)
                if (!jail_cgroup_has_controller(list, needed[i]))
                        return controllers_hand_down(base);
        return 0;
}

/* Makes the directory of all guests, which stays until a sweep finds no guest. */
static int parent_make(const char *hierarchy, const char *base)
{
        char path[PATH_SIZE];

        path_of(path, sizeof(path), hierarchy, base, NULL);
        return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* Makes the guest's directory in one hierarchy. Returns a directory fd or a negative errno. */
static int directory_make(const char *hierarchy, const char *base, const char *name, struct err *e)
{
        char path[PATH_SIZE];
        int r = 0, fd;

        path_of(path, sizeof(path), hierarchy, base, name);
        for (int i = 0; i < CREATE_RETRIES; i++) {
                if (r == 0)
                        r = mkdir(path, 0755) < 0 ? -errno : 0;
                if (r == -EEXIST)
                        /* The name is ours: this is left over from a guest that is gone. */
                        r = jail_cgroup_remove(base, name, NULL) < 0 ? -EBUSY : -ENOENT;
                if (r != -ENOENT)
                        break;
                r = parent_make(hierarchy, base);
        }
        fd = r < 0 ? r : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r == 0 && fd < 0)
                r = -errno;
        if (r == 0 && *hierarchy == '\0')
                r = controllers_ensure(fd, base);
        if (r < 0) {
                fd_closep(&fd);
                err_set(e, r, "create the guest's cgroup %s", path);
                err_hint(e, "see bulkhead doctor");
                if (e)
                        e->status = STATUS_ISOLATION;
                return r;
        }
        return fd;
}

static int hierarchy_prepare(const char *hierarchy, const char *base, const char *name, struct jail_cgroup *cg,
                             struct err *e)
{
        _cleanup_fd_ int dir = directory_make(hierarchy, base, name, e);
        int tasks;

        if (dir < 0)
                return dir;
        if (*hierarchy == '\0') {
                cg->unified_fd = TAKE_FD(dir);
                return 0;
        }
        tasks = openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
        if (tasks < 0)
                return err_set(e, -errno, "open the tasks file of the guest's %s cgroup", hierarchy);
        cg->limit_fds[cg->tasks_count] = TAKE_FD(dir);
        cg->tasks_fds[cg->tasks_count++] = tasks;
        return 0;
}

int jail_cgroup_create(const char *base, const char *name, struct jail_cgroup *ret, struct err *e)
{
        struct jail_cgroup cg = {.unified_fd = -1};
        const char *list[CGROUP_V1_MAX];
        int count = hierarchies(list);

        if (count < 0)
                return err_set(e, count, "look at " CGROUP_ROOT);
        for (int i = 0; i < count; i++) {
                int r = hierarchy_prepare(list[i], base, name, &cg, e);

                if (r < 0) {
                        jail_cgroup_close(&cg);
                        (void)jail_cgroup_remove(base, name, NULL); /* the error to tell is the first one */
                        return r;
                }
        }
        *ret = cg;
        return 0;
}

int jail_cgroup_limit(struct jail_cgroup *cg, const struct cgroup_limits *limits, struct err *e)
{
        int r = 0;

        if (cg->limited)
                return 0;
        if (cg->unified_fd >= 0)
                r = limits_v2(cg->unified_fd, limits, e);
        for (size_t i = 0; r == 0 && i < cg->tasks_count; i++) {
                r = limits_v1(cg->limit_fds[i], v1_controllers[i], limits, e);
                fd_closep(&cg->limit_fds[i]);
        }
        cg->limited = r == 0;
        return r;
}

void jail_cgroup_close(struct jail_cgroup *cg)
{
        fd_closep(&cg->unified_fd);
        for (size_t i = 0; i < cg->tasks_count; i++) {
                fd_closep(&cg->tasks_fds[i]);
                fd_closep(&cg->limit_fds[i]);
        }
        cg->tasks_count = 0;
}

/* Kills every process that the cgroup at path lists. */
static void processes_kill(const char *path)
{
        char file[PATH_SIZE + 32], line[32];
        FILE *f;

        snprintf(file, sizeof(file), "%s/cgroup.kill", path);
        if (io_write_file_at(AT_FDCWD, file, "1") == 0)
                return;
        snprintf(file, sizeof(file), "%s/cgroup.procs", path);
        f = fopen(file, "re");
        if (!f)
                return;
        while (fgets(line, sizeof(line), f)) {
                pid_t pid = (pid_t)strtol(line, NULL, 10);

                /* Nobody else puts processes into this cgroup, and one that has left it is already dead. */
                if (pid > 0)
                        kill(pid, SIGKILL);
        }
        fclose(f);
}

/* Removes one directory; processes in it are killed and waited for. */
static int directory_remove(const char *path)
{
        for (int waited_ms = 0;; waited_ms++) {
                const struct timespec ms = {.tv_nsec = 1000000};

                if (rmdir(path) == 0 || errno == ENOENT)
                        return 0;
                if (errno != EBUSY || waited_ms >= CGROUP_REMOVE_MS)
                        return -errno;
                processes_kill(path);
                nanosleep(&ms, NULL);
        }
}

static void parent_remove(const char *hierarchy, const char *base)
{
        char path[PATH_SIZE];

        path_of(path, sizeof(path), hierarchy, base, NULL);
        /* Fails while a guest is there, which is as it should be. */
        (void)rmdir(path);
}

void jail_cgroup_remove_parent(const char *base)
{
        const char *list[CGROUP_V1_MAX];
        int count = hierarchies(list);

        for (int i = 0; i < count; i++)
                parent_remove(list[i], base);
}

int jail_cgroup_remove(const char *base, const char *name, struct err *e)
{
        const char *list[CGROUP_V1_MAX];
        int result = 0, count = hierarchies(list);

        if (count < 0)
                return err_set(e, count, "look at " CGROUP_ROOT);
        for (int i = 0; i < count; i++) {
                char path[PATH_SIZE];
                int r;

                path_of(path, sizeof(path), list[i], base, name);
                r = directory_remove(path);
                if (r < 0)
                        result = err_set(e, r, "remove the cgroup %s", path);
                /* A delegated cgroup is one guest's alone, and can have processes again only without this. */
                if (*base)
                        parent_remove(list[i], base);
        }
        return result;
}

int jail_stage_cgroup(struct jail *j, struct err *e)
{
        const struct jail_cgroup *cg = j->req->cgroup;

        for (size_t i = 0; cg && i < cg->tasks_count; i++) {
                int r = io_write_all(cg->tasks_fds[i], "0", 1);

                if (r < 0)
                        return err_set(e, r, "enter the guest's %s cgroup", v1_controllers[i]);
        }
        if (cg)
                j->layers |= LAYER_BIT(LAYER_CGROUP_LIMITS);

        if (j->req->join)
                return jail_cgroup_namespace_join(j, e);
        if (syscall(SYS_unshare, CLONE_NEWCGROUP) == 0)
                j->layers |= LAYER_BIT(LAYER_CGROUP_NS);
        else if (errno != EINVAL)
                return err_set(e, -errno, "create a cgroup namespace");
        return 0;
}
