/*
 * Interfaces, addresses and routes (rtnetlink(7)). NS is "self" for the auditor's own network namespace, or the pid
 * of a process in another.
 *
 *   links NS          a line per interface: "INDEX NAME KIND WORD=VALUE..."; KIND is "-" for hardware. Words:
 *                     flags (IFF_*, hex), oper, mac, master,
 *                     link (index of the interface below, or of a veth's peer),
 *                     linkns (id of the namespace that link is in, where not this one), xdp=1;
 *                     tun: owner, group (a number or none), type (tun, tap), persist, multi_queue;
 *                     bridge: vlan_filtering; macvlan, macvtap: mode;
 *                     a port of a bridge: isolated, learning, flood, mcast_flood, bpdu_guard, root_block, locked.
 *                     Behind an interface with virtual functions: "vf INDEX N spoofchk=N trust=N vlan=N mac=MAC"
 *   bridge-vlans NS   "INDEX VLAN" or "INDEX FIRST-LAST", for ports of bridges; a bridge itself is there, too
 *   ingress NS        "INDEX KIND" for each clsact or ingress queueing discipline: filters of tc(8) may be in it
 *   addresses NS      "INDEX inet|inet6 ADDRESS/LENGTH"
 *   routes NS         "inet|inet6 ADDRESS/LENGTH TYPE INDEX TABLE"; TYPE as ip-route(8) names it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "audit/observe/live_netlink_dump.h"
#include "base/cleanup.h"

static char *mac_text(struct live_lines *out, const struct nlattr *attr)
{
        const uint8_t *b = attr ? mnl_attr_get_payload(attr) : NULL;

        if (!b || mnl_attr_get_payload_len(attr) < 6)
                return arena_text(live_arena(out->l), "-");
        return arena_printf(live_arena(out->l), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
}

static char *id_text(struct live_lines *out, const struct nlattr *attr)
{
        uint32_t id = netlink_u32(attr, UINT32_MAX);

        return id == UINT32_MAX ? arena_text(live_arena(out->l), "none") : arena_printf(live_arena(out->l), "%u", id);
}

static char *macvlan_mode(struct live_lines *out, uint32_t mode)
{
        static const struct {
                uint32_t mode;
                const char *name;
        } modes[] = {{MACVLAN_MODE_PRIVATE, "private"},
                     {MACVLAN_MODE_VEPA, "vepa"},
                     {MACVLAN_MODE_BRIDGE, "bridge"},
                     {MACVLAN_MODE_PASSTHRU, "passthru"},
                     {MACVLAN_MODE_SOURCE, "source"}};

        for (size_t i = 0; i < ARRAY_LEN(modes); i++)
                if (modes[i].mode == mode)
                        return arena_text(live_arena(out->l), modes[i].name);
        return arena_printf(live_arena(out->l), "%u", mode);
}

/* Words that only interfaces of one kind have. */
static char *kind_words(struct live_lines *out, const char *kind, const struct nlattr *data)
{
        const struct nlattr *d[IFLA_BR_MAX + 1];

        if (strcmp(kind, "tun") == 0) {
                netlink_nested(data, d, IFLA_TUN_MAX);
                return arena_printf(live_arena(out->l), " owner=%s group=%s type=%s persist=%u multi_queue=%u",
                                    id_text(out, d[IFLA_TUN_OWNER]), id_text(out, d[IFLA_TUN_GROUP]),
                                    netlink_u8(d[IFLA_TUN_TYPE], 0) == IFF_TUN ? "tun" : "tap",
                                    netlink_u8(d[IFLA_TUN_PERSIST], 0), netlink_u8(d[IFLA_TUN_MULTI_QUEUE], 0));
        }
        if (strcmp(kind, "bridge") == 0) {
                netlink_nested(data, d, IFLA_BR_MAX);
                return arena_printf(live_arena(out->l), " vlan_filtering=%u", netlink_u8(d[IFLA_BR_VLAN_FILTERING], 0));
        }
        if (strcmp(kind, "macvlan") == 0 || strcmp(kind, "macvtap") == 0) {
                netlink_nested(data, d, IFLA_MACVLAN_MAX);
                return arena_printf(live_arena(out->l), " mode=%s",
                                    macvlan_mode(out, netlink_u32(d[IFLA_MACVLAN_MODE], 0)));
        }
        return arena_text(live_arena(out->l), "");
}

static char *port_words(struct live_lines *out, const struct nlattr *data)
{
        const struct nlattr *p[IFLA_BRPORT_MAX + 1];

        netlink_nested(data, p, IFLA_BRPORT_MAX);
        return arena_printf(live_arena(out->l),
                            " isolated=%u learning=%u flood=%u mcast_flood=%u bpdu_guard=%u root_block=%u locked=%u",
                            netlink_u8(p[IFLA_BRPORT_ISOLATED], 0), netlink_u8(p[IFLA_BRPORT_LEARNING], 0),
                            netlink_u8(p[IFLA_BRPORT_UNICAST_FLOOD], 0), netlink_u8(p[IFLA_BRPORT_MCAST_FLOOD], 0),
                            netlink_u8(p[IFLA_BRPORT_GUARD], 0), netlink_u8(p[IFLA_BRPORT_PROTECT], 0),
                            netlink_u8(p[IFLA_BRPORT_LOCKED], 0));
}

static const char *oper_name(uint8_t state)
{
        static const char *const names[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                            "testing", "dormant",    "up"};

        return state < ARRAY_LEN(names) ? names[state] : "?"; /* RFC 2863, linux/if.h */
}

static void vf_lines(struct live_lines *out, int index, const struct nlattr *list)
{
        const struct nlattr *entry, *v[IFLA_VF_MAX + 1];

        if (!list)
                return;
        mnl_attr_for_each_nested(entry, list)
        {
                const struct ifla_vf_mac *mac;
                const struct ifla_vf_vlan *vlan;
                const struct ifla_vf_spoofchk *spoofchk;
                const struct ifla_vf_trust *trust;
                const uint8_t *b;

                netlink_nested(entry, v, IFLA_VF_MAX);
                if (!v[IFLA_VF_MAC] || mnl_attr_get_payload_len(v[IFLA_VF_MAC]) < sizeof(*mac))
                        continue;
                mac = mnl_attr_get_payload(v[IFLA_VF_MAC]);
                vlan = v[IFLA_VF_VLAN] ? mnl_attr_get_payload(v[IFLA_VF_VLAN]) : NULL;
                spoofchk = v[IFLA_VF_SPOOFCHK] ? mnl_attr_get_payload(v[IFLA_VF_SPOOFCHK]) : NULL;
                trust = v[IFLA_VF_TRUST] ? mnl_attr_get_payload(v[IFLA_VF_TRUST]) : NULL;
                b = mac->mac;
                live_line(out, "vf %d %u spoofchk=%d trust=%d vlan=%u mac=%02x:%02x:%02x:%02x:%02x:%02x\n", index,
                          mac->vf, spoofchk ? (int)spoofchk->setting : -1, trust ? (int)trust->setting : -1,
                          vlan ? vlan->vlan : 0, b[0], b[1], b[2], b[3], b[4], b[5]);
        }
}

static void link_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct ifinfomsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[IFLA_MAX + 1], *l[IFLA_INFO_MAX + 1], *x[IFLA_XDP_MAX + 1];
        char *kind, *slave, *ns = arena_text(live_arena(out->l), "");

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, IFLA_MAX);
        netlink_nested(a[IFLA_LINKINFO], l, IFLA_INFO_MAX);
        netlink_nested(a[IFLA_XDP], x, IFLA_XDP_MAX);
        kind = netlink_text(out, l[IFLA_INFO_KIND], "-");
        slave = netlink_text(out, l[IFLA_INFO_SLAVE_KIND], "");
        if (a[IFLA_LINK_NETNSID])
                ns = arena_printf(live_arena(out->l), " linkns=%d", (int)netlink_u32(a[IFLA_LINK_NETNSID], 0));
        live_line(out, "%d %s %s flags=%x oper=%s mac=%s master=%u link=%u%s%s%s%s\n", info->ifi_index,
                  netlink_text(out, a[IFLA_IFNAME], "?"), kind, info->ifi_flags,
                  oper_name(netlink_u8(a[IFLA_OPERSTATE], 0)), mac_text(out, a[IFLA_ADDRESS]),
                  netlink_u32(a[IFLA_MASTER], 0), netlink_u32(a[IFLA_LINK], 0), ns,
                  netlink_u8(x[IFLA_XDP_ATTACHED], 0) ? " xdp=1" : "", kind_words(out, kind, l[IFLA_INFO_DATA]),
                  strcmp(slave, "bridge") == 0 ? port_words(out, l[IFLA_INFO_SLAVE_DATA]) : "");
        vf_lines(out, info->ifi_index, a[IFLA_VFINFO_LIST]);
}

static int answer_links(struct live *l, const char *subject, struct answer *ret)
{
        const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
        const struct netlink_request request = {RTM_GETLINK, &info, sizeof(info), RTEXT_FILTER_VF};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_ROUTE, &request, link_line), ret);
}

static void vlan_lines(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct ifinfomsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[IFLA_MAX + 1], *entry;
        unsigned int first = 0;

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, IFLA_MAX);
        if (!a[IFLA_AF_SPEC])
                return;
        mnl_attr_for_each_nested(entry, a[IFLA_AF_SPEC])
        {
                const struct bridge_vlan_info *vlan = mnl_attr_get_payload(entry);

                if (mnl_attr_get_type(entry) != IFLA_BRIDGE_VLAN_INFO ||
                    mnl_attr_get_payload_len(entry) < sizeof(*vlan))
                        continue;
                if (vlan->flags & BRIDGE_VLAN_INFO_RANGE_BEGIN)
                        first = vlan->vid;
                else if (vlan->flags & BRIDGE_VLAN_INFO_RANGE_END)
                        live_line(out, "%d %u-%u\n", info->ifi_index, first, vlan->vid);
                else
                        live_line(out, "%d %u\n", info->ifi_index, vlan->vid);
        }
}

static int answer_bridge_vlans(struct live *l, const char *subject, struct answer *ret)
{
        const struct ifinfomsg info = {.ifi_family = AF_BRIDGE};
        const struct netlink_request request = {RTM_GETLINK, &info, sizeof(info), RTEXT_FILTER_BRVLAN_COMPRESSED};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_ROUTE, &request, vlan_lines), ret);
}

static void ingress_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct tcmsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[TCA_MAX + 1];
        char *kind;

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, TCA_MAX);
        kind = netlink_text(out, a[TCA_KIND], "-");
        if (strcmp(kind, "clsact") == 0 || strcmp(kind, "ingress") == 0)
                live_line(out, "%d %s\n", info->tcm_ifindex, kind);
}

static int answer_ingress(struct live *l, const char *subject, struct answer *ret)
{
        const struct tcmsg info = {.tcm_family = AF_UNSPEC};
        const struct netlink_request request = {RTM_GETQDISC, &info, sizeof(info), 0};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_ROUTE, &request, ingress_line), ret);
}

/* "inet ADDRESS/LENGTH" */
static char *address_text(struct live_lines *out, int family, const struct nlattr *attr, unsigned int length)
{
        char text[INET6_ADDRSTRLEN];
        size_t bytes = family == AF_INET6 ? 16 : 4;
        static const uint8_t any[16];
        const void *address = attr && mnl_attr_get_payload_len(attr) >= bytes ? mnl_attr_get_payload(attr) : any;

        if (!inet_ntop(family, address, text, sizeof(text)))
                return NULL;
        return arena_printf(live_arena(out->l), "%s %s/%u", family == AF_INET6 ? "inet6" : "inet", text, length);
}

static void address_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct ifaddrmsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[IFA_MAX + 1];
        char *text;

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, IFA_MAX);
        text = address_text(out, info->ifa_family, a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS], info->ifa_prefixlen);
        if (text)
                live_line(out, "%u %s\n", info->ifa_index, text);
}

static int answer_addresses(struct live *l, const char *subject, struct answer *ret)
{
        const struct ifaddrmsg info = {.ifa_family = AF_UNSPEC};
        const struct netlink_request request = {RTM_GETADDR, &info, sizeof(info), 0};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_ROUTE, &request, address_line), ret);
}

static void route_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        static const char *const types[] = {"unspec",    "unicast",     "local",    "broadcast", "anycast", "multicast",
                                            "blackhole", "unreachable", "prohibit", "throw",     "nat"};
        const struct rtmsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[RTA_MAX + 1];
        char *text;

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, RTA_MAX);
        text = address_text(out, info->rtm_family, a[RTA_DST], info->rtm_dst_len);
        if (text)
                live_line(out, "%s %s %u %u\n", text, info->rtm_type < ARRAY_LEN(types) ? types[info->rtm_type] : "?",
                          netlink_u32(a[RTA_OIF], 0), netlink_u32(a[RTA_TABLE], info->rtm_table));
}

static int answer_routes(struct live *l, const char *subject, struct answer *ret)
{
        const struct rtmsg info = {.rtm_family = AF_UNSPEC};
        const struct netlink_request request = {RTM_GETROUTE, &info, sizeof(info), 0};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_ROUTE, &request, route_line), ret);
}

const struct live_verb live_link_verbs[] = {
        {"links", answer_links},     {"bridge-vlans", answer_bridge_vlans},
        {"ingress", answer_ingress}, {"addresses", answer_addresses},
        {"routes", answer_routes},   {NULL, NULL},
};
