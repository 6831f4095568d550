/*
 * The values of the layer model. A guest is all of its processes: what one of them shares with another guest, the guest
 * shares, and a layer that one of them lacks the guest lacks. So each guest has a set of keys (namespaces, ids, labels)
 * for a layer, and guests that have a key in common, directly or through others, are in one compartment.
 */
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/model/categories.h"
#include "audit/model/mac.h"

/* What is known of a guest in a layer, of all of its processes the worst: the higher. */
enum known { KNOWN_OWN, KNOWN_NOT, KNOWN_NONE };

/* Of a guest whose label is one of SELinux, for each of its processes. */
struct guest_categories {
        struct categories categories;
        size_t guest;
};

/* Host ids that a user namespace maps. */
struct id_range {
        uint64_t first, last;
        size_t guest;
};

struct reading {
        struct audit *a;
        enum layer layer;
        struct pair_key_list keys;
        struct {
                struct guest_categories *items;
                size_t count, room;
        } categories;
        struct {
                struct id_range *items;
                size_t count, room;
        } ranges;
        unsigned int *depths; /* [guest]: of its PID namespaces; 0: not of one depth */
        size_t *leaders;      /* [guest]: another of its compartment, in the end the first of it */
        enum known *known;    /* [guest] */
};

static void key_add(struct reading *r, size_t guest, uint64_t v0, uint64_t v1)
{
        const struct pair_key *last = r->keys.count ? &r->keys.items[r->keys.count - 1] : NULL;

        if (!last || last->guest != guest || last->value[0] != v0 || last->value[1] != v1)
                *GROW(r->a->arena, &r->keys) = (struct pair_key){.value = {v0, v1}, .guest = guest};
}

/* FNV-1a: values only have to be equal for equal texts, and are compared among a host's guests. */
static uint64_t text_hash(const char *text)
{
        uint64_t h = 0xcbf29ce484222325ULL;

        for (; *text; text++)
                h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
        return h;
}

/* ---- one process ---- */

/* Every id that a thread has or can take without a capability. */
static enum known uids_read(struct reading *r, size_t guest, const struct process *p)
{
        if (p->threads_error < 0 || p->threads.count == 0)
                return KNOWN_NOT;
        for (size_t i = 0; i < p->threads.count; i++)
                for (int k = 0; k < 4; k++) {
                        if (p->threads.items[i].uid[k] == 0)
                                return KNOWN_NONE;
                        key_add(r, guest, p->threads.items[i].uid[k], 0);
                }
        return KNOWN_OWN;
}

static enum known label_read(struct reading *r, size_t guest, const struct process *p)
{
        struct guest_categories c = {.guest = guest};
        struct mac m;

        mac_read(r->a->observer, &r->a->host, p, &m);
        if (m.state == MAC_UNKNOWN)
                return KNOWN_NOT;
        if (m.state != MAC_CONFINED || !m.unique)
                return KNOWN_NONE;
        if (m.kind == MAC_SELINUX) {
                if (!categories_parse(m.unique, &c.categories))
                        return KNOWN_NOT;
                *GROW(r->a->arena, &r->categories) = c;
        }
        key_add(r, guest, text_hash(m.unique), 0);
        return KNOWN_OWN;
}

static enum known namespace_read(struct reading *r, size_t guest, const struct process *p, enum ns_kind kind)
{
        if (p->ns_error[kind] < 0)
                return KNOWN_NOT;
        if (p->ns[kind] == r->a->host.ns[kind])
                return KNOWN_NONE;
        key_add(r, guest, p->ns[kind], UINT64_MAX);
        return KNOWN_OWN;
}

/* A namespace sees those below it. Of namespaces at one depth none is below another. */
static enum known pidns_read(struct reading *r, size_t guest, const struct process *p)
{
        enum known k = namespace_read(r, guest, p, NS_PID);

        if (k == KNOWN_OWN && p == r->a->inv.guests.items[guest]->vmm)
                r->depths[guest] = p->pid_depth;
        else if (k == KNOWN_OWN && p->pid_depth != r->depths[guest])
                r->depths[guest] = 0;
        return k;
}

/* A namespace of its own may show the host's tree nevertheless, or another guest's. */
static enum known mntns_read(struct reading *r, size_t guest, const struct process *p)
{
        const struct host *h = &r->a->host;
        enum known k = namespace_read(r, guest, p, NS_MNT);

        if (k != KNOWN_OWN)
                return k;
        if (p->root_error < 0 || h->root_error < 0)
                return KNOWN_NOT;
        if (p->root_stat.dev == h->root.dev && p->root_stat.ino == h->root.ino)
                return KNOWN_NONE;
        key_add(r, guest, p->root_stat.dev, p->root_stat.ino);
        return KNOWN_OWN;
}

/* A namespace holds all power over those below it. What one of those maps is mapped in it, so that of two that map no
 * host id in common none is below the other. */
static enum known userns_read(struct reading *r, size_t guest, const struct process *p)
{
        enum known k = namespace_read(r, guest, p, NS_USER);

        if (k != KNOWN_OWN)
                return k;
        if (p->uid_map_error < 0 || p->uid_map.count == 0)
                return KNOWN_NOT;
        for (size_t i = 0; i < p->uid_map.count; i++) {
                const struct id_map_line *l = &p->uid_map.items[i];

                if (l->count > 0)
                        *GROW(r->a->arena, &r->ranges) =
                                (struct id_range){l->outside, (uint64_t)l->outside + l->count - 1, guest};
        }
        return KNOWN_OWN;
}

static enum known cgroup_read(struct reading *r, size_t guest, const struct process *p)
{
        const char *path = process_cgroup(p, "memory");

        if (p->cgroups_error < 0)
                return KNOWN_NOT;
        if (!path)
                path = process_cgroup(p, "");
        if (!path || strcmp(path, "/") == 0)
                return KNOWN_NONE;
        key_add(r, guest, text_hash(path), 0);
        return KNOWN_OWN;
}

static enum known seccomp_read(const struct process *p)
{
        for (size_t i = 0; i < p->threads.count; i++)
                if (p->threads.items[i].seccomp != 2 && !p->threads.items[i].kernel_worker)
                        return KNOWN_NONE;
        return p->threads_error < 0 || p->threads.count == 0 ? KNOWN_NOT : KNOWN_OWN;
}

static enum known process_read(struct reading *r, size_t guest, const struct process *p)
{
        switch (r->layer) {
        case LAYER_UID:
                return uids_read(r, guest, p);
        case LAYER_MAC:
                return label_read(r, guest, p);
        case LAYER_PIDNS:
                return pidns_read(r, guest, p);
        case LAYER_MNTNS:
                return mntns_read(r, guest, p);
        case LAYER_NETNS:
                return namespace_read(r, guest, p, NS_NET);
        case LAYER_IPCNS:
                return namespace_read(r, guest, p, NS_IPC);
        case LAYER_USERNS:
                return userns_read(r, guest, p);
        case LAYER_CGROUP:
                return cgroup_read(r, guest, p);
        case LAYER_SECCOMP:
                return seccomp_read(p);
        case LAYER_COUNT:
                break;
        }
        return KNOWN_NONE;
}

/* ---- compartments ---- */

static size_t leader(const struct reading *r, size_t guest)
{
        while (r->leaders[guest] != guest) {
                r->leaders[guest] = r->leaders[r->leaders[guest]];
                guest = r->leaders[guest];
        }
        return guest;
}

static void join(struct reading *r, size_t guest1, size_t guest2)
{
        size_t x = leader(r, guest1), y = leader(r, guest2);

        r->leaders[x > y ? x : y] = x > y ? y : x;
}

static void join_keys(void *ctx, const struct pair_key *keys, size_t count)
{
        struct reading *r = ctx;

        for (size_t i = 1; i < count; i++)
                join(r, keys[0].guest, keys[i].guest);
}

/* sVirt gives each guest two categories; only a set that is larger can hold another. */
static void join_categories(struct reading *r)
{
        const struct guest_categories *c = r->categories.items;
        size_t n = r->categories.count;

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; c[i].categories.count > 2 && k < n; k++)
                        if (c[i].guest != c[k].guest && categories_cover(&c[i].categories, &c[k].categories))
                                join(r, c[i].guest, c[k].guest);
}

static int by_first(const void *a, const void *b)
{
        const struct id_range *x = a, *y = b;

        return (x->first > y->first) - (x->first < y->first);
}

static void join_ranges(struct reading *r)
{
        struct id_range *items = r->ranges.items;
        size_t furthest = 0;

        if (r->ranges.count > 0)
                qsort(items, r->ranges.count, sizeof(items[0]), by_first);
        for (size_t i = 1; i < r->ranges.count; i++) {
                if (items[i].first <= items[furthest].last)
                        join(r, items[i].guest, items[furthest].guest);
                if (items[i].last > items[furthest].last)
                        furthest = i;
        }
}

#define DEPTH_MAX 33 /* the host's and MAX_PID_NS_LEVEL of include/linux/pid_namespace.h */

/* Which namespace is below which is not known: those at the depth that most guests are at count. */
static void depths_judge(struct reading *r)
{
        size_t guests[DEPTH_MAX + 1] = {0}, n = r->a->inv.guests.count, kept = 0;
        unsigned int common = 1;

        for (size_t i = 0; i < n; i++)
                if (r->known[i] == KNOWN_OWN && r->depths[i] <= DEPTH_MAX)
                        guests[r->depths[i]]++;
        for (unsigned int d = 2; d <= DEPTH_MAX; d++)
                if (guests[d] > guests[common])
                        common = d;
        for (size_t i = 0; i < n; i++)
                if (r->known[i] == KNOWN_OWN && r->depths[i] != common)
                        r->known[i] = KNOWN_NOT;
        for (size_t i = 0; i < r->keys.count; i++)
                if (r->known[r->keys.items[i].guest] == KNOWN_OWN)
                        r->keys.items[kept++] = r->keys.items[i];
        r->keys.count = kept;
}

static void guest_read(struct reading *r, const struct guest *g)
{
        size_t keys = r->keys.count, categories = r->categories.count, ranges = r->ranges.count;
        enum known known = KNOWN_OWN;

        for (size_t m = 0; m < g->members.count && known != KNOWN_NONE; m++) {
                enum known k = process_read(r, g->index, g->members.items[m].process);

                known = k > known ? k : known;
        }
        r->known[g->index] = known;
        if (known == KNOWN_OWN)
                return;
        r->keys.count = keys; /* it joins nobody */
        r->categories.count = categories;
        r->ranges.count = ranges;
}

void layer_values_read(struct audit *a, enum layer layer, uint64_t *ret_values, bool *ret_unread)
{
        size_t n = a->inv.guests.count;
        struct reading r = {
                .a = a,
                .layer = layer,
                .depths = arena_array(a->arena, n, sizeof(*r.depths)),
                .leaders = arena_array(a->arena, n, sizeof(*r.leaders)),
                .known = arena_array(a->arena, n, sizeof(*r.known)),
        };

        for (size_t i = 0; i < n; i++) {
                r.leaders[i] = i;
                guest_read(&r, a->inv.guests.items[i]);
        }
        if (layer == LAYER_PIDNS)
                depths_judge(&r);
        pair_keys_sort(&r.keys);
        pair_keys_shared(&r.keys, join_keys, &r);
        join_categories(&r);
        join_ranges(&r);
        for (size_t i = 0; i < n; i++) {
                ret_values[i] = r.known[i] == KNOWN_OWN ? leader(&r, i) + 1 : 0;
                ret_unread[i] = r.known[i] == KNOWN_NOT;
        }
}
