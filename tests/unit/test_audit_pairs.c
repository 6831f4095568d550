/* The layer model against one that walks every pair, over guests made at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/report/report.h"

#define GUESTS_MAX 24
#define HOST_NS    1000

static __attribute__((noreturn)) void exhausted(void)
{
        abort();
}

static void ask_nobody(struct observer *o, const char *question, struct answer *ret)
{
        (void)o;
        (void)question;
        *ret = (struct answer){.error = -ENOENT};
}

struct world {
        struct arena arena;
        struct observer observer;
        struct audit audit;
};

static void world_init(struct world *w)
{
        *w = (struct world){.arena = {.exhausted = exhausted}};
        w->observer = (struct observer){.arena = &w->arena, .ask = ask_nobody};
        w->audit.arena = &w->arena;
        w->audit.observer = &w->observer;
        w->audit.host.lsm = NULL;
        for (int i = 0; i < NS_COUNT; i++)
                w->audit.host.ns[i] = HOST_NS;
        w->audit.host.root = (struct observed_stat){.dev = 1, .ino = 2};
}

static struct process *process_add(struct world *w, struct guest *g)
{
        struct process *p = arena_alloc(&w->arena, sizeof(*p));
        struct member *m = GROW(&w->arena, &g->members);

        m->process = p;
        p->guest = g;
        p->pid = 100 + (int)g->index;
        p->pid_depth = 2;
        p->root_stat = (struct observed_stat){.dev = 100 + g->index, .ino = 1};
        *GROW(&w->arena, &p->uid_map) = (struct id_map_line){0, 1000 + 10 * (uint32_t)g->index, 10};
        for (int i = 0; i < NS_COUNT; i++)
                p->ns[i] = HOST_NS;
        *GROW(&w->arena, &p->cgroups) =
                (struct cgroup_path){.controllers = arena_text(&w->arena, ""), .path = arena_text(&w->arena, "/")};
        GROW(&w->arena, &p->threads)->seccomp = 0;
        return p;
}

static struct guest *guest_add(struct world *w)
{
        struct guest *g = arena_alloc(&w->arena, sizeof(*g));

        *GROW(&w->arena, &w->audit.inv.guests) = g;
        g->index = w->audit.inv.guests.count - 1;
        g->name = arena_printf(&w->arena, "g%zu", g->index);
        g->vmm = process_add(w, g);
        return g;
}

static const struct {
        enum layer layer;
        enum ns_kind kind;
} spaces[] = {{LAYER_PIDNS, NS_PID},
              {LAYER_MNTNS, NS_MNT},
              {LAYER_NETNS, NS_NET},
              {LAYER_IPCNS, NS_IPC},
              {LAYER_USERNS, NS_USER}};

/* Values of a few kinds, so that guests share often, and now and then one that cannot be read. */
static void process_draw(struct world *w, struct process *p, unsigned int *seed)
{
        for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
                p->ns[spaces[i].kind] = (uint64_t)(HOST_NS + rand_r(seed) % (rand_r(seed) % 3 ? 3 : 100));
                p->ns_error[spaces[i].kind] = rand_r(seed) % 20 ? 0 : -EACCES;
        }
        for (int i = 0; i < 4; i++)
                p->threads.items[0].uid[i] = (uint32_t)(rand_r(seed) % (rand_r(seed) % 4 ? 100 : 4));
        p->threads_error = rand_r(seed) % 20 ? 0 : -EACCES;
        p->threads.items[0].seccomp = rand_r(seed) % 4 ? 2 : 0;
        p->root_stat.dev = (uint64_t)(rand_r(seed) % 30 + 1);
        p->root_stat.ino = p->root_stat.dev == 1 ? 2 : 1;
        p->pid_depth = rand_r(seed) % 5 ? 2 : 3;
        p->uid_map.items[0].outside = (uint32_t)(rand_r(seed) % 300);
        p->cgroups.items[0].path = arena_printf(&w->arena, "/%.*s", rand_r(seed) % 4, "abc");
}

static void guest_draw(struct world *w, struct guest *g, unsigned int *seed)
{
        process_draw(w, g->vmm, seed);
        for (int i = rand_r(seed) % 3; i > 0; i--)
                process_draw(w, process_add(w, g), seed);
}

/* What the header says, said once more: of each process what a layer needs, of each two whether they share. */
static bool has_naive(const struct process *p, enum layer layer, unsigned int depth)
{
        for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
                if (spaces[i].layer == layer && (p->ns_error[spaces[i].kind] < 0 || p->ns[spaces[i].kind] == HOST_NS))
                        return false;
        if (layer == LAYER_UID)
                for (int i = 0; i < 4; i++)
                        if (p->threads_error < 0 || p->threads.items[0].uid[i] == 0)
                                return false;
        return !(layer == LAYER_SECCOMP && (p->threads_error < 0 || p->threads.items[0].seccomp != 2)) &&
               !(layer == LAYER_CGROUP && p->cgroups.items[0].path[1] == '\0') &&
               !(layer == LAYER_MNTNS && p->root_stat.dev == 1) && !(layer == LAYER_PIDNS && p->pid_depth != depth) &&
               layer != LAYER_MAC;
}

static bool share_naive(const struct process *x, const struct process *y, enum layer layer)
{
        uint32_t first = x->uid_map.items[0].outside, second = y->uid_map.items[0].outside;

        for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
                if (spaces[i].layer == layer && x->ns[spaces[i].kind] == y->ns[spaces[i].kind])
                        return true;
        for (int i = 0; layer == LAYER_UID && i < 16; i++)
                if (x->threads.items[0].uid[i / 4] == y->threads.items[0].uid[i % 4])
                        return true;
        return (layer == LAYER_CGROUP && strcmp(x->cgroups.items[0].path, y->cgroups.items[0].path) == 0) ||
               (layer == LAYER_MNTNS && x->root_stat.dev == y->root_stat.dev) ||
               (layer == LAYER_USERNS && first < second + 10 && second < first + 10);
}

struct naive {
        unsigned int layers[GUESTS_MAX][GUESTS_MAX];
};

static bool guest_has(const struct guest *g, enum layer layer, unsigned int depth)
{
        for (size_t i = 0; i < g->members.count; i++)
                if (!has_naive(g->members.items[i].process, layer, depth))
                        return false;
        return true;
}

/* The depth of which the most guests with a PID namespace are; the lower of two. */
static unsigned int depth_naive(const struct audit *a)
{
        size_t counts[2] = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (unsigned int d = 2; d <= 3; d++)
                        counts[d - 2] += guest_has(a->inv.guests.items[i], LAYER_PIDNS, d);
        return counts[1] > counts[0] ? 3 : 2;
}

static void naive_make(const struct audit *a, struct naive *ret)
{
        size_t n = a->inv.guests.count;
        unsigned int depth = depth_naive(a);

        *ret = (struct naive){0};
        for (int layer = 0; layer < LAYER_COUNT; layer++) {
                bool has[GUESTS_MAX], one[GUESTS_MAX][GUESTS_MAX] = {0};

                for (size_t i = 0; i < n; i++)
                        has[i] = guest_has(a->inv.guests.items[i], (enum layer)layer, depth);
                for (size_t i = 0; i < n; i++)
                        for (size_t k = 0; k < n; k++) {
                                const struct member_list *x = &a->inv.guests.items[i]->members,
                                                         *y = &a->inv.guests.items[k]->members;

                                for (size_t m = 0; has[i] && has[k] && i != k && m < x->count * y->count; m++)
                                        one[i][k] |= share_naive(x->items[m % x->count].process,
                                                                 y->items[m / x->count].process, (enum layer)layer);
                        }
                for (size_t by = 0; by < n; by++)
                        for (size_t i = 0; i < n; i++)
                                for (size_t k = 0; k < n; k++)
                                        one[i][k] |= one[i][by] && one[by][k];
                for (size_t i = 0; i < n; i++)
                        for (size_t k = 0; k < n; k++)
                                if (has[i] && has[k] && !one[i][k])
                                        ret->layers[i][k] |= LAYER_BIT(layer);
        }
}

static unsigned int fewest_naive(const struct audit *a, const struct naive *naive, unsigned int without)
{
        unsigned int fewest = LAYER_COUNT;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (size_t k = i + 1; k < a->inv.guests.count; k++) {
                        unsigned int n = (unsigned int)__builtin_popcount(naive->layers[i][k] & ~without);

                        fewest = n < fewest ? n : fewest;
                }
        return fewest;
}

static unsigned int fewest(const struct audit *a, unsigned int without)
{
        struct pair_closest c;

        return pairs_closest(a, NULL, without, &c) ? c.layers : LAYER_COUNT;
}

static void groups_hold(const struct audit *a)
{
        for (int layer = 0; layer < LAYER_COUNT; layer++)
                for (size_t i = 0; i < a->pairs.shared[layer].count; i++) {
                        const struct pair_group *g = &a->pairs.shared[layer].items[i];

                        assert_true(g->count > 1);
                        for (size_t k = 1; k < g->count; k++) {
                                assert_true(g->guests[k - 1] < g->guests[k]);
                                assert_false(pair_layers(a, g->guests[0], g->guests[k]) & LAYER_BIT(layer));
                        }
                }
}

/* Guests of one class are separated from any third alike. */
static void classes_hold(const struct audit *a)
{
        const struct pair_model *m = &a->pairs;
        size_t total = 0, n = a->inv.guests.count;

        for (size_t i = 0; i < m->classes.count; i++) {
                assert_int_equal(m->class_of[m->classes.items[i].first], i);
                total += m->classes.items[i].count;
        }
        assert_int_equal(total, n);
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < n; k++) {
                        size_t first = m->classes.items[m->class_of[i]].first;

                        if (i != k && first != k)
                                assert_int_equal(pair_layers(a, i, k), pair_layers(a, first, k));
                }
}

static void report_agrees(const struct audit *a)
{
        struct report_view v = {.audit = a};
        size_t x, y, others;

        assert_int_equal(report_closest(&v, &x, &y), a->inv.guests.count > 1);
        if (a->inv.guests.count > 1) {
                assert_int_not_equal(x, y);
                assert_int_equal(__builtin_popcount(pair_layers(a, x, y)), fewest(a, 0));
        }
        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (int layer = 0; layer < LAYER_COUNT; layer++) {
                        enum layer_state s = report_layer(&v, i, (enum layer)layer, &others);

                        assert_int_equal(s == LAYER_UNREAD, !!(a->pairs.unread[i] & LAYER_BIT(layer)));
                        assert_int_equal(s == LAYER_NONE || s == LAYER_UNREAD,
                                         a->pairs.values[i * LAYER_COUNT + (size_t)layer] == 0);
                        assert_int_equal(s == LAYER_SHARED, others > 0);
                }
}

static void against_every_pair(void **state)
{
        unsigned int seed = 7;

        (void)state;
        for (int round = 0; round < 400; round++) {
                size_t count = (size_t)(rand_r(&seed) % GUESTS_MAX);
                struct world w;
                struct audit *a = &w.audit;
                struct naive naive;

                world_init(&w);
                for (size_t i = 0; i < count; i++)
                        guest_draw(&w, guest_add(&w), &seed);
                pairs_read(a);
                naive_make(a, &naive);
                for (size_t i = 0; i < count; i++)
                        for (size_t k = 0; k < count; k++)
                                if (i != k)
                                        assert_int_equal(pair_layers(a, i, k), naive.layers[i][k]);
                for (unsigned int without = 0; without < LAYER_BIT(LAYER_COUNT); without = without * 2 + 1)
                        assert_int_equal(fewest(a, without), fewest_naive(a, &naive, without));
                groups_hold(a);
                classes_hold(a);
                report_agrees(a);
                arena_free(&w.arena);
        }
}

/* With one guest nothing is proved; of more, each is asked about alone as well. */
static void closest_of_one(void **state)
{
        struct pair_closest c;
        struct world w;
        size_t of = 2;

        (void)state;
        world_init(&w);
        for (uint64_t i = 0; i < 3; i++) {
                guest_add(&w)->vmm->ns[NS_NET] = i == 1 ? 2000 : 2000 + i;
                w.audit.pairs = (struct pair_model){0};
                pairs_read(&w.audit);
                assert_int_equal(pairs_closest(&w.audit, NULL, 0, &c), i > 0);
        }
        assert_true(pairs_closest(&w.audit, NULL, 0, &c));
        assert_int_equal(c.layers, 0);
        assert_true(pairs_closest(&w.audit, &of, 0, &c));
        assert_int_equal(c.layers, 1);
        assert_int_equal(c.guests[0], 2);
        arena_free(&w.arena);
}

/* A process that is unlike its guest's monitor takes the property of all threads away. */
static void one_thread_without_filter(void **state)
{
        struct world w;

        (void)state;
        world_init(&w);
        for (int i = 0; i < 2; i++)
                guest_add(&w)->vmm->threads.items[0].seccomp = 2;
        pairs_read(&w.audit);
        assert_int_equal(pair_layers(&w.audit, 0, 1), LAYER_BIT(LAYER_SECCOMP));
        w.audit.pairs = (struct pair_model){0};
        GROW(&w.arena, &w.audit.inv.guests.items[1]->vmm->threads)->seccomp = 0;
        pairs_read(&w.audit);
        assert_int_equal(pair_layers(&w.audit, 0, 1), 0);
        arena_free(&w.arena);
}

struct runs {
        size_t count, keys;
};

static void run_count(void *ctx, const struct pair_key *keys, size_t count)
{
        struct runs *r = ctx;

        r->count++;
        r->keys += count;
        for (size_t i = 1; i < count; i++)
                assert_true(keys[i].value[0] == keys[0].value[0] && keys[i].value[1] == keys[0].value[1]);
}

static void keys_of_two_guests(void **state)
{
        struct pair_key items[] = {
                {.value = {2, 1}, .guest = 0}, {.value = {1, 1}, .guest = 1}, {.value = {2, 1}, .guest = 1},
                {.value = {1, 2}, .guest = 0}, {.value = {1, 2}, .guest = 0}, {.value = {2, 1}, .guest = 2},
        };
        struct pair_key_list keys = {.items = items, .count = 6}, none = {0};
        struct runs r = {0};

        (void)state;
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, run_count, &r);
        assert_int_equal(r.count, 1); /* {1, 2} is one guest's alone */
        assert_int_equal(r.keys, 3);
        pair_keys_sort(&none);
        pair_keys_shared(&none, run_count, &r);
        assert_int_equal(r.count, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(against_every_pair),
                cmocka_unit_test(closest_of_one),
                cmocka_unit_test(one_thread_without_filter),
                cmocka_unit_test(keys_of_two_guests),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
