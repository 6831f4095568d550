/* Who else can reach a guest's RAM: by a descriptor, by a mapping, by cutting its file short. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/memory.h"
#include "audit/text.h"
#include "base/cleanup.h"

#ifndef F_SEAL_SEAL
#define F_SEAL_SEAL   0x1 /* fcntl(2) */
#define F_SEAL_SHRINK 0x2
#define F_SEAL_GROW   0x4
#endif
#define SEALS_WANTED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)
#define SHOWN_MAX    8

/* ---- descriptors of RAM ---- */

static bool is_ram_object(const struct guest *g, uint64_t dev, uint64_t ino)
{
        for (size_t i = 0; i < g->ram.count; i++) {
                const struct mapping *m = g->ram.items[i].mapping;

                if (m->ino && m->ino == ino && m->dev == dev)
                        return true;
        }
        return false;
}

static bool has_ram_object(const struct guest *g)
{
        for (size_t i = 0; i < g->ram.count; i++)
                if (g->ram.items[i].mapping->ino)
                        return true;
        return false;
}

struct holding {
        const struct process *process;
        const struct fd *fd;
};

struct holding_list {
        struct holding *items;
        size_t count, room;
};

/* The guest's own descriptors of its RAM. false, with a finding, when they cannot be seen. */
static bool holdings_read(struct audit *a, struct guest *g, struct holding_list *ret)
{
        *ret = (struct holding_list){0};
        if (g->ram.count == 0) {
                finding_unknown(a, g, g->vmm->maps_error < 0 ? g->vmm->maps_error : -ENODATA,
                                arena_printf(a->arena, "RAM in read /proc/%d/smaps", g->vmm->pid));
                return false;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return false;
                }
                for (size_t k = 0; k < p->fds.count; k++) {
                        const struct fd *fd = &p->fds.items[k];

                        if (fd->stat_error == 0 && is_ram_object(g, fd->st.dev, fd->st.ino))
                                *GROW(a->arena, ret) = (struct holding){p, fd};
                }
        }
        return true;
}

static void ram_show(struct audit *a, struct finding *f, const struct guest *g)
{
        const struct mapping *m = g->ram.items[0].mapping;

        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", g->vmm->pid),
                      "RAM%s: %" PRIx64 "-%" PRIx64 " %s %x:%x %" PRIu64 " %s%s",
                      g->ram.items[0].inferred ? " (inferred from its size and flags)" : "", m->start, m->end, m->perms,
                      OBSERVED_MAJOR(m->dev), OBSERVED_MINOR(m->dev), m->ino, SHOW(a, m->name),
                      g->ram.count > 1 ? " and others" : "");
}

static void holdings_show(struct audit *a, struct finding *f, const struct guest *g, const struct holding_list *l)
{
        for (size_t i = 0; i < l->count && i < SHOWN_MAX; i++)
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "link /proc/%d/fd/%d", l->items[i].process->pid,
                                           l->items[i].fd->number),
                              "%s", SHOW(a, l->items[i].fd->link));
}

/* ---- MEM-RAMFD ---- */

static enum verdict holding_judge(const struct audit *a, const struct guest *g, const struct process *p,
                                  enum dumpable d)
{
        uint32_t uid = memory_uid(p);
        int near;

        if (d == DUMPABLE_NO)
                return VERDICT_PASS;
        near = memory_neighbour(a, g, uid, CAP_BIT(CAP_SYS_PTRACE), LAYER_BIT(LAYER_MAC) | LAYER_BIT(LAYER_PIDNS));
        if (near < 0 || uid == UINT32_MAX || p->environ_error < 0)
                return VERDICT_UNKNOWN;
        if (near == 0)
                return d == DUMPABLE_YES ? VERDICT_WARN : VERDICT_PASS; /* nobody else has root's uid, either */
        return d == DUMPABLE_YES || uid == 0 ? VERDICT_FAIL : VERDICT_UNKNOWN;
}

void memory_descriptor_guest(struct audit *a, struct guest *g)
{
        enum verdict worst = VERDICT_PASS;
        struct holding_list l;
        struct finding *f;

        if (!holdings_read(a, g, &l))
                return;
        f = finding_add(a, VERDICT_PASS, g, "%s", "");
        ram_show(a, f, g);
        holdings_show(a, f, g, &l);
        for (size_t i = 0; i < l.count; i++) {
                const struct process *p = l.items[i].process;
                enum dumpable d = memory_dumpable(p);

                worst = verdict_worse(worst, holding_judge(a, g, p, d));
                if (i < SHOWN_MAX)
                        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/environ", p->pid),
                                      "owner %u, process %u: %s", p->environ_stat.uid, memory_uid(p),
                                      d == DUMPABLE_NO    ? "not dumpable"
                                      : d == DUMPABLE_YES ? "dumpable"
                                                          : "not known");
        }
        f->verdict = f->unsoftened = worst;
        if (worst == VERDICT_FAIL)
                f->text = arena_printf(
                        a->arena,
                        "RAM of %s lies open: its process holds a descriptor of it, and a process of another "
                        "guest, of the same user or with CAP_SYS_PTRACE, can open that below /proc and read and write all.",
                        GUEST_MARK(a, g));
        else if (worst == VERDICT_WARN)
                f->text = arena_printf(
                        a->arena,
                        "A dumpable process of %s holds a descriptor of its RAM: any process with its uid could "
                        "open that below /proc. No other guest has that uid, or CAP_SYS_PTRACE.",
                        GUEST_MARK(a, g));
        else if (worst == VERDICT_UNKNOWN)
                f->text = arena_printf(
                        a->arena,
                        "Whether a process of %s that holds a descriptor of its RAM is dumpable could not be "
                        "determined.",
                        GUEST_MARK(a, g));
        else if (l.count > 0)
                f->text = arena_printf(
                        a->arena, "The descriptors of RAM that processes of %s hold are out of reach of other guests.",
                        GUEST_MARK(a, g));
        else
                f->text = arena_printf(a->arena, "No process of %s holds a descriptor of its RAM.", GUEST_MARK(a, g));
        if (worst == VERDICT_UNKNOWN)
                f->needs = a->check->needs;
}

/* ---- MEM-SEALS ---- */

/* Memory that never had a name, or that of System V, which has no size to change. */
static bool is_nameless(const struct mapping *m)
{
        static const char *const prefixes[] = {"/memfd:", "/dev/zero", "/anon_hugepage", "/SYSV"};

        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
                if (text_has_prefix(m->name, prefixes[i]) && text_has_suffix(m->name, " (deleted)"))
                        return true;
        return false;
}

/* RAM is a file that can be opened by its name: 1, 0, or why that is not known. */
static int ram_named(struct audit *a, const struct guest *g, char **ret_question)
{
        for (size_t i = 0; i < g->ram.count; i++) {
                const struct mapping *m = g->ram.items[i].mapping;
                struct observed_stat st;
                int r;

                if (!m->ino || is_nameless(m))
                        continue;
                *ret_question = arena_printf(a->arena, "stat /proc/%d/map_files/%" PRIx64 "-%" PRIx64, g->vmm->pid,
                                             m->start, m->end);
                if (!text_has_suffix(m->name, " (deleted)"))
                        return 1;
                r = observe_stat(a->observer, *ret_question + strlen("stat "), &st);
                if (r < 0 || st.nlink > 0)
                        return r < 0 ? r : 1;
        }
        return 0;
}

void memory_seals_guest(struct audit *a, struct guest *g)
{
        struct holding_list l;
        struct finding *f;
        bool sealed = true;
        char *question = NULL;
        int named;

        if (!holdings_read(a, g, &l))
                return;
        if (!has_ram_object(g)) {
                f = finding_add(a, VERDICT_NA, g, "RAM of %s is anonymous memory: there is no file to cut short.",
                                GUEST_MARK(a, g));
                ram_show(a, f, g);
                return;
        }
        f = finding_add(a, VERDICT_PASS, g,
                        l.count ? "The size of the file that is %s's RAM is sealed."
                                : "No process of %s holds a descriptor by which it could change the size of its RAM.",
                        GUEST_MARK(a, g));
        ram_show(a, f, g);
        for (size_t i = 0; i < l.count; i++) {
                struct answer answer;
                long seals;
                int r;

                question = arena_printf(a->arena, "seals %d %d", l.items[i].process->pid, l.items[i].fd->number);
                r = observe(a->observer, &answer, "%s", question);
                seals = r < 0 ? 0 : strtol(answer.bytes, NULL, 10);

                if (r < 0 && r != -EINVAL) { /* -EINVAL: of a file that cannot be sealed */
                        finding_turn_unknown(a, f, g, r, question);
                        return;
                }
                sealed = sealed && (seals & SEALS_WANTED) == SEALS_WANTED;
                if (i >= SHOWN_MAX)
                        continue;
                if (r < 0)
                        finding_show_error(a, f, GUEST_OWNER(g), question, r);
                else
                        finding_showf(a, f, GUEST_OWNER(g), question, "%ld:%s%s%s", seals,
                                      seals & F_SEAL_SEAL ? " SEAL" : "", seals & F_SEAL_SHRINK ? " SHRINK" : "",
                                      seals & F_SEAL_GROW ? " GROW" : "");
        }
        named = l.count == 0 ? ram_named(a, g, &question) : 0;
        if (named < 0)
                finding_turn_unknown(a, f, g, named, question);
        if (named < 0 || (sealed && named == 0))
                return;
        f->verdict = f->unsoftened = VERDICT_WARN;
        f->text = arena_printf(
                a->arena,
                named ? "RAM of %s is a file with a name: who may write to it can cut it short, which kills every process "
                        "that then touches what is gone."
                      : "Who holds the file that is %s's RAM can cut it short, which kills every process that then "
                        "touches what is gone.",
                GUEST_MARK(a, g));
}
