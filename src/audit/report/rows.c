/* What says the same of several guests is said once. */
#include <stdlib.h>
#include <string.h>

#include "audit/report/report.h"
#include "audit/text.h"

/* A finding on its way into a row. */
struct entry {
        struct finding *finding;
        char *text;   /* by which findings are the same */
        size_t place; /* in the view */
};

static int text_order(const char *x, const char *y)
{
        return strcmp(x ? x : "", y ? y : "");
}

static int by_text(const void *a, const void *b)
{
        const struct entry *x = a, *y = b;
        int order = text_order(x->text, y->text);

        if (order == 0)
                order = text_order(x->finding->needs, y->finding->needs);
        return order ? order : (x->place > y->place) - (x->place < y->place);
}

static bool same(const struct entry *x, const struct entry *y)
{
        return text_order(x->text, y->text) == 0 && text_order(x->finding->needs, y->finding->needs) == 0 &&
               x->finding->guests.count == 1 && y->finding->guests.count == 1;
}

static void whom_collect(const struct report_view *v, struct report_row *row)
{
        size_t most = 0;

        for (size_t i = 0; i < row->count; i++)
                most += row->findings[i]->guests.count;
        row->guests = arena_array(v->audit->arena, most, sizeof(row->guests[0]));
        for (size_t i = 0; i < row->count; i++)
                for (size_t k = 0; k < row->findings[i]->guests.count; k++) {
                        size_t g = row->findings[i]->guests.items[k];

                        if (v->tenant && v->tenant->index != g)
                                row->others++;
                        else
                                row->guests[row->guest_count++] = g;
                }
}

static void row_add(const struct report_view *v, const struct entry *entries, size_t count,
                    struct report_row_list *list)
{
        struct report_row *row = GROW(v->audit->arena, list);
        const struct finding *f = entries[0].finding;

        *row = (struct report_row){.check = f->check,
                                   .boundary = f->boundary,
                                   .verdict = f->verdict,
                                   .count = count,
                                   .place = entries[0].place};
        row->needs = f->needs ? text_harmless(v->audit->arena, f->needs, strlen(f->needs), false) : NULL;
        row->text = count > 1 ? entries[0].text : report_text(v, f->text);
        row->findings = arena_array(v->audit->arena, count, sizeof(row->findings[0]));
        for (size_t i = 0; i < count; i++)
                row->findings[i] = entries[i].finding;
        whom_collect(v, row);
}

static int by_place(const void *a, const void *b)
{
        const struct report_row *x = a, *y = b;

        return (x->place > y->place) - (x->place < y->place);
}

/* Findings of one check and verdict, in the view's order. */
static void run_add(const struct report_view *v, size_t start, size_t end, struct report_row_list *list)
{
        struct entry *entries = arena_array(v->audit->arena, end - start, sizeof(*entries));
        size_t first_row = list->count, next;

        for (size_t i = start; i < end; i++) {
                struct finding *f = v->findings[i];

                entries[i - start] = (struct entry){
                        .finding = f,
                        .text = f->guests.count == 1 ? report_text_each(v, f->text, f->guests.items[0])
                                                     : report_text(v, f->text),
                        .place = i,
                };
        }
        qsort(entries, end - start, sizeof(*entries), by_text);
        for (size_t i = 0; i < end - start; i = next) {
                for (next = i + 1; next < end - start && same(&entries[i], &entries[next]);)
                        next++;
                row_add(v, entries + i, next - i, list);
        }
        qsort(list->items + first_row, list->count - first_row, sizeof(list->items[0]), by_place);
}

void report_rows_make(const struct report_view *v, struct report_row_list *ret)
{
        size_t end;

        *ret = (struct report_row_list){0};
        for (size_t start = 0; start < v->count; start = end) {
                for (end = start + 1; end < v->count && v->findings[end]->check == v->findings[start]->check &&
                                      v->findings[end]->verdict == v->findings[start]->verdict;)
                        end++;
                run_add(v, start, end, ret);
        }
}

char *report_whom(const struct report_view *v, const struct report_row *row, size_t names)
{
        struct arena *a = v->audit->arena;
        const struct guest_list *guests = &v->audit->inv.guests;
        struct text_buffer b = {0};

        if (row->guest_count + row->others == 0)
                return arena_text(a, "host");
        if (row->guest_count > 1)
                text_appendf(a, &b, "%zu guests: ", row->guest_count);
        for (size_t i = 0; i < row->guest_count; i++) {
                if (i == names && row->guest_count > names + 1) {
                        text_appendf(a, &b, " and %zu more", row->guest_count - i);
                        break;
                }
                text_appendf(a, &b, "%s%s", i ? ", " : "", report_name(v, guests->items[row->guests[i]]));
        }
        if (row->others)
                text_appendf(a, &b, "%s%zu other guest%s", row->guest_count ? " and " : "", row->others,
                             row->others == 1 ? "" : "s");
        return b.items;
}

static const char *need_of(const struct report_row *row)
{
        return row->needs ? row->needs : "facts that this host does not give";
}

void report_needs_make(const struct report_view *v, const struct report_row_list *rows, struct report_need_list *ret)
{
        struct arena *a = v->audit->arena;

        *ret = (struct report_need_list){0};
        for (size_t i = 0; i < rows->count; i++) {
                struct report_need *need = NULL;

                if (rows->items[i].verdict != VERDICT_UNKNOWN)
                        continue;
                for (size_t k = 0; k < ret->count && !need; k++)
                        if (strcmp(ret->items[k].needs, need_of(&rows->items[i])) == 0)
                                need = &ret->items[k];
                if (!need) {
                        need = GROW(a, ret);
                        need->needs = need_of(&rows->items[i]);
                        need->rows = arena_array(a, rows->count, sizeof(need->rows[0]));
                }
                need->rows[need->count++] = &rows->items[i];
        }
}
