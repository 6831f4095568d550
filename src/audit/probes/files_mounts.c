/* How a guest's file systems are mounted, and who could replace what it was started from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/files.h"
#include "audit/probes/reach.h"
#include "audit/text.h"

static bool has_word(const char *list, const char *word)
{
        size_t n = strlen(word);

        for (; *list; list += strcspn(list, ","), list += *list == ',')
                if (strncmp(list, word, n) == 0 && (list[n] == ',' || list[n] == '\0'))
                        return true;
        return false;
}

static enum verdict mount_judge(const struct audit *a, const struct mount *m, const char **ret_why)
{
        bool writable = has_word(m->options, "rw") && !has_word(m->super_options, "ro");

        if (writable && strcmp(m->type, "sysfs") == 0) {
                *ret_why = "the kernel's settings in /sys writable";
                return VERDICT_FAIL;
        }
        if (writable && a->host.root_error == 0 && m->dev == a->host.root.dev && strcmp(m->root, "/") == 0) {
                *ret_why = "the host's whole root file system writable";
                return VERDICT_FAIL;
        }
        if (text_has_prefix(m->optional, "shared:") || strstr(m->optional, " shared:")) {
                *ret_why = "a file system whose mounts pass to the host and back";
                return VERDICT_WARN;
        }
        if (!has_word(m->options, "nosuid") || !has_word(m->options, "nodev")) {
                *ret_why = "a file system mounted without nosuid or nodev";
                return VERDICT_WARN;
        }
        return VERDICT_PASS;
}

/*
 * Whether a process has the host's mounts: 1 or 0, or a negative errno. Where its namespace may not be looked at, its
 * first mount tells: ids of mounts are not used twice at a time, in whatever namespace (fs/namespace.c).
 */
static int has_host_mounts(const struct audit *a, const struct process *p)
{
        struct answer hosts;

        if (p->ns_error[NS_MNT] == 0)
                return p->ns[NS_MNT] == a->host.ns[NS_MNT];
        if (p->mounts.count == 0 || observe(a->observer, &hosts, "read /proc/1/mountinfo") < 0)
                return p->ns_error[NS_MNT];
        return strtol(hosts.bytes, NULL, 10) == p->mounts.items[0].id;
}

void mounts_guest(struct audit *a, struct guest *g)
{
        const struct mount *worst = NULL;
        const struct process *at = g->vmm;
        enum verdict verdict = VERDICT_PASS;
        const char *why = "", *worst_why = "";
        size_t looked = 0, processes = 0;
        int hosts;
        char *question;
        struct finding *f;

        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                question = arena_printf(a->arena, "read /proc/%d/mountinfo", p->pid);
                if (p->mounts_error < 0) {
                        finding_unknown(a, g, p->mounts_error, question);
                        return;
                }
                hosts = has_host_mounts(a, p);
                if (hosts < 0) {
                        finding_unknown(a, g, hosts, arena_printf(a->arena, "stat /proc/%d/ns/mnt", p->pid));
                        return;
                }
                if (hosts)
                        continue;
                processes++;
                for (size_t i = 0; i < p->mounts.count; i++) {
                        enum verdict v = mount_judge(a, &p->mounts.items[i], &why);

                        looked++;
                        if (v > verdict) {
                                verdict = v;
                                worst = &p->mounts.items[i];
                                worst_why = why;
                                at = p;
                        }
                }
        }
        question = arena_printf(a->arena, "read /proc/%d/mountinfo", at->pid);
        if (processes == 0) {
                f = finding_add(a, VERDICT_NA, g, "%s has the host's mounts and none of its own.", GUEST_MARK(a, g));
                if (at->ns_error[NS_MNT] < 0)
                        finding_showf(a, f, GUEST_OWNER(g), question, "the first mount is that of /proc/1/mountinfo");
                else
                        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/ns/mnt", at->pid),
                                      "inode %llu, the host's", (unsigned long long)at->ns[NS_MNT]);
                return;
        }
        f = worst ? finding_add(a, verdict, g, "%s has %s.", GUEST_MARK(a, g), worst_why)
                  : finding_add(a, VERDICT_PASS, g,
                                "Every file system of %s is private and mounted with nosuid and nodev.",
                                GUEST_MARK(a, g));
        if (!worst && at->mounts.count)
                worst = &at->mounts.items[0];
        finding_showf(a, f, GUEST_OWNER(g), question, "%s\n(%zu mounts of %zu processes looked at)",
                      worst ? worst->line : "none", looked, processes);
}

/* ---- what it was started from ---- */

/* The first step that somebody other than root can change or replace, or NULL. In a directory with the sticky bit, only
 * the owner of a name can replace it. A root directory may be the own of p's user, as Firecracker's jailer makes it:
 * who owns a directory can change what is in it, which is all p's own, but not put another in its place. */
static const struct path_step *replaceable(const struct path_walk *w, const struct process *p)
{
        for (size_t i = 0; i < w->steps.count; i++) {
                const struct path_step *s = &w->steps.items[i];
                bool last = i + 1 == w->steps.count, sticky = S_ISDIR(s->st.mode) && (s->st.mode & S_ISVTX) && !last,
                     own = S_ISDIR(s->st.mode) && last && p->threads.count > 0 &&
                           s->st.uid == p->threads.items[0].uid[1];

                if ((s->st.uid != 0 && !own) || ((s->st.mode & 022) && !sticky))
                        return s;
        }
        return NULL;
}

struct origin {
        const char *what; /* "program" */
        char *path;
        uint64_t dev, ino;
};

/* The program, and the directory that is its root: both as the host names them. */
static size_t origins_of(struct audit *a, const struct reach *r, const struct process *p, struct origin ret[2])
{
        size_t n = 0;
        char *root;

        if (p->exe_error == 0 && p->exe[0] == '/' && !text_has_suffix(p->exe, " (deleted)"))
                ret[n++] = (struct origin){"program", p->exe, p->exe_stat.dev, p->exe_stat.ino};
        root = p->root_error == 0 ? reach_host_path(a, r, p, "/") : NULL;
        if (root && strcmp(root, "/") != 0)
                ret[n++] = (struct origin){"root directory", root, p->root_stat.dev, p->root_stat.ino};
        return n;
}

static void parents_guest(struct audit *a, const struct reach *r, struct guest *g)
{
        size_t looked = 0;
        struct finding evidence = {0}, *f;

        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;
                struct origin origins[2];
                size_t n = origins_of(a, r, p, origins);

                if (p->exe_error < 0) {
                        finding_unknown(a, g, p->exe_error, arena_printf(a->arena, "link /proc/%d/exe", p->pid));
                        return;
                }
                for (size_t i = 0; i < n; i++) {
                        struct path_walk w;
                        const struct path_step *bad;

                        path_walk(a->observer, "", origins[i].path, &w);
                        if (w.error == -ENOENT || w.error == -ENOTDIR)
                                continue; /* a path of another namespace */
                        if (w.error < 0) {
                                finding_unknown(a, g, w.error, w.question);
                                return;
                        }
                        if (w.steps.items[w.steps.count - 1].st.ino != origins[i].ino)
                                continue; /* the name leads to another file by now */
                        looked++;
                        bad = replaceable(&w, p);
                        if (bad) {
                                f = finding_add(a, VERDICT_FAIL, g,
                                                "Somebody other than root can replace the %s of %s.", origins[i].what,
                                                GUEST_MARK(a, g));
                                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "lstat %s", bad->path), "%s",
                                              reach_show(a, &w));
                                return;
                        }
                        if (looked <= 2)
                                finding_showf(a, &evidence, GUEST_OWNER(g),
                                              arena_printf(a->arena, "lstat %s", origins[i].path), "%s",
                                              reach_show(a, &w));
                }
        }
        if (looked == 0) {
                f = finding_add(a, VERDICT_UNKNOWN, g, "No path of the host leads to what %s was started from.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/exe", g->vmm->pid), "%s",
                              g->vmm->exe ? g->vmm->exe : "not known");
                return;
        }
        f = finding_add(a, VERDICT_PASS, g, "Only root can replace what %s was started from.", GUEST_MARK(a, g));
        f->evidence = evidence.evidence;
}

void parents_host(struct audit *a)
{
        struct reach r;

        if (a->inv.guests.count == 0)
                return;
        reach_init(a, &r);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                parents_guest(a, &r, a->inv.guests.items[i]);
}
