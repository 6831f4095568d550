/* The terminal's report: a table, worst first. */
#include <string.h>
#include <time.h>

#include "audit/report/report.h"
#include "audit/text.h"

static const char *colour_of(const struct report_view *v, enum verdict verdict)
{
        static const char *const colours[] = {
                [VERDICT_NA] = "\033[2m",      [VERDICT_PASS] = "\033[32m", [VERDICT_WARN] = "\033[33m",
                [VERDICT_UNKNOWN] = "\033[36m", [VERDICT_FAIL] = "\033[31m",
        };

        return v->colour ? colours[verdict] : "";
}

static char *whom(const struct report_view *v, const struct finding *f)
{
        struct arena *a = v->audit->arena;
        char *list = arena_text(a, "");

        if (f->guests.count == 0)
                return arena_text(a, "host");
        for (size_t i = 0; i < f->guests.count; i++) {
                const struct guest *g = v->audit->inv.guests.items[f->guests.items[i]];

                if (i == 3 && f->guests.count > 4)
                        return arena_printf(a, "%s and %zu more", list, f->guests.count - i);
                if (!v->tenant || g == v->tenant)
                        list = arena_printf(a, "%s%s%s", list, *list ? ", " : "", g->name);
        }
        return list;
}

static void evidence_print(const struct report_view *v, const struct finding *f, FILE *to)
{
        for (size_t i = 0; i < f->evidence.count; i++) {
                const struct evidence *e = &f->evidence.items[i];
                char *copy, *line;

                if (!report_may_show(v, e))
                        continue;
                fprintf(to, "         %s\n", e->question);
                copy = arena_text(v->audit->arena, e->excerpt);
                while ((line = text_next_line(&copy)))
                        fprintf(to, "           | %s\n", line);
        }
}

/* Passes are counted, not listed, unless everything is asked for. */
static void finding_print(const struct report_view *v, const struct finding *f, FILE *to)
{
        if (!v->verbose && (f->verdict == VERDICT_PASS || f->verdict == VERDICT_NA))
                return;
        fprintf(to, "%s%-7s%s  %-14s  %s: %s\n", colour_of(v, f->verdict), verdict_names[f->verdict],
                v->colour ? "\033[0m" : "", f->check->id, whom(v, f), report_text(v, f->text));
        if (f->needs)
                fprintf(to, "         needs %s\n", f->needs);
        if (f->verdict >= VERDICT_WARN && f->verdict != VERDICT_UNKNOWN)
                fprintf(to, "         remedy: %s\n", f->check->remedy);
        if (v->verbose)
                evidence_print(v, f, to);
}

void report_print_text(const struct report_view *v, FILE *to)
{
        for (size_t i = 0; i < v->count; i++)
                finding_print(v, v->findings[i], to);
        fprintf(to, "%s%s\nPASS %zu / WARN %zu / FAIL %zu / not determined %zu\n", v->count ? "\n" : "",
                report_sentence(v), v->counts[VERDICT_PASS], v->counts[VERDICT_WARN], v->counts[VERDICT_FAIL],
                v->counts[VERDICT_UNKNOWN]);
}
