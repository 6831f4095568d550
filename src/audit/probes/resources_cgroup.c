/* Resources: disk bandwidth, who can write to a guest's cgroups, and who is in them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/resources.h"
#include "audit/probes/rows.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* ---- disk bandwidth ---- */

struct io_limits {
        char *lines;    /* of all levels: "MAJ:MIN ..." */
        char *question; /* of the last level read */
        int error;
};

/* Device of an image as io.max names it: of a partition the disk it is on. */
static char *disk_of(struct audit *a, uint64_t dev)
{
        char *own = arena_printf(a->arena, "%u:%u", OBSERVED_MAJOR(dev), OBSERVED_MINOR(dev)), *parent;
        struct answer answer;

        if (observe(a->observer, &answer, "read /sys/dev/block/%s/partition", own) < 0)
                return own;
        parent = observe_line(a->observer, arena_printf(a->arena, "/sys/dev/block/%s/../dev", own), NULL);
        return parent ? parent : own;
}

/* Files and disks whose content a guest reads or writes. */
static bool is_image(const struct fd *fd)
{
        return fd->kind == FD_BLOCK || (fd->kind == FD_REGULAR && fd->number > 2 && fd->stat_error == 0);
}

static void io_limits_read(struct audit *a, const struct cgroup_mounts *m, const struct process *p,
                           struct io_limits *ret)
{
        static const char *const v1_files[] = {"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
                                               "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"};
        static const char *const v2_files[] = {"io.max"};
        struct cgroup_place place;
        size_t n;

        *ret = (struct io_limits){.lines = arena_text(a->arena, ""),
                                  .question = arena_printf(a->arena, "read /proc/%d/cgroup", p->pid)};
        ret->error = cgroup_find(a, m, p, CGROUP_IO, &place);
        if (ret->error == -ENODATA)
                ret->error = 0;
        else if (ret->error == 0)
                for (n = strcmp(place.path, "/") == 0 ? 0 : strlen(place.path);; n--) {
                        const char *const *files = place.v1 ? v1_files : v2_files;

                        if (n > 0 && place.path[n] != '\0' && place.path[n] != '/')
                                continue;
                        for (size_t i = 0; i < (place.v1 ? ARRAY_LEN(v1_files) : ARRAY_LEN(v2_files)); i++) {
                                struct answer answer;
                                char *path =
                                        arena_printf(a->arena, "%s%.*s/%s", place.mount, (int)n, place.path, files[i]);
                                int r = observe(a->observer, &answer, "read %s", path);

                                if (r < 0 && r != -ENOENT) {
                                        ret->error = r;
                                        ret->question = arena_printf(a->arena, "read %s", path);
                                        return;
                                }
                                if (ret->lines[0] == '\0' || (r == 0 && answer.len > 0))
                                        ret->question = arena_printf(a->arena, "read %s", path);
                                if (r == 0)
                                        ret->lines = arena_printf(a->arena, "%s%s", ret->lines, answer.bytes);
                        }
                        if (n == 0)
                                break;
                }
}

static bool device_limited(struct audit *a, const char *lines, const char *device)
{
        char *copy = arena_text(a->arena, lines), *line;
        size_t n = strlen(device);

        while ((line = text_next_line(&copy)))
                if (strncmp(line, device, n) == 0 && line[n] == ' ')
                        return true;
        return false;
}

static void io_guest(struct audit *a, const struct cgroup_mounts *m, const struct guest *g)
{
        const struct process *of = NULL;
        const struct fd *image = NULL;
        struct io_limits limits = {0};
        char *device = NULL;
        bool limited = true;
        struct finding *f;

        for (size_t i = 0; limited && i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                bool read = false;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return;
                }
                for (size_t k = 0; limited && k < p->fds.count; k++) {
                        if (!is_image(&p->fds.items[k]))
                                continue;
                        image = &p->fds.items[k];
                        of = p;
                        if (!read)
                                io_limits_read(a, m, p, &limits);
                        read = true;
                        if (limits.error < 0) {
                                finding_unknown(a, g, limits.error, limits.question);
                                return;
                        }
                        device = disk_of(a, image->kind == FD_BLOCK ? image->st.rdev : image->st.dev);
                        limited = device_limited(a, limits.lines, device);
                }
        }
        if (!image) {
                f = finding_add(a, VERDICT_NA, g, "%s has no file and no disk open.", GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "list /proc/%d/fd", g->vmm->pid),
                              "neither a block device nor a regular file");
                return;
        }
        f = finding_add(a, limited ? VERDICT_PASS : VERDICT_WARN, g,
                        limited ? "%s has a limit of bandwidth for every device that it has files on."
                                : "The kernel does not limit how much of a disk's bandwidth %s takes.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/fd/%d", of->pid, image->number),
                      "%s on device %s", SHOW(a, image->link), device);
        finding_show(a, f, GUEST_OWNER(g), limits.question, limits.lines, strlen(limits.lines));
}

void res_io_host(struct audit *a)
{
        struct cgroup_mounts mounts;

        cgroup_mounts_read(a, &mounts);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                io_guest(a, &mounts, a->inv.guests.items[i]);
}

/* ---- who can write ---- */

static bool in_groups(const struct thread *t, uint32_t gid)
{
        for (size_t i = 0; i < t->groups.count; i++)
                if (t->groups.items[i] == gid)
                        return true;
        return t->gid[1] == gid;
}

static bool may_write(const struct thread *t, const struct observed_stat *st)
{
        return st->uid == t->uid[1]    ? st->mode & S_IWUSR
               : in_groups(t, st->gid) ? st->mode & S_IWGRP
                                       : st->mode & S_IWOTH;
}

/* Looks at one cgroup of a process. Returns true when a finding was made. */
static bool cgown_directory(struct audit *a, const struct guest *g, const struct process *p, const char *dir)
{
        static const char *const files[] = {"", "/cgroup.procs", "/tasks"};
        const struct thread *t = &p->threads.items[0];

        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                char *path = arena_printf(a->arena, "%s%s", dir, files[i]);
                struct observed_stat st;
                struct finding *f;
                int r = observe_stat(a->observer, path, &st);

                if (r == -ENOENT && i > 0) /* tasks: version 1 only; cgroup.procs: not in a threaded one */
                        continue;
                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "stat %s", path));
                        return true;
                }
                if (!may_write(t, &st))
                        continue;
                f = finding_add(a, VERDICT_FAIL, g,
                                "%s has a process whose user may change its cgroup, and so its limits.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat %s", path), "mode %o, owner %u:%u",
                              st.mode, st.uid, st.gid);
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", p->pid),
                              "Uid %u, Gid %u", t->uid[1], t->gid[1]);
                return true;
        }
        return false;
}

static void cgown_guest(struct audit *a, const struct cgroup_mounts *m, const struct guest *g)
{
        size_t looked = 0;
        char *dirs = arena_text(a->arena, "");
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->cgroups_error < 0 || p->threads.count == 0) {
                        finding_unknown(a, g, p->cgroups_error < 0 ? p->cgroups_error : -ESRCH,
                                        arena_printf(a->arena, "read /proc/%d/cgroup", p->pid));
                        return;
                }
                for (size_t k = 0; k < p->cgroups.count; k++) {
                        char *dir = cgroup_directory(a, m, &p->cgroups.items[k]);

                        if (!dir) /* not mounted here */
                                continue;
                        if (cgown_directory(a, g, p, dir))
                                return;
                        if (i == 0)
                                dirs = arena_printf(a->arena, "%s%s\n", dirs, dir);
                        looked++;
                }
        }
        if (looked == 0) {
                finding_unknown(a, g, m->error < 0 ? m->error : -ENOENT, "read /proc/self/mountinfo");
                return;
        }
        f = finding_add(a, VERDICT_PASS, g, "No user of %s may change its cgroups.", GUEST_MARK(a, g));
        finding_show(a, f, GUEST_OWNER(g), "stat each directory, cgroup.procs and tasks", dirs, strlen(dirs));
}

void res_cgown_host(struct audit *a)
{
        struct cgroup_mounts mounts;

        cgroup_mounts_read(a, &mounts);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                cgown_guest(a, &mounts, a->inv.guests.items[i]);
}

/* ---- who is in them ---- */

/* "memory:/path": a guest's process in the hierarchy of a controller. */
struct place {
        char *text;
        const struct guest *guest;
};

struct place_list {
        struct place *items;
        size_t count, room;
};

static int by_text(const void *x, const void *y)
{
        const struct place *a = x, *b = y;
        int order = strcmp(a->text, b->text);

        return order ? order : (a->guest->index > b->guest->index) - (a->guest->index < b->guest->index);
}

static void places_add(struct audit *a, struct place_list *l, const struct guest *g, const struct process *p)
{
        static const char *const names[] = {"memory", "cpu", "pids", "blkio"};
        bool unified = false;

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const char *path = process_cgroup(p, names[i]);

                if (path)
                        *GROW(a->arena, l) = (struct place){arena_printf(a->arena, "%s:%s", names[i], path), g};
                unified = unified || !path;
        }
        if (unified && process_cgroup(p, ""))
                *GROW(a->arena, l) = (struct place){arena_printf(a->arena, "unified:%s", process_cgroup(p, "")), g};
}

/* A row for each place with two guests or more. */
static void places_rows(struct audit *a, const struct place_list *l, struct row_list *rows)
{
        for (size_t i = 0, n; i < l->count; i += n) {
                struct row *row;

                for (n = 1; i + n < l->count && strcmp(l->items[i].text, l->items[i + n].text) == 0;)
                        n++;
                if (l->items[i].guest == l->items[i + n - 1].guest) /* they are sorted by guest */
                        continue;
                row = row_add(a, rows, l->items[i].text);
                for (size_t k = 0; k < n; k++)
                        row_mark(row, l->items[i + k].guest);
        }
        rows_merge(a, rows);
}

void res_cgshare_pairs(struct audit *a)
{
        bool *done = arena_array(a->arena, a->inv.guests.count, sizeof(*done));
        struct place_list places = {0};
        struct row_list rows = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t k = 0; k < g->members.count; k++) {
                        const struct process *p = g->members.items[k].process;

                        if (p->cgroups_error < 0 && !done[i]) {
                                finding_unknown(a, g, p->cgroups_error,
                                                arena_printf(a->arena, "read /proc/%d/cgroup", p->pid));
                                done[i] = true;
                        }
                        places_add(a, &places, g, p);
                }
        }
        if (places.count > 0)
                qsort(places.items, places.count, sizeof(places.items[0]), by_text);
        places_rows(a, &places, &rows);
        for (size_t i = 0; i < rows.count; i++) {
                struct finding *f =
                        finding_add(a, VERDICT_FAIL, NULL,
                                    "These guests are in one cgroup: each can use up what the others are limited to.");

                row_concern(a, f, &rows.items[i]);
                finding_show(a, f, EVIDENCE_OPERATOR, "read /proc/PID/cgroup of each", rows.items[i].label,
                             strlen(rows.items[i].label));
                for (size_t k = 0; k < a->inv.guests.count; k++)
                        done[k] = done[k] || rows.items[i].has[k];
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                const char *path = process_cgroup(g->vmm, "memory");
                struct finding *f;

                if (done[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "No other guest is in a cgroup of %s.", GUEST_MARK(a, g));
                if (!path)
                        path = process_cgroup(g->vmm, "");
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/cgroup", g->vmm->pid), "%s",
                              path ? SHOW(a, path) : "(none)");
        }
}
