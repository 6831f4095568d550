/* What separates every pair: the matrix, and a section for each of its cells. */
#include <stdlib.h>
#include <string.h>

#include "audit/report/html.h"
#include "audit/text.h"

static struct html_side *side_add(struct html *h, char *label)
{
        struct html_side *s = &h->sides[h->side_count++];

        s->label = label;
        s->guests = arena_array(h->view->audit->arena, h->view->audit->inv.guests.count, sizeof(s->guests[0]));
        return s;
}

static void sides_of_tenant(struct html *h)
{
        const struct report_view *v = h->view;
        struct html_side *own = side_add(h, arena_text(v->audit->arena, report_name(v, v->tenant))), *others;

        own->guests[own->count++] = v->tenant->index;
        if (v->audit->inv.guests.count < 2)
                return;
        others = side_add(h, arena_text(v->audit->arena, "every other guest"));
        others->unnamed = true;
        for (size_t i = 0; i < v->audit->inv.guests.count; i++)
                if (i != v->tenant->index)
                        others->guests[others->count++] = i;
}

struct ranked_class {
        size_t index;
        unsigned int least; /* layers to the closest other guest */
};

static int by_least(const void *a, const void *b)
{
        const struct ranked_class *x = a, *y = b;

        if (x->least != y->least)
                return x->least < y->least ? -1 : 1;
        return (x->index > y->index) - (x->index < y->index);
}

/* Other than `but`, of the class; the class has one. */
static size_t member_of(const struct pair_model *m, size_t class, size_t but)
{
        size_t i = m->classes.items[class].first;

        while (i == but || m->class_of[i] != class)
                i++;
        return i;
}

static unsigned int count_bits(unsigned int bits)
{
        return (unsigned int)__builtin_popcount(bits);
}

static struct ranked_class *classes_ranked(const struct audit *a)
{
        const struct pair_model *m = &a->pairs;
        struct ranked_class *ranked = arena_array(a->arena, m->classes.count, sizeof(*ranked));

        for (size_t i = 0; i < m->classes.count; i++) {
                size_t first = m->classes.items[i].first;

                ranked[i] = (struct ranked_class){i, LAYER_COUNT};
                for (size_t k = 0; k < m->classes.count; k++)
                        if (k != i || m->classes.items[i].count > 1) {
                                unsigned int n = count_bits(pair_layers(a, first, member_of(m, k, first)));

                                ranked[i].least = n < ranked[i].least ? n : ranked[i].least;
                        }
        }
        qsort(ranked, m->classes.count, sizeof(*ranked), by_least);
        return ranked;
}

static void sides_of_classes(struct html *h)
{
        const struct audit *a = h->view->audit;
        const struct pair_model *m = &a->pairs;
        struct ranked_class *ranked = classes_ranked(a);

        h->classes = true;
        for (size_t i = 0; i < m->classes.count && i < HTML_SIDES_MAX; i++) {
                const struct pair_class *c = &m->classes.items[ranked[i].index];
                const char *name = report_name(h->view, a->inv.guests.items[c->first]);
                struct html_side *s =
                        side_add(h, c->count > 1 ? arena_printf(a->arena, "%zu guests like %s", c->count, name)
                                                 : arena_text(a->arena, name));

                for (size_t g = 0; g < a->inv.guests.count; g++)
                        if (m->class_of[g] == ranked[i].index)
                                s->guests[s->count++] = g;
        }
        if (m->classes.count > HTML_SIDES_MAX) {
                h->left_out = m->classes.count - HTML_SIDES_MAX;
                h->left_out_least = ranked[HTML_SIDES_MAX].least;
        }
}

void html_sides_make(struct html *h)
{
        const struct audit *a = h->view->audit;

        h->sides = arena_array(a->arena, HTML_SIDES_MAX, sizeof(h->sides[0]));
        if (h->view->tenant)
                sides_of_tenant(h);
        else if (a->inv.guests.count > HTML_SIDES_MAX)
                sides_of_classes(h);
        else
                for (size_t i = 0; i < a->inv.guests.count; i++) {
                        struct html_side *s =
                                side_add(h, arena_text(a->arena, report_name(h->view, a->inv.guests.items[i])));

                        s->guests[s->count++] = i;
                }
}

unsigned int html_layers(const struct html *h, size_t side1, size_t side2)
{
        const struct html_side *x = &h->sides[side1], *y = &h->sides[side2];
        unsigned int bits, fewest;

        if (!y->unnamed)
                return pair_layers(h->view->audit, x->guests[0], y->guests[side1 == side2]);
        fewest = pair_layers(h->view->audit, x->guests[0], y->guests[0]);
        for (size_t i = 1; i < y->count; i++) {
                bits = pair_layers(h->view->audit, x->guests[0], y->guests[i]);
                if (count_bits(bits) < count_bits(fewest))
                        fewest = bits;
        }
        return fewest;
}

static bool has_pair(const struct html *h, size_t x, size_t y)
{
        return x != y || (h->sides[x].count > 1 && !h->sides[x].unnamed);
}

static const char *closeness(unsigned int layers)
{
        return layers == 0 ? "none" : layers == 1 ? "one" : "many";
}

static void cell(const struct html *h, size_t x, size_t y)
{
        unsigned int n;

        if (!has_pair(h, x, y)) {
                html_put(h, "<td class=\"self\">–</td>");
                return;
        }
        n = count_bits(html_layers(h, x < y ? x : y, x < y ? y : x));
        fprintf(h->to, "<td class=\"%s\"><a href=\"#pair-%zu-%zu\"><b>%u</b> %s</a></td>", closeness(n), x < y ? x : y,
                x < y ? y : x, n,
                n == 0   ? "no layer"
                : n == 1 ? "only one"
                         : "layers");
}

static void legend(const struct html *h)
{
        html_put(
                h,
                "<ul class=\"legend\"><li><span class=\"key none\">0 no layer</span> nothing that was looked at separates the "
                "two</li><li><span class=\"key one\">1 only one</span> one mistake in it and they meet</li>"
                "<li><span class=\"key many\">2 layers</span> or more: one mistake in one of them is not enough</li></ul>\n");
}

static void matrix_explained(const struct html *h)
{
        html_put(h, "<p>");
        if (h->view->tenant)
                html_text(
                        h,
                        "What separates this guest from each other guest of the host. The number is of the guest that "
                        "the fewest layers keep apart from it. ");
        else if (h->classes)
                html_text(h,
                          "Guests whose compartments are of the same kind are one row. The number is how many layers "
                          "separate every guest of the row from every guest of the column. ");
        else
                html_text(h,
                          "The number is how many layers separate the guest of the row from the guest of the column. ");
        html_text(h, "Each leads to the layers and to the checks about that pair.");
        if (h->left_out)
                html_textf(
                        h,
                        " Shown are the %d kinds of guests that are closest to another; at least %u layers separate the "
                        "other %zu kinds from every guest.",
                        HTML_SIDES_MAX, h->left_out_least, h->left_out);
        html_put(h, "</p>\n");
}

void html_matrix(const struct html *h)
{
        size_t rows = h->view->tenant ? 1 : h->side_count, first = h->view->tenant ? 1 : 0;

        if (h->view->audit->inv.guests.count < 2) {
                html_put(h, "<p>There are fewer than two guests on this host: no pair to separate.</p>\n");
                return;
        }
        matrix_explained(h);
        html_put(h, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Layers between guests\">"
                    "<table class=\"matrix\"><thead><tr><th scope=\"col\">Guest</th>");
        for (size_t i = first; i < h->side_count; i++) {
                html_put(h, "<th scope=\"col\">");
                if (h->view->tenant)
                        html_text(h, h->sides[i].label);
                else
                        html_number(h, i + 1);
                html_put(h, "</th>");
        }
        html_put(h, "</tr></thead>\n<tbody>");
        for (size_t i = 0; i < rows; i++) {
                html_put(h, "<tr><th scope=\"row\">");
                if (!h->view->tenant)
                        html_textf(h, "%zu ", i + 1);
                html_put(h, "<span class=\"name\">");
                html_text(h, h->sides[i].label);
                html_put(h, "</span></th>");
                for (size_t k = first; k < h->side_count; k++)
                        cell(h, i, k);
                html_put(h, "</tr>\n");
        }
        html_put(h, "</tbody></table></div>\n");
        legend(h);
}

/* ---- a section for each cell ---- */

/* How many guests of each side a finding of the pair checks concerns. */
struct pair_finding {
        const struct finding *finding;
        size_t *concerned; /* [side] */
        size_t check;      /* of pair_findings.said */
};

struct pair_findings {
        struct pair_finding *items;
        size_t count, room;
        size_t *said; /* [check] for which pair its verdict was last written */
};

/* Numbers all checks: first[boundary] is the number of the first of a table. Returns how many there are. */
static size_t checks_number(size_t first[BOUNDARY_COUNT])
{
        size_t n = 0;

        for (int b = 0; b < BOUNDARY_COUNT; b++) {
                first[b] = n;
                for (const struct check *c = check_tables[b]; c->id; c++)
                        n++;
        }
        return n;
}

static void pair_findings_read(const struct html *h, struct pair_findings *ret)
{
        const struct report_view *v = h->view;
        size_t *side_of = arena_array(v->audit->arena, v->audit->inv.guests.count, sizeof(*side_of));
        size_t first[BOUNDARY_COUNT];

        ret->said = arena_array(v->audit->arena, checks_number(first), sizeof(size_t));
        for (size_t i = 0; i < h->side_count; i++)
                for (size_t k = 0; k < h->sides[i].count; k++)
                        side_of[h->sides[i].guests[k]] = i + 1;
        for (size_t i = 0; i < v->count; i++) {
                const struct finding *f = v->findings[i];
                struct pair_finding *p;

                if (!f->pair)
                        continue;
                p = GROW(v->audit->arena, ret);
                *p = (struct pair_finding){f, arena_array(v->audit->arena, h->side_count, sizeof(size_t)),
                                           first[f->boundary] + (size_t)(f->check - check_tables[f->boundary])};
                for (size_t k = 0; k < f->guests.count; k++)
                        if (side_of[f->guests.items[k]])
                                p->concerned[side_of[f->guests.items[k]] - 1]++;
        }
}

/* Findings about several guests are about every pair of them, others about a guest and all the rest. */
static bool about_pair(const struct pair_finding *p, size_t x, size_t y)
{
        if (p->finding->guests.count == 0)
                return true;
        if (p->finding->guests.count == 1)
                return p->concerned[x] || p->concerned[y];
        return x == y ? p->concerned[x] > 1 : p->concerned[x] && p->concerned[y];
}

static void pair_check(const struct html *h, const struct pair_finding *p)
{
        html_put(h, "<li>");
        html_badge(h, p->finding->verdict);
        html_put(h, " ");
        html_check_link(h, p->finding->check->id);
        html_put(h, " ");
        html_text(h, report_text(h->view, p->finding->text));
        html_put(h, "</li>\n");
}

/* Findings come worst first: the first of a check is its verdict about the pair, and those that passed come last. */
static void pair_checks(const struct html *h, const struct pair_findings *all, size_t x, size_t y)
{
        size_t passed = 0, bad = 0, pair = x * h->side_count + y + 1;

        for (size_t i = 0; i < all->count; i++) {
                const struct pair_finding *p = &all->items[i];
                size_t *said = &all->said[p->check];

                if (*said == pair || p->finding->verdict == VERDICT_NA || !about_pair(p, x, y))
                        continue;
                *said = pair;
                if (p->finding->verdict != VERDICT_PASS) {
                        html_put(h, bad++ ? "" : "<ul class=\"plain\">");
                        pair_check(h, p);
                        continue;
                }
                html_put(h, passed ? ", " : bad ? "</ul>\n" : "");
                html_put(h, passed++ ? "" : "<p>Checks about this pair that passed: ");
                html_check_link(h, p->finding->check->id);
        }
        html_put(h, passed ? ".</p>\n" : bad ? "</ul>\n" : "<p>No check compared this pair.</p>\n");
}

static void layer_items(const struct html *h, unsigned int bits, bool separating)
{
        for (unsigned int i = 0; i < LAYER_COUNT; i++) {
                if (!!(bits & LAYER_BIT(i)) != separating)
                        continue;
                html_put(h, separating ? "<li class=\"chip own\">" : "<li class=\"chip missing\">");
                html_text(h, layer_names[i]);
                html_put(h, " (");
                html_check_link(h, report_layer_check((enum layer)i));
                html_put(h, ")</li>");
        }
}

static void pair_section(const struct html *h, const struct pair_findings *all, size_t x, size_t y)
{
        unsigned int bits = html_layers(h, x, y), n = count_bits(bits);

        fprintf(h->to, "<details class=\"pair\"%s><summary><span class=\"key %s\">%u %s</span> <span>",
                n < 2 ? " open" : "", closeness(n), n, n == 1 ? "layer" : "layers");
        html_text(h, h->sides[x].label);
        html_put(h, x == y ? " among themselves" : " and ");
        if (x != y)
                html_text(h, h->sides[y].label);
        fprintf(h->to, "</span></summary>\n<div class=\"body\" id=\"pair-%zu-%zu\">\n", x, y);
        html_put(h, "<h4>Layers that separate them</h4><ul class=\"chips\">");
        layer_items(h, bits, true);
        html_put(h, bits ? "</ul>\n" : "<li class=\"chip missing\">none</li></ul>\n");
        if (bits != LAYER_BIT(LAYER_COUNT) - 1) {
                html_put(h, "<h4>Layers that do not</h4><ul class=\"chips\">");
                layer_items(h, bits, false);
                html_put(h, "</ul>\n");
        }
        html_put(h, "<h4>Checks about this pair</h4>\n");
        pair_checks(h, all, x, y);
        html_put(h, "</div></details>\n");
}

void html_pairs(const struct html *h)
{
        struct pair_findings all = {0};

        pair_findings_read(h, &all);
        for (size_t i = 0; i < h->side_count; i++)
                for (size_t k = i; k < h->side_count; k++)
                        if (has_pair(h, i, k))
                                pair_section(h, &all, i, k);
}
