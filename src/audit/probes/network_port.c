/*
 * What a guest may send into its bridge: with addresses of others, and what configures others. Rules are not
 * interpreted: where there are none the answer is plain, where there are some only a probe tells.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/network.h"
#include "audit/text.h"
#include "base/cleanup.h"

static bool word_is(struct audit *a, const struct net_link *l, const char *word, const char *value)
{
        char *own = net_link_word(a, l, word);

        return own && strcmp(own, value) == 0;
}

static bool is_bridged(const struct nic *n)
{
        const struct net_link *master = net_link_master(n->space, n->link);

        return master && strcmp(master->kind, "bridge") == 0;
}

/* Somebody hears what the guest sends into the bridge: an uplink, or a port that is not isolated from it. */
static bool has_audience(const struct nic *n)
{
        for (size_t i = 0; i < n->space->links.count; i++) {
                const struct net_link *l = &n->space->links.items[i];

                if (l->master == n->link->master && l != n->link && !(l->isolated && n->link->isolated))
                        return true;
        }
        return false;
}

typedef enum verdict nic_judge(struct audit *a, const struct nic *n, const struct net_chain **ret_chain);

/* Of any frame of the guest into its bridge: PASS where there is none, or nobody hears it. Interfaces in a switch of
 * another kind, and macvtaps, are under rules that are not read. */
static enum verdict frames_judge(struct audit *a, const struct nic *n, const struct net_chain **ret_chain)
{
        enum filter_state state;

        if (n->macvtap || (n->link->master && !is_bridged(n)))
                return VERDICT_UNKNOWN;
        if (!n->link->master)
                return n->link->filtered ? VERDICT_UNKNOWN : VERDICT_PASS;
        if (!has_audience(n))
                return VERDICT_PASS;
        state = net_filter_state(a, n->space, "bridge", "forward", ret_chain);
        if (state == FILTER_DROPS)
                return VERDICT_PASS;
        return state == FILTER_OPEN && !n->link->filtered ? VERDICT_FAIL : VERDICT_UNKNOWN;
}

/* A locked port that learns nothing takes frames only from the addresses in the bridge's table (bridge(8), locked). */
static enum verdict mac_judge(struct audit *a, const struct nic *n, const struct net_chain **ret_chain)
{
        if (word_is(a, n->link, "locked", "1") && word_is(a, n->link, "learning", "0"))
                return VERDICT_PASS;
        return frames_judge(a, n, ret_chain);
}

/* Reverse path filtering (ip-sysctl.rst, rp_filter): the higher of both counts, 1 is strict, and 2 is loose. */
static bool is_strict(struct audit *a, const struct nic *n)
{
        const char *const names[] = {n->link->name, "all"};
        int highest = 0;

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                int v = net_setting(a, n->space, arena_printf(a->arena, "ipv4/conf/%s/rp_filter", names[i]));

                if (v < 0)
                        return false;
                highest = v > highest ? v : highest;
        }
        return highest == 1;
}

/* Where the host routes, strict reverse path filtering drops addresses that are not routed there. */
static enum verdict arp_judge(struct audit *a, const struct nic *n, const struct net_chain **ret_chain)
{
        enum verdict v;
        int forwards;

        if (n->link->master || n->macvtap) {
                enum filter_state state;

                v = frames_judge(a, n, ret_chain);
                if (v != VERDICT_FAIL || net_setting(a, n->space, "bridge/bridge-nf-call-iptables") <= 0)
                        return v;
                state = net_filter_state(a, n->space, "ip", "forward", ret_chain);
                return state == FILTER_OPEN ? VERDICT_FAIL : VERDICT_WARN;
        }
        forwards = net_setting(a, n->space, arena_printf(a->arena, "ipv4/conf/%s/forwarding", n->link->name));
        if (forwards < 0)
                return VERDICT_UNKNOWN;
        if (forwards == 0 || is_strict(a, n))
                return VERDICT_PASS;
        switch (net_filter_state(a, n->space, "ip", "forward", ret_chain)) {
        case FILTER_OPEN:
                return VERDICT_FAIL;
        case FILTER_DROPS:
                return VERDICT_PASS;
        case FILTER_RULES:
        case FILTER_UNKNOWN:
                break;
        }
        return VERDICT_UNKNOWN;
}

static enum verdict flood_judge(struct audit *a, const struct nic *n, const struct net_chain **ret_chain)
{
        bool floods = word_is(a, n->link, "flood", "1") || word_is(a, n->link, "mcast_flood", "1");

        (void)ret_chain;
        if (!is_bridged(n))
                return n->link->master ? VERDICT_UNKNOWN : VERDICT_PASS;
        return (floods && has_audience(n)) || word_is(a, n->link, "bpdu_guard", "0") ? VERDICT_WARN : VERDICT_PASS;
}

struct texts {
        const char *pass, *warn, *fail, *unknown;
};

static void port_guest(struct audit *a, struct guest *g, nic_judge *judge, const struct texts *t)
{
        const struct nic *worst = NULL;
        const struct net_chain *chain = NULL;
        enum verdict v = VERDICT_PASS;
        struct finding *f;

        if (network_unknown(a, g))
                return;
        FOR_EACH_NIC(network(a), g, n)
        {
                const struct net_chain *decides = NULL;
                enum verdict here = judge(a, n, &decides);

                if (worst && here <= v)
                        continue;
                v = here;
                worst = n;
                chain = decides;
        }
        if (!worst) {
                f = finding_add(a, VERDICT_NA, g, "%s has no network interface of this host.", GUEST_MARK(a, g));
                network_show_none(a, f, g);
                return;
        }
        f = finding_add(a, v, g, "%s",
                        v == VERDICT_FAIL      ? t->fail
                        : v == VERDICT_UNKNOWN ? t->unknown
                        : v == VERDICT_WARN    ? t->warn
                                               : t->pass);
        if (v == VERDICT_UNKNOWN)
                f->needs = net_filter(a, worst->space)->error < 0 ? a->check->needs : "an active probe from the guest";
        network_show_nic(a, f, worst);
        network_show_master(a, f, worst);
        if (v == VERDICT_FAIL || v == VERDICT_UNKNOWN || chain)
                network_show_filter(a, f, worst->space, chain);
}

void network_flood_guest(struct audit *a, struct guest *g)
{
        static const struct texts texts = {
                .pass = "The guest's port is not flooded with frames for others, and takes no part in the bridge's spanning tree.",
                .warn = "Frames for addresses that the bridge does not know reach the guest's port, or it takes bridges' own "
                        "frames (BPDU) from the guest.",
                .fail = "",
                .unknown = "The guest's interface is in a switch whose ports are not read.",
        };

        port_guest(a, g, flood_judge, &texts);
}

void network_mac_guest(struct audit *a, struct guest *g)
{
        static const struct texts texts = {
                .pass = "Nobody hears a frame that the guest sends with an Ethernet address that is not its own.",
                .warn = "",
                .fail = "Nothing stops the guest from sending with the Ethernet address of another interface.",
                .unknown =
                        "Whether something stops the guest from sending with the Ethernet address of another interface was "
                        "not determined.",
        };

        port_guest(a, g, mac_judge, &texts);
}

void network_arp_guest(struct audit *a, struct guest *g)
{
        static const struct texts texts = {
                .pass = "What the guest sends with an IP address that is not its own, or says about it by ARP, goes nowhere.",
                .warn = "Rules look at the guest's IP packets, but nothing looks at what it says by ARP.",
                .fail = "Nothing stops the guest from sending with the IP address of another, or from claiming it by ARP.",
                .unknown =
                        "Whether something stops the guest from sending with the IP address of another, or from claiming it "
                        "by ARP, was not determined.",
        };

        port_guest(a, g, arp_judge, &texts);
}

void network_ra_guest(struct audit *a, struct guest *g)
{
        static const struct texts texts = {
                .pass = "Nobody hears a router advertisement or a DHCP answer of the guest.",
                .warn = "",
                .fail = "Nothing stops the guest from telling others by router advertisements or DHCP to send through it.",
                .unknown =
                        "Whether something stops the guest from telling others by router advertisements or DHCP to send "
                        "through it was not determined.",
        };

        port_guest(a, g, frames_judge, &texts);
}
