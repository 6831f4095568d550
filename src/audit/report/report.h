/*
 * An audit for its readers. What all reports share: findings in order, guests by name or, for one tenant, without any name
 * but the tenant's.
 */
#pragma once

#include <stdio.h>

#include "audit/audit.h"

struct report_view {
        const struct audit *audit;
        const struct guest *tenant; /* NULL: the operator's view of everything */
        bool verbose;
        bool colour;
        struct finding **findings; /* that this view shows, worst first: verdict, severity, check order */
        size_t count;
        size_t counts[VERDICT_FAIL + 1];
        bool failed;       /* a FAIL is among them */
        bool undetermined; /* an UNKNOWN of severity high or critical is among them */
};

/* Selects and orders. tenant: only findings about the host or this guest. */
void report_view_make(struct audit *a, const struct guest *tenant, struct report_view *ret);

/* The text of a finding with its markers replaced: the guest's name, or "another guest" where the tenant must not know it.
 * Printable; in the arena. */
char *report_text(const struct report_view *v, const char *text);

/* True when the view's reader may see this evidence. */
bool report_may_show(const struct report_view *v, const struct evidence *e);

/* The verdict in one sentence. */
char *report_sentence(const struct report_view *v);

#define REPORT_JSON_VERSION 1

/* Returns 0 or a negative errno. */
int report_print_json(const struct report_view *v, FILE *to, struct err *e);

void report_print_text(const struct report_view *v, FILE *to);
