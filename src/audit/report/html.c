/* The page as a whole. */
#include <string.h>

#include "audit/report/html.h"
#include "audit/text.h"

static void tile(const struct html *h, enum verdict v, const char *means)
{
        size_t n = h->view->counts[v];

        fprintf(h->to, "<li class=\"tile %s\"><b>%zu</b> %s <span>%s</span></li>", n ? verdict_names[v] : "zero", n,
                html_verdict(v), means);
}

/* When the facts were gathered. */
static void when(const struct html *h)
{
        int64_t first = 0, last = 0;

        for (size_t i = 0; i < h->view->count; i++)
                for (size_t k = 0; k < h->view->findings[i]->evidence.count; k++) {
                        int64_t t = h->view->findings[i]->evidence.items[k].time_ms;

                        first = first == 0 || t < first ? t : first;
                        last = t > last ? t : last;
                }
        if (last == 0)
                return;
        html_put(h, "Examined on ");
        html_time(h, last);
        html_textf(h, " within %lld ms, ", (long long)last - (long long)first + 1);
}

static void verdict(const struct html *h)
{
        const struct host *host = &h->view->audit->host;
        const char *look = h->view->failed                 ? "FAIL"
                           : h->view->undetermined         ? "UNKNOWN"
                           : h->view->counts[VERDICT_WARN] ? "WARN"
                                                           : "PASS";

        fprintf(h->to, "<p class=\"verdict %s\">", look);
        html_text(h, report_sentence(h->view));
        html_put(h, "</p>\n<ul class=\"tiles\">");
        tile(h, VERDICT_FAIL, "a boundary does not hold");
        tile(h, VERDICT_WARN, "weaker than it should be");
        tile(h, VERDICT_UNKNOWN, "counts as no pass");
        tile(h, VERDICT_PASS, "examined and holds");
        tile(h, VERDICT_NA, "nothing to examine");
        html_put(h, "</ul>\n<p class=\"note\">");
        when(h);
        html_textf(h, "by uid %u with capabilities 0x%llx. System-call filters were %s.", host->euid,
                   (unsigned long long)host->caps, host->deep ? "read" : "not read; --deep reads them");
        html_put(h, "</p>\n");
}

static void head(const struct html *h)
{
        html_put(h, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Isolation of ");
        if (h->view->tenant)
                html_textf(h, "guest %s", report_name(h->view, h->view->tenant));
        else
                html_text(h, "the guests of this host");
        html_put(h, "</title>\n<style>\n");
        html_put(h, html_style);
        html_put(h, "</style>\n</head>\n<body>\n<header>\n<p class=\"kicker\">bulkhead audit");
        if (h->view->tenant)
                html_textf(h, " for guest %s", report_name(h->view, h->view->tenant));
        html_put(
                h,
                "</p>\n<h1>How can I be sure that my virtual server is isolated from its neighbour on the same host?</h1>\n");
        verdict(h);
        html_put(h, "<nav aria-label=\"Sections\"><a href=\"#host\">The host</a> <a href=\"#pairs\">Between guests</a> "
                    "<a href=\"#checks\">Boundaries and evidence</a> <a href=\"#unknown\">Not determined</a> "
                    "<a href=\"#reading\">How to read this</a></nav>\n</header>\n<main>\n");
}

static void needs(const struct html *h)
{
        struct report_need_list list;

        report_needs_make(h->view, &h->rows, &list);
        if (list.count == 0)
                html_put(h, "<p>Every check that this audit knows came to a verdict.</p>\n");
        for (size_t i = 0; i < list.count; i++) {
                html_put(h, "<h3>For want of ");
                html_text(h, list.items[i].needs);
                html_put(h, "</h3>\n<ul class=\"plain\">");
                for (size_t k = 0; k < list.items[i].count; k++) {
                        const struct report_row *row = list.items[i].rows[k];

                        html_put(h, "<li>");
                        html_check_link(h, row->check->id);
                        html_put(h, " ");
                        html_textf(h, "(severity %s; %s): %s", severity_names[row->check->severity],
                                   report_whom(h->view, row, HTML_NAMES_MAX), row->text);
                        html_put(h, "</li>\n");
                }
                html_put(h, "</ul>\n");
        }
}

static void reading(const struct html *h)
{
        html_put(
                h,
                "<p>Each line of this page rests on evidence: the question that was put to the host's kernel, its raw answer, and "
                "the time. The rule that turns the answer into a verdict stands beside it, so that anybody with the same "
                "access can ask again and judge for himself.</p>\n<dl class=\"about\">"
                "<dt>PASS</dt><dd>What the check claims was looked at, for every process and thread it is about, and holds.</dd>"
                "<dt>WARN</dt><dd>Weaker than it should be, or one layer is missing where at least three others hold.</dd>"
                "<dt>FAIL</dt><dd>The boundary does not hold as claimed.</dd>"
                "<dt>NOT DETERMINED</dt><dd>The host did not answer, or not to this auditor. It counts as no pass.</dd>"
                "<dt>NOT APPLICABLE</dt><dd>There is nothing on this host that the check could be about.</dd>"
                "<dt>Layer</dt><dd>One means that keeps two guests apart even when their monitors are taken over: another uid, a "
                "label, a namespace, a control group, a filter of system calls. Each is counted only where both guests have "
                "it and the two differ.</dd></dl>\n"
                "<h3>What is not claimed</h3>\n<ul class=\"plain\">"
                "<li>That the host or a guest is secure. The page tells what was examined, with what privilege, and what was "
                "found at that time; it may be otherwise a minute later.</li>"
                "<li>That there is no side channel. Guests share processors, caches and memory; only the known switches that "
                "narrow such channels are examined.</li>"
                "<li>That the kernel, the firmware or the processor is free of faults, known or unknown.</li>"
                "<li>That data is erased when a guest is gone, or that no operator looks into a guest.</li>"
                "<li>Anything about machines that are emulated without KVM, or about a host below this one where it is itself "
                "a virtual machine.</li>"
                "<li>That a guest's name is true: names are what the processes claim of themselves.</li></ul>\n");
}

void report_print_html(const struct report_view *v, FILE *to)
{
        struct html h = {.view = v, .to = to};

        report_rows_make(v, &h.rows);
        html_sides_make(&h);
        head(&h);
        html_put(&h, "<section id=\"host\"><h2>The host</h2>\n");
        html_host(&h);
        html_put(&h, "</section>\n<section id=\"pairs\"><h2>What separates each pair of guests</h2>\n");
        html_matrix(&h);
        html_pairs(&h);
        html_put(&h, "</section>\n<section id=\"checks\"><h2>Boundaries and evidence</h2>\n");
        html_checks(&h);
        html_put(&h, "</section>\n<section id=\"unknown\"><h2>What could not be determined, and why</h2>\n");
        needs(&h);
        html_put(&h, "</section>\n<section id=\"reading\"><h2>How to read this</h2>\n");
        reading(&h);
        html_put(&h, "</section>\n</main>\n</body>\n</html>\n");
}
