/* The layer model, in the words of a report. */
#include <string.h>

#include "audit/report/report.h"
#include "audit/text.h"

const char *report_layer_check(enum layer layer)
{
        static const char *const checks[LAYER_COUNT] = {
                [LAYER_UID] = "PRIV-UIDUNIQ", [LAYER_MAC] = "PRIV-MACUNIQ",   [LAYER_PIDNS] = "NS-PID",
                [LAYER_MNTNS] = "NS-MNT",     [LAYER_NETNS] = "NS-NET",       [LAYER_IPCNS] = "NS-IPC",
                [LAYER_USERNS] = "NS-USER",   [LAYER_CGROUP] = "RES-CGSHARE", [LAYER_SECCOMP] = "SYS-SECCOMP",
        };

        return checks[layer];
}

enum layer_state report_layer(const struct report_view *v, size_t guest, enum layer layer, size_t *ret_others)
{
        const struct pair_model *m = &v->audit->pairs;
        const struct pair_group_list *shared = &m->shared[layer];
        uint64_t token = m->classes.items[m->class_of[guest]].tokens[layer];

        *ret_others = 0;
        if (token == 0)
                return m->unread[guest] & LAYER_BIT(layer) ? LAYER_UNREAD : LAYER_NONE;
        if (token > shared->count)
                return LAYER_OWN;
        *ret_others = shared->items[token - 1].count - 1;
        return LAYER_SHARED;
}

bool report_closest(const struct report_view *v, size_t *ret_guest1, size_t *ret_guest2)
{
        struct pair_closest c;
        bool found = pairs_closest(v->audit, v->tenant ? &v->tenant->index : NULL, 0, &c);

        *ret_guest1 = c.guests[0];
        *ret_guest2 = c.guests[1];
        return found;
}

char *report_layer_list(const struct report_view *v, unsigned int bits)
{
        struct text_buffer b = {0};

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (bits & LAYER_BIT(i))
                        text_appendf(v->audit->arena, &b, "%s%s", b.count ? ", " : "", layer_names[i]);
        return b.count ? b.items : arena_text(v->audit->arena, "none");
}
