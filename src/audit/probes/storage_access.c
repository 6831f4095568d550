/* Who else can open a guest's images: by their path, or because the host itself uses the same device. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/fds.h"
#include "audit/probes/reach.h"
#include "audit/probes/storage.h"
#include "audit/text.h"

/* ---- permissions ---- */

struct permission {
        enum verdict v;
        const char *why;
        const struct guest *other;
        int error;
        const char *question;
        struct finding evidence;
        size_t shown;
};

static void worse(struct permission *o, enum verdict v, const char *why, const struct guest *other)
{
        if (v <= o->v)
                return;
        o->v = v;
        o->why = why;
        o->other = other;
}

static bool has_mount(const struct mount_list *l, int64_t id)
{
        for (size_t i = 0; i < l->count; i++)
                if (l->items[i].id == id)
                        return true;
        return false;
}

/* The image's path as the host knows it, or NULL. A descriptor may have been opened in another mount namespace than its
 * holder is in; its link is a path in that one. */
static const char *host_name(struct audit *a, const struct reach *r, const struct image *m)
{
        bool on_host = m->process->ns[NS_MNT] == a->host.ns[NS_MNT] || has_mount(&r->mounts, m->fd->mnt_id);

        return on_host ? m->path : reach_host_path(a, r, m->process, m->path);
}

/* The name does not lead to the image: whether another does. */
static void nameless_judge(struct audit *a, const struct image *m, const char *path, struct permission *o)
{
        if (!m->block && m->fd->st.nlink == 0)
                return; /* it has none */
        if (path)
                worse(o, VERDICT_UNKNOWN, "be reached by a name that is not known: its own leads elsewhere", NULL);
        else if (m->process->mounts_error < 0) {
                o->error = m->process->mounts_error;
                o->question = arena_printf(a->arena, "read /proc/%d/mountinfo", m->process->pid);
        }
}

static void image_judge(struct audit *a, const struct reach *r, const struct image *m, struct permission *o)
{
        const char *path = host_name(a, r, m), *note = "no name of the host's leads to it";
        const struct guest *other;
        struct path_walk w = {.error = -ENOENT};
        const struct path_step *leaf;

        if (path && path[0] == '/' && (m->block || m->fd->st.nlink > 0))
                path_walk(a->observer, "", path, &w);
        if (w.error < 0 && w.error != -ENOENT && w.error != -ENOTDIR) {
                o->error = w.error;
                o->question = w.question;
                return;
        }
        leaf = w.error == 0 ? &w.steps.items[w.steps.count - 1] : NULL;
        if (leaf && (m->block ? leaf->st.rdev != m->fd->st.rdev : leaf->st.ino != m->fd->st.ino))
                leaf = NULL;
        if (leaf)
                note = reach_show(a, &w);
        if (o->shown++ < 4)
                finding_showf(a, &o->evidence, GUEST_OWNER(m->guest), storage_question(a, m), "%s\n%s",
                              storage_describe(a, m), note);
        if (!leaf) {
                nameless_judge(a, m, path, o);
                return;
        }
        if (!m->block && m->fd->st.nlink > 1)
                worse(o, VERDICT_UNKNOWN, "be reached by other names, which are not known", NULL);
        if (reach_everybody(&w, ACCESS_WRITE))
                worse(o, VERDICT_FAIL, "be written to by every local user", NULL);
        if (reach_everybody(&w, ACCESS_READ))
                worse(o, VERDICT_FAIL, "be read by every local user", NULL);
        other = reach_other(a, r, &w, m->guest, ACCESS_READ);
        if (!other)
                other = reach_other(a, r, &w, m->guest, ACCESS_WRITE);
        if (other)
                worse(o, reach_kept_away(a, m->guest, other) ? VERDICT_WARN : VERDICT_FAIL,
                      "be opened with another guest's ids", other);
}

static void perm_guest(struct audit *a, const struct reach *r, struct guest *g)
{
        struct permission o = {.v = VERDICT_PASS};
        struct image_list images = {0};
        struct finding *f;

        if (fds_unread(a, g))
                return;
        images_read(a, g, &images);
        if (images.count == 0) {
                storage_no_image(a, g);
                return;
        }
        o.error = reach_error(a, r, g, &o.question);
        for (size_t i = 0; i < images.count; i++)
                image_judge(a, r, &images.items[i], &o);
        if (o.error < 0 && o.v < VERDICT_FAIL) {
                finding_unknown(a, g, o.error, o.question);
                return;
        }
        if (o.v == VERDICT_PASS)
                f = finding_add(a, VERDICT_PASS, g, "No local user and no other guest can open a disk image of %s.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, o.v, g, "A disk image of %s can %s%s.", GUEST_MARK(a, g), o.why,
                                o.v == VERDICT_WARN
                                        ? ", which only that guest's view of the file system or its label prevents"
                                        : "");
        if (o.other)
                finding_concern(a, f, o.other);
        f->evidence = o.evidence.evidence;
}

void storage_perm_host(struct audit *a)
{
        struct reach r;

        if (a->inv.guests.count == 0)
                return;
        reach_init(a, &r);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                perm_guest(a, &r, a->inv.guests.items[i]);
}

/* ---- what the host uses itself ---- */

#define BELOW_MAX 8 /* device-mapper devices on top of each other */

struct used {
        uint64_t dev;
        char *by; /* "mounted on /srv" */
};

struct used_list {
        struct used *items;
        size_t count, room;
};

static bool device_read(struct audit *a, const char *path, uint64_t *ret)
{
        char *line = observe_line(a->observer, path, NULL);
        unsigned int dev[2];

        if (!line || sscanf(line, "%u:%u", &dev[0], &dev[1]) != 2)
                return false;
        *ret = OBSERVED_DEV(dev[0], dev[1]);
        return true;
}

/* The device, and what it lies on: the disk of a partition, the parts of a device-mapper device. */
static void used_add(struct audit *a, struct used_list *l, uint64_t dev, char *by, int depth)
{
        char *sys = arena_printf(a->arena, "/sys/dev/block/%u:%u", OBSERVED_MAJOR(dev), OBSERVED_MINOR(dev));
        struct name_list slaves;
        uint64_t lower;

        for (size_t i = 0; i < l->count; i++)
                if (l->items[i].dev == dev)
                        return;
        *GROW(a->arena, l) = (struct used){.dev = dev, .by = by};
        if (depth == BELOW_MAX)
                return;
        if (observe_line(a->observer, arena_printf(a->arena, "%s/partition", sys), NULL) &&
            device_read(a, arena_printf(a->arena, "%s/../dev", sys), &lower))
                used_add(a, l, lower, by, depth + 1);
        if (observe_list(a->observer, arena_printf(a->arena, "%s/slaves", sys), &slaves) < 0)
                return;
        for (size_t i = 0; i < slaves.count; i++)
                if (device_read(a, arena_printf(a->arena, "%s/slaves/%s/dev", sys, slaves.items[i]), &lower))
                        used_add(a, l, lower, by, depth + 1);
}

static int used_read(struct audit *a, struct used_list *l, const char **ret_question)
{
        const char *path = a->host.ns_of_init ? "/proc/1/mountinfo" : "/proc/self/mountinfo";
        struct mount_list mounts = {0};
        struct observed_stat st;
        struct answer swaps;
        char *rest, *line;
        int r = mount_list_read(a->observer, path, &mounts);

        *ret_question = arena_printf(a->arena, "read %s", path);
        if (r < 0)
                return r;
        for (size_t i = 0; i < mounts.count; i++) {
                const struct mount *m = &mounts.items[i];
                char *by = arena_printf(a->arena, "mounted on %s", m->point);

                if (OBSERVED_MAJOR(m->dev) != 0)
                        used_add(a, l, m->dev, by, 0);
                else if (text_has_prefix(m->source, "/dev/") && observe_stat(a->observer, m->source, &st) == 0 &&
                         S_ISBLK(st.mode)) /* btrfs has a number of its own */
                        used_add(a, l, st.rdev, by, 0);
        }
        *ret_question = "read /proc/swaps";
        r = observe(a->observer, &swaps, "read /proc/swaps");
        if (r < 0)
                return r == -ENOENT ? 0 : r; /* a kernel without swap */
        for (rest = swaps.bytes; (line = text_next_line(&rest));) {
                line[strcspn(line, " \t")] = '\0';
                if (line[0] == '/' && observe_stat(a->observer, line, &st) == 0 && S_ISBLK(st.mode))
                        used_add(a, l, st.rdev, arena_text(a->arena, "used as swap"), 0);
        }
        return 0;
}

void storage_hostmnt_host(struct audit *a)
{
        struct used_list used = {0};
        const char *question = NULL;
        int r = 1;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct image_list images = {0};
                const struct image *block = NULL, *bad = NULL;
                const char *by = "";
                struct finding *f;

                if (fds_unread(a, g))
                        continue;
                images_read(a, g, &images);
                if (r > 0 && images.count > 0)
                        r = used_read(a, &used, &question);
                for (size_t k = 0; k < images.count && !bad; k++) {
                        if (!images.items[k].block)
                                continue;
                        block = &images.items[k];
                        for (size_t u = 0; u < used.count && !bad; u++)
                                if (used.items[u].dev == block->fd->st.rdev) {
                                        bad = block;
                                        by = used.items[u].by;
                                }
                }
                if (!block) {
                        f = finding_add(a, VERDICT_NA, g, "%s has no block device of the host's.", GUEST_MARK(a, g));
                        finding_showf(a, f, GUEST_OWNER(g), "disk images among its descriptors",
                                      "%zu, none a block device", images.count);
                        continue;
                }
                if (r < 0) {
                        finding_unknown(a, g, r, question);
                        continue;
                }
                f = bad ? finding_add(a, VERDICT_FAIL, g, "The host uses a block device of %s itself.",
                                      GUEST_MARK(a, g))
                        : finding_add(a, VERDICT_PASS, g, "The host uses no block device of %s itself.",
                                      GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), storage_question(a, block), "%s: %s", storage_describe(a, block),
                              bad ? by : "neither mounted nor swap, nor below what is");
        }
}
