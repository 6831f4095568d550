/* Packets that the host routes from guest to guest, or outwards. What the host itself answers: network_host.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/network.h"
#include "audit/text.h"

/* What becomes of packets of guests in a namespace, the worst of IPv4 and IPv6. */
struct routing {
        enum verdict verdict; /* PASS: none are forwarded */
        int error;
        char *question; /* that error is of, or the setting that forwards */
        bool denied;    /* the packet filter could not be read */
        const struct net_chain *chain;
};

struct l3 {
        struct audit *a;
        struct network *net;
        bool *settled; /* [guest]: it has a finding that is no PASS */
        bool *member;  /* [guest]: of the group that is looked at */
};

static enum verdict verdict_of(enum filter_state s)
{
        return s == FILTER_OPEN ? VERDICT_FAIL : s == FILTER_DROPS ? VERDICT_PASS : VERDICT_UNKNOWN;
}

static void routing_add(struct audit *a, struct net_space *s, struct routing *r, const char *family, int forwards,
                        char *setting)
{
        const struct net_chain *chain;
        enum filter_state state;
        enum verdict v;

        if (forwards == 0)
                return;
        if (forwards < 0) {
                if (r->verdict < VERDICT_UNKNOWN) {
                        r->verdict = VERDICT_UNKNOWN;
                        r->error = forwards;
                        r->question = setting;
                }
                return;
        }
        state = net_filter_state(a, s, family, "forward", &chain);
        v = verdict_of(state);
        if (v > r->verdict)
                *r = (struct routing){
                        .verdict = v, .question = setting, .denied = state == FILTER_UNKNOWN, .chain = chain};
}

/* Packets are forwarded by the setting of the interface that they come in by (IPv4: net/ipv4/devinet.c, IN_DEV_FORWARD;
 * IPv6: net/ipv6/ip6_output.c, ip6_forward(), by that of all). */
static void routing_of(struct audit *a, const struct nic *n, struct routing *r)
{
        const char *name = nic_host_side(n)->name;
        char *setting = arena_printf(a->arena, "ipv4/conf/%s/forwarding", name);

        routing_add(a, n->space, r, "ip", net_setting(a, n->space, setting), setting);
        setting = arena_printf(a->arena, "ipv6/conf/%s/disable_ipv6", name);
        if (net_setting(a, n->space, setting) > 0)
                return;
        setting = arena_text(a->arena, "ipv6/conf/all/forwarding");
        routing_add(a, n->space, r, "ip6", net_setting(a, n->space, setting), setting);
}

static void routing_show(struct audit *a, struct finding *f, struct net_space *s, const struct routing *r)
{
        char *question = arena_printf(a->arena, "net-sysctl %s %s", s->subject, r->question);

        if (r->error < 0) {
                finding_show_error(a, f, EVIDENCE_OPERATOR, question, r->error);
                return;
        }
        finding_showf(a, f, EVIDENCE_OPERATOR, question, "1");
        network_show_filter(a, f, s, r->chain);
}

/* Guests with interfaces in one namespace. */
static void space_compare(void *ctx, const struct pair_key *keys, size_t count)
{
        struct l3 *l = ctx;
        struct net_space *s = l->net->nics.items[keys[0].extra].space;
        struct routing r = {.verdict = VERDICT_PASS};
        const struct net_link *last = NULL;
        struct finding *f;

        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                if (nic_host_side(n) != last)
                        routing_of(l->a, n, &r);
                last = nic_host_side(n);
        }
        if (r.verdict == VERDICT_PASS)
                return;
        f = finding_add(
                l->a, r.verdict, NULL, "%s",
                r.verdict == VERDICT_FAIL
                        ? "The host forwards packets between the interfaces of these guests, and filters none."
                : r.error < 0 ? "Whether the host forwards packets between the interfaces of these guests could not be "
                                "determined."
                : r.denied
                        ? "The host forwards packets between the interfaces of these guests; its packet filter could "
                          "not be read."
                        : "The host forwards packets between the interfaces of these guests, as far as rules of its "
                          "packet filter let them pass: what they let pass was not determined.");
        if (r.verdict == VERDICT_UNKNOWN)
                f->needs = r.error < 0 || r.denied ? l->a->check->needs : "an active probe between the guests";
        routing_show(l->a, f, s, &r);
        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &l->net->nics.items[keys[i].extra];

                finding_concern(l->a, f, n->guest);
                network_show_nic(l->a, f, n);
                l->settled[n->guest->index] = true;
        }
}

static bool leads_out(const struct net_space *s)
{
        for (size_t i = 0; i < s->links.count; i++)
                if (s->links.items[i].below_elsewhere || strcmp(s->links.items[i].kind, "-") == 0)
                        if (strcmp(s->links.items[i].name, "lo") != 0)
                                return true;
        return false;
}

/* Guests in namespaces of their own from which interfaces lead into the host's, where what they send may be routed on.
 */
static void spaces_compare(struct l3 *l)
{
        struct net_space *host = l->net->spaces.items[0];
        struct routing r = {.verdict = VERDICT_PASS};
        char *v4 = arena_text(l->a->arena, "ipv4/ip_forward"),
             *v6 = arena_text(l->a->arena, "ipv6/conf/all/forwarding");
        struct finding *f;
        size_t outside = 0, inside = 0;

        for (size_t i = 0; i < l->net->nics.count; i++) {
                const struct nic *n = &l->net->nics.items[i];

                if (!n->link || (!n->space->is_host && !leads_out(n->space)))
                        continue;
                inside += n->space->is_host;
                outside += !n->space->is_host && !l->member[n->guest->index];
                l->member[n->guest->index] = true;
        }
        if (outside == 0 || outside + inside < 2)
                return;
        routing_add(l->a, host, &r, "ip", net_setting(l->a, host, v4), v4);
        routing_add(l->a, host, &r, "ip6", net_setting(l->a, host, v6), v6);
        if (r.verdict == VERDICT_PASS)
                return;
        f = finding_add(
                l->a, VERDICT_UNKNOWN, NULL,
                "From the network namespaces of these guests interfaces lead out, and the host forwards packets: whether "
                "they reach each other was not determined.");
        f->needs = "an active probe between the guests";
        routing_show(l->a, f, host, &r);
        for (size_t i = 0; i < l->net->nics.count; i++) {
                const struct nic *n = &l->net->nics.items[i];

                if (!n->link || !l->member[n->guest->index])
                        continue;
                finding_concern(l->a, f, n->guest);
                network_show_nic(l->a, f, n);
                l->settled[n->guest->index] = true;
        }
}

void network_l3_pairs(struct audit *a)
{
        size_t guests = a->inv.guests.count;
        struct l3 l = {.a = a,
                       .net = network(a),
                       .settled = arena_array(a->arena, guests, sizeof(bool)),
                       .member = arena_array(a->arena, guests, sizeof(bool))};
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < guests; i++)
                l.settled[i] = network_unknown(a, a->inv.guests.items[i]);
        for (size_t i = 0; i < l.net->nics.count; i++) {
                const struct nic *n = &l.net->nics.items[i];

                if (n->link)
                        *GROW(a->arena, &keys) =
                                (struct pair_key){.value = {n->space->inode, 0}, .guest = n->guest->index, .extra = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, space_compare, &l);
        spaces_compare(&l);
        for (size_t i = 0; i < guests; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (l.settled[i])
                        continue;
                f = finding_add(
                        a, VERDICT_PASS, g,
                        nic_count(l.net, g)
                                ? "The host forwards no packets from the interfaces of %s to those of another guest."
                                : "%s has no network interface of this host: the host routes nothing for it.",
                        GUEST_MARK(a, g));
                if (nic_count(l.net, g) == 0)
                        network_show_none(a, f, g);
                FOR_EACH_NIC(l.net, g, n) network_show_nic(a, f, n);
        }
}

/* ---- NET-IMDS ---- */

#define METADATA "a9fea9fe" /* 169.254.169.254 */

/* Rules that compare with the address and drop: those of IP, and those of the bridge where frames leave by it. */
static bool rule_drops(const struct net_filter *f, bool bridged)
{
        for (size_t i = 0; i < f->rules.count; i++) {
                const struct net_rule *r = &f->rules.items[i];
                bool here = strcmp(r->family, "netdev") == 0 || (strcmp(r->family, "bridge") == 0) == bridged;

                if (here && strstr(r->words, "cmp=" METADATA) &&
                    (strstr(r->words, "verdict=drop") || strstr(r->words, "reject") ||
                     strstr(r->words, "target=REJECT")))
                        return true;
        }
        return false;
}

static bool route_drops(struct audit *a, struct net_space *s)
{
        static const char *const routes[] = {"inet 169.254.169.254/32 ", "inet 169.254.0.0/16 "};
        struct answer answer;
        char *rest = NULL, *line;

        if (!s->routes_read && observe(a->observer, &answer, "routes %s", s->subject) == 0)
                rest = answer.bytes;
        s->routes_read = true;
        while (rest && (line = text_next_line(&rest)))
                for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
                        const char *type = line + strlen(routes[i]);

                        if (text_has_prefix(line, routes[i]) &&
                            (text_has_prefix(type, "blackhole") || text_has_prefix(type, "unreachable") ||
                             text_has_prefix(type, "prohibit")))
                                s->metadata_dropped = true;
                }
        return s->metadata_dropped;
}

/* The bridge has a port that is no tap: frames may leave by it. */
static bool leads_on(const struct nic *n)
{
        const struct net_link *master = net_link_master(n->space, n->link);

        for (size_t i = 0; master && i < n->space->links.count; i++)
                if (n->space->links.items[i].master == master->index &&
                    strcmp(n->space->links.items[i].kind, "tun") != 0)
                        return true;
        return n->macvtap;
}

static enum verdict path_verdict(struct audit *a, struct net_space *s, const char *family, bool drops)
{
        const struct net_chain *chain;
        enum filter_state state = net_filter_state(a, s, family, "forward", &chain);

        if (state == FILTER_DROPS || drops)
                return VERDICT_PASS;
        if (state == FILTER_UNKNOWN || (state == FILTER_RULES && (!chain || strcmp(chain->policy, "drop") == 0)))
                return VERDICT_UNKNOWN;
        return VERDICT_WARN;
}

static enum verdict imds_verdict(struct audit *a, const struct nic *n)
{
        const struct net_filter *filter = net_filter(a, n->space);
        int forwards =
                net_setting(a, n->space, arena_printf(a->arena, "ipv4/conf/%s/forwarding", nic_host_side(n)->name));
        enum verdict v = forwards < 0 ? VERDICT_UNKNOWN : VERDICT_PASS;

        if (forwards > 0)
                v = path_verdict(a, n->space, "ip", rule_drops(filter, false) || route_drops(a, n->space));
        if (leads_on(n))
                v = verdict_worse(v, path_verdict(a, n->space, "bridge", rule_drops(filter, true)));
        return v;
}

void network_imds_guest(struct audit *a, struct guest *g)
{
        struct network *net = network(a);
        enum verdict v = VERDICT_PASS;
        const struct nic *worst = NULL;
        struct finding *f;

        if (network_unknown(a, g))
                return;
        FOR_EACH_NIC(net, g, n)
        {
                enum verdict here = imds_verdict(a, n);

                if (!worst || here > v) {
                        v = here;
                        worst = n;
                }
        }
        if (!worst) {
                f = finding_add(a, VERDICT_NA, g, "%s has no network interface of this host.", GUEST_MARK(a, g));
                network_show_none(a, f, g);
                return;
        }
        f = finding_add(a, v, g,
                        v == VERDICT_PASS ? "What %s sends to the metadata address goes nowhere through this host."
                        : v == VERDICT_WARN
                                ? "No rule stops %s from asking 169.254.169.254, where clouds tell a host its secrets."
                                : "Whether %s can ask 169.254.169.254 was not determined.",
                        GUEST_MARK(a, g));
        if (v == VERDICT_UNKNOWN)
                f->needs = net_filter(a, worst->space)->error < 0 ? a->check->needs : "an active probe from the guest";
        network_show_nic(a, f, worst);
        network_show_master(a, f, worst);
        network_show_filter(a, f, worst->space, NULL);
}
