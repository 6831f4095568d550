#include "audit/probes/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

struct row *row_add(struct audit *a, struct row_list *l, char *label)
{
        struct row *r = GROW(a->arena, l);

        r->has = arena_array(a->arena, a->inv.guests.count, sizeof(r->has[0]));
        r->label = label;
        return r;
}

void row_mark(struct row *r, const struct guest *g)
{
        r->count += !r->has[g->index];
        r->has[g->index] = true;
}

static int by_guests(const void *x, const void *y, void *ctx)
{
        const struct row *r = x, *s = y;

        return memcmp(r->has, s->has, *(size_t *)ctx * sizeof(r->has[0]));
}

void rows_merge(struct audit *a, struct row_list *l)
{
        size_t guests = a->inv.guests.count, kept = 0, labels = 0;

        if (l->count < 2)
                return;
        qsort_r(l->items, l->count, sizeof(l->items[0]), by_guests, &guests);
        for (size_t i = 0; i < l->count; i++) {
                struct row *last = kept ? &l->items[kept - 1] : NULL;

                if (!last || by_guests(last, &l->items[i], &guests) != 0) {
                        l->items[kept++] = l->items[i];
                        labels = 1;
                } else if (++labels <= ROW_LABELS_MAX)
                        last->label = arena_printf(a->arena, "%s\n%s", last->label, l->items[i].label);
                else if (labels == ROW_LABELS_MAX + 1)
                        last->label = arena_printf(a->arena, "%s\n...", last->label);
        }
        l->count = kept;
}

void row_concern(struct audit *a, struct finding *f, const struct row *r)
{
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (r->has[i])
                        *GROW(a->arena, &f->guests) = i; /* none is twice: finding_concern() would look */
}

const struct process *members_unread(const struct guest *g, size_t part)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                int error = *(const int *)((const char *)p + part);

                if (error < 0 && (error != -ESRCH || p == g->vmm))
                        return p;
        }
        return NULL;
}
