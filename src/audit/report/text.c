/* The terminal's report: a table, worst first; then what passed, what was not determined, and the verdict. */
#include <string.h>

#include "audit/report/report.h"
#include "audit/text.h"

#define WIDTH_MIN     80
#define WIDTH_MAX     160 /* longer lines are hard to read */
#define WIDTH_NEITHER 100 /* no terminal */
#define NAMES_MAX     3   /* guests of a row that are named */
#define VERDICT_WIDTH 7

struct page {
        const struct report_view *view;
        struct report_row_list rows;
        FILE *to;
        unsigned int width, ids; /* columns: of the page, of the longest id */
};

static const char *colour_of(const struct report_view *v, enum verdict verdict)
{
        static const char *const colours[] = {
                [VERDICT_NA] = "\033[2m",       [VERDICT_PASS] = "\033[32m", [VERDICT_WARN] = "\033[33m",
                [VERDICT_UNKNOWN] = "\033[36m", [VERDICT_FAIL] = "\033[31m",
        };

        return v->colour ? colours[verdict] : "";
}

/* One line of at most `columns` columns from the start of text, cut between words where it can be. */
static size_t line_length(const char *text, unsigned int columns)
{
        size_t end = text_fitting(text, columns), cut = end;

        if (text[end] == '\0' || text[end] == ' ')
                return end;
        while (cut > 0 && text[cut - 1] != ' ')
                cut--;
        while (cut > 0 && text[cut - 1] == ' ')
                cut--;
        return cut > 0 ? cut : end;
}

/* Prints text from column `indent` on, where the cursor is, and its further lines below each other. */
static void wrapped(const struct page *p, unsigned int indent, const char *text)
{
        for (bool first = true; first || *text; first = false) {
                size_t n = line_length(text, p->width - indent);

                fprintf(p->to, "%*s%.*s\n", first ? 0 : (int)indent, "", (int)n, text);
                text += n;
                text += strspn(text, " ");
        }
}

static unsigned int sentence_column(const struct page *p)
{
        return VERDICT_WIDTH + 2 + p->ids + 2;
}

static void paragraph(const struct page *p, const char *label, const char *text)
{
        fprintf(p->to, "%*s", (int)sentence_column(p), "");
        wrapped(p, sentence_column(p), label ? arena_printf(p->view->audit->arena, "%s: %s", label, text) : text);
}

static void evidence_print(const struct page *p, const struct finding *f)
{
        int indent = (int)sentence_column(p);

        for (size_t i = 0; i < f->evidence.count; i++) {
                const struct evidence *e = &f->evidence.items[i];
                char *answer, *line;

                if (!report_may_show(p->view, e))
                        continue;
                fprintf(p->to, "%*s$ %s\n", indent, "", report_question(p->view, e));
                answer = report_answer(p->view, e);
                while ((line = text_next_line(&answer)))
                        fprintf(p->to, "%*s| %s\n", indent, "", line);
        }
}

static void row_print(const struct page *p, const struct report_row *row)
{
        const struct report_view *v = p->view;

        fprintf(p->to, "%s%-*s%s  %-*s  ", colour_of(v, row->verdict), VERDICT_WIDTH, verdict_names[row->verdict],
                v->colour ? "\033[0m" : "", (int)p->ids, row->check->id);
        wrapped(p, sentence_column(p), report_whom(v, row, NAMES_MAX));
        if (!row->needs || strcmp(row->text, "It could not be determined.") != 0)
                paragraph(p, NULL, row->text);
        if (row->needs)
                paragraph(p, "needs", row->needs);
        if (v->verbose)
                for (size_t i = 0; i < row->count; i++)
                        evidence_print(p, row->findings[i]);
}

/* What makes a row be listed when not everything is asked for. */
static bool listed(const struct report_row *row)
{
        return row->verdict == VERDICT_FAIL || row->verdict == VERDICT_WARN ||
               (row->verdict == VERDICT_UNKNOWN && row->check->severity >= SEVERITY_HIGH);
}

static bool remedied_before(const struct page *p, size_t row)
{
        for (size_t i = 0; i < row; i++)
                if (p->rows.items[i].check == p->rows.items[row].check && p->rows.items[i].verdict >= VERDICT_WARN &&
                    p->rows.items[i].verdict != VERDICT_UNKNOWN)
                        return true;
        return false;
}

static void rows_print(const struct page *p)
{
        for (size_t i = 0; i < p->rows.count; i++) {
                const struct report_row *row = &p->rows.items[i];
                bool last = i + 1 == p->rows.count || row[1].check != row->check || row[1].verdict != row->verdict;
                size_t start = i;

                if (!p->view->verbose && !listed(row))
                        continue;
                row_print(p, row);
                while (start > 0 && p->rows.items[start - 1].check == row->check &&
                       p->rows.items[start - 1].verdict == row->verdict)
                        start--;
                if (last && (row->verdict == VERDICT_FAIL || row->verdict == VERDICT_WARN) &&
                    !remedied_before(p, start))
                        paragraph(p, "remedy", row->check->remedy);
                fputc('\n', p->to);
        }
}

static void boundaries_print(const struct page *p)
{
        size_t counts[BOUNDARY_COUNT][VERDICT_FAIL + 1] = {0};

        for (size_t i = 0; i < p->view->count; i++)
                counts[p->view->findings[i]->boundary][p->view->findings[i]->verdict]++;
        fprintf(p->to, "%-28s%8s%8s%8s%16s%16s\n", "Boundary", "PASS", "WARN", "FAIL", "not determined",
                "not applicable");
        for (int b = 0; b < BOUNDARY_COUNT; b++) {
                const size_t *n = counts[b];

                if (n[VERDICT_PASS] + n[VERDICT_WARN] + n[VERDICT_FAIL] + n[VERDICT_UNKNOWN] + n[VERDICT_NA] > 0)
                        fprintf(p->to, "%-28s%8zu%8zu%8zu%16zu%16zu\n", boundary_names[b], n[VERDICT_PASS],
                                n[VERDICT_WARN], n[VERDICT_FAIL], n[VERDICT_UNKNOWN], n[VERDICT_NA]);
        }
        fputc('\n', p->to);
}

/* "MEM-PFN, SYS-POLICY (12 guests)" */
static char *need_checks(const struct page *p, const struct report_need *need)
{
        struct arena *a = p->view->audit->arena;
        struct text_buffer b = {0};

        for (size_t i = 0; i < need->count; i++) {
                const struct report_row *row = need->rows[i];

                if (i > 0 && need->rows[i - 1]->check == row->check)
                        continue;
                text_appendf(a, &b, "%s%s", b.count ? ", " : "", row->check->id);
                if (row->guest_count > 1)
                        text_appendf(a, &b, " (%zu guests)", row->guest_count);
        }
        return b.items;
}

static void needs_print(const struct page *p)
{
        struct report_need_list needs;

        report_needs_make(p->view, &p->rows, &needs);
        for (size_t i = 0; i < needs.count; i++) {
                const char *label = i ? "" : "Not determined, for want of";

                if (*label)
                        fprintf(p->to, "%s\n", label);
                fputs("  ", p->to);
                wrapped(p, 4,
                        arena_printf(p->view->audit->arena, "%s: %s", needs.items[i].needs,
                                     need_checks(p, &needs.items[i])));
        }
        if (needs.count)
                fputc('\n', p->to);
}

static void closest_print(const struct page *p)
{
        const struct report_view *v = p->view;
        const struct guest_list *guests = &v->audit->inv.guests;
        unsigned int bits;
        size_t x, y;

        if (!report_closest(v, &x, &y))
                return;
        bits = pair_layers(v->audit, x, y);
        wrapped(p, 2,
                arena_printf(v->audit->arena, "Fewest layers between %s: %d (%s), for %s and %s.",
                             v->tenant ? "this guest and another" : "two guests", __builtin_popcount(bits),
                             report_layer_list(v, bits), report_name(v, guests->items[x]),
                             report_name(v, guests->items[y])));
}

void report_print_text(const struct report_view *v, FILE *to)
{
        struct page p = {.view = v, .to = to, .width = v->width ? v->width : WIDTH_NEITHER};

        p.width = p.width < WIDTH_MIN ? WIDTH_MIN : p.width > WIDTH_MAX ? WIDTH_MAX : p.width;
        report_rows_make(v, &p.rows);
        for (size_t i = 0; i < p.rows.count; i++)
                if (strlen(p.rows.items[i].check->id) > p.ids)
                        p.ids = (unsigned int)strlen(p.rows.items[i].check->id);
        rows_print(&p);
        if (v->count > 0)
                boundaries_print(&p);
        needs_print(&p);
        closest_print(&p);
        fprintf(to, "PASS %zu / WARN %zu / FAIL %zu / not determined %zu\n", v->counts[VERDICT_PASS],
                v->counts[VERDICT_WARN], v->counts[VERDICT_FAIL], v->counts[VERDICT_UNKNOWN]);
        wrapped(&p, 0, report_sentence(v));
}
