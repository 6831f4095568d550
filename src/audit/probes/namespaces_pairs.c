/* Namespaces among guests: who shares one with whom. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "audit/probes/namespaces.h"

struct sharing {
        struct audit *a;
        enum ns_kind kind;
        bool with_user; /* sharing matters among processes of one user only */
        enum verdict verdict;
        unsigned int excuse; /* LAYER_BITs: when these separate all who share, it is WARN */
        const char *reach;   /* what it lets them do */
        bool *affected;      /* [guest] */
};

static void share_show(const struct sharing *s, struct finding *f, const struct pair_key *key)
{
        struct guest *g = s->a->inv.guests.items[key->guest];
        const struct process *p = g->members.items[key->extra].process;
        char *question = arena_printf(s->a->arena, "stat /proc/%d/ns/%s", p->pid, ns_names[s->kind]);

        if (s->with_user)
                finding_showf(s->a, f, GUEST_OWNER(g), question, "inode %" PRIu64 "; uid %" PRIu64, key->value[0],
                              key->value[1]);
        else
                finding_showf(s->a, f, GUEST_OWNER(g), question, "inode %" PRIu64, key->value[0]);
}

static void share_report(void *ctx, const struct pair_key *keys, size_t count)
{
        const struct sharing *s = ctx;
        struct audit *a = s->a;
        size_t *guests = arena_array(a->arena, count, sizeof(*guests)), n = 0;
        bool *near = arena_array(a->arena, count, sizeof(*near));
        enum verdict v = s->verdict;
        struct finding *f;

        for (size_t i = 0; i < count; i++)
                if (n == 0 || guests[n - 1] != keys[i].guest)
                        guests[n++] = keys[i].guest;
        if (s->excuse && !pairs_unseparated(a, guests, n, s->excuse, near))
                v = VERDICT_WARN;
        f = finding_add(a, v, NULL, "%zu guests share one %s namespace%s: %s", n, namespace_name(s->kind),
                        s->with_user ? " and one user" : "", s->reach);
        for (size_t i = 0; i < count; i++) {
                struct guest *g = a->inv.guests.items[keys[i].guest];

                if (i > 0 && keys[i].guest == keys[i - 1].guest) /* one process of each is enough */
                        continue;
                *GROW(a->arena, &f->guests) = g->index; /* keys are sorted by guest: each comes once */
                s->affected[g->index] = true;
                share_show(s, f, &keys[i]);
        }
}

/* Keys of one guest; returns the error of a process that could not be asked. */
static int share_keys(const struct sharing *s, const struct guest *g, struct pair_key_list *keys, pid_t *ret_pid)
{
        size_t first = keys->count;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                uint64_t user = s->with_user && p->threads.count > 0 ? p->threads.items[0].uid[1] : 0;
                bool known = false;

                *ret_pid = p->pid;
                if (p->ns_error[s->kind] < 0)
                        return p->ns_error[s->kind];
                if (s->with_user && p->threads_error < 0)
                        return p->threads_error;
                for (size_t k = first; k < keys->count; k++)
                        known |= keys->items[k].value[0] == p->ns[s->kind] && keys->items[k].value[1] == user;
                if (!known)
                        *GROW(s->a->arena, keys) =
                                (struct pair_key){.value = {p->ns[s->kind], user}, .guest = g->index, .extra = i};
        }
        return 0;
}

static void share_none(const struct sharing *s, struct guest *g)
{
        const struct process *p = g->vmm;
        struct finding *f =
                finding_add(s->a, VERDICT_PASS, g, "No other guest%s shares the %s namespace of %s.",
                            s->with_user ? " of the same user" : "", namespace_name(s->kind), GUEST_MARK(s->a, g));

        finding_showf(s->a, f, GUEST_OWNER(g),
                      arena_printf(s->a->arena, "stat /proc/%d/ns/%s", p->pid, ns_names[s->kind]), "inode %" PRIu64,
                      p->ns[s->kind]);
}

static void share_pairs(struct sharing *s)
{
        struct audit *a = s->a;
        struct pair_key_list keys = {0};

        s->affected = arena_array(a->arena, a->inv.guests.count, sizeof(bool));
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                pid_t pid = 0;
                int r = share_keys(s, g, &keys, &pid);

                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "stat /proc/%d/ns/%s", pid, ns_names[s->kind]));
                        s->affected[i] = true;
                }
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, share_report, s);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (!s->affected[i])
                        share_none(s, a->inv.guests.items[i]);
}

void namespaces_pid_pairs(struct audit *a)
{
        share_pairs(&(struct sharing){
                .a = a,
                .kind = NS_PID,
                .with_user = true,
                .verdict = VERDICT_FAIL,
                .reach =
                        "a monitor that is taken over can send signals to the others, and trace those that are dumpable.",
        });
}

void namespaces_mnt_pairs(struct audit *a)
{
        share_pairs(&(struct sharing){
                .a = a,
                .kind = NS_MNT,
                .verdict = VERDICT_FAIL,
                .excuse = LAYER_BIT(LAYER_MAC),
                .reach = "they see the same files, and only permissions keep them from those of each other.",
        });
}

void namespaces_net_pairs(struct audit *a)
{
        share_pairs(&(struct sharing){
                .a = a,
                .kind = NS_NET,
                .verdict = VERDICT_WARN,
                .reach = "their monitors reach each other's sockets, abstract ones included.",
        });
}

void namespaces_ipc_pairs(struct audit *a)
{
        share_pairs(&(struct sharing){
                .a = a,
                .kind = NS_IPC,
                .with_user = true,
                .verdict = VERDICT_FAIL,
                .reach = "each can attach the shared memory of the others.",
        });
}
