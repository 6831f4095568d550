#include "audit/pairs.h"

#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/model/mac.h"
#include "audit/text.h"

const char *const layer_names[LAYER_COUNT] = {
        [LAYER_UID] = "uid",
        [LAYER_MAC] = "MAC label",
        [LAYER_PIDNS] = "PID namespace",
        [LAYER_MNTNS] = "mount namespace",
        [LAYER_NETNS] = "network namespace",
        [LAYER_IPCNS] = "IPC namespace",
        [LAYER_USERNS] = "user namespace",
        [LAYER_CGROUP] = "cgroup",
        [LAYER_SECCOMP] = "seccomp",
};

/* FNV-1a: values only have to be equal for equal texts, and are compared among a host's guests. */
static uint64_t text_hash(const char *text)
{
        uint64_t h = 0xcbf29ce484222325ULL;

        for (; *text; text++)
                h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
        return h ? h : 1;
}

static uint64_t namespace_value(const struct audit *a, const struct guest *g, enum ns_kind kind)
{
        uint64_t v = g->vmm->ns[kind];

        return v == a->host.ns[kind] ? 0 : v;
}

static bool every_thread_filtered(const struct guest *g)
{
        bool any = false;

        for (size_t m = 0; m < g->members.count; m++)
                for (size_t i = 0; i < g->members.items[m].process->threads.count; i++) {
                        const struct thread *t = &g->members.items[m].process->threads.items[i];

                        any = true;
                        if (t->seccomp != 2 && !t->kernel_worker)
                                return false;
                }
        return any;
}

/* The label where it confines: enforced, and not shared by design. */
static uint64_t mac_value(struct audit *a, const struct guest *g)
{
        char *label = mac_confining_label(a->observer, &a->host, g->vmm);

        return label ? text_hash(label) : 0;
}

static uint64_t value_of(struct audit *a, const struct guest *g, enum layer layer)
{
        const struct process *p = g->vmm;
        const char *cgroup;

        switch (layer) {
        case LAYER_UID:
                return p->threads.count ? p->threads.items[0].uid[1] : 0;
        case LAYER_MAC:
                return mac_value(a, g);
        case LAYER_PIDNS:
                return namespace_value(a, g, NS_PID);
        case LAYER_MNTNS:
                return p->root_error == 0 && a->host.root_error == 0 && p->root_stat.dev == a->host.root.dev &&
                                       p->root_stat.ino == a->host.root.ino
                               ? 0
                               : namespace_value(a, g, NS_MNT);
        case LAYER_NETNS:
                return namespace_value(a, g, NS_NET);
        case LAYER_IPCNS:
                return namespace_value(a, g, NS_IPC);
        case LAYER_USERNS:
                return namespace_value(a, g, NS_USER);
        case LAYER_CGROUP:
                cgroup = process_cgroup(p, "memory");
                if (!cgroup)
                        cgroup = process_cgroup(p, "");
                return cgroup && strcmp(cgroup, "/") != 0 ? text_hash(cgroup) : 0;
        case LAYER_SECCOMP:
                return every_thread_filtered(g) ? g->index + 1 : 0;
        case LAYER_COUNT:
                break;
        }
        return 0;
}

static int by_key(const void *a, const void *b)
{
        const struct pair_key *x = a, *y = b;

        for (int i = 0; i < 2; i++)
                if (x->value[i] != y->value[i])
                        return x->value[i] < y->value[i] ? -1 : 1;
        return (x->guest > y->guest) - (x->guest < y->guest);
}

void pair_keys_sort(struct pair_key_list *keys)
{
        if (keys->count > 0)
                qsort(keys->items, keys->count, sizeof(keys->items[0]), by_key);
}

void pair_keys_shared(const struct pair_key_list *keys,
                      void (*fn)(void *ctx, const struct pair_key *keys, size_t count), void *ctx)
{
        size_t end;

        for (size_t start = 0; start < keys->count; start = end) {
                const struct pair_key *first = &keys->items[start];

                for (end = start + 1; end < keys->count && keys->items[end].value[0] == first->value[0] &&
                                      keys->items[end].value[1] == first->value[1];)
                        end++;
                if (keys->items[end - 1].guest != first->guest)
                        fn(ctx, first, end - start);
        }
}

struct grouping {
        struct audit *a;
        enum layer layer;
        uint64_t *tokens; /* [guest * LAYER_COUNT + layer] */
};

#define TOKEN_UNIQUE UINT64_MAX

static void group_add(void *ctx, const struct pair_key *keys, size_t count)
{
        struct grouping *g = ctx;
        struct pair_group_list *list = &g->a->pairs.shared[g->layer];
        struct pair_group *group = GROW(g->a->arena, list);

        group->guests = arena_array(g->a->arena, count, sizeof(group->guests[0]));
        group->count = count;
        for (size_t i = 0; i < count; i++) {
                group->guests[i] = keys[i].guest;
                g->tokens[keys[i].guest * LAYER_COUNT + g->layer] = list->count;
        }
}

static void layer_read(struct audit *a, enum layer layer, uint64_t *tokens)
{
        struct grouping g = {.a = a, .layer = layer, .tokens = tokens};
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                uint64_t v = value_of(a, a->inv.guests.items[i], layer);

                a->pairs.values[i * LAYER_COUNT + layer] = v;
                tokens[i * LAYER_COUNT + layer] = v ? TOKEN_UNIQUE : 0;
                if (v)
                        *GROW(a->arena, &keys) = (struct pair_key){.value = {v}, .guest = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, group_add, &g);
}

static int by_tokens(const void *a, const void *b, void *ctx)
{
        const uint64_t *tokens = ctx;
        size_t x = *(const size_t *)a, y = *(const size_t *)b;
        int order = memcmp(tokens + x * LAYER_COUNT, tokens + y * LAYER_COUNT, LAYER_COUNT * sizeof(*tokens));

        return order ? order : (x > y) - (x < y);
}

void pairs_read(struct audit *a)
{
        size_t n = a->inv.guests.count, *order = arena_array(a->arena, n, sizeof(*order));
        uint64_t *tokens = arena_array(a->arena, n * LAYER_COUNT, sizeof(*tokens));
        struct pair_model *m = &a->pairs;

        m->values = arena_array(a->arena, n * LAYER_COUNT, sizeof(m->values[0]));
        m->class_of = arena_array(a->arena, n, sizeof(m->class_of[0]));
        for (int layer = 0; layer < LAYER_COUNT; layer++)
                layer_read(a, (enum layer)layer, tokens);
        for (size_t i = 0; i < n; i++)
                order[i] = i;
        qsort_r(order, n, sizeof(*order), by_tokens, tokens);
        for (size_t i = 0; i < n; i++) {
                const uint64_t *mine = tokens + order[i] * LAYER_COUNT;
                struct pair_class *c = m->classes.count ? &m->classes.items[m->classes.count - 1] : NULL;

                if (!c || memcmp(c->tokens, mine, sizeof(c->tokens)) != 0) {
                        c = GROW(a->arena, &m->classes);
                        c->first = order[i];
                        memcpy(c->tokens, mine, sizeof(c->tokens));
                }
                c->count++;
                m->class_of[order[i]] = m->classes.count - 1;
        }
}

unsigned int pair_layers(const struct audit *a, size_t guest1, size_t guest2)
{
        const uint64_t *x = a->pairs.values + guest1 * LAYER_COUNT, *y = a->pairs.values + guest2 * LAYER_COUNT;
        unsigned int bits = 0;

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (x[i] && y[i] && x[i] != y[i])
                        bits |= LAYER_BIT(i);
        return bits;
}

/* The same for any guest of one class and any other guest of another (or of the same). */
static unsigned int class_layers(const struct pair_class *x, const struct pair_class *y)
{
        unsigned int bits = 0;

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (x->tokens[i] && y->tokens[i] && (x->tokens[i] != y->tokens[i] || x->tokens[i] == TOKEN_UNIQUE))
                        bits |= LAYER_BIT(i);
        return bits;
}

static unsigned int fewest_without(const struct audit *a, unsigned int ignored)
{
        const struct pair_class_list *c = &a->pairs.classes;
        unsigned int fewest = LAYER_COUNT;

        for (size_t i = 0; i < c->count; i++)
                for (size_t k = i; k < c->count; k++) {
                        unsigned int n =
                                (unsigned int)__builtin_popcount(class_layers(&c->items[i], &c->items[k]) & ~ignored);

                        if ((i != k || c->items[i].count > 1) && n < fewest)
                                fewest = n;
                }
        return fewest;
}

unsigned int pairs_fewest(const struct audit *a)
{
        return fewest_without(a, 0);
}

bool pairs_all_separated(const struct audit *a, unsigned int without, unsigned int least)
{
        return a->inv.guests.count > 1 && fewest_without(a, without) >= least;
}

bool pairs_unseparated(const struct audit *a, const size_t *guests, size_t count, unsigned int layers, bool *ret)
{
        const struct pair_class_list *c = &a->pairs.classes;
        size_t *members = arena_array(a->arena, c->count, sizeof(*members));
        bool *bad = arena_array(a->arena, c->count, sizeof(*bad)), any = false;

        for (size_t i = 0; i < count; i++)
                members[a->pairs.class_of[guests[i]]]++;
        for (size_t i = 0; i < c->count; i++)
                for (size_t k = i; members[i] && k < c->count; k++)
                        if (members[k] && (i != k || members[i] > 1) &&
                            !(class_layers(&c->items[i], &c->items[k]) & layers))
                                bad[i] = bad[k] = true;
        for (size_t i = 0; i < count; i++)
                if (bad[a->pairs.class_of[guests[i]]])
                        ret[i] = any = true;
        return any;
}
