/*
 * Packet filters (nf_tables). NS as in live_netlink_links.c. A kernel without nf_tables: no lines.
 *
 *   nft NS   for each base chain "chain FAMILY TABLE NAME TYPE HOOK PRIORITY POLICY DEVICE":
 *            FAMILY inet, ip, ip6, arp, bridge, netdev; POLICY accept or drop; DEVICE "-" where it has none;
 *            for each rule "rule FAMILY TABLE CHAIN HANDLE WORD...": the names of its expressions, with
 *            cmp=HEX     what is compared with
 *            verdict=    accept, drop, jump, goto, return, continue or queue
 *            target=NAME, match=NAME   of iptables
 *
 * Needs CAP_NET_ADMIN over the namespace (-EPERM).
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "audit/observe/live_netlink_dump.h"
#include "base/cleanup.h"

#define WORDS_MAX 1024 /* bytes of one rule's words; longer ones end with "..." */

static const char *family_name(uint8_t family)
{
        switch (family) {
        case NFPROTO_INET:
                return "inet";
        case NFPROTO_IPV4:
                return "ip";
        case NFPROTO_IPV6:
                return "ip6";
        case NFPROTO_ARP:
                return "arp";
        case NFPROTO_BRIDGE:
                return "bridge";
        case NFPROTO_NETDEV:
                return "netdev";
        default:
                return "?";
        }
}

static const char *hook_name(uint8_t family, uint32_t hook)
{
        static const char *const inet[] = {"prerouting", "input", "forward", "output", "postrouting", "ingress"};
        static const char *const arp[] = {"input", "output", "forward"};
        static const char *const netdev[] = {"ingress", "egress"};

        if (family == NFPROTO_ARP)
                return hook < ARRAY_LEN(arp) ? arp[hook] : "?";
        if (family == NFPROTO_NETDEV)
                return hook < ARRAY_LEN(netdev) ? netdev[hook] : "?";
        return hook < ARRAY_LEN(inet) ? inet[hook] : "?";
}

static void chain_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct nfgenmsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[NFTA_CHAIN_MAX + 1], *h[NFTA_HOOK_MAX + 1], *first;
        char *device;

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, NFTA_CHAIN_MAX);
        if (!a[NFTA_CHAIN_HOOK])
                return;
        netlink_nested(a[NFTA_CHAIN_HOOK], h, NFTA_HOOK_MAX);
        device = netlink_text(out, h[NFTA_HOOK_DEV], "-");
        if (!h[NFTA_HOOK_DEV] && h[NFTA_HOOK_DEVS])
                mnl_attr_for_each_nested(first, h[NFTA_HOOK_DEVS]) device = netlink_text(out, first, "-");
        live_line(out, "chain %s %s %s %s %s %d %s %s\n", family_name(info->nfgen_family),
                  netlink_text(out, a[NFTA_CHAIN_TABLE], "?"), netlink_text(out, a[NFTA_CHAIN_NAME], "?"),
                  netlink_text(out, a[NFTA_CHAIN_TYPE], "-"),
                  hook_name(info->nfgen_family, netlink_be32(h[NFTA_HOOK_HOOKNUM], UINT32_MAX)),
                  (int)netlink_be32(h[NFTA_HOOK_PRIORITY], 0),
                  netlink_be32(a[NFTA_CHAIN_POLICY], NF_ACCEPT) == NF_DROP ? "drop" : "accept", device);
}

static const char *verdict_name(uint32_t code)
{
        switch ((int)code) {
        case NF_ACCEPT:
                return "accept";
        case NF_DROP:
                return "drop";
        case NFT_JUMP:
                return "jump";
        case NFT_GOTO:
                return "goto";
        case NFT_RETURN:
                return "return";
        case NFT_CONTINUE:
                return "continue";
        default:
                return "queue";
        }
}

static char *compare_word(struct live_lines *out, const struct nlattr *data)
{
        const struct nlattr *c[NFTA_CMP_MAX + 1], *d[NFTA_DATA_MAX + 1];
        const uint8_t *bytes;
        char hex[2 * NFT_DATA_VALUE_MAXLEN + 1] = "";
        static const char digits[] = "0123456789abcdef";
        size_t n;

        netlink_nested(data, c, NFTA_CMP_MAX);
        netlink_nested(c[NFTA_CMP_DATA], d, NFTA_DATA_MAX);
        if (!d[NFTA_DATA_VALUE])
                return arena_text(live_arena(out->l), "cmp");
        bytes = mnl_attr_get_payload(d[NFTA_DATA_VALUE]);
        n = mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]);
        for (size_t i = 0; i < n && i < NFT_DATA_VALUE_MAXLEN; i++) {
                hex[2 * i] = digits[bytes[i] >> 4];
                hex[2 * i + 1] = digits[bytes[i] & 15];
        }
        return arena_printf(live_arena(out->l), "cmp=%s", hex);
}

static char *expression_word(struct live_lines *out, const struct nlattr *expression)
{
        const struct nlattr *e[NFTA_EXPR_MAX + 1], *i[NFTA_IMMEDIATE_MAX + 1], *d[NFTA_DATA_MAX + 1],
                *v[NFTA_VERDICT_MAX + 1];
        char *name;

        netlink_nested(expression, e, NFTA_EXPR_MAX);
        name = netlink_text(out, e[NFTA_EXPR_NAME], "?");
        if (strcmp(name, "cmp") == 0)
                return compare_word(out, e[NFTA_EXPR_DATA]);
        if (strcmp(name, "target") == 0 || strcmp(name, "match") == 0) { /* of iptables; NFTA_MATCH_NAME is as much */
                netlink_nested(e[NFTA_EXPR_DATA], d, NFTA_TARGET_NAME);
                return arena_printf(live_arena(out->l), "%s=%s", name, netlink_text(out, d[NFTA_TARGET_NAME], "?"));
        }
        if (strcmp(name, "immediate") != 0)
                return name;
        netlink_nested(e[NFTA_EXPR_DATA], i, NFTA_IMMEDIATE_MAX);
        netlink_nested(i[NFTA_IMMEDIATE_DATA], d, NFTA_DATA_MAX);
        if (!d[NFTA_DATA_VERDICT])
                return name;
        netlink_nested(d[NFTA_DATA_VERDICT], v, NFTA_VERDICT_MAX);
        return arena_printf(live_arena(out->l), "verdict=%s",
                            verdict_name(netlink_be32(v[NFTA_VERDICT_CODE], NF_QUEUE)));
}

static void rule_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct nfgenmsg *info = mnl_nlmsg_get_payload(reply);
        const struct nlattr *a[NFTA_RULE_MAX + 1], *expression;
        char *words = arena_text(live_arena(out->l), "");

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
                return;
        netlink_attrs(reply, sizeof(*info), a, NFTA_RULE_MAX);
        if (a[NFTA_RULE_EXPRESSIONS])
                mnl_attr_for_each_nested(expression, a[NFTA_RULE_EXPRESSIONS])
                {
                        if (strlen(words) > WORDS_MAX) {
                                words = arena_printf(live_arena(out->l), "%s ...", words);
                                break;
                        }
                        words = arena_printf(live_arena(out->l), "%s %s", words, expression_word(out, expression));
                }
        live_line(out, "rule %s %s %s %" PRIu64 "%s\n", family_name(info->nfgen_family),
                  netlink_text(out, a[NFTA_RULE_TABLE], "?"), netlink_text(out, a[NFTA_RULE_CHAIN], "?"),
                  netlink_be64(a[NFTA_RULE_HANDLE], 0), words);
}

static int answer_nft(struct live *l, const char *subject, struct answer *ret)
{
        const struct nfgenmsg info = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
        struct netlink_request request = {NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, &info, sizeof(info), 0};
        struct live_lines out = {.l = l};
        int r = netlink_dump(&out, subject, NETLINK_NETFILTER, &request, chain_line);

        if (r == -EPROTONOSUPPORT || r == -EINVAL) /* no nfnetlink, or nothing behind it */
                r = 0;
        else if (r == 0) {
                request.type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
                r = netlink_dump(&out, subject, NETLINK_NETFILTER, &request, rule_line);
        }
        return live_lines_answer(&out, r, ret);
}

const struct live_verb live_nft_verbs[] = {{"nft", answer_nft}, {NULL, NULL}};
