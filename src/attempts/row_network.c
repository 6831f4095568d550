/* E9: the network. */
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define LOOPBACK 0x7f000001U
#define METADATA 0xa9fea9feU /* 169.254.169.254, where clouds keep a guest's credentials */
#define OUTSIDE  0xc0000201U /* 192.0.2.1, of TEST-NET-1 (RFC 5737): stands for a neighbour's address */

static uint16_t be16(unsigned int v)
{
        return (uint16_t)((v & 0xff) << 8 | v >> 8);
}

static uint32_t be32(uint32_t v)
{
        return __builtin_bswap32(v);
}

/* A socket that there is no use for in an empty network. */
static struct attempt_result open_socket(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_socket, a->number, SOCK_DGRAM, 0);

        return r < 0 ? refused(r) : contained("in an empty network");
}

static struct attempt_result open_raw(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_socket, a->number, SOCK_RAW, IPPROTO_ICMP));
}

static struct attempt_result connect_inet(int type, uint32_t address, unsigned int port)
{
        const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = be16(port), .sin_addr = {be32(address)}};
        long r = CALL(SYS_socket, AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (r >= 0)
                r = CALL(SYS_connect, r, &to, sizeof(to));
        return r == -EINPROGRESS ? succeeded("on its way") : reached(r);
}

static struct attempt_result connect_host(const struct attempt_target *t, const struct attempt *a)
{
        return t->tcp_port ? connect_inet((int)a->number, LOOPBACK, (unsigned int)t->tcp_port)
                           : not_run("no port is named");
}

static struct attempt_result connect_metadata(const struct attempt_target *t, const struct attempt *a)
{
        return connect_inet((int)a->number, METADATA, 80);
}

static struct attempt_result connect_outside(const struct attempt_target *t, const struct attempt *a)
{
        return connect_inet((int)a->number, OUTSIDE, 80);
}

static struct attempt_result connect_inet6(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                                        .sin6_port = be16((unsigned int)t->tcp_port),
                                        .sin6_addr = {{{[15] = 1}}}};
        long r = CALL(SYS_socket, AF_INET6, a->number | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (r >= 0)
                r = CALL(SYS_connect, r, &to, sizeof(to));
        return r == -EINPROGRESS ? succeeded("on its way") : reached(r);
}

/* Bound, it could receive what comes from outside. */
static struct attempt_result listen_inet(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = be16(12345)};
        long fd = CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = fd;

        if (r >= 0)
                r = CALL(SYS_bind, fd, &any, sizeof(any));
        return r < 0 ? refused(r) : contained("nobody can come from anywhere");
}

/* Counts the links that the kernel tells of; the first answer has room for more than one. */
static struct attempt_result list_links(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct {
                struct nlmsghdr head;
                struct ifinfomsg link;
        } ask = {.head = {.nlmsg_len = sizeof(ask),
                          .nlmsg_type = RTM_GETLINK,
                          .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
        static _Alignas(8) char answer[16384];
        unsigned int links = 0;
        long n, fd = CALL(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

        if (fd < 0)
                return refused(fd);
        n = CALL(SYS_sendto, fd, &ask, sizeof(ask), 0, &kernel, sizeof(kernel));
        if (n >= 0)
                n = CALL(SYS_recvfrom, fd, answer, sizeof(answer), MSG_DONTWAIT, NULL, NULL);
        if (n < 0)
                return refused(n);
        for (const struct nlmsghdr *h = (const void *)answer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
                links += h->nlmsg_type == RTM_NEWLINK;
        return links == 1 ? contained("sees its own loopback") : succeeded("sees other links");
}

static struct attempt_result set_link_up(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct {
                struct nlmsghdr head;
                struct ifinfomsg link;
        } ask = {
                .head = {.nlmsg_len = sizeof(ask), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
                .link = {.ifi_index = 1, .ifi_flags = 1, .ifi_change = 1}}; /* IFF_UP of the loopback */
        struct {
                struct nlmsghdr head;
                struct nlmsgerr error;
        } answer = {0};
        long r, fd = CALL(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

        if (fd < 0)
                return refused(fd);
        r = CALL(SYS_sendto, fd, &ask, sizeof(ask), 0, &kernel, sizeof(kernel));
        if (r >= 0)
                r = CALL(SYS_recvfrom, fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC, NULL, NULL);
        return reached(r < 0 ? r : answer.error.error);
}

static struct attempt_result vsock_host(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_vm any = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
        long fd = CALL(SYS_socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), r = fd;

        if (r >= 0)
                r = CALL(SYS_bind, fd, &any, sizeof(any));
        return reached(r);
}

static struct attempt_result alg_hash(const struct attempt_target *t, const struct attempt *a)
{
        const struct sockaddr_alg hash = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
        long fd = CALL(SYS_socket, AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), r = fd;

        if (r >= 0)
                r = CALL(SYS_bind, fd, &hash, sizeof(hash));
        return reached(r);
}

static struct attempt_result use_tap(const struct attempt_target *t, const struct attempt *a)
{
        return t->tap > 0 ? reached(CALL(SYS_write, t->tap, "", 0)) : not_run("the role has no tap");
}

const struct attempt row_network[] = {
        {"E9.1", "an AF_INET socket", open_socket, AF_INET, NULL},
        {"E9.2", "an AF_INET6 socket", open_socket, AF_INET6, NULL},
        {"E9.3", "an AF_INET raw socket", open_raw, AF_INET, NULL},
        {"E9.4", "an AF_PACKET socket", open_raw, AF_PACKET, NULL},
        {"E9.5", "list links by AF_NETLINK", list_links, 0, NULL},
        {"E9.6", "bring the loopback up", set_link_up, 0, NULL},
        {"E9.7", "an AF_UNIX socket", open_socket, AF_UNIX, NULL},
        {"E9.8", "an AF_VSOCK socket, bound", vsock_host, 0, NULL},
        {"E9.9", "an AF_ALG socket, bound to sha256", alg_hash, 0, NULL},
        {"E9.10", "connect to a service of the host, TCP", connect_host, SOCK_STREAM, NULL},
        {"E9.11", "connect to a service of the host, UDP", connect_host, SOCK_DGRAM, NULL},
        {"E9.12", "connect to the metadata service, TCP", connect_metadata, SOCK_STREAM, NULL},
        {"E9.13", "connect to the metadata service, UDP", connect_metadata, SOCK_DGRAM, NULL},
        {"E9.14", "connect to a neighbour's address, TCP", connect_outside, SOCK_STREAM, NULL},
        {"E9.15", "connect to a neighbour's address, UDP", connect_outside, SOCK_DGRAM, NULL},
        {"E9.16", "connect to a service of the host, UDP over IPv6", connect_inet6, SOCK_DGRAM, NULL},
        {"E9.17", "bind a TCP port", listen_inet, 0, NULL},
        {"E9.18", "TUNSETIFF to a neighbour's tap", use_tap, 0, NULL},
        {"E9.19", "a forged frame on its own tap", use_tap, 0, NULL},
        {0},
};
