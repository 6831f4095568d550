/* The tree of files that a guest's processes see. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/model/access.h"
#include "audit/probes/files.h"
#include "audit/text.h"

#define WALK_ENTRIES_MAX 2000 /* a jail has a few dozen */
#define WALK_DEPTH_MAX   8

static bool host_root(const struct audit *a, const struct process *p)
{
        return p->root_stat.dev == a->host.root.dev && p->root_stat.ino == a->host.root.ino;
}

static char *root_question(struct audit *a, const struct process *p)
{
        return arena_printf(a->arena, "stat /proc/%d/root", p->pid);
}

static void show_root(struct audit *a, struct finding *f, const struct guest *g, const struct process *p)
{
        finding_showf(a, f, GUEST_OWNER(g), root_question(a, p),
                      "device %u:%u inode %llu; the host's is %u:%u inode %llu", OBSERVED_MAJOR(p->root_stat.dev),
                      OBSERVED_MINOR(p->root_stat.dev), (unsigned long long)p->root_stat.ino,
                      OBSERVED_MAJOR(a->host.root.dev), OBSERVED_MINOR(a->host.root.dev),
                      (unsigned long long)a->host.root.ino);
}

/* True, with a finding left, when the roots cannot be compared. */
static bool roots_unknown(struct audit *a, struct guest *g)
{
        if (a->host.root_error < 0) {
                finding_unknown(a, g, a->host.root_error, "stat /proc/1/root");
                return true;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->root_error < 0) {
                        finding_unknown(a, g, p->root_error, root_question(a, p));
                        return true;
                }
        }
        return false;
}

void root_guest(struct audit *a, struct guest *g)
{
        const struct process *bad = NULL;
        struct finding *f;

        if (roots_unknown(a, g))
                return;
        for (size_t i = 0; i < g->members.count && !bad; i++)
                if (host_root(a, g->members.items[i].process))
                        bad = g->members.items[i].process;
        f = bad ? finding_add(a, VERDICT_FAIL, g, "A process of %s sees the host's tree of files.", GUEST_MARK(a, g))
                : finding_add(a, VERDICT_PASS, g, "Every process of %s has a root directory other than the host's.",
                              GUEST_MARK(a, g));
        show_root(a, f, g, bad ? bad : g->vmm);
}

/* ---- what is in the jail ---- */

struct jail_walk {
        struct audit *a;
        const struct guest *g;
        const struct process *p;
        struct pair_key_list *files; /* of all guests: objects behind their descriptors */
        struct pair_key_list *uids;  /* of all guests' processes */
        size_t entries, shown;
        bool cut;
        enum verdict worst;
        const char *why;
        const struct guest *other;
        struct finding evidence;
        int error;
        char *question;
};

static void jail_report(struct jail_walk *w, enum verdict v, const char *path, const struct observed_stat *st,
                        const char *why, const struct guest *other)
{
        if (v > w->worst) {
                w->worst = v;
                w->why = why;
                w->other = other;
        }
        if (w->shown++ < 6)
                finding_showf(w->a, &w->evidence, GUEST_OWNER(w->g), arena_printf(w->a->arena, "lstat %s", path),
                              "mode %o uid %u gid %u, device %u:%u: %s", st->mode, st->uid, st->gid,
                              OBSERVED_MAJOR(st->rdev), OBSERVED_MINOR(st->rdev), why);
}

/* The mount that path (as the process sees it) lies on. */
static const struct mount *mount_of(const struct process *p, const char *path)
{
        const struct mount *best = NULL;
        size_t best_len = 0;

        for (size_t i = 0; i < p->mounts.count; i++) {
                const struct mount *m = &p->mounts.items[i];
                size_t n = strcmp(m->point, "/") == 0 ? 0 : strlen(m->point);

                if (strncmp(path, m->point, n) == 0 && (path[n] == '/' || path[n] == '\0') &&
                    (!best || n >= best_len)) {
                        best = m;
                        best_len = n;
                }
        }
        return best;
}

static bool has_option(const struct mount *m, const char *option)
{
        size_t n = strlen(option);

        for (const char *o = m ? m->options : ""; *o; o += strcspn(o, ","), o += *o == ',')
                if (strncmp(o, option, n) == 0 && (o[n] == ',' || o[n] == '\0'))
                        return true;
        return false;
}

static bool is_kernel_tree(const struct mount *m)
{
        static const char *const types[] = {"proc",   "sysfs",   "cgroup",  "cgroup2",
                                            "devpts", "debugfs", "tracefs", "securityfs"};

        for (size_t i = 0; m && i < sizeof(types) / sizeof(types[0]); i++)
                if (strcmp(m->type, types[i]) == 0)
                        return true;
        return false;
}

/* Documentation/admin-guide/devices.txt: null, zero, full, random, urandom, tty, ptmx, kvm, tun, userfaultfd; and what
 * the guest holds open anyway. */
static bool node_is_expected(const struct guest *g, const struct observed_stat *st)
{
        static const struct {
                unsigned int major, minor;
        } expected[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {10, 232}, {10, 200}, {10, 126}};

        for (size_t i = 0; S_ISCHR(st->mode) && i < sizeof(expected) / sizeof(expected[0]); i++)
                if (st->rdev == OBSERVED_DEV(expected[i].major, expected[i].minor))
                        return true;
        for (size_t m = 0; m < g->members.count; m++)
                for (size_t i = 0; i < g->members.items[m].process->fds.count; i++) {
                        const struct fd *fd = &g->members.items[m].process->fds.items[i];

                        if (fd->stat_error == 0 && (fd->st.mode & S_IFMT) == (st->mode & S_IFMT) &&
                            fd->st.rdev == st->rdev)
                                return true;
                }
        return false;
}

/* A guest that has the value, when g does not have it itself. */
static const struct guest *other_holder(const struct jail_walk *w, const struct pair_key_list *keys, uint64_t v0,
                                        uint64_t v1)
{
        const struct guest *other = NULL;
        size_t low = 0, high = keys->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const uint64_t *v = keys->items[middle].value;

                if (v[0] < v0 || (v[0] == v0 && v[1] < v1))
                        low = middle + 1;
                else
                        high = middle;
        }
        for (; low < keys->count && keys->items[low].value[0] == v0 && keys->items[low].value[1] == v1; low++) {
                if (keys->items[low].guest == w->g->index)
                        return NULL;
                other = w->a->inv.guests.items[keys->items[low].guest];
        }
        return other;
}

static void entry_judge(struct jail_walk *w, const char *path, const char *inside, const struct observed_stat *st)
{
        const struct mount *m = mount_of(w->p, inside);
        const struct guest *other;

        if ((S_ISCHR(st->mode) || S_ISBLK(st->mode)) && !has_option(m, "nodev") && !node_is_expected(w->g, st))
                jail_report(w, VERDICT_FAIL, path, st, "a device that a guest does not need", NULL);
        if (S_ISREG(st->mode) && (st->mode & (S_ISUID | S_ISGID)) && (st->mode & 0111) && !has_option(m, "nosuid"))
                jail_report(w, VERDICT_WARN, path, st, "a program that runs as another user", NULL);
        other = S_ISREG(st->mode) && !has_option(m, "ro") ? other_holder(w, w->files, st->dev, st->ino) : NULL;
        if (other)
                jail_report(w, VERDICT_FAIL, path, st, "a file that another guest has open", other);
        other = st->uid ? other_holder(w, w->uids, st->uid, 0) : NULL;
        if (other)
                jail_report(w, VERDICT_FAIL, path, st, "a file of another guest's user", other);
}

static void jail_list(struct jail_walk *w, const char *inside, int depth)
{
        struct name_list names;
        char *path = arena_printf(w->a->arena, "/proc/%d/root%s", w->p->pid, inside);
        int r = observe_list(w->a->observer, path, &names);

        if (r < 0) {
                w->error = r;
                w->question = arena_printf(w->a->arena, "list %s", path);
                return;
        }
        for (size_t i = 0; i < names.count; i++) {
                char *name = arena_printf(w->a->arena, "%s/%s", inside, names.items[i]);
                struct observed_stat st;

                if (w->entries++ >= WALK_ENTRIES_MAX) {
                        w->cut = true;
                        return;
                }
                path = arena_printf(w->a->arena, "/proc/%d/root%s", w->p->pid, name);
                r = observe_lstat(w->a->observer, path, &st);
                if (r == -ENOENT)
                        continue;
                if (r < 0) {
                        w->error = r;
                        w->question = arena_printf(w->a->arena, "lstat %s", path);
                        continue;
                }
                entry_judge(w, path, name, &st);
                if (!S_ISDIR(st.mode) || is_kernel_tree(mount_of(w->p, name)))
                        continue;
                if (depth < WALK_DEPTH_MAX)
                        jail_list(w, name, depth + 1);
                else
                        w->cut = true;
        }
}

/* Members share a jail mostly: each root directory is walked once. */
static bool walked_before(const struct guest *g, size_t member)
{
        const struct process *p = g->members.items[member].process;

        for (size_t i = 0; i < member; i++)
                if (g->members.items[i].process->root_stat.dev == p->root_stat.dev &&
                    g->members.items[i].process->root_stat.ino == p->root_stat.ino)
                        return true;
        return false;
}

static void jail_conclude(struct jail_walk *w, struct guest *g, bool jailed)
{
        struct audit *a = w->a;
        struct finding *f;

        if (!jailed) {
                show_root(a,
                          finding_add(a, VERDICT_NA, g,
                                      "%s sees the host's files: there is no tree of its own to examine.",
                                      GUEST_MARK(a, g)),
                          g, g->vmm);
                return;
        }
        if (w->error < 0 && w->worst < VERDICT_FAIL) {
                finding_unknown(a, g, w->error, w->question);
                return;
        }
        if (w->cut && w->worst < VERDICT_WARN) {
                w->worst = VERDICT_WARN;
                w->why = "more files than a monitor needs: not all were looked at";
        }
        if (w->worst <= VERDICT_PASS)
                f = finding_add(
                        a, VERDICT_PASS, g,
                        "The tree of files of %s holds no device, program or file that could serve it elsewhere.",
                        GUEST_MARK(a, g));
        else {
                f = finding_add(a, w->worst, g, "The tree of files of %s holds %s.", GUEST_MARK(a, g), w->why);
                if (w->other)
                        finding_concern(a, f, w->other);
        }
        f->evidence = w->evidence.evidence;
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "list /proc/%d/root and below", w->p->pid),
                      "%zu entries%s; the root has mode %o", w->entries, w->cut ? ", not all looked at" : "",
                      g->vmm->root_stat.mode);
}

void jail_host(struct audit *a)
{
        struct pair_key_list files = {0}, uids = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (size_t m = 0; m < a->inv.guests.items[i]->members.count; m++) {
                        const struct process *p = a->inv.guests.items[i]->members.items[m].process;

                        if (p->threads.count)
                                *GROW(a->arena, &uids) =
                                        (struct pair_key){.value = {p->threads.items[0].uid[1]}, .guest = i};
                        for (size_t k = 0; k < p->fds.count; k++)
                                if (p->fds.items[k].kind == FD_REGULAR && p->fds.items[k].stat_error == 0)
                                        *GROW(a->arena, &files) = (struct pair_key){
                                                .value = {p->fds.items[k].st.dev, p->fds.items[k].st.ino}, .guest = i};
                }
        pair_keys_sort(&files);
        pair_keys_sort(&uids);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct jail_walk w = {
                        .a = a, .g = g, .p = g->vmm, .files = &files, .uids = &uids, .worst = VERDICT_PASS};
                bool jailed = false;

                if (roots_unknown(a, g))
                        continue;
                for (size_t m = 0; m < g->members.count; m++) {
                        const struct process *p = g->members.items[m].process;

                        if (host_root(a, p) || walked_before(g, m))
                                continue;
                        jailed = true;
                        w.p = p;
                        jail_list(&w, "", 1);
                }
                jail_conclude(&w, g, jailed);
        }
}

/* ---- open directories ---- */

static bool directory_is_inside(struct audit *a, const struct process *p, const struct fd *fd)
{
        if (p->ns[NS_MNT] ==
            a->host.ns[NS_MNT]) { /* a root directory only: what is below it has no mounts of its own */
                struct answer root;
                size_t n;

                if (observe(a->observer, &root, "link /proc/%d/root", p->pid) < 0)
                        return false;
                n = strcmp(root.bytes, "/") == 0 ? 0 : root.len;
                return strncmp(fd->link, root.bytes, n) == 0 && (fd->link[n] == '/' || fd->link[n] == '\0');
        }
        for (size_t i = 0; i < p->mounts.count; i++)
                if (p->mounts.items[i].id == fd->mnt_id)
                        return true;
        return false;
}

void dirfd_guest(struct audit *a, struct guest *g)
{
        size_t directories = 0;
        struct finding *f;
        bool jailed = false;

        if (roots_unknown(a, g))
                return;
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return;
                }
                jailed = jailed || !host_root(a, p);
                for (size_t i = 0; i < p->fds.count; i++) {
                        const struct fd *fd = &p->fds.items[i];

                        if (fd->kind != FD_DIRECTORY)
                                continue;
                        directories++;
                        if (host_root(a, p) || directory_is_inside(a, p, fd))
                                continue;
                        if (!fd->fdinfo) {
                                finding_unknown(a, g, -EACCES,
                                                arena_printf(a->arena, "read /proc/%d/fdinfo/%d", p->pid, fd->number));
                                return;
                        }
                        f = finding_add(a, VERDICT_FAIL, g,
                                        "%s holds an open directory outside of its own tree of files.",
                                        GUEST_MARK(a, g));
                        finding_showf(a, f, GUEST_OWNER(g),
                                      arena_printf(a->arena, "read /proc/%d/fdinfo/%d", p->pid, fd->number),
                                      "%s: mount %lld, which is not in its mountinfo", fd->link, (long long)fd->mnt_id);
                        return;
                }
        }
        if (directories > 0 && !jailed)
                f = finding_add(a, VERDICT_NA, g, "%s sees the host's files anyway: no directory is outside of that.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g, "%s holds no open directory outside of its own tree of files.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), "directories among the descriptors of all its processes", "%zu",
                      directories);
}
