/*
 * The page for customers and auditors: one file that needs no script and nothing from elsewhere. Its parts, and what
 * they share. Markup is written by fputs(3) of constants only; everything else goes through html_text(), which quotes
 * it.
 */
#pragma once

#include "audit/report/report.h"

#define HTML_SIDES_MAX \
        24 /* rows of the matrix: more guests are shown as classes, of more classes those closest to another */
#define HTML_NAMES_MAX    40 /* guests of a finding that are named */
#define HTML_EVIDENCE_MAX 24 /* findings of a row whose evidence is on the page: for more of them ... */
#define HTML_EVIDENCE_FEW 3  /* ... only that many, the JSON report has all */

/* One side of a pair in the matrix: a guest, a class of guests, or for a tenant "every other guest". */
struct html_side {
        char *label;
        size_t *guests;
        size_t count;
        bool unnamed; /* other guests, in a tenant's report */
};

struct html {
        const struct report_view *view;
        FILE *to;
        struct report_row_list rows;
        struct html_side *sides;
        size_t side_count;
        bool classes;                /* sides are classes */
        size_t left_out;             /* classes that are no side */
        unsigned int left_out_least; /* layers between them and any other */
};

/* Fills sides. */
void html_sides_make(struct html *h);

/* Layers between every guest of one side and every one of another (or the same): the fewest. */
unsigned int html_layers(const struct html *h, size_t side1, size_t side2);

void html_put(const struct html *h, const char *markup);
void html_text(const struct html *h, const char *text);
void html_textf(const struct html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void html_number(const struct html *h, size_t n);
void html_time(const struct html *h, int64_t time_ms);
void html_badge(const struct html *h, enum verdict v);
const char *html_verdict(enum verdict v); /* "NOT DETERMINED" */

/* "<a href="#check-ID">ID</a>", or ID where the page has no such check. */
void html_check_link(const struct html *h, const char *id);

void html_host(const struct html *h);
void html_matrix(const struct html *h);
void html_pairs(const struct html *h);
void html_checks(const struct html *h);

extern const char html_style[];
