#include "audit/pairs.h"

#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"

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
        size_t n = a->inv.guests.count;
        struct grouping g = {.a = a, .layer = layer, .tokens = tokens};
        struct pair_key_list keys = {0};
        uint64_t *values = arena_array(a->arena, n, sizeof(*values));
        bool *unread = arena_array(a->arena, n, sizeof(*unread));

        layer_values_read(a, layer, values, unread);
        for (size_t i = 0; i < n; i++) {
                a->pairs.values[i * LAYER_COUNT + layer] = values[i];
                tokens[i * LAYER_COUNT + layer] = values[i] ? TOKEN_UNIQUE : 0;
                if (unread[i])
                        a->pairs.unread[i] |= LAYER_BIT(layer);
                if (values[i])
                        *GROW(a->arena, &keys) = (struct pair_key){.value = {values[i]}, .guest = i};
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
        m->unread = arena_array(a->arena, n, sizeof(m->unread[0]));
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

static void closer(struct pair_closest *c, size_t x, size_t y, unsigned int bits)
{
        unsigned int n = (unsigned int)__builtin_popcount(bits);

        if (n < c->layers || c->guests[0] == c->guests[1]) /* or it is the first pair */
                *c = (struct pair_closest){.guests = {x, y}, .layers = n};
}

/* Another guest of the class of its first one: what separates these two separates every two of the class. */
static size_t second_of(const struct pair_model *m, size_t class)
{
        size_t i = m->classes.items[class].first + 1;

        while (m->class_of[i] != class)
                i++;
        return i;
}

bool pairs_closest(const struct audit *a, const size_t *of, unsigned int without, struct pair_closest *ret)
{
        const struct pair_model *m = &a->pairs;
        const struct pair_class *classes = m->classes.items;
        struct pair_closest c = {0};

        for (size_t i = 0; of && i < a->inv.guests.count; i++)
                if (i != *of)
                        closer(&c, *of, i, pair_layers(a, *of, i) & ~without);
        for (size_t i = 0; !of && i < m->classes.count; i++) {
                if (classes[i].count > 1)
                        closer(&c, classes[i].first, second_of(m, i),
                               class_layers(&classes[i], &classes[i]) & ~without);
                for (size_t k = i + 1; k < m->classes.count; k++)
                        closer(&c, classes[i].first, classes[k].first,
                               class_layers(&classes[i], &classes[k]) & ~without);
        }
        *ret = c;
        return c.guests[0] != c.guests[1];
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
