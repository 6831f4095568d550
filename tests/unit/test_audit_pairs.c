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
        w->audit.host.root_error = -EACCES;
}

static struct guest *guest_add(struct world *w)
{
        struct guest *g = arena_alloc(&w->arena, sizeof(*g));
        struct process *p = arena_alloc(&w->arena, sizeof(*p));
        struct member *m;

        *GROW(&w->arena, &w->audit.inv.guests) = g;
        g->index = w->audit.inv.guests.count - 1;
        g->name = arena_printf(&w->arena, "g%zu", g->index);
        g->vmm = p;
        p->guest = g;
        p->pid = 100 + (int)g->index;
        for (int i = 0; i < NS_COUNT; i++)
                p->ns[i] = HOST_NS;
        GROW(&w->arena, &p->threads)->seccomp = 0;
        m = GROW(&w->arena, &g->members);
        m->process = p;
        return g;
}

/* Values of a few kinds, so that guests share often. */
static void guest_draw(struct world *w, struct guest *g, unsigned int *seed)
{
        static const enum ns_kind kinds[] = {NS_PID, NS_MNT, NS_NET, NS_IPC, NS_USER};
        struct process *p = g->vmm;
        struct cgroup_path *c = GROW(&w->arena, &p->cgroups);

        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                p->ns[kinds[i]] = (uint64_t)(HOST_NS + rand_r(seed) % (rand_r(seed) % 3 ? 3 : 100));
        p->threads.items[0].uid[1] = (uint32_t)(rand_r(seed) % 4);
        p->threads.items[0].seccomp = rand_r(seed) % 4 ? 2 : 0;
        *c = (struct cgroup_path){.controllers = arena_text(&w->arena, "")};
        c->path = arena_printf(&w->arena, "/%.*s", rand_r(seed) % 4, "abc");
}

/* What the header says, said once more: both known, none the host's, and different. */
static unsigned int layers_naive(const struct guest *x, const struct guest *y)
{
        static const struct {
                enum layer layer;
                enum ns_kind kind;
        } spaces[] = {{LAYER_PIDNS, NS_PID},
                      {LAYER_MNTNS, NS_MNT},
                      {LAYER_NETNS, NS_NET},
                      {LAYER_IPCNS, NS_IPC},
                      {LAYER_USERNS, NS_USER}};
        const struct thread *s = &x->vmm->threads.items[0], *t = &y->vmm->threads.items[0];
        const char *c = x->vmm->cgroups.items[0].path, *d = y->vmm->cgroups.items[0].path;
        unsigned int bits = 0;

        for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
                uint64_t a = x->vmm->ns[spaces[i].kind], b = y->vmm->ns[spaces[i].kind];

                if (a != HOST_NS && b != HOST_NS && a != b)
                        bits |= LAYER_BIT(spaces[i].layer);
        }
        if (s->uid[1] && t->uid[1] && s->uid[1] != t->uid[1])
                bits |= LAYER_BIT(LAYER_UID);
        if (c[1] && d[1] && strcmp(c, d) != 0)
                bits |= LAYER_BIT(LAYER_CGROUP);
        if (s->seccomp == 2 && t->seccomp == 2)
                bits |= LAYER_BIT(LAYER_SECCOMP);
        return bits;
}

static unsigned int fewest_naive(const struct audit *a, unsigned int without)
{
        unsigned int fewest = LAYER_COUNT;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (size_t k = i + 1; k < a->inv.guests.count; k++) {
                        unsigned int n = (unsigned int)__builtin_popcount(
                                layers_naive(a->inv.guests.items[i], a->inv.guests.items[k]) & ~without);

                        fewest = n < fewest ? n : fewest;
                }
        return fewest;
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
                assert_int_equal(__builtin_popcount(pair_layers(a, x, y)), pairs_fewest(a));
        }
        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (int layer = 0; layer < LAYER_COUNT; layer++) {
                        enum layer_state s = report_layer(&v, i, (enum layer)layer, &others);

                        assert_int_equal(s == LAYER_NONE, a->pairs.values[i * LAYER_COUNT + (size_t)layer] == 0);
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

                world_init(&w);
                for (size_t i = 0; i < count; i++)
                        guest_draw(&w, guest_add(&w), &seed);
                pairs_read(a);
                for (size_t i = 0; i < count; i++)
                        for (size_t k = 0; k < count; k++)
                                if (i != k)
                                        assert_int_equal(pair_layers(a, i, k),
                                                         layers_naive(a->inv.guests.items[i], a->inv.guests.items[k]));
                assert_int_equal(pairs_fewest(a), fewest_naive(a, 0));
                for (unsigned int without = 0; without < LAYER_BIT(LAYER_COUNT); without = without * 2 + 1)
                        for (unsigned int least = 0; least <= LAYER_COUNT; least++)
                                assert_int_equal(pairs_all_separated(a, without, least),
                                                 count > 1 && fewest_naive(a, without) >= least);
                groups_hold(a);
                classes_hold(a);
                report_agrees(a);
                arena_free(&w.arena);
        }
}

/* Three layers besides the one that is missing soften; two do not; with one guest nothing is proved. */
static void softening_threshold(void **state)
{
        static const enum ns_kind kinds[] = {NS_NET, NS_IPC, NS_USER};
        struct world w;

        (void)state;
        for (size_t layers = 0; layers <= 3; layers++) {
                world_init(&w);
                for (uint64_t i = 0; i < 2; i++) {
                        struct guest *g = guest_add(&w);

                        for (size_t k = 0; k < layers; k++)
                                g->vmm->ns[kinds[k]] = 2000 + i;
                        g->vmm->ns[NS_PID] = 3000 + i;
                        pairs_read(&w.audit);
                        assert_int_equal(pairs_all_separated(&w.audit, LAYER_BIT(LAYER_PIDNS), 3),
                                         i == 1 && layers == 3);
                        w.audit.pairs = (struct pair_model){0};
                }
                pairs_read(&w.audit);
                assert_int_equal(pairs_fewest(&w.audit), layers + 1);
                arena_free(&w.arena);
        }
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
                cmocka_unit_test(softening_threshold),
                cmocka_unit_test(one_thread_without_filter),
                cmocka_unit_test(keys_of_two_guests),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
