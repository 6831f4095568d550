/* What of the host a guest can speak with: its addresses on the guest's network, and who listens there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/network.h"
#include "audit/text.h"

/* The host has this address where the guest's frames arrive. Those of a port of a bridge are without effect; a
 * macvtap's frames go past the host. */
static bool address_meets(const struct net_address *address, const struct nic *n)
{
        return !n->macvtap && address->index == nic_host_side(n)->index;
}

static enum verdict verdict_of(enum filter_state s)
{
        return s == FILTER_OPEN ? VERDICT_FAIL : s == FILTER_DROPS ? VERDICT_PASS : VERDICT_UNKNOWN;
}

struct reach {
        enum verdict verdict;
        const struct nic *nic;
        const struct net_address *address;
        const struct net_listener *listener;
        const struct net_chain *chain;
        const char *service;
};

static void reach_show(struct audit *a, struct finding *f, const struct reach *r)
{
        if (!r->nic)
                return;
        network_show_nic(a, f, r->nic);
        network_show_master(a, f, r->nic);
        finding_show(a, f, EVIDENCE_OPERATOR, arena_printf(a->arena, "addresses %s", r->nic->space->subject),
                     r->address->line, strlen(r->address->line));
        if (r->listener)
                finding_show(a, f, EVIDENCE_OPERATOR, arena_printf(a->arena, "listeners %s", r->nic->space->subject),
                             r->listener->line, strlen(r->listener->line));
        network_show_filter(a, f, r->nic->space, r->chain);
        if (f->verdict == VERDICT_UNKNOWN)
                f->needs = net_filter(a, r->nic->space)->error < 0 ? a->check->needs : "an active probe from the guest";
}

/* NA without interfaces, UNKNOWN without answers: true when that was said. */
static bool nothing_to_look_at(struct audit *a, struct guest *g, bool listeners)
{
        struct network *net = network(a);
        struct finding *f;

        if (network_unknown(a, g))
                return true;
        if (nic_count(net, g) == 0) {
                f = finding_add(a, VERDICT_NA, g, "%s has no network interface of this host.", GUEST_MARK(a, g));
                network_show_none(a, f, g);
                return true;
        }
        FOR_EACH_NIC(net, g, n)
        {
                net_addresses(a, n->space);
                if (n->space->addresses_error < 0) {
                        finding_unknown(a, g, n->space->addresses_error,
                                        arena_printf(a->arena, "addresses %s", n->space->subject));
                        return true;
                }
                if (!listeners)
                        continue;
                net_listeners(a, n->space);
                if (n->space->listeners_error < 0) {
                        finding_unknown(a, g, n->space->listeners_error,
                                        arena_printf(a->arena, "listeners %s", n->space->subject));
                        return true;
                }
        }
        return false;
}

static void pass_show(struct audit *a, struct finding *f, struct guest *g)
{
        FOR_EACH_NIC(network(a), g, n)
        {
                network_show_nic(a, f, n);
                network_show_master(a, f, n);
        }
}

/* ---- NET-HOSTLL ---- */

void network_hostll_guest(struct audit *a, struct guest *g)
{
        struct reach worst = {.verdict = VERDICT_PASS};
        struct finding *f;

        if (nothing_to_look_at(a, g, false))
                return;
        FOR_EACH_NIC(network(a), g, n)
        {
                const struct net_address_list *addresses = net_addresses(a, n->space);

                for (size_t i = 0; i < addresses->count; i++) {
                        struct reach r = {.nic = n, .address = &addresses->items[i]};

                        if (!address_meets(r.address, n))
                                continue;
                        r.verdict = verdict_of(
                                net_filter_state(a, n->space, r.address->v6 ? "ip6" : "ip", "input", &r.chain));
                        if (r.verdict == VERDICT_FAIL && !n->space->is_host)
                                r.verdict = VERDICT_WARN; /* the host's services are in another namespace */
                        if (r.verdict > worst.verdict)
                                worst = r;
                }
        }
        f = finding_add(
                a, worst.verdict, g, "%s",
                worst.verdict == VERDICT_FAIL
                        ? "The host has an address on the guest's network, and filters nothing that is sent to it."
                : worst.verdict == VERDICT_WARN
                        ? "A network namespace of the host, not its own, has an address on the guest's network, and filters "
                          "nothing that is sent to it."
                : worst.verdict == VERDICT_UNKNOWN
                        ? "The host has an address on the guest's network; what its packet filter lets pass was not "
                          "determined."
                        : "The host has no address on the guest's network, or drops what is sent to it.");
        reach_show(a, f, &worst);
        if (!worst.nic)
                pass_show(a, f, g);
}

/* ---- NET-HOSTSVC ---- */

/* By default ports: QEMU -vnc, -gdb and qemu-nbd; libvirtd.conf; migration_port_min and _max of libvirt's qemu.conf. */
static const char *service_name(const struct net_listener *l)
{
        static const struct {
                uint16_t first, last;
                const char *name;
        } services[] = {{5900, 5999, "a guest's screen (VNC)"},
                        {1234, 1234, "a debugger's port (gdb)"},
                        {10809, 10809, "a disk (NBD)"},
                        {16509, 16509, "libvirt"},
                        {16514, 16514, "libvirt"},
                        {49152, 49215, "a guest that moves to this host (migration)"}};

        for (size_t i = 0; !l->udp && i < sizeof(services) / sizeof(services[0]); i++)
                if (l->port >= services[i].first && l->port <= services[i].last)
                        return services[i].name;
        return NULL;
}

/* The listener takes what is sent to this address. A socket of :: takes IPv4, too, unless it says otherwise. */
static bool listens_on(const struct net_listener *l, const struct net_address *address)
{
        if (l->index != 0 && l->index != address->index)
                return false;
        return strcmp(l->address, address->text) == 0 || strcmp(l->address, "::") == 0 ||
               (!address->v6 && strcmp(l->address, "0.0.0.0") == 0);
}

static void service_reach(struct audit *a, const struct nic *n, const struct net_listener *l, struct reach *worst)
{
        const struct net_address_list *addresses = net_addresses(a, n->space);
        const char *service = service_name(l);

        for (size_t i = 0; service && i < addresses->count; i++) {
                struct reach r = {.nic = n, .address = &addresses->items[i], .listener = l, .service = service};

                if (!address_meets(r.address, n) || !listens_on(l, r.address))
                        continue;
                r.verdict = verdict_of(net_filter_state(a, n->space, r.address->v6 ? "ip6" : "ip", "input", &r.chain));
                if (r.verdict > worst->verdict)
                        *worst = r;
        }
}

void network_hostsvc_guest(struct audit *a, struct guest *g)
{
        struct reach worst = {.verdict = VERDICT_PASS};
        struct finding *f;

        if (nothing_to_look_at(a, g, true))
                return;
        FOR_EACH_NIC(network(a), g, n)
        {
                const struct net_listener_list *listeners = net_listeners(a, n->space);

                for (size_t i = 0; i < listeners->count && worst.verdict < VERDICT_FAIL; i++)
                        service_reach(a, n, &listeners->items[i], &worst);
        }
        if (worst.verdict == VERDICT_PASS)
                f = finding_add(a, VERDICT_PASS, g,
                                "No service of the host for its guests listens where %s can reach it.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, worst.verdict, g,
                                "%s can reach a port of the host at which by custom %s is served%s.", GUEST_MARK(a, g),
                                worst.service,
                                worst.verdict == VERDICT_FAIL ? "" : ", unless rules of the packet filter stop it");
        reach_show(a, f, &worst);
        if (!worst.nic)
                pass_show(a, f, g);
}
