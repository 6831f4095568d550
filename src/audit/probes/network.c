/* The network: interfaces of guests, and the table of checks. */
#include "audit/probes/network.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/tables.h"
#include "audit/text.h"

bool network_unknown(struct audit *a, const struct guest *g)
{
        struct network *net = network(a);

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return true;
                }
        }
        FOR_EACH_NIC(net, g, n)
        if (!n->link) {
                struct finding *f = finding_unknown(a, g, n->error, n->question);

                if (n->error == -ENODEV) {
                        f->text = arena_printf(
                                a->arena,
                                "An interface of %s is neither in the host's network namespace nor in one of "
                                "a guest's processes.",
                                GUEST_MARK(a, g));
                        f->needs = "a process of a guest in the network namespace of the interface";
                }
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "read /proc/%d/fdinfo/%d", n->holder->pid, n->fd->number), "%s %s",
                              n->macvtap ? "/dev/tap" : "iff:", SHOW(a, n->name));
                return true;
        }
        return false;
}

void network_show_none(struct audit *a, struct finding *f, const struct guest *g)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "list /proc/%d/fd", p->pid),
                              "%zu descriptors, none of a tap or macvtap interface", p->fds.count);
        }
}

void network_show_nic(struct audit *a, struct finding *f, const struct nic *n)
{
        assert(n->guest);
        finding_show(a, f, GUEST_OWNER(n->guest), arena_printf(a->arena, "links %s", n->space->subject), n->link->line,
                     strlen(n->link->line));
}

void network_show_master(struct audit *a, struct finding *f, const struct nic *n)
{
        const struct net_link *master = net_link_master(n->space, n->link);

        if (master)
                finding_show(a, f, EVIDENCE_OPERATOR, arena_printf(a->arena, "links %s", n->space->subject),
                             master->line, strlen(master->line));
}

void network_show_filter(struct audit *a, struct finding *f, struct net_space *s, const struct net_chain *chain)
{
        char *question = arena_printf(a->arena, "nft %s", s->subject);
        const struct net_filter *filter = net_filter(a, s);

        if (filter->error < 0)
                finding_show_error(a, f, EVIDENCE_HOST, question, filter->error);
        else if (chain)
                finding_showf(a, f, EVIDENCE_OPERATOR, question, "%s (%zu rules)", chain->line, chain->rules);
        else
                finding_showf(a, f, EVIDENCE_OPERATOR, question, "%zu chains, none with rules decides%s",
                              filter->chains.count, filter->legacy ? "; iptables of the old kind is in use" : "");
}

/* ---- NET-TAP ---- */

static void tap_guest(struct audit *a, struct guest *g)
{
        struct network *net = network(a);
        size_t count = nic_count(net, g);
        struct finding *f;

        if (network_unknown(a, g))
                return;
        if (count == 0)
                f = finding_add(a, VERDICT_PASS, g, "%s holds no tap and no macvtap interface of this host.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g, "%s has %zu network interface%s of this host.", GUEST_MARK(a, g),
                                count, count == 1 ? "" : "s");
        if (count == 0)
                network_show_none(a, f, g);
        FOR_EACH_NIC(net, g, n)
        {
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "read /proc/%d/fdinfo/%d", n->holder->pid, n->fd->number), "%s %s",
                              n->macvtap ? "/dev/tap" : "iff:", SHOW(a, n->name));
                network_show_nic(a, f, n);
                network_show_master(a, f, n);
        }
}

/* ---- NET-TAPOWN ---- */

/* Anybody who can open the device may attach: drivers/net/tun.c, tun_not_capable(). Without IFF_PERSIST and with one
 * queue it is in use for as long as it exists. */
static bool tap_is_open(struct audit *a, const struct net_link *l)
{
        const char *owner = net_link_word(a, l, "owner"), *group = net_link_word(a, l, "group"),
                   *persist = net_link_word(a, l, "persist"), *queues = net_link_word(a, l, "multi_queue");

        return owner && group && strcmp(owner, "none") == 0 && strcmp(group, "none") == 0 &&
               ((persist && strcmp(persist, "1") == 0) || (queues && strcmp(queues, "1") == 0));
}

/* Processes other than the guest's own are in the namespace: only those can name the interface. */
static bool has_strangers(const struct audit *a, const struct guest *g, const struct net_space *s)
{
        if (s->is_host)
                return true;
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *other = a->inv.guests.items[i];

                for (size_t k = 0; other != g && k < other->members.count; k++)
                        if (other->members.items[k].process->ns[NS_NET] == s->inode)
                                return true;
        }
        return false;
}

static void tapown_guest(struct audit *a, struct guest *g)
{
        struct network *net = network(a);
        const struct nic *bad = NULL;
        struct observed_stat st;
        bool closed = observe_stat(a->observer, "/dev/net/tun", &st) == 0 && (st.mode & 06) != 06, any = false;
        struct finding *f;

        if (network_unknown(a, g))
                return;
        FOR_EACH_NIC(net, g, n)
        {
                any = any || !n->macvtap;
                if (!n->macvtap && tap_is_open(a, n->link))
                        bad = n;
        }
        if (!any) {
                f = finding_add(a, VERDICT_NA, g, "%s has no tap interface.", GUEST_MARK(a, g));
                network_show_none(a, f, g);
                return;
        }
        if (bad) {
                closed = closed || !has_strangers(a, g, bad->space);
                f = finding_add(
                        a, closed ? VERDICT_WARN : VERDICT_FAIL, g,
                        "A tap interface of %s belongs to no user and no group: %s in its network namespace can attach "
                        "to it and send and receive as the guest.",
                        GUEST_MARK(a, g), closed ? "whoever can open /dev/net/tun" : "every user");
                network_show_nic(a, f, bad);
        } else {
                f = finding_add(a, VERDICT_PASS, g, "Nobody but its owner can attach to a tap interface of %s.",
                                GUEST_MARK(a, g));
                FOR_EACH_NIC(net, g, n)
                if (!n->macvtap)
                        network_show_nic(a, f, n);
        }
        if (observe_stat(a->observer, "/dev/net/tun", &st) == 0)
                finding_showf(a, f, EVIDENCE_HOST, "stat /dev/net/tun", "mode %o", st.mode & 07777);
}

/* ---- NET-TAPDUP ---- */

struct dup {
        struct audit *a;
        bool *settled;
};

static void dup_group(void *ctx, const struct pair_key *keys, size_t count)
{
        struct dup *d = ctx;
        struct audit *a = d->a;
        struct finding *f =
                finding_add(a, VERDICT_FAIL, NULL,
                            "These guests hold one network interface: each receives what is meant for the other.");

        for (size_t i = 0; i < count; i++) {
                const struct nic *n = &network(a)->nics.items[keys[i].extra];

                finding_concern(a, f, n->guest);
                finding_showf(a, f, GUEST_OWNER(n->guest),
                              arena_printf(a->arena, "read /proc/%d/fdinfo/%d", n->holder->pid, n->fd->number), "%s",
                              n->link->line);
                d->settled[n->guest->index] = true;
        }
}

static void tapdup_pairs(struct audit *a)
{
        struct network *net = network(a);
        struct dup d = {.a = a, .settled = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++)
                d.settled[i] = network_unknown(a, a->inv.guests.items[i]);
        for (size_t i = 0; i < net->nics.count; i++) {
                const struct nic *n = &net->nics.items[i];

                if (n->link)
                        *GROW(a->arena, &keys) = (struct pair_key){.value = {n->space->inode, n->link->index},
                                                                   .guest = n->guest->index,
                                                                   .extra = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, dup_group, &d);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (d.settled[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "No other guest holds a network interface of %s.",
                                GUEST_MARK(a, g));
                if (nic_count(net, g) == 0)
                        network_show_none(a, f, g);
                FOR_EACH_NIC(net, g, n) network_show_nic(a, f, n);
        }
}

#define NEEDS_FDS   "root, or CAP_SYS_PTRACE and CAP_SYS_ADMIN"
#define NEEDS_RULES "root, or CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_NET_ADMIN"

const struct check checks_network[] = {
        {
                .id = "NET-TAP",
                .severity = SEVERITY_INFO,
                .worst = VERDICT_PASS,
                .claim = "Which network interfaces of the host belong to the guest is known.",
                .examined =
                        "descriptors of /dev/net/tun and /dev/tapN of every process of the guest, and the interfaces that "
                        "they name",
                .rule = "found in a network namespace PASS; in none that processes of guests are in UNKNOWN",
                .source = "Linux drivers/net/tun.c, tun_chr_show_fdinfo()",
                .remedy = "",
                .needs = NEEDS_FDS,
                .guest = tap_guest,
        },
        {
                .id = "NET-TAPOWN",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No other user can attach to the guest's network interface.",
                .examined =
                        "owner, group, persistence and queues of each tap of the guest, by rtnetlink; mode of /dev/net/tun",
                .rule = "neither owner nor group, and persistent or with several queues FAIL (WARN where not everybody may open "
                        "/dev/net/tun, or where no other guest is in its network namespace, which is not the host's)",
                .source = "Linux drivers/net/tun.c, tun_not_capable()",
                .remedy = "give the tap an owner (ip tuntap add ... user UID), or do not make it persistent",
                .needs = NEEDS_FDS,
                .guest = tapown_guest,
        },
        {
                .id = "NET-TAPDUP",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No two guests hold the same network interface.",
                .examined = "interface and network namespace of each tap and macvtap descriptor of every guest",
                .rule = "one interface in two guests FAIL",
                .source = "Linux drivers/net/tun.c: queues of one interface share its frames",
                .remedy = "an interface for each guest",
                .needs = NEEDS_FDS,
                .pairs = tapdup_pairs,
        },
        {
                .id = "NET-L2",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No Ethernet frame of one guest reaches the interface of another on this host.",
                .examined =
                        "the bridge of each guest's interface, isolation and VLANs of its ports, rules of family bridge, "
                        "tc and XDP; macvtaps on one interface; what bridges and namespaces are joined by (veth, Open "
                        "vSwitch)",
                .rule = "different bridges, all ports isolated, or VLANs that do not meet PASS; one bridge FAIL, also where only "
                        "one of two ports is isolated; UNKNOWN where rules decide. Bridges that meet outside of this host are "
                        "not seen; rules on IP packets alone (br_netfilter) stop no ARP and do not count",
                .source = "Linux net/bridge/br_private.h, br_skb_isolated(); net/bridge/br_vlan.c",
                .remedy = "bridge link set dev TAP isolated on, for every guest's port",
                .needs = NEEDS_RULES,
                .pairs = network_l2_pairs,
        },
        {
                .id = "NET-MACVTAP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "Macvtap interfaces of two guests exchange no frames on this host.",
                .examined = "mode of each macvtap of a guest, and the interface below it",
                .rule = "two in mode bridge on one interface FAIL; two in mode vepa UNKNOWN (the switch outside decides); mode "
                        "private PASS",
                .source = "Linux drivers/net/macvlan.c; linux/if_link.h, MACVLAN_MODE_*",
                .remedy = "ip link set MACVTAP type macvtap mode private",
                .needs = NEEDS_FDS,
                .pairs = network_macvtap_pairs,
        },
        {
                .id = "NET-MAC",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The guest cannot send frames with the Ethernet address of another.",
                .examined =
                        "locked and learning of the guest's port, the ports of its bridge, rules of family bridge, tc and XDP",
                .rule = "in no bridge, nobody else in it, or a locked port that does not learn PASS; no rules FAIL; UNKNOWN where "
                        "rules decide",
                .source = "OpenStack security note OSSN-0027; libvirt nwfilter no-mac-spoofing; bridge(8), locked",
                .remedy =
                        "bridge link set dev TAP locked on learning off, with the guest's address in the bridge's table; or a "
                        "rule for its source address",
                .needs = NEEDS_RULES,
                .guest = network_mac_guest,
        },
        {
                .id = "NET-ARP-IP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The guest cannot send with the IP address of another, or claim it by ARP.",
                .examined =
                        "rules of family bridge, tc and XDP at the guest's port; rules that bridged IP packets pass "
                        "(bridge-nf-call-iptables); of an interface in no bridge rp_filter and the rules of forwarded packets",
                .rule = "nobody hears it, or strict reverse path filtering PASS; rules for IP packets alone WARN; no rules FAIL; "
                        "UNKNOWN where rules decide",
                .source = "OpenStack security note OSSN-0027; libvirt nwfilter clean-traffic",
                .remedy =
                        "drop ARP, IP and neighbour discovery of other addresses than the guest's (libvirt: clean-traffic)",
                .needs = NEEDS_RULES,
                .guest = network_arp_guest,
        },
        {
                .id = "NET-RA-DHCP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The guest cannot make others send through it by router advertisements or DHCP.",
                .examined = "who hears what the guest sends into its bridge; rules of family bridge, tc and XDP",
                .rule = "nobody PASS; no rules FAIL; UNKNOWN where rules decide",
                .source = "RFC 6104, RFC 6105 (RA-Guard); RFC 7610 (DHCPv6-Shield)",
                .remedy = "drop ICMPv6 type 134 and UDP from ports 67 and 547 that come from the guest",
                .needs = NEEDS_RULES,
                .guest = network_ra_guest,
        },
        {
                .id = "NET-FLOOD",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The guest receives no frames for others, and does not speak with the bridge as a bridge.",
                .examined = "flood, mcast_flood, isolated and bpdu_guard of the guest's port",
                .rule = "flooded and not isolated, or BPDUs taken WARN",
                .source = "bridge(8); Linux net/bridge/br_sysfs_if.c",
                .remedy = "bridge link set dev TAP flood off mcast_flood off guard on",
                .needs = NEEDS_FDS,
                .guest = network_flood_guest,
        },
        {
                .id = "NET-L3",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The host routes no packet from one guest to another.",
                .examined =
                        "forwarding of the interface that each guest's packets come in by (IPv4) and of all (IPv6), and the "
                        "chains of nf_tables that forwarded packets pass",
                .rule = "not forwarding, or a chain without rules that drops PASS; forwarding and no rules FAIL; UNKNOWN where "
                        "rules decide, or where namespaces lead into the host's",
                .source = "Linux Documentation/networking/ip-sysctl.rst, ip_forward, conf/all/forwarding",
                .remedy = "drop what is forwarded from a guest's interface to another's, by default",
                .needs = NEEDS_RULES,
                .pairs = network_l3_pairs,
        },
        {
                .id = "NET-HOSTLL",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The guest cannot speak with the host at an address on its own network.",
                .examined =
                        "addresses of the guest's tap, or of its bridge, IPv6 link-local ones, too, and the chains of "
                        "nf_tables that packets to the host pass",
                .rule = "no address, or a chain without rules that drops PASS; an address and no rules FAIL (WARN in a network "
                        "namespace that is not the host's); UNKNOWN where rules decide. That a host may answer for addresses of "
                        "its other interfaces, too, is not looked at",
                .source = "OpenStack security note OSSN-0069: host machine exposed to tenant networks via IPv6",
                .remedy = "sysctl net.ipv6.conf.BRIDGE.disable_ipv6=1, or drop input from the guests' interfaces",
                .needs = NEEDS_RULES,
                .guest = network_hostll_guest,
        },
        {
                .id = "NET-HOSTSVC",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "No service by which guests are managed listens where the guest can reach it.",
                .examined =
                        "listening TCP sockets, at the customary ports of VNC, gdb, NBD, libvirt and migration, that are "
                        "bound to any address or to one on the guest's network",
                .rule = "reachable FAIL; UNKNOWN where rules of the packet filter decide",
                .source = "libvirt docs/drvqemu.rst; OpenStack security guide, compute",
                .remedy = "let them listen at 127.0.0.1 or a Unix socket",
                .needs = NEEDS_RULES,
                .guest = network_hostsvc_guest,
        },
        {
                .id = "NET-IMDS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The guest cannot ask the metadata service of the cloud that its host runs in.",
                .examined =
                        "rules of nf_tables that drop 169.254.169.254, routes there, forwarding, and ports of the guest's "
                        "bridge that lead on",
                .rule = "a rule or route that drops it, or no way out PASS; none WARN; UNKNOWN where a chain that drops by default "
                        "has rules",
                .source = "Amazon EC2 user guide: limit access to the instance metadata service",
                .remedy = "drop packets from the guests' interfaces to 169.254.169.254",
                .needs = NEEDS_RULES,
                .guest = network_imds_guest,
        },
        {
                .id = "NET-VSOCK",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "No program on the host waits for connections that every guest can make by vsock.",
                .examined =
                        "listening sockets of AF_VSOCK, by sock_diag; descriptors of /dev/vhost-vsock of every guest",
                .rule = "no guest with the device, or no listener PASS; both WARN. Guests cannot connect to each other so",
                .source = "vsock(7); Linux drivers/vhost/vsock.c",
                .remedy = "stop the listeners, or serve each guest's vsock at a Unix socket of its own",
                .needs = "a kernel with CONFIG_VSOCKETS_DIAG",
                .host = network_vsock_host,
        },
        {
                .id = "NET-UNIXABS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "No process of one guest can connect to an abstract Unix socket of another.",
                .examined =
                        "network namespace of every process of every guest; sockets with an abstract name in those that guests "
                        "share, and who holds them",
                .rule = "nothing shared, or no names PASS; names WARN; one of a guest that another of the same user can reach FAIL. "
                        "File permissions do not hold for abstract names; what Landlock may forbid is not seen",
                .source = "unix(7), abstract sockets; network_namespaces(7)",
                .remedy = "a network namespace for each guest's monitor",
                .needs = NEEDS_FDS,
                .pairs = network_unixabs_pairs,
        },
        {
                .id = "NET-SLIRP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The guest's network is not made of sockets of the host.",
                .examined =
                        "arguments of QEMU that ask for a user-mode network (also by saying nothing), passt, pasta and "
                        "slirp4netns among the guest's processes, inet sockets of the host's network namespace in their hands",
                .rule = "a user-mode network in the host's network namespace FAIL (WARN with restrict=on); other inet sockets there "
                        "that do not listen WARN",
                .source = "QEMU docs/system/devices/net.rst, user mode network; CVE-2019-14378 of libslirp",
                .remedy = "a tap of the guest's own, or a monitor in a network namespace of its own",
                .needs = NEEDS_FDS,
                .host = network_slirp_host,
        },
        {.id = NULL},
};
