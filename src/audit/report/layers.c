/* The layer model, in the words of a report. */
#include <string.h>

#include "audit/report/report.h"
#include "audit/text.h"

static const struct {
        const char *check;
        enum ns_kind ns; /* NS_COUNT: none */
} layers[LAYER_COUNT] = {
        [LAYER_UID] = {"PRIV-UIDUNIQ", NS_COUNT},    [LAYER_MAC] = {"PRIV-MACUNIQ", NS_COUNT},
        [LAYER_PIDNS] = {"NS-PID", NS_PID},          [LAYER_MNTNS] = {"NS-MNT", NS_MNT},
        [LAYER_NETNS] = {"NS-NET", NS_NET},          [LAYER_IPCNS] = {"NS-IPC", NS_IPC},
        [LAYER_USERNS] = {"NS-USER", NS_USER},       [LAYER_CGROUP] = {"RES-CGSHARE", NS_COUNT},
        [LAYER_SECCOMP] = {"SYS-SECCOMP", NS_COUNT},
};

const char *report_layer_check(enum layer layer)
{
        return layers[layer].check;
}

enum layer_state report_layer(const struct report_view *v, size_t guest, enum layer layer, size_t *ret_others)
{
        const struct pair_model *m = &v->audit->pairs;
        const struct pair_group_list *shared = &m->shared[layer];
        uint64_t token = m->classes.items[m->class_of[guest]].tokens[layer];
        enum ns_kind ns = layers[layer].ns;

        *ret_others = 0;
        if (token == 0)
                return ns != NS_COUNT && v->audit->inv.guests.items[guest]->vmm->ns_error[ns] < 0 ? LAYER_UNREAD
                                                                                                  : LAYER_NONE;
        if (token > shared->count)
                return LAYER_OWN;
        *ret_others = shared->items[token - 1].count - 1;
        return LAYER_SHARED;
}

struct closest {
        const struct audit *audit;
        bool found;
        unsigned int fewest;
        size_t guests[2];
};

static void closer(struct closest *c, size_t x, size_t y)
{
        unsigned int n = (unsigned int)__builtin_popcount(pair_layers(c->audit, x, y));

        if (c->found && n >= c->fewest)
                return;
        *c = (struct closest){.audit = c->audit, .found = true, .fewest = n, .guests = {x, y}};
}

/* Another guest of the class of its first one: what separates these two separates every two of the class. */
static size_t second_of(const struct pair_model *m, size_t class)
{
        size_t i = m->classes.items[class].first + 1;

        while (m->class_of[i] != class)
                i++;
        return i;
}

bool report_closest(const struct report_view *v, size_t *ret_guest1, size_t *ret_guest2)
{
        const struct pair_model *m = &v->audit->pairs;
        struct closest c = {.audit = v->audit};

        for (size_t i = 0; v->tenant && i < v->audit->inv.guests.count; i++)
                if (i != v->tenant->index)
                        closer(&c, v->tenant->index, i);
        for (size_t i = 0; !v->tenant && i < m->classes.count; i++) {
                if (m->classes.items[i].count > 1)
                        closer(&c, m->classes.items[i].first, second_of(m, i));
                for (size_t k = i + 1; k < m->classes.count; k++)
                        closer(&c, m->classes.items[i].first, m->classes.items[k].first);
        }
        *ret_guest1 = c.guests[0];
        *ret_guest2 = c.guests[1];
        return c.found;
}

char *report_layer_list(const struct report_view *v, unsigned int bits)
{
        struct text_buffer b = {0};

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (bits & LAYER_BIT(i))
                        text_appendf(v->audit->arena, &b, "%s%s", b.count ? ", " : "", layer_names[i]);
        return b.count ? b.items : arena_text(v->audit->arena, "none");
}
