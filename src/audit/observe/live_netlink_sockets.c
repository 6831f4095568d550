/*
 * Sockets that wait for strangers, as sock_diag(7) has them. NS as in live_netlink_links.c.
 *
 *   listeners NS      "tcp ADDRESS PORT UID INODE INDEX" for each listening TCP socket, and
 *                     "udp ..." for each UDP socket that is connected to nobody; ADDRESS 0.0.0.0 or :: for any;
 *                     INDEX of the interface it is bound to, 0: any
 *   vsock-listeners   "CID PORT INODE" for each listening socket of AF_VSOCK; CID 4294967295: any. -ENOENT, -EINVAL:
 *                     the kernel cannot tell
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "audit/observe/live_netlink_dump.h"

#define STATE_CLOSE  7 /* include/net/tcp_states.h; a UDP socket that is connected to nobody */
#define STATE_LISTEN 10

static void inet_line(struct live_lines *out, const struct nlmsghdr *reply, const char *protocol)
{
        const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(reply);
        char text[INET6_ADDRSTRLEN];

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*msg) ||
            !inet_ntop(msg->idiag_family, msg->id.idiag_src, text, sizeof(text)))
                return;
        live_line(out, "%s %s %u %u %u %u\n", protocol, text, ntohs(msg->id.idiag_sport), msg->idiag_uid,
                  msg->idiag_inode, msg->id.idiag_if);
}

static void tcp_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        inet_line(out, reply, "tcp");
}

static void udp_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        inet_line(out, reply, "udp");
}

static int answer_listeners(struct live *l, const char *subject, struct answer *ret)
{
        static const uint8_t families[] = {AF_INET, AF_INET6};
        struct live_lines out = {.l = l};
        int r = 0;

        for (size_t i = 0; r == 0 && i < 4; i++) {
                bool tcp = i < 2;
                const struct inet_diag_req_v2 diag = {
                        .sdiag_family = families[i % 2],
                        .sdiag_protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP,
                        .idiag_states = 1U << (tcp ? STATE_LISTEN : STATE_CLOSE),
                };
                const struct netlink_request request = {SOCK_DIAG_BY_FAMILY, &diag, sizeof(diag), 0};

                r = netlink_dump(&out, subject, NETLINK_SOCK_DIAG, &request, tcp ? tcp_line : udp_line);
        }
        return live_lines_answer(&out, r, ret);
}

static void vsock_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct vsock_diag_msg *msg = mnl_nlmsg_get_payload(reply);

        if (mnl_nlmsg_get_payload_len(reply) >= sizeof(*msg))
                live_line(out, "%u %u %u\n", msg->vdiag_src_cid, msg->vdiag_src_port, msg->vdiag_ino);
}

static int answer_vsock_listeners(struct live *l, const char *subject, struct answer *ret)
{
        const struct vsock_diag_req diag = {.sdiag_family = AF_VSOCK, .vdiag_states = 1U << STATE_LISTEN};
        const struct netlink_request request = {SOCK_DIAG_BY_FAMILY, &diag, sizeof(diag), 0};
        struct live_lines out = {.l = l};

        (void)subject;
        return live_lines_answer(&out, netlink_dump(&out, "self", NETLINK_SOCK_DIAG, &request, vsock_line), ret);
}

const struct live_verb live_listener_verbs[] = {
        {"listeners", answer_listeners},
        {"vsock-listeners", answer_vsock_listeners},
        {NULL, NULL},
};
