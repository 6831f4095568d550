#include "audit/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

static bool concerns(const struct finding *f, const struct guest *g)
{
        for (size_t i = 0; i < f->guests.count; i++)
                if (f->guests.items[i] == g->index)
                        return true;
        return f->guests.count == 0;
}

static int by_weight(const void *a, const void *b)
{
        const struct finding *x = *(struct finding *const *)a, *y = *(struct finding *const *)b;

        if (x->verdict != y->verdict)
                return x->verdict > y->verdict ? -1 : 1;
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
                v.undetermined |= f->verdict == VERDICT_UNKNOWN && f->check->severity >= SEVERITY_HIGH;
        }
        if (v.count > 0)
                qsort(v.findings, v.count, sizeof(v.findings[0]), by_weight);
        *ret = v;
}

char *report_text(const struct report_view *v, const char *text)
{
        struct arena *a = v->audit->arena;
        char *out = arena_text(a, "");

        while (*text) {
                size_t n = strcspn(text, "\001");
                char *end;
                unsigned long index;
                const struct guest *g;

                out = arena_printf(a, "%s%.*s", out, (int)n, text);
                text += n;
                if (*text == '\0')
                        break;
                index = strtoul(text + 1, &end, 10);
                g = index < v->audit->inv.guests.count ? v->audit->inv.guests.items[index] : NULL;
                out = arena_printf(a, "%s%s", out,
                                   !g                              ? "a guest"
                                   : v->tenant && v->tenant != g ? "another guest"
                                                                   : g->name);
                text = *end == '\002' ? end + 1 : end;
        }
        return out;
}

bool report_may_show(const struct report_view *v, const struct evidence *e)
{
        return !v->tenant || e->owner == EVIDENCE_HOST || e->owner == (int)v->tenant->index;
}

char *report_sentence(const struct report_view *v)
{
        struct arena *a = v->audit->arena;
        size_t guests = v->audit->inv.guests.count, fails = v->counts[VERDICT_FAIL],
               unknown = v->counts[VERDICT_UNKNOWN];
        char *of = v->tenant   ? arena_printf(a, "Guest %s", v->tenant->name)
                   : guests == 1 ? arena_text(a, "The one guest of this host")
                                 : arena_printf(a, "The %zu guests of this host", guests);

        if (guests == 0)
                return arena_text(a, "No KVM guest was found on this host.");
        if (fails)
                return arena_printf(a, "%s: %zu finding%s say that a boundary does not hold.", of, fails,
                                    fails == 1 ? "" : "s");
        if (unknown)
                return arena_printf(a, "%s: no boundary was found broken; %zu finding%s could not be determined.", of,
                                    unknown, unknown == 1 ? "" : "s");
        return arena_printf(a, "%s: every boundary that was examined holds.", of);
}
