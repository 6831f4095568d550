#include "audit/model/access.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/text.h"

/* ---- walking ---- */

static int step_add(struct observer *o, const char *below, const char *seen, struct path_walk *w)
{
        struct path_step s = {.path = arena_printf(o->arena, "%s%s", below, *seen || !*below ? seen : "")};
        struct answer acl;
        int r;

        if (!*s.path)
                s.path = arena_text(o->arena, "/");
        /* The root of a process is a link, and never one of its own making. */
        r = *seen ? observe_lstat(o, s.path, &s.st) : observe_stat(o, s.path, &s.st);
        if (r < 0) {
                w->question = arena_printf(o->arena, "%s %s", *seen ? "lstat" : "stat", s.path);
                return r;
        }
        /* Named users and groups get no more than the mask, which is where a mode has the group's bits. */
        if (!S_ISLNK(s.st.mode) && (s.st.mode & 070)) {
                r = observe(o, &acl, "acl %s", s.path);
                if (r < 0 && r != -ENODATA && r != -ENOENT && r != -EOPNOTSUPP) {
                        w->question = arena_printf(o->arena, "acl %s", s.path);
                        return r;
                }
                s.acl = r == 0 ? acl.bytes : NULL;
        }
        *GROW(o->arena, &w->steps) = s;
        return 0;
}

/* The last step is a link: replaces it by its target in front of what is left of the path. */
static int link_follow(struct observer *o, struct path_walk *w, char **seen, char **rest)
{
        struct answer target;
        char *link = w->steps.items[--w->steps.count].path;
        int r = observe(o, &target, "link %s", link);

        if (r < 0 || target.len == 0) {
                w->question = arena_printf(o->arena, "link %s", link);
                return r < 0 ? r : -ENOENT;
        }
        *rest = arena_printf(o->arena, "%s/%s", target.bytes, *rest);
        if (target.bytes[0] == '/') {
                *seen = arena_text(o->arena, "");
                w->steps.count = 1;
        } else
                *strrchr(*seen, '/') = '\0';
        return 0;
}

void path_walk(struct observer *o, const char *below, const char *path, struct path_walk *ret)
{
        struct path_walk w = {0};
        char *rest = arena_text(o->arena, path), *seen = arena_text(o->arena, "");
        int links = 0;

        w.error = step_add(o, below, "", &w);
        while (w.error == 0 && *(rest += strspn(rest, "/"))) {
                size_t n = strcspn(rest, "/");
                char *name = arena_copy(o->arena, rest, n);

                rest += n;
                if (strcmp(name, ".") == 0)
                        continue;
                if (strcmp(name, "..") == 0) {
                        if (*seen) {
                                *strrchr(seen, '/') = '\0';
                                w.steps.count--;
                        }
                        continue;
                }
                seen = arena_printf(o->arena, "%s/%s", seen, name);
                w.error = step_add(o, below, seen, &w);
                if (w.error == 0 && S_ISLNK(w.steps.items[w.steps.count - 1].st.mode))
                        w.error = ++links > PATH_LINKS_MAX ? -ELOOP : link_follow(o, &w, &seen, &rest);
        }
        if (w.error < 0 && !w.question)
                w.question = arena_printf(o->arena, "lstat %s%s", below, path);
        w.resolved = *seen ? seen : arena_text(o->arena, "/");
        *ret = w;
}

/* ---- permissions: acl(5), access check algorithm ---- */

static bool in_group(const struct identity *who, uint32_t gid)
{
        if (who->anybody)
                return false;
        if (who->gid == gid)
                return true;
        for (size_t i = 0; who->groups && i < who->groups->count; i++)
                if (who->groups->items[i] == gid)
                        return true;
        return false;
}

struct acl_entry {
        char tag[12];
        uint32_t id;
        unsigned int bits;
};

static const char *acl_next(const char *acl, struct acl_entry *ret)
{
        char bits[4] = "";
        int used = 0;

        if (sscanf(acl, "%11[a-z_?]:%" SCNu32 ":%3s%n", ret->tag, &ret->id, bits, &used) != 3)
                return NULL;
        ret->bits = (bits[0] == 'r' ? ACCESS_READ : 0) | (bits[0] && bits[1] == 'w' ? ACCESS_WRITE : 0) |
                    (bits[0] && bits[1] && bits[2] == 'x' ? ACCESS_EXEC : 0);
        return acl + used + (acl[used] == '\n');
}

static unsigned int acl_grants(const struct path_step *s, const struct identity *who, unsigned int wanted)
{
        unsigned int mask = 7, group = 0, other = s->st.mode & 7, user = 0;
        bool by_name = false, by_group = false;
        struct acl_entry e;

        for (const char *p = s->acl; (p = acl_next(p, &e));) {
                if (strcmp(e.tag, "mask") == 0)
                        mask = e.bits;
                else if (strcmp(e.tag, "other") == 0)
                        other = e.bits;
                else if (strcmp(e.tag, "user") == 0 && !who->anybody && e.id == who->uid) {
                        by_name = true;
                        user = e.bits;
                } else if ((strcmp(e.tag, "group") == 0 && in_group(who, e.id)) ||
                           (strcmp(e.tag, "group_obj") == 0 && in_group(who, s->st.gid))) {
                        by_group = true;
                        group |= e.bits;
                }
        }
        return wanted & (by_name ? user & mask : by_group ? group & mask : other);
}

/* What capabilities over files give (capabilities(7)): those of a user namespace only for ids that are mapped there. */
static unsigned int capability_grants(const struct path_step *s, const struct identity *who)
{
        if ((who->uid_map && !id_map_covers_host(who->uid_map, s->st.uid)) ||
            (who->gid_map && !id_map_covers_host(who->gid_map, s->st.gid)))
                return 0;
        if (who->caps & CAP_BIT(CAP_DAC_OVERRIDE))
                return ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC;
        if (who->caps & CAP_BIT(CAP_DAC_READ_SEARCH))
                return ACCESS_READ | (S_ISDIR(s->st.mode) ? ACCESS_EXEC : 0);
        return 0;
}

static unsigned int mode_grants(const struct path_step *s, const struct identity *who, unsigned int wanted)
{
        if (!who->anybody && who->uid == s->st.uid)
                return wanted & (s->st.mode >> 6 & 7);
        if (s->acl)
                return acl_grants(s, who, wanted);
        return wanted & (in_group(who, s->st.gid) ? s->st.mode >> 3 & 7 : s->st.mode & 7);
}

unsigned int step_grants(const struct path_step *s, const struct identity *who, unsigned int wanted)
{
        return mode_grants(s, who, wanted) | (wanted & capability_grants(s, who));
}

const struct path_step *path_stops(const struct path_walk *w, const struct identity *who, unsigned int wanted)
{
        for (size_t i = 0; i < w->steps.count; i++) {
                unsigned int bits = i + 1 < w->steps.count ? ACCESS_EXEC : wanted;

                if (step_grants(&w->steps.items[i], who, bits) != bits)
                        return &w->steps.items[i];
        }
        return NULL;
}

/* ---- a process's paths on the host ---- */

/* What is left of path below the directory at, or NULL when it is not below it. */
static const char *path_below(const char *path, const char *at)
{
        size_t n = strcmp(at, "/") == 0 ? 0 : strlen(at);

        return strncmp(path, at, n) == 0 && (path[n] == '/' || path[n] == '\0') ? path + n : NULL;
}

char *path_on_host(struct observer *o, const struct process *p, bool same_tree, bool same_mounts,
                   const struct mount_list *host, const char *path)
{
        const struct mount *best = NULL;
        const char *rest = NULL;
        char *inside;

        if (same_mounts) {
                struct answer root;

                if (same_tree)
                        return arena_text(o->arena, path);
                if (observe(o, &root, "link /proc/%d/root", p->pid) < 0 || root.bytes[0] != '/')
                        return NULL;
                return arena_printf(o->arena, "%s%s", strcmp(root.bytes, "/") == 0 ? "" : root.bytes, path);
        }
        for (size_t i = 0; i < p->mounts.count; i++) {
                const struct mount *m = &p->mounts.items[i];

                /* Of two on one point the later covers the earlier. */
                if (path_below(path, m->point) && (!best || strlen(m->point) >= strlen(best->point)))
                        best = m;
        }
        if (!best)
                return NULL;
        rest = path_below(path, best->point);
        inside = arena_printf(o->arena, "%s%s", strcmp(best->root, "/") == 0 ? "" : best->root, rest);
        for (size_t i = 0; i < host->count; i++) {
                const struct mount *m = &host->items[i];

                rest = m->dev == best->dev ? path_below(*inside ? inside : "/", m->root) : NULL;
                if (rest)
                        return arena_printf(o->arena, "%s%s", strcmp(m->point, "/") == 0 ? "" : m->point,
                                            *rest || strcmp(m->point, "/") != 0 ? rest : "/");
        }
        return NULL;
}
