/*
 * Which guests have a thing in common, for things that are few (cores, cgroups): a row per thing, a mark per guest.
 * Rows with the same guests become one, so that there is one finding per group.
 */
#pragma once

#include "audit/audit.h"

struct row {
        bool *has;    /* [guest] */
        size_t count; /* guests marked */
        char *label;  /* what they have in common; may name things of guests */
};

struct row_list {
        struct row *items;
        size_t count, room;
};

/* A new row without marks. The pointer is good until the next one. */
struct row *row_add(struct audit *a, struct row_list *l, char *label);

void row_mark(struct row *r, const struct guest *g);

/* Sorts, and merges rows with the same guests; their labels are joined, the first ROW_LABELS_MAX of them. */
#define ROW_LABELS_MAX 16
void rows_merge(struct audit *a, struct row_list *l);

/* Makes every guest of the row a concern of f. */
void row_concern(struct audit *a, struct finding *f, const struct row *r);

/*
 * The first process of the guest whose part (threads_error, fds_error, ...) could not be read, or NULL: what is bad in
 * the others is told first. A helper that has ended (-ESRCH) is none any more; when the monitor has, it is that.
 */
#define MEMBERS_UNREAD(g, part) members_unread((g), offsetof(struct process, part))
const struct process *members_unread(const struct guest *g, size_t part);
