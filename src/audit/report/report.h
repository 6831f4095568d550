/*
 * An audit for its readers. What all reports share: findings in order, guests by name or, for one tenant, without any
 * name but the tenant's. Whatever leaves here is valid UTF-8 without control characters, even where a check was
 * careless.
 */
#pragma once

#include <stdio.h>

#include "audit/audit.h"

/* How pressing a finding is: the order of every report. */
enum report_rank { RANK_NA, RANK_PASS, RANK_UNDETERMINED, RANK_WARN, RANK_UNDETERMINED_HIGH, RANK_FAIL };

struct report_view {
        const struct audit *audit;
        const struct guest *tenant; /* NULL: the operator's view of everything */
        bool verbose;
        bool colour;
        unsigned int width;        /* columns of the terminal; 0: not known */
        struct finding **findings; /* that this view shows, worst first: rank, severity, check order */
        size_t count;
        size_t counts[VERDICT_FAIL + 1];
        bool failed;       /* a FAIL is among them */
        bool undetermined; /* an UNKNOWN of severity high or critical is among them */
};

/* Selects and orders. tenant: only findings about the host or this guest. */
void report_view_make(struct audit *a, const struct guest *tenant, struct report_view *ret);

enum report_rank report_rank(const struct finding *f);

/* The name of a guest; "another guest" where the view's reader must not know it. In the arena. */
const char *report_name(const struct report_view *v, const struct guest *g);

/* The text of a finding with its markers replaced by report_name(). In the arena. */
char *report_text(const struct report_view *v, const char *text);

/* The same, with "each guest" for that guest (its index). */
char *report_text_each(const struct report_view *v, const char *text, size_t guest);

/* True when the view's reader may see this evidence. */
bool report_may_show(const struct report_view *v, const struct evidence *e);

/* Texts of evidence, harmless. */
char *report_question(const struct report_view *v, const struct evidence *e);
char *report_answer(const struct report_view *v, const struct evidence *e);

/* The verdict in one sentence. */
char *report_sentence(const struct report_view *v);

/* ---- rows: findings of one check that say the same, but for the guest ---- */

struct report_row {
        const struct check *check;
        enum boundary boundary;
        enum verdict verdict;
        char *text;
        const char *needs;         /* NULL: none */
        struct finding **findings; /* one or more */
        size_t count;
        size_t *guests; /* whom it concerns, as far as the view's reader may know them; none: the host */
        size_t guest_count;
        size_t others; /* for a tenant: how many other guests it concerns */
        size_t place;  /* of the first finding in the view */
};

struct report_row_list {
        struct report_row *items;
        size_t count, room;
};

void report_rows_make(const struct report_view *v, struct report_row_list *ret);

/* "host", "alpha", "12 guests: web1, web2, web3 and 9 more". names: how many are named before the rest is counted. */
char *report_whom(const struct report_view *v, const struct report_row *row, size_t names);

/* What was not determined, by what it needs. */
struct report_need {
        const char *needs;
        struct report_row **rows;
        size_t count;
};

struct report_need_list {
        struct report_need *items;
        size_t count, room;
};

void report_needs_make(const struct report_view *v, const struct report_row_list *rows, struct report_need_list *ret);

/* ---- layers ---- */

enum layer_state { LAYER_NONE, LAYER_UNREAD, LAYER_SHARED, LAYER_OWN };

/* Whether a guest has a compartment of its own in that layer. *ret_others: with how many others it is shared. */
enum layer_state report_layer(const struct report_view *v, size_t guest, enum layer layer, size_t *ret_others);

/* The check that examines a layer. */
const char *report_layer_check(enum layer layer);

/* The pair that the fewest layers separate. False when there are fewer than two guests (for a tenant: no other). */
bool report_closest(const struct report_view *v, size_t *ret_guest1, size_t *ret_guest2);

/* "uid, PID namespace"; "none". */
char *report_layer_list(const struct report_view *v, unsigned int bits);

/* ---- the reports ---- */

#define REPORT_JSON_VERSION 1

/* Returns 0 or a negative errno. */
int report_print_json(const struct report_view *v, FILE *to, struct err *e);

void report_print_text(const struct report_view *v, FILE *to);

void report_print_html(const struct report_view *v, FILE *to);

/*
 * Writes the page to a file that appears whole or not at all, mode 0600, or for a tenant 0644, without the umask. What
 * is there already is replaced when it is a regular file; a symbolic link or a device is refused. Returns 0 or a
 * negative errno.
 */
int report_write_html(const struct report_view *v, const char *path, struct err *e);

/*
 * The same in two steps for a caller who gives up the right to replace a file in between: the page is written where the
 * old one was, and appears by and by. The first returns a descriptor, which the second takes over.
 */
int report_open_html(const char *path, bool tenant, struct err *e);
int report_fill_html(const struct report_view *v, int fd, const char *path, struct err *e);
