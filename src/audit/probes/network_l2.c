/*
 * Frames from guest to guest. Interfaces that are ports of one bridge are compared exactly: by isolation and by VLAN.
 * What is joined in another way (pairs of veth, switches of Open vSwitch) is found, but what passes there is not
 * determined.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/network.h"
#include "audit/text.h"

#define VLANS 4096 /* of IEEE 802.1Q */

struct port {
        struct nic *nic;
        uint64_t vlans[VLANS / 64];
};

struct set_list { /* what groups were already found, as a sum of their ports */
        uint64_t *items;
        size_t count, room;
};

struct l2 {
        struct audit *a;
        struct network *net;
        bool *settled; /* [guest]: it has a finding that is no PASS */
};

/* ---- one bridge ---- */

struct bridge {
        struct net_space *space;
        struct net_link *link;
        bool vlan_filtering;
        enum filter_state filter;
        const struct net_chain *chain;
        struct port *ports;
        size_t count;
};

static bool port_in(const struct bridge *b, const struct port *p, unsigned int vlan)
{
        return !b->vlan_filtering || (p->vlans[vlan / 64] >> (vlan % 64) & 1);
}

static int vlans_read(struct l2 *l, struct bridge *b)
{
        struct answer answer;
        char *rest, *line;
        int r = observe(l->a->observer, &answer, "bridge-vlans %s", b->space->subject);

        for (rest = r < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));) {
                char *end;
                unsigned long index = strtoul(line, &end, 10), first = strtoul(end, &end, 10), last = first;

                if (*end == '-')
                        last = strtoul(end + 1, NULL, 10);
                for (size_t i = 0; i < b->count && last < VLANS; i++)
                        for (unsigned long v = first; b->ports[i].nic->link->index == index && v <= last; v++)
                                b->ports[i].vlans[v / 64] |= 1ULL << (v % 64);
        }
        return r;
}

static void bridge_finding(struct l2 *l, const struct bridge *b, unsigned int vlan, bool mixed)
{
        bool fails = b->filter == FILTER_OPEN;
        struct finding *f = finding_add(
                l->a, fails ? VERDICT_FAIL : VERDICT_UNKNOWN, NULL, "%s%s",
                mixed ? "Interfaces of these guests are ports of one bridge, and a port that is isolated is so from other "
                        "isolated ports only: at least one of them is not."
                      : "Interfaces of these guests are ports of one bridge, and none of them is isolated.",
                fails ? " Frames pass between them."
                      : " Whether rules of a packet filter stop the frames was not determined.");

        if (!fails)
                f->needs = b->filter == FILTER_UNKNOWN ? "CAP_NET_ADMIN" : "an active probe between the two guests";
        finding_show(l->a, f, EVIDENCE_OPERATOR, arena_printf(l->a->arena, "links %s", b->space->subject),
                     b->link->line, strlen(b->link->line));
        if (b->vlan_filtering)
                finding_showf(l->a, f, EVIDENCE_OPERATOR,
                              arena_printf(l->a->arena, "bridge-vlans %s", b->space->subject), "all are in VLAN %u",
                              vlan);
        network_show_filter(l->a, f, b->space, b->chain);
        for (size_t i = 0; i < b->count; i++) {
                const struct nic *n = b->ports[i].nic;

                if (!port_in(b, &b->ports[i], vlan))
                        continue;
                assert(n->guest);
                finding_concern(l->a, f, n->guest);
                network_show_nic(l->a, f, n);
                l->settled[n->guest->index] = true;
        }
}

/* Whether guests meet in this VLAN; each set of ports is looked at once. */
static void vlan_compare(struct l2 *l, const struct bridge *b, unsigned int vlan, struct set_list *seen)
{
        const struct guest *first = NULL;
        bool two = false, isolated = false, open = false;
        uint64_t sum = 14695981039346656037ULL; /* FNV-1a */

        for (size_t i = 0; i < b->count; i++) {
                const struct nic *n = b->ports[i].nic;

                if (!port_in(b, &b->ports[i], vlan))
                        continue;
                sum = (sum ^ i) * 1099511628211ULL;
                two = two || (first && first != n->guest);
                first = n->guest;
                isolated = isolated || n->link->isolated;
                open = open || !n->link->isolated;
        }
        if (!two || !open)
                return;
        for (size_t i = 0; i < seen->count; i++)
                if (seen->items[i] == sum)
                        return;
        *GROW(l->a->arena, seen) = sum;
        bridge_finding(l, b, vlan, isolated);
}

static void bridge_compare(void *ctx, const struct pair_key *keys, size_t count)
{
        struct l2 *l = ctx;
        struct set_list seen = {0};
        struct nic *first = &l->net->nics.items[keys[0].extra];
        struct bridge b = {
                .space = first->space,
                .link = net_link_master(first->space, first->link),
                .ports = arena_array(l->a->arena, count, sizeof(b.ports[0])),
                .count = count,
        };
        char *word = net_link_word(l->a, b.link, "vlan_filtering");
        int r = 0;

        b.vlan_filtering = word && strcmp(word, "1") == 0;
        for (size_t i = 0; i < count; i++)
                b.ports[i].nic = &l->net->nics.items[keys[i].extra];
        if (b.vlan_filtering)
                r = vlans_read(l, &b);
        if (r < 0) {
                for (size_t i = 0; i < count; i++) {
                        struct guest *g = b.ports[i].nic->guest;

                        if (!l->settled[g->index])
                                finding_unknown(l->a, g, r,
                                                arena_printf(l->a->arena, "bridge-vlans %s", b.space->subject));
                        l->settled[g->index] = true;
                }
                return;
        }
        b.filter = net_filter_state(l->a, b.space, "bridge", "forward", &b.chain);
        if (b.filter == FILTER_DROPS)
                return;
        for (size_t i = 0; i < count && b.filter == FILTER_OPEN; i++)
                if (b.ports[i].nic->link->filtered)
                        b.filter = FILTER_RULES;
        for (unsigned int vlan = 1; vlan < (b.vlan_filtering ? VLANS - 1 : 2); vlan++)
                vlan_compare(l, &b, vlan, &seen);
}

static bool is_bridge(const struct net_link *l)
{
        return l && strcmp(l->kind, "bridge") == 0;
}

static void bridges_compare(struct l2 *l)
{
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < l->net->nics.count; i++) {
                const struct nic *n = &l->net->nics.items[i];

                if (n->link && is_bridge(net_link_master(n->space, n->link)))
                        *GROW(l->a->arena, &keys) = (struct pair_key){.value = {n->space->inode, n->link->master},
                                                                      .guest = n->guest->index,
                                                                      .extra = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, bridge_compare, l);
}

/* ---- macvtap ---- */

static bool mode_is(struct l2 *l, const struct nic *n, const char *mode)
{
        char *own = net_link_word(l->a, n->link, "mode");

        return own && strcmp(own, mode) == 0;
}

/* Frames pass between two interfaces in mode bridge (drivers/net/macvlan.c, macvlan_queue_xmit()); those in mode vepa
 * are sent to the switch outside, which may send them back. */
static void mode_compare(struct l2 *l, const struct pair_key *keys, size_t count, const char *mode, bool fails)
{
        const struct guest *first = NULL;
        struct finding *f;
        bool two = false;

        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                if (!mode_is(l, n, mode))
                        continue;
                two = two || (first && first != n->guest);
                first = n->guest;
        }
        if (!two)
                return;
        f = finding_add(l->a, fails ? VERDICT_FAIL : VERDICT_UNKNOWN, NULL,
                        "Interfaces of these guests are macvtaps in mode %s on one interface of the host: %s.", mode,
                        fails ? "frames pass between them"
                              : "the switch that it is connected to decides whether frames pass between them");
        if (!fails)
                f->needs = "an active probe between the guests";
        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                if (!mode_is(l, n, mode))
                        continue;
                assert(n->guest);
                finding_concern(l->a, f, n->guest);
                network_show_nic(l->a, f, n);
                l->settled[n->guest->index] = true;
        }
}

static void macvtap_compare(void *ctx, const struct pair_key *keys, size_t count)
{
        mode_compare(ctx, keys, count, "bridge", true);
        mode_compare(ctx, keys, count, "vepa", false);
}

static void macvtaps_compare(struct l2 *l)
{
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < l->net->nics.count; i++) {
                const struct nic *n = &l->net->nics.items[i];
                uint64_t space = n->space ? n->space->inode : 0;

                if (!n->link || !n->macvtap)
                        continue;
                if (n->link->below_elsewhere) /* most likely the host's */
                        space = l->a->host.ns[NS_NET];
                *GROW(l->a->arena, &keys) =
                        (struct pair_key){.value = {space, n->link->below}, .guest = n->guest->index, .extra = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, macvtap_compare, l);
}

/* ---- what is joined in other ways: connected components ---- */

static size_t root_of(size_t *parent, size_t i)
{
        while (parent[i] != i)
                i = parent[i] = parent[parent[i]];
        return i;
}

static size_t number_of(const struct net_space *s, const struct net_link *l)
{
        return s->base + (size_t)(l - s->links.items);
}

static void join(size_t *parent, const struct net_space *s, const struct net_link *x, const struct net_space *t,
                 const struct net_link *y)
{
        size_t a = root_of(parent, number_of(s, x)), b = root_of(parent, number_of(t, y));

        parent[a > b ? a : b] = a > b ? b : a;
}

static bool moves_frames(const char *kind)
{
        static const char *const kinds[] = {"bridge", "openvswitch", "bond", "team"};

        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kind, kinds[i]) == 0)
                        return true;
        return false;
}

static void space_join(const struct network *net, const struct net_space *s, size_t *parent)
{
        const struct net_space *host = net->spaces.items[0];

        for (size_t i = 0; i < s->links.count; i++) {
                const struct net_link *l = &s->links.items[i], *other = net_link_master(s, l);

                if (other && moves_frames(other->kind))
                        join(parent, s, l, s, other);
                if (!l->below)
                        continue;
                other = net_link_by_index(l->below_elsewhere ? host : s, l->below);
                if (!other || (l->below_elsewhere && s == host))
                        continue;
                if (strcmp(l->kind, "veth") == 0 && strcmp(other->kind, "veth") == 0 && other->below == l->index)
                        join(parent, s, l, l->below_elsewhere ? host : s, other);
                if (text_has_prefix(l->kind, "macv") || text_has_prefix(l->kind, "ipv"))
                        join(parent, s, l, l->below_elsewhere ? host : s, other);
        }
}

/* In a namespace of its own a guest's interface may be joined with the others there by rules of tc: with all of them,
 * as far as can be seen here. */
static void nic_join(const struct nic *n, size_t *parent)
{
        if (n->space->is_host || net_link_master(n->space, n->link) || !n->link->filtered)
                return;
        for (size_t i = 0; i < n->space->links.count; i++) {
                const struct net_link *l = &n->space->links.items[i];

                if (l->below || strcmp(l->kind, "-") == 0)
                        if (strcmp(l->name, "lo") != 0)
                                join(parent, n->space, n->link, n->space, l);
        }
}

static void component_compare(void *ctx, const struct pair_key *keys, size_t count)
{
        struct l2 *l = ctx;
        const struct nic *first = &l->net->nics.items[keys[0].extra];
        const struct net_link *bridge = net_link_master(first->space, first->link);
        bool one = is_bridge(bridge), macvtaps = first->macvtap;
        struct finding *f;

        for (size_t i = 1; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                one = one && net_link_master(n->space, n->link) == bridge;
                macvtaps = macvtaps && n->macvtap && n->link->below == first->link->below;
        }
        if (one || macvtaps) /* compared exactly */
                return;
        f = finding_add(
                l->a, VERDICT_UNKNOWN, NULL,
                "Interfaces of these guests are joined, and not by one bridge alone: whether frames pass between them "
                "was not determined.");
        f->needs = "an active probe between the guests";
        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                finding_concern(l->a, f, n->guest);
                network_show_nic(l->a, f, n);
                l->settled[n->guest->index] = true;
        }
}

static void components_compare(struct l2 *l)
{
        struct network *net = l->net;
        size_t *parent = arena_array(l->a->arena, net->links, sizeof(parent[0]));
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < net->links; i++)
                parent[i] = i;
        for (size_t i = 0; i < net->spaces.count; i++)
                space_join(net, net->spaces.items[i], parent);
        for (size_t i = 0; i < net->nics.count; i++)
                if (net->nics.items[i].link)
                        nic_join(&net->nics.items[i], parent);
        for (size_t i = 0; i < net->nics.count; i++) {
                const struct nic *n = &net->nics.items[i];

                if (n->link)
                        *GROW(l->a->arena, &keys) =
                                (struct pair_key){.value = {root_of(parent, number_of(n->space, n->link)), 0},
                                                  .guest = n->guest->index,
                                                  .extra = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, component_compare, l);
}

/* ---- guests whose network is none of the kernel's interfaces ---- */

static bool is_file_server(const struct process *p)
{
        const char *name = p->exe ? strrchr(p->exe, '/') : NULL;

        return name && strcmp(name, "/virtiofsd") == 0;
}

/* Rules of tc or XDP at an interface in no bridge of the host may send its frames to any other. */
static bool redirected(struct l2 *l, struct guest *g)
{
        FOR_EACH_NIC(l->net, g, n)
        if (n->link->filtered && !n->link->master && n->space->is_host && !n->macvtap) {
                struct finding *f =
                        finding_add(l->a, VERDICT_UNKNOWN, g,
                                    "Rules of tc or XDP take what %s sends: where they send it was not determined.",
                                    GUEST_MARK(l->a, g));

                f->needs = "an active probe from the guest";
                network_show_nic(l->a, f, n);
                return true;
        }
        return false;
}

static bool elsewhere(struct l2 *l, struct guest *g)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct member *m = &g->members.items[i];
                const char *what = NULL;
                struct finding *f;

                if (m->role == MEMBER_BACKEND && !is_file_server(m->process))
                        what = "another process that reads its memory";
                for (size_t k = 0; k < m->process->fds.count; k++)
                        if (m->process->fds.items[k].kind == FD_VFIO)
                                what = "a device of the host";
                if (!what)
                        continue;
                f = finding_add(l->a, VERDICT_UNKNOWN, g,
                                "%s is served by %s, which may be its network: what it can reach was not determined.",
                                GUEST_MARK(l->a, g), what);
                f->needs = "an active probe from the guest";
                finding_showf(l->a, f, GUEST_OWNER(g), arena_printf(l->a->arena, "list /proc/%d/fd", m->process->pid),
                              "%s", m->role == MEMBER_BACKEND ? "it maps the guest's memory" : "/dev/vfio");
                return true;
        }
        return false;
}

static void l2_pass(struct l2 *l, struct guest *g)
{
        struct finding *f;

        if (nic_count(l->net, g) == 0) {
                f = finding_add(l->a, VERDICT_PASS, g,
                                "%s has no network interface of this host: it sends frames to nobody.",
                                GUEST_MARK(l->a, g));
                network_show_none(l->a, f, g);
                return;
        }
        f = finding_add(l->a, VERDICT_PASS, g, "No frame of %s reaches an interface of another guest on this host.",
                        GUEST_MARK(l->a, g));
        FOR_EACH_NIC(l->net, g, n)
        {
                network_show_nic(l->a, f, n);
                network_show_master(l->a, f, n);
        }
}

void network_l2_pairs(struct audit *a)
{
        struct l2 l = {.a = a, .net = network(a), .settled = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];

                l.settled[i] = network_unknown(a, g) || elsewhere(&l, g) || redirected(&l, g);
        }
        bridges_compare(&l);
        macvtaps_compare(&l);
        components_compare(&l);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (!l.settled[i])
                        l2_pass(&l, a->inv.guests.items[i]);
}

static bool has_macvtap(const struct network *net, const struct guest *g)
{
        FOR_EACH_NIC(net, g, n)
        if (n->macvtap)
                return true;
        return false;
}

void network_macvtap_pairs(struct audit *a)
{
        struct l2 l = {.a = a, .net = network(a), .settled = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};

        for (size_t i = 0; i < a->inv.guests.count; i++)
                l.settled[i] = network_unknown(a, a->inv.guests.items[i]);
        macvtaps_compare(&l);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (l.settled[i])
                        continue;
                if (has_macvtap(l.net, g))
                        f = finding_add(a, VERDICT_PASS, g,
                                        "No macvtap of another guest exchanges frames with that of %s.",
                                        GUEST_MARK(a, g));
                else
                        f = finding_add(a, VERDICT_NA, g, "%s has no macvtap interface.", GUEST_MARK(a, g));
                if (nic_count(l.net, g) == 0)
                        network_show_none(a, f, g);
                FOR_EACH_NIC(l.net, g, n) network_show_nic(a, f, n);
        }
}
