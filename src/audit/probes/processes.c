/* The processes of a guest: their programs, and who can look into them. */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/inventory.h"
#include "audit/probes/memory.h"
#include "audit/probes/rows.h"
#include "audit/text.h"

/* ---- program ---- */

/* Guests of one host run the same few programs: each is read once. */
struct program {
        struct observed_stat st;
        char *hash, *build_id;
};

struct program_list {
        struct program *items;
        size_t count, room;
};

static char *asked(struct audit *a, const char *verb, pid_t pid)
{
        struct answer answer;
        int r = observe(a->observer, &answer, "%s /proc/%d/exe", verb, pid);

        return r == 0 ? arena_copy(a->arena, answer.bytes, answer.len)
                      : arena_printf(a->arena, "error: %s", strerror(-r));
}

static const struct program *program_find(struct audit *a, struct program_list *l, const struct process *p)
{
        const struct observed_stat *st = &p->exe_stat;
        struct program *new;

        for (size_t i = l->count; i > 0; i--) { /* that of the guest before, most of the time */
                const struct observed_stat *known = &l->items[i - 1].st;

                if (known->dev == st->dev && known->ino == st->ino && known->size == st->size &&
                    known->mtime_s == st->mtime_s)
                        return &l->items[i - 1];
        }
        new = GROW(a->arena, l);
        *new = (struct program){.st = *st,
                                .hash = asked(a, "sha256", p->pid),
                                .build_id = asked(a, "build-id", p->pid)};
        return new;
}

static enum verdict exe_verdict(const struct process *p)
{
        if (p->exe_stat.uid != 0 || (p->exe_stat.mode & 022))
                return VERDICT_FAIL;
        return text_has_suffix(p->exe, " (deleted)") ? VERDICT_WARN : VERDICT_PASS;
}

static void exe_show(struct audit *a, struct finding *f, const struct guest *g, struct program_list *programs,
                     const struct process *p)
{
        const struct program *program = program_find(a, programs, p);
        const struct observed_stat *st = &p->exe_stat;

        finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/exe", p->pid), p->exe, strlen(p->exe));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/exe", p->pid),
                      "mode %o, uid %u, gid %u, inode %" PRIu64, st->mode, st->uid, st->gid, st->ino);
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "sha256, build-id /proc/%d/exe", p->pid),
                      "SHA-256 %s, build ID %s", program->hash, program->build_id);
}

static void exe_guest(struct audit *a, struct guest *g, struct program_list *programs)
{
        enum verdict worst = VERDICT_PASS;
        const struct process *unread = MEMBERS_UNREAD(g, exe_error);
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->exe_error == 0)
                        worst = verdict_worse(worst, exe_verdict(p));
        }
        if (unread && worst != VERDICT_FAIL) {
                finding_unknown(a, g, unread->exe_error, arena_printf(a->arena, "link /proc/%d/exe", unread->pid));
                return;
        }
        if (worst == VERDICT_FAIL)
                f = finding_add(a, worst, g, "A program that runs %s can be changed by others than root.",
                                GUEST_MARK(a, g));
        else if (worst == VERDICT_WARN)
                f = finding_add(
                        a, worst, g,
                        "A program that runs %s has been replaced or deleted since it was started: the old one still "
                        "runs, without what an update repaired.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(a, worst, g,
                                "The programs that run %s are root's, unchanged, and writable by root only.",
                                GUEST_MARK(a, g));
        for (size_t i = 0; i < g->members.count; i++)
                if (g->members.items[i].process->exe_error == 0 && exe_verdict(g->members.items[i].process) == worst)
                        exe_show(a, f, g, programs, g->members.items[i].process);
}

void process_exe_host(struct audit *a)
{
        struct program_list programs = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++)
                exe_guest(a, a->inv.guests.items[i], &programs);
}

/* ---- dumpable ---- */

/* What is kept of a guest's processes: the one about which the most is known to be bad. */
struct dumpable_view {
        enum verdict verdict; /* UNKNOWN without an error: the process is root, whose files look the same */
        int error;
        const struct process *process;
};

static struct dumpable_view dumpable_process(const struct audit *a, const struct guest *g, const struct process *p)
{
        int error = p->environ_error < 0 ? p->environ_error : p->threads_error, near;

        if (error < 0)
                return (struct dumpable_view){VERDICT_UNKNOWN, error, p};
        switch (memory_dumpable(p)) {
        case DUMPABLE_NO:
                return (struct dumpable_view){VERDICT_PASS, 0, p};
        case DUMPABLE_UNKNOWN:
                return (struct dumpable_view){VERDICT_UNKNOWN, 0, p};
        case DUMPABLE_YES:
                break;
        }
        near = memory_neighbour(a, g, memory_uid(p), CAP_BIT(CAP_SYS_PTRACE),
                                LAYER_BIT(LAYER_MAC) | LAYER_BIT(LAYER_PIDNS));
        return (struct dumpable_view){near > 0   ? VERDICT_FAIL
                                      : near < 0 ? VERDICT_UNKNOWN
                                                 : VERDICT_WARN,
                                      near < 0 ? near : 0, p};
}

void process_dumpable_guest(struct audit *a, struct guest *g)
{
        struct dumpable_view d = {VERDICT_PASS, 0, g->vmm};
        const struct process *p;
        struct finding *f;
        char *question;

        for (size_t i = 0; i < g->members.count; i++) {
                struct dumpable_view v = dumpable_process(a, g, g->members.items[i].process);
                /* One that is surely dumpable tells more than one that may be, save where that one could not be read.
                 */
                bool weaker = v.verdict == VERDICT_UNKNOWN && v.error == 0 && d.verdict == VERDICT_WARN;
                bool stronger = v.verdict == VERDICT_WARN && d.verdict == VERDICT_UNKNOWN && d.error == 0;

                if (v.error == -ESRCH && v.process != g->vmm)
                        continue;
                if (stronger || (v.verdict > d.verdict && !weaker))
                        d = v;
        }
        p = d.process;
        question = arena_printf(a->arena, "stat /proc/%d/environ", p->pid);
        if (d.error < 0) {
                finding_unknown(a, g, d.error, question);
                return;
        }
        if (d.verdict == VERDICT_PASS)
                f = finding_add(a, VERDICT_PASS, g,
                                "No process of %s is dumpable: its memory is closed to others of its user.",
                                GUEST_MARK(a, g));
        else if (d.verdict == VERDICT_UNKNOWN)
                f = finding_add(
                        a, VERDICT_UNKNOWN, g,
                        "A process of %s runs as root: whether it is dumpable cannot be told, and to root it makes no "
                        "difference.",
                        GUEST_MARK(a, g));
        else if (d.verdict == VERDICT_FAIL)
                f = finding_add(
                        a, VERDICT_FAIL, g,
                        "A process of %s is dumpable, and another guest runs as the same user or with CAP_SYS_PTRACE, "
                        "without a PID namespace or MAC label between them: it can read this guest's memory.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(
                        a, VERDICT_WARN, g,
                        "A process of %s is dumpable: any process of the same user that sees it can read this guest's "
                        "memory.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), question, "uid %u; the process's is %u", p->environ_stat.uid,
                      memory_uid(p));
}

/* ---- traced ---- */

void process_traced_guest(struct audit *a, struct guest *g)
{
        const struct process *unread = MEMBERS_UNREAD(g, threads_error);
        const struct thread *first = NULL;
        size_t traced = 0, threads = 0;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                for (size_t k = 0; k < p->threads.count; k++, threads++)
                        if (p->threads.items[k].tracer != 0) {
                                first = first ? first : &p->threads.items[k];
                                traced++;
                        }
        }
        if (traced > 0)
                f = finding_add(a, VERDICT_FAIL, g, "%zu of %zu threads of %s have a debugger attached.", traced,
                                threads, GUEST_MARK(a, g));
        else if (unread) {
                finding_unknown(a, g, unread->threads_error, arena_printf(a->arena, "list /proc/%d/task", unread->pid));
                return;
        } else
                f = finding_add(a, VERDICT_PASS, g, "None of the %zu threads of %s has a debugger attached.", threads,
                                GUEST_MARK(a, g));
        if (!first)
                first = &g->vmm->threads.items[0];
        finding_show_lines(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", first->tid),
                           first->status, (const char *const[]){"Name:", "TracerPid:", NULL});
}
