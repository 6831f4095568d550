/* What makes a fault in a guest's programs harder to use: how they were built, and how they are mapped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/inventory.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define NO_RANDOM_ADDRESSES 0x40000UL /* ADDR_NO_RANDOMIZE, linux/personality.h */

/* How a program file was built; guests of one host run the same few. */
struct build {
        uint64_t dev, ino;
        int error;
        char *text; /* answer to "elf" */
};

struct build_list {
        struct build *items;
        size_t count, room;
};

static const struct build *build_find(struct audit *a, struct build_list *l, const struct process *p)
{
        struct answer answer;
        struct build *new;

        for (size_t i = l->count; i > 0; i--)
                if (l->items[i - 1].dev == p->exe_stat.dev && l->items[i - 1].ino == p->exe_stat.ino)
                        return &l->items[i - 1];
        new = GROW(a->arena, l);
        *new = (struct build){.dev = p->exe_stat.dev, .ino = p->exe_stat.ino};
        new->error = observe(a->observer, &answer, "elf /proc/%d/exe", p->pid);
        new->text = new->error == 0 ? arena_copy(a->arena, answer.bytes, answer.len) : arena_text(a->arena, "");
        return new;
}

struct hardening {
        enum verdict verdict;
        char *lacks;
        int error;
        char *question; /* that failed */
        const struct process *process;
        const char *built;             /* answer to "elf" */
        const struct mapping *mapping; /* writable and executable */
        char *personality;
};

static void lack(struct audit *a, struct hardening *h, enum verdict v, const char *what)
{
        h->verdict = verdict_worse(h->verdict, v);
        h->lacks = arena_printf(a->arena, "%s%s%s", h->lacks, *h->lacks ? ", " : "", what);
}

static void build_judge(struct audit *a, struct hardening *h)
{
        static const struct {
                const char *line, *lacks;
                enum verdict verdict;
        } rules[] = {
                {"type EXEC\n", "a position-independent program", VERDICT_FAIL},
                {"stack rwx\n", "a stack that is not executable", VERDICT_FAIL},
                {"relro no\n", "read-only relocations", VERDICT_WARN},
                {"now no\n", "binding at start (so that relocations stay writable)", VERDICT_WARN},
                {"protector no\n", "a stack protector", VERDICT_WARN},
        };

        for (size_t i = 0; i < ARRAY_LEN(rules); i++)
                if (strstr(h->built, rules[i].line))
                        lack(a, h, rules[i].verdict, rules[i].lacks);
}

static struct hardening hardening_read(struct audit *a, const struct process *p, struct build_list *builds)
{
        struct hardening h = {.verdict = VERDICT_PASS, .process = p, .lacks = arena_text(a->arena, ""), .built = ""};
        int error = 0;

        h.question = arena_printf(a->arena, "elf /proc/%d/exe", p->pid);
        h.error = p->exe_error < 0 ? p->exe_error : p->maps_error;
        if (h.error == 0) {
                const struct build *build = build_find(a, builds, p);

                h.error = build->error;
                h.built = build->text;
        }
        if (h.error == 0)
                h.personality =
                        observe_line(a->observer, arena_printf(a->arena, "/proc/%d/personality", p->pid), &error);
        if (error < 0) {
                h.error = error;
                h.question = arena_printf(a->arena, "read /proc/%d/personality", p->pid);
        }
        if (h.error < 0 || !h.personality)
                return h;
        build_judge(a, &h);
        for (size_t i = 0; !h.mapping && i < p->maps.count; i++)
                if (p->maps.items[i].perms[1] == 'w' && p->maps.items[i].perms[2] == 'x')
                        h.mapping = &p->maps.items[i];
        if (h.mapping)
                lack(a, &h, VERDICT_FAIL, "memory that is never writable and executable at once");
        if (strtoul(h.personality, NULL, 16) & NO_RANDOM_ADDRESSES)
                lack(a, &h, VERDICT_WARN, "random addresses");
        return h;
}

static void hardening_show(struct audit *a, struct finding *f, const struct guest *g, const struct hardening *h)
{
        finding_show(a, f, GUEST_OWNER(g), h->question, h->built, strlen(h->built));
        if (h->mapping)
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/maps", h->process->pid),
                              "%llx-%llx %s %s", (unsigned long long)h->mapping->start,
                              (unsigned long long)h->mapping->end, h->mapping->perms, h->mapping->name);
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/personality", h->process->pid), "%s",
                      h->personality);
}

static void hardening_guest(struct audit *a, struct guest *g, struct build_list *builds)
{
        struct hardening worst = {.verdict = VERDICT_NA, .process = g->vmm, .built = ""};
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                struct hardening h = hardening_read(a, g->members.items[i].process, builds);

                if (h.error < 0)
                        h.verdict = VERDICT_UNKNOWN;
                if (h.verdict > worst.verdict)
                        worst = h;
        }
        if (worst.verdict == VERDICT_UNKNOWN) {
                finding_unknown(a, g, worst.error, worst.question);
                return;
        }
        if (worst.verdict == VERDICT_PASS)
                f = finding_add(
                        a, worst.verdict, g,
                        "The programs of %s were built so that a fault in them is hard to use, and are mapped at random.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(a, worst.verdict, g, "A program of %s lacks %s.", GUEST_MARK(a, g), worst.lacks);
        hardening_show(a, f, g, &worst);
}

static void randomization(struct audit *a)
{
        int64_t level;
        int r = observe_number(a->observer, "/proc/sys/kernel/randomize_va_space", &level);
        struct finding *f;

        if (r < 0) {
                finding_unknown(a, NULL, r, "read /proc/sys/kernel/randomize_va_space");
                return;
        }
        f = level == 2 ? finding_add(a, VERDICT_PASS, NULL, "This host gives every program random addresses.")
                       : finding_add(a, VERDICT_WARN, NULL, "This host does not give programs fully random addresses.");
        finding_showf(a, f, EVIDENCE_HOST, "read /proc/sys/kernel/randomize_va_space", "%lld", (long long)level);
}

void process_elf_host(struct audit *a)
{
        struct build_list builds = {0};

        if (a->inv.guests.count > 0)
                randomization(a);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                hardening_guest(a, a->inv.guests.items[i], &builds);
}
