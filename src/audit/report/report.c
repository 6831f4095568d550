#include "audit/report/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"
#include "base/cleanup.h"

static bool concerns(const struct finding *f, const struct guest *g)
{
        for (size_t i = 0; i < f->guests.count; i++)
                if (f->guests.items[i] == g->index)
                        return true;
        return f->guests.count == 0;
}

enum report_rank report_rank(const struct finding *f)
{
        switch (f->verdict) {
        case VERDICT_FAIL:
                return RANK_FAIL;
        case VERDICT_UNKNOWN:
                return f->check->severity >= SEVERITY_HIGH ? RANK_UNDETERMINED_HIGH : RANK_UNDETERMINED;
        case VERDICT_WARN:
                return RANK_WARN;
        case VERDICT_PASS:
                return RANK_PASS;
        case VERDICT_NA:
                break;
        }
        return RANK_NA;
}

static int by_weight(const void *a, const void *b)
{
        const struct finding *x = *(struct finding *const *)a, *y = *(struct finding *const *)b;

        if (report_rank(x) != report_rank(y))
                return report_rank(x) > report_rank(y) ? -1 : 1;
        if (x->check->severity != y->check->severity)
                return x->check->severity > y->check->severity ? -1 : 1;
        if (x->boundary != y->boundary)
                return x->boundary < y->boundary ? -1 : 1;
        if (x->check != y->check)
                return x->check < y->check ? -1 : 1;
        if (x->guests.count && y->guests.count && x->guests.items[0] != y->guests.items[0])
                return x->guests.items[0] < y->guests.items[0] ? -1 : 1;
        return (x->guests.count > y->guests.count) - (x->guests.count < y->guests.count);
}

void report_view_make(struct audit *a, const struct guest *tenant, struct report_view *ret)
{
        struct report_view v = {.audit = a, .tenant = tenant};

        v.findings = arena_array(a->arena, a->findings.count, sizeof(struct finding *));
        for (size_t i = 0; i < a->findings.count; i++) {
                struct finding *f = a->findings.items[i];

                if (tenant && !concerns(f, tenant))
                        continue;
                v.findings[v.count++] = f;
                v.counts[f->verdict]++;
                v.failed |= f->verdict == VERDICT_FAIL;
                v.undetermined |= report_rank(f) == RANK_UNDETERMINED_HIGH;
        }
        if (v.count > 0)
                qsort(v.findings, v.count, sizeof(v.findings[0]), by_weight);
        *ret = v;
}

static const char another[] = "another guest", others[] = "other guests";

const char *report_name(const struct report_view *v, const struct guest *g)
{
        if (!g)
                return "a guest";
        return v->tenant && v->tenant != g ? another : text_harmless(v->audit->arena, g->name, strlen(g->name), false);
}

static bool ends_with(const struct text_buffer *b, const char *what, size_t before)
{
        size_t n = strlen(what);

        return b->count >= n + before && memcmp(b->items + b->count - before - n, what, n) == 0;
}

/* "another guest, another guest and another guest" is "other guests". True when the word is said already. */
static bool others_joined(struct text_buffer *b)
{
        static const char *const joints[] = {", ", " and ", ", and "};

        for (size_t i = 0; i < ARRAY_LEN(joints); i++) {
                size_t n = strlen(joints[i]);

                if (!ends_with(b, joints[i], 0))
                        continue;
                if (ends_with(b, others, n)) {
                        b->count -= n;
                        return true;
                }
                if (ends_with(b, another, n)) {
                        b->count -= n + strlen(another);
                        return false;
                }
        }
        return false;
}

static void name_append(const struct report_view *v, struct text_buffer *b, const struct guest *g)
{
        size_t before = b->count;
        const char *name = report_name(v, g);

        if (name == another) {
                if (others_joined(b))
                        return;
                name = b->count < before ? others : another;
        }
        text_append(v->audit->arena, b, name, strlen(name));
}

static char *replace(const struct report_view *v, const char *text, size_t each)
{
        struct arena *a = v->audit->arena;
        const struct guest_list *guests = &v->audit->inv.guests;
        struct text_buffer b = {0};

        while (*text) {
                size_t n = strcspn(text, "\001");
                char *harmless = text_harmless(a, text, n, false), *end;
                unsigned long index;

                text_append(a, &b, harmless, strlen(harmless));
                text += n;
                if (*text == '\0')
                        break;
                index = strtoul(text + 1, &end, 10);
                if (index == each)
                        text_append(a, &b, b.count ? "each guest" : "Each guest", 10);
                else
                        name_append(v, &b, index < guests->count ? guests->items[index] : NULL);
                text = *end == '\002' ? end + 1 : end;
        }
        text_append(a, &b, "", 0);
        return b.items;
}

char *report_text(const struct report_view *v, const char *text)
{
        return replace(v, text, SIZE_MAX);
}

char *report_text_each(const struct report_view *v, const char *text, size_t guest)
{
        return replace(v, text, guest);
}

/* The guest that a process belongs to, or that it guards. */
static const struct guest *guest_of(const struct inventory *inv, pid_t pid)
{
        const struct process *p = inventory_process(inv, pid);

        for (size_t i = 0; p && !p->guest && i < inv->guests.count; i++)
                if (inv->guests.items[i]->supervisor == p)
                        return inv->guests.items[i];
        return p ? p->guest : NULL;
}

/* Checks say whose evidence is; a question that names a process of somebody else by its number is not for a tenant,
 * whatever they say. "stat /proc/812/ns/pid", "unix-sockets 812", "kcmp 812 3 900 4" */
static bool asks_about_others(const struct report_view *v, const char *question, bool own)
{
        for (const char *p = question; *p; p++) {
                const struct guest *g;

                if (!isdigit((unsigned char)*p) || p == question || (p[-1] != ' ' && p[-1] != '/'))
                        continue;
                if (p[-1] == '/' && (p - question < 6 || memcmp(p - 6, "/proc/", 6) != 0))
                        continue;
                if (!own && p[-1] == '/' && strtol(p, NULL, 10) != 1)
                        return true;
                g = guest_of(&v->audit->inv, (pid_t)strtol(p, NULL, 10));
                if (g && g != v->tenant)
                        return true;
        }
        return false;
}

bool report_may_show(const struct report_view *v, const struct evidence *e)
{
        bool own = v->tenant && e->owner == (int)v->tenant->index;

        if (!v->tenant)
                return true;
        return (own || e->owner == EVIDENCE_HOST) && !asks_about_others(v, e->question, own);
}

char *report_question(const struct report_view *v, const struct evidence *e)
{
        return text_harmless(v->audit->arena, e->question, strlen(e->question), false);
}

char *report_answer(const struct report_view *v, const struct evidence *e)
{
        return text_harmless(v->audit->arena, e->excerpt, strlen(e->excerpt), true);
}

static char *separation(const struct report_view *v)
{
        struct arena *a = v->audit->arena;
        size_t x, y;
        unsigned int n;

        if (!report_closest(v, &x, &y))
                return arena_text(a, "");
        n = (unsigned int)__builtin_popcount(pair_layers(v->audit, x, y));
        if (n == 0)
                return arena_printf(a, " No layer separates %s.",
                                    v->tenant ? "it from at least one other guest" : "at least two of them");
        return arena_printf(a, " At least %u layer%s %s.", n, n == 1 ? " separates" : "s separate",
                            v->tenant ? "it from every other guest" : "any two of them");
}

static char *unknown_sentence(const struct report_view *v)
{
        size_t n = v->counts[VERDICT_UNKNOWN];

        return n == 0 ? arena_text(v->audit->arena, "")
                      : arena_printf(v->audit->arena, " %zu finding%s could not be determined%s.", n, n == 1 ? "" : "s",
                                     v->undetermined ? ", some of them of high or critical severity" : "");
}

char *report_sentence(const struct report_view *v)
{
        struct arena *a = v->audit->arena;
        size_t guests = v->audit->inv.guests.count, fails = v->counts[VERDICT_FAIL], warns = v->counts[VERDICT_WARN];
        char *of = v->tenant     ? arena_printf(a, "Guest %s", report_name(v, v->tenant))
                   : guests == 0 ? arena_text(a, "This host, on which no KVM guest was found")
                   : guests == 1 ? arena_text(a, "The one guest of this host")
                                 : arena_printf(a, "The %zu guests of this host", guests);

        if (fails)
                return arena_printf(a, "%s: a boundary does not hold, as %zu finding%s show%s.%s", of, fails,
                                    fails == 1 ? "" : "s", fails == 1 ? "s" : "", unknown_sentence(v));
        if (guests == 0)
                return arena_printf(a, "No KVM guest was found on this host.%s", unknown_sentence(v));
        return arena_printf(a, "%s: no boundary that was examined is broken%s.%s%s", of,
                            warns == 0   ? ""
                            : warns == 1 ? ", 1 is weaker than it should be"
                                         : arena_printf(a, ", %zu findings warn of a weak one", warns),
                            separation(v), unknown_sentence(v));
}
