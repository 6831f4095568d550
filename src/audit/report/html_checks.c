/* Each boundary with its checks: what a check claims, what it found of whom, and the evidence. */
#include <string.h>

#include "audit/report/html.h"
#include "audit/text.h"

const char *html_verdict(enum verdict v)
{
        return v == VERDICT_UNKNOWN ? "NOT DETERMINED" : v == VERDICT_NA ? "NOT APPLICABLE" : verdict_names[v];
}

void html_badge(const struct html *h, enum verdict v)
{
        fprintf(h->to, "<span class=\"badge %s\">%s</span>", verdict_names[v], html_verdict(v));
}

/* Rows of one check, in the order of the page: all its verdicts together, worst first. */
struct check_rows {
        const struct report_row **items;
        size_t count;
        size_t findings[VERDICT_FAIL + 1];
        enum verdict worst;
};

static void check_rows_read(const struct html *h, const struct check *c, struct check_rows *ret)
{
        *ret = (struct check_rows){.items = arena_array(h->view->audit->arena, h->rows.count, sizeof(ret->items[0]))};
        for (size_t i = 0; i < h->rows.count; i++) {
                const struct report_row *row = &h->rows.items[i];

                if (row->check != c)
                        continue;
                ret->items[ret->count++] = row;
                ret->findings[row->verdict] += row->count;
                ret->worst = verdict_worse(ret->worst, row->verdict);
        }
}

void html_check_link(const struct html *h, const char *id)
{
        for (size_t i = 0; i < h->rows.count; i++)
                if (strcmp(h->rows.items[i].check->id, id) == 0) {
                        fprintf(h->to, "<a href=\"#check-%s\">%s</a>", id, id);
                        return;
                }
        html_text(h, id);
}

static void evidence_item(const struct html *h, const struct evidence *e)
{
        html_put(h, "<div class=\"evidence\"><p><code>");
        html_text(h, report_question(h->view, e));
        html_put(h, "</code> <span class=\"time\">");
        html_time(h, e->time_ms);
        html_put(h, "</span></p><pre>");
        html_text(h, report_answer(h->view, e));
        html_put(h, "</pre></div>\n");
}

static void row_evidence(const struct html *h, const struct report_row *row)
{
        size_t shown = row->count > HTML_EVIDENCE_MAX ? HTML_EVIDENCE_FEW : row->count, hidden = 0, items = 0;

        for (size_t i = 0; i < shown; i++)
                for (size_t k = 0; k < row->findings[i]->evidence.count; k++) {
                        const struct evidence *e = &row->findings[i]->evidence.items[k];

                        if (report_may_show(h->view, e)) {
                                evidence_item(h, e);
                                items++;
                        } else
                                hidden++;
                }
        if (shown < row->count) {
                html_put(h, "<p class=\"note\">");
                html_textf(h, "This is the evidence of %zu of %zu findings; bulkhead audit --json prints all of it.",
                           shown, row->count);
                html_put(h, "</p>\n");
        }
        if (hidden)
                html_put(
                        h,
                        "<p class=\"note\">Evidence that names other guests, or none that is known, is the operator's and not "
                        "shown here.</p>\n");
        else if (items == 0)
                html_put(h, "<p class=\"note\">No evidence.</p>\n");
}

static void row_print(const struct html *h, const struct report_row *row)
{
        html_put(h, "<div class=\"finding\"><p>");
        html_badge(h, row->verdict);
        html_put(h, " <b>");
        html_text(h, report_whom(h->view, row, HTML_NAMES_MAX));
        html_put(h, "</b></p><p>");
        html_text(h, row->text);
        html_put(h, "</p>\n");
        if (row->needs) {
                html_put(h, "<p>To determine it takes ");
                html_text(h, row->needs);
                html_put(h, ".</p>\n");
        }
        row_evidence(h, row);
        html_put(h, "</div>\n");
}

static void term(const struct html *h, const char *name, const char *text)
{
        if (!text || !*text)
                return;
        html_put(h, "<dt>");
        html_text(h, name);
        html_put(h, "</dt><dd>");
        html_text(h, text);
        html_put(h, "</dd>");
}

static void check_summary(const struct html *h, const struct check *c, const struct check_rows *rows)
{
        html_put(h, "<summary>");
        html_badge(h, rows->worst);
        html_put(h, " <span class=\"id\">");
        html_text(h, c->id);
        html_put(h, "</span> <span class=\"claim\">");
        html_text(h, c->claim);
        html_put(h, "</span> <span class=\"tally\">");
        for (int v = VERDICT_FAIL, n = 0; v >= VERDICT_NA; v--)
                if (rows->findings[v])
                        html_textf(h, "%s%zu %s", n++ ? ", " : "", rows->findings[v], html_verdict((enum verdict)v));
        html_put(h, "</span></summary>\n");
}

static void check_print(const struct html *h, const struct check *c, const struct check_rows *rows)
{
        bool bad = rows->findings[VERDICT_FAIL] + rows->findings[VERDICT_WARN] > 0;

        html_put(h, "<details class=\"check\">");
        check_summary(h, c, rows);
        fprintf(h->to, "<div class=\"body\" id=\"check-%s\">\n<dl class=\"about\">", c->id);
        term(h, "A pass means", c->claim);
        term(h, "Examined", c->examined);
        term(h, "Rule", c->rule);
        term(h, "Severity", severity_names[c->severity]);
        term(h, "Source", c->source);
        term(h, bad ? "Remedy" : "If it did not hold", c->remedy);
        html_put(h, "</dl>\n");
        for (size_t i = 0; i < rows->count; i++)
                row_print(h, rows->items[i]);
        html_put(h, "</div></details>\n");
}

static size_t findings_of(const struct html *h, int boundary, size_t counts[VERDICT_FAIL + 1])
{
        size_t n = 0;

        memset(counts, 0, (VERDICT_FAIL + 1) * sizeof(counts[0]));
        for (size_t i = 0; i < h->rows.count; i++)
                if ((int)h->rows.items[i].boundary == boundary) {
                        counts[h->rows.items[i].verdict] += h->rows.items[i].count;
                        n += h->rows.items[i].count;
                }
        return n;
}

static void boundary_print(const struct html *h, int boundary)
{
        size_t counts[VERDICT_FAIL + 1];

        if (findings_of(h, boundary, counts) == 0)
                return;
        html_put(h, "<section class=\"boundary\"><h3>");
        html_text(h, boundary_names[boundary]);
        html_put(h, "</h3><p class=\"tally\">");
        for (int v = VERDICT_FAIL, n = 0; v >= VERDICT_NA; v--)
                if (counts[v])
                        html_textf(h, "%s%zu %s", n++ ? " · " : "", counts[v], html_verdict((enum verdict)v));
        html_put(h, "</p>\n");
        for (const struct check *c = check_tables[boundary]; c->id; c++) {
                struct check_rows rows;

                check_rows_read(h, c, &rows);
                if (rows.count)
                        check_print(h, c, &rows);
        }
        html_put(h, "</section>\n");
}

void html_checks(const struct html *h)
{
        for (int b = 0; b < BOUNDARY_COUNT; b++)
                boundary_print(h, b);
}
