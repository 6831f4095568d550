/* Runs the checks, and keeps what they find. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "audit/audit.h"
#include "audit/text.h"

const char *const verdict_names[] = {
        [VERDICT_NA] = "NA",           [VERDICT_PASS] = "PASS", [VERDICT_WARN] = "WARN",
        [VERDICT_UNKNOWN] = "UNKNOWN", [VERDICT_FAIL] = "FAIL",
};
const char *const severity_names[] = {
        [SEVERITY_INFO] = "info", [SEVERITY_LOW] = "low",           [SEVERITY_MEDIUM] = "medium",
        [SEVERITY_HIGH] = "high", [SEVERITY_CRITICAL] = "critical",
};
const char *const boundary_names[BOUNDARY_COUNT] = {
        [BOUNDARY_INVENTORY] = "Guests and their processes",
        [BOUNDARY_NAMESPACES] = "Namespaces",
        [BOUNDARY_PRIVILEGES] = "Privileges",
        [BOUNDARY_SYSCALLS] = "System calls",
        [BOUNDARY_FILES] = "Files and descriptors",
        [BOUNDARY_MEMORY] = "Memory",
        [BOUNDARY_CPU] = "Processors",
        [BOUNDARY_KVM] = "KVM",
        [BOUNDARY_STORAGE] = "Storage",
        [BOUNDARY_NETWORK] = "Network",
        [BOUNDARY_DEVICES] = "Devices",
        [BOUNDARY_RESOURCES] = "Resources",
        [BOUNDARY_LIFECYCLE] = "Life cycle",
        [BOUNDARY_KERNEL] = "Host kernel",
};

static int64_t now_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct finding *finding_add(struct audit *a, enum verdict v, const struct guest *g, const char *fmt, ...)
{
        struct finding *f = arena_alloc(a->arena, sizeof(*f));
        va_list ap;

        *f = (struct finding){.check = a->check, .boundary = a->boundary, .verdict = v, .unsoftened = v};
        va_start(ap, fmt);
        f->text = arena_vprintf(a->arena, fmt, ap);
        va_end(ap);
        if (g)
                finding_concern(a, f, g);
        *GROW(a->arena, &a->findings) = f;
        return f;
}

void finding_concern(struct audit *a, struct finding *f, const struct guest *g)
{
        for (size_t i = 0; i < f->guests.count; i++)
                if (f->guests.items[i] == g->index)
                        return;
        *GROW(a->arena, &f->guests) = g->index;
}

static void evidence_add(struct audit *a, struct finding *f, int owner, const char *question, char *excerpt)
{
        *GROW(a->arena, &f->evidence) = (struct evidence){
                .owner = owner,
                .question = text_printable(a->arena, question, strlen(question), TEXT_EVIDENCE_MAX, false),
                .excerpt = excerpt,
                .time_ms = now_ms(),
        };
}

void finding_show(struct audit *a, struct finding *f, int owner, const char *question, const void *bytes, size_t len)
{
        evidence_add(a, f, owner, question, text_printable(a->arena, bytes, len, TEXT_EVIDENCE_MAX, true));
}

void finding_showf(struct audit *a, struct finding *f, int owner, const char *question, const char *fmt, ...)
{
        va_list ap;
        char *text;

        va_start(ap, fmt);
        text = arena_vprintf(a->arena, fmt, ap);
        va_end(ap);
        finding_show(a, f, owner, question, text, strlen(text));
}

void finding_show_lines(struct audit *a, struct finding *f, int owner, const char *question, const char *text,
                        const char *const *prefixes)
{
        char *copy = arena_text(a->arena, text), *line, *picked = arena_text(a->arena, "");

        while ((line = text_next_line(&copy)))
                for (const char *const *p = prefixes; *p; p++)
                        if (text_has_prefix(line, *p))
                                picked = arena_printf(a->arena, "%s%s\n", picked, line);
        finding_show(a, f, owner, question, picked, strlen(picked));
}

void finding_show_error(struct audit *a, struct finding *f, int owner, const char *question, int error)
{
        finding_showf(a, f, owner, question, "error: %s", strerror(-error));
}

void finding_turn_unknown(struct audit *a, struct finding *f, const struct guest *g, int error, const char *question)
{
        bool ended = error == -ESRCH;

        f->verdict = f->unsoftened = ended ? VERDICT_NA : VERDICT_UNKNOWN;
        f->text = arena_text(a->arena, ended ? "It ended while it was looked at." : "It could not be determined.");
        if (!ended)
                f->needs = a->check->needs && a->check->needs[0] ? a->check->needs : NULL;
        f->unread = g && !ended;
        finding_show_error(a, f, g ? GUEST_OWNER(g) : EVIDENCE_HOST, question, error);
}

struct finding *finding_unknown(struct audit *a, const struct guest *g, int error, const char *question)
{
        struct finding *f = finding_add(a, VERDICT_UNKNOWN, g, "%s", "");

        finding_turn_unknown(a, f, g, error, question);
        return f;
}

/* What could not be read of one guest may be what it has in common with any other: as long as that is so, no guest is
 * proved to be apart. */
static void pairs_run(struct audit *a, const struct check *c)
{
        size_t first = a->findings.count;
        bool unread = false;

        c->pairs(a);
        for (size_t i = first; i < a->findings.count; i++) {
                a->findings.items[i]->pair = true;
                unread = unread || a->findings.items[i]->unread;
        }
        for (size_t i = first; unread && i < a->findings.count; i++) {
                struct finding *f = a->findings.items[i];

                if (f->verdict != VERDICT_PASS)
                        continue;
                f->verdict = f->unsoftened = VERDICT_UNKNOWN;
                f->text = arena_printf(a->arena, "As far as the other guests could be read: %s", f->text);
                f->needs = c->needs && c->needs[0] ? c->needs : NULL;
        }
}

static void check_run(struct audit *a, const struct check *c)
{
        a->check = c;
        if (c->deep && !a->host.deep) {
                struct finding *f = finding_add(a, VERDICT_UNKNOWN, NULL, "It is only determined with --deep.");

                f->needs = "--deep, which stops threads of guests for milliseconds";
                finding_showf(a, f, EVIDENCE_HOST, c->examined, "not asked without --deep");
                return;
        }
        if (c->host)
                c->host(a);
        for (size_t i = 0; c->guest && i < a->inv.guests.count; i++)
                c->guest(a, a->inv.guests.items[i]);
        if (c->pairs && a->inv.guests.count > 1)
                pairs_run(a, c);
}

/* One missing layer among at least three others that separate every pair is worth a warning, not a failure. */
static bool is_softened(const struct audit *a, const struct check *c)
{
        struct pair_closest closest;

        return c->softened && pairs_closest(a, NULL, c->softened, &closest) && closest.layers >= 3;
}

static void soften(struct audit *a)
{
        const struct check *last = NULL;
        bool softened = false;

        for (size_t i = 0; i < a->findings.count; i++) {
                struct finding *f = a->findings.items[i];

                if (f->verdict == VERDICT_FAIL && f->check != last) { /* those of a check are in a row */
                        last = f->check;
                        softened = is_softened(a, last);
                }
                if (f->verdict != VERDICT_FAIL || !softened)
                        continue;
                f->verdict = VERDICT_WARN;
                f->text = arena_printf(a->arena,
                                       "%s At least three other layers separate every pair of guests: without "
                                       "them this would be a FAIL.",
                                       f->text);
        }
}

void audit_run(struct audit *a, void (*progress)(void *ctx, const char *id), void *ctx)
{
        for (int b = 0; b < BOUNDARY_COUNT; b++)
                for (const struct check *c = check_tables[b]; c->id; c++) {
                        a->boundary = (enum boundary)b;
                        if (progress)
                                progress(ctx, c->id);
                        check_run(a, c);
                }
        a->check = NULL;
        soften(a);
}
