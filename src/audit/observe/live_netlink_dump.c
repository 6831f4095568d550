#include "audit/observe/live_netlink_dump.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "audit/text.h"
#include "base/cleanup.h"
#include "base/number.h"

#define REPLY_BYTES   65536 /* what the kernel sends at most at once */
#define REPLY_WAIT_S  10
#define DUMP_ATTEMPTS 3 /* of a table that changes while it is read */

struct reply_context {
        struct live_lines *out;
        void (*line)(struct live_lines *out, const struct nlmsghdr *reply);
};

static int reply(const struct nlmsghdr *header, void *ctx)
{
        struct reply_context *c = ctx;

        c->line(c->out, header);
        if (c->out->error == 0)
                return MNL_CB_OK;
        errno = -c->out->error;
        return MNL_CB_ERROR;
}

static int replies_read(int fd, char *buf, uint32_t seq, struct reply_context *c)
{
        int more = MNL_CB_OK;

        do {
                struct sockaddr_nl from = {0};
                socklen_t len = sizeof(from);
                ssize_t n = recvfrom(fd, buf, REPLY_BYTES, MSG_TRUNC, (struct sockaddr *)&from, &len);

                if ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid != 0)) /* 0: the kernel's, nobody else's */
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? -ETIMEDOUT : -errno;
                if (n > REPLY_BYTES)
                        return -EMSGSIZE;
                errno = EPROTO;
                more = mnl_cb_run(buf, (size_t)n, seq, 0, reply, c);
        } while (more > MNL_CB_STOP);
        return more < 0 ? -errno : 0;
}

static int request_send(int fd, uint32_t seq, const struct netlink_request *request)
{
        char buf[NETLINK_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = mnl_nlmsg_put_header(buf);

        header->nlmsg_type = request->type;
        header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        header->nlmsg_seq = seq;
        memcpy(mnl_nlmsg_put_extra_header(header, request->header_len), request->header, request->header_len);
        if (request->ext_mask)
                mnl_attr_put_u32(header, IFLA_EXT_MASK, request->ext_mask);
        return send(fd, header, header->nlmsg_len, 0) < 0 ? -errno : 0;
}

int netlink_dump(struct live_lines *out, const char *subject, int protocol, const struct netlink_request *request,
                 void (*line)(struct live_lines *out, const struct nlmsghdr *reply))
{
        const struct timeval wait = {.tv_sec = REPLY_WAIT_S};
        struct reply_context c = {.out = out, .line = line};
        size_t before = out->len;
        uint64_t pid = (uint64_t)getpid();
        int r = strcmp(subject, "self") == 0 ? 0 : number_parse(subject, INT32_MAX, &pid);

        if (r < 0)
                return r;
        _cleanup_fd_ int fd = live_netlink_open(out->l, (pid_t)pid, protocol);
        if (fd < 0)
                return fd;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
                return -errno;
        _cleanup_free_ char *buf = malloc(REPLY_BYTES);
        if (!buf)
                return -ENOMEM;
        r = -EINTR;
        for (uint32_t seq = 1; r == -EINTR && seq <= DUMP_ATTEMPTS; seq++) { /* EINTR: NLM_F_DUMP_INTR */
                out->len = before;
                r = request_send(fd, seq, request);
                if (r == 0)
                        r = replies_read(fd, buf, seq, &c);
        }
        return r;
}

void netlink_attrs(const struct nlmsghdr *reply, size_t header_len, const struct nlattr **ret, size_t max)
{
        const struct nlattr *attr;

        memset(ret, 0, (max + 1) * sizeof(ret[0]));
        mnl_attr_for_each(attr, reply, header_len) if (mnl_attr_get_type(attr) <= max) ret[mnl_attr_get_type(attr)] =
                attr;
}

void netlink_nested(const struct nlattr *nest, const struct nlattr **ret, size_t max)
{
        const struct nlattr *attr;

        memset(ret, 0, (max + 1) * sizeof(ret[0]));
        if (nest)
                mnl_attr_for_each_nested(attr, nest) if (mnl_attr_get_type(attr) <= max) ret[mnl_attr_get_type(attr)] =
                        attr;
}

static bool holds(const struct nlattr *attr, size_t len)
{
        return attr && mnl_attr_get_payload_len(attr) >= len;
}

uint8_t netlink_u8(const struct nlattr *attr, uint8_t fallback)
{
        return holds(attr, 1) ? mnl_attr_get_u8(attr) : fallback;
}

uint16_t netlink_u16(const struct nlattr *attr, uint16_t fallback)
{
        return holds(attr, 2) ? mnl_attr_get_u16(attr) : fallback;
}

uint32_t netlink_u32(const struct nlattr *attr, uint32_t fallback)
{
        return holds(attr, 4) ? mnl_attr_get_u32(attr) : fallback;
}

uint32_t netlink_be32(const struct nlattr *attr, uint32_t fallback)
{
        return holds(attr, 4) ? ntohl(mnl_attr_get_u32(attr)) : fallback;
}

uint64_t netlink_be64(const struct nlattr *attr, uint64_t fallback)
{
        return holds(attr, 8) ? be64toh(mnl_attr_get_u64(attr)) : fallback;
}

char *netlink_text(struct live_lines *out, const struct nlattr *attr, const char *fallback)
{
        const char *bytes = attr ? mnl_attr_get_payload(attr) : NULL;

        if (!bytes)
                return arena_text(live_arena(out->l), fallback);
        return text_escape(live_arena(out->l), bytes, strnlen(bytes, mnl_attr_get_payload_len(attr)));
}
