#include "vhost_user/message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/number.h"

_Static_assert(sizeof(struct vu_header) == 12 && sizeof(struct vu_region) == 32, "as on the wire");
_Static_assert(sizeof(struct vu_payload_mem_reg) == 40 && sizeof(struct vu_payload_vring_addr) == 40, "as on the wire");
_Static_assert(sizeof(struct vu_payload_inflight) == 24 && VU_CONFIG_BYTES(0) == 12, "as on the wire");
_Static_assert(VU_MEM_TABLE_BYTES(VU_REGIONS_MAX) <= sizeof(struct vu_payload_config), "bytes[] is the longest");

/* The control buffer holds VU_FDS_MAX descriptors and not one more: what exceeds it, the kernel closes and says so. */
union control {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
};
_Static_assert(CMSG_SPACE(VU_FDS_MAX * sizeof(int)) == CMSG_LEN(VU_FDS_MAX * sizeof(int)), "no room for a ninth");

#define STATE sizeof(struct vu_payload_vring_state)
#define ADDR  sizeof(struct vu_payload_vring_addr)
#define REG   sizeof(struct vu_payload_mem_reg)

/* What has no answer of its own is answered by a u64 when that is asked for. */
#define ACK                   .reply_min = 8, .reply_max = 8
#define ANSWER(min, max, fds) .reply_always = true, .reply_min = (min), .reply_max = (max), .reply_fds_max = (fds)

const struct vu_message_kind vu_front_messages[] = {
        {"GET_FEATURES", VU_GET_FEATURES, 0, 0, 0, 0, ANSWER(8, 8, 0)},
        {"SET_FEATURES", VU_SET_FEATURES, 8, 8, 0, 0, ACK},
        {"SET_OWNER", VU_SET_OWNER, 0, 0, 0, 0, ACK},
        {"RESET_OWNER", VU_RESET_OWNER, 0, 0, 0, 0, ACK},
        {"SET_MEM_TABLE", VU_SET_MEM_TABLE, VU_MEM_TABLE_BYTES(1), VU_MEM_TABLE_BYTES(VU_REGIONS_MAX), 1,
         VU_REGIONS_MAX, ACK},
        {"SET_VRING_NUM", VU_SET_VRING_NUM, STATE, STATE, 0, 0, ACK},
        {"SET_VRING_ADDR", VU_SET_VRING_ADDR, ADDR, ADDR, 0, 0, ACK},
        {"SET_VRING_BASE", VU_SET_VRING_BASE, STATE, STATE, 0, 0, ACK},
        {"GET_VRING_BASE", VU_GET_VRING_BASE, STATE, STATE, 0, 0, ANSWER(STATE, STATE, 0)},
        {"SET_VRING_KICK", VU_SET_VRING_KICK, 8, 8, 0, 1, ACK},
        {"SET_VRING_CALL", VU_SET_VRING_CALL, 8, 8, 0, 1, ACK},
        {"SET_VRING_ERR", VU_SET_VRING_ERR, 8, 8, 0, 1, ACK},
        {"GET_PROTOCOL_FEATURES", VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0, ANSWER(8, 8, 0)},
        {"SET_PROTOCOL_FEATURES", VU_SET_PROTOCOL_FEATURES, 8, 8, 0, 0, ACK},
        {"GET_QUEUE_NUM", VU_GET_QUEUE_NUM, 0, 0, 0, 0, ANSWER(8, 8, 0), .protocol = VU_PROTOCOL_MQ},
        {"SET_VRING_ENABLE", VU_SET_VRING_ENABLE, STATE, STATE, 0, 0, ACK},
        {"SET_BACKEND_REQ_FD", VU_SET_BACKEND_REQ_FD, 0, 0, 1, 1, ACK, .protocol = VU_PROTOCOL_BACKEND_REQ},
        {"GET_CONFIG", VU_GET_CONFIG, VU_CONFIG_BYTES(1), VU_CONFIG_BYTES(VU_CONFIG_MAX), 0, 0,
         ANSWER(0, VU_CONFIG_BYTES(VU_CONFIG_MAX), 0), .protocol = VU_PROTOCOL_CONFIG},
        {"SET_CONFIG", VU_SET_CONFIG, VU_CONFIG_BYTES(1), VU_CONFIG_BYTES(VU_CONFIG_MAX), 0, 0, ACK,
         .protocol = VU_PROTOCOL_CONFIG},
        {"GET_INFLIGHT_FD", VU_GET_INFLIGHT_FD, 20, 24, 0, 0, ANSWER(20, 24, 1),
         .protocol = VU_PROTOCOL_INFLIGHT_SHMFD},
        {"SET_INFLIGHT_FD", VU_SET_INFLIGHT_FD, 20, 24, 1, 1, ACK, .protocol = VU_PROTOCOL_INFLIGHT_SHMFD},
        {"RESET_DEVICE", VU_RESET_DEVICE, 0, 0, 0, 0, ACK, .protocol = VU_PROTOCOL_RESET_DEVICE},
        {"GET_MAX_MEM_SLOTS", VU_GET_MAX_MEM_SLOTS, 0, 0, 0, 0, ANSWER(8, 8, 0),
         .protocol = VU_PROTOCOL_CONFIGURE_MEM_SLOTS},
        {"ADD_MEM_REG", VU_ADD_MEM_REG, REG, REG, 1, 1, ACK, .protocol = VU_PROTOCOL_CONFIGURE_MEM_SLOTS},
        /* No descriptor, but front ends are known that send one. */
        {"REM_MEM_REG", VU_REM_MEM_REG, REG, REG, 0, 1, ACK, .protocol = VU_PROTOCOL_CONFIGURE_MEM_SLOTS},
        {"SET_STATUS", VU_SET_STATUS, 8, 8, 0, 0, ACK, .protocol = VU_PROTOCOL_STATUS},
        {"GET_STATUS", VU_GET_STATUS, 0, 0, 0, 0, ANSWER(8, 8, 0), .protocol = VU_PROTOCOL_STATUS},
};
const size_t vu_front_message_count = ARRAY_LEN(vu_front_messages);

const struct vu_message_kind vu_back_messages[] = {
        {"CONFIG_CHANGE", VU_BACKEND_CONFIG_CHANGE, 0, 0, 0, 0, ACK},
};
const size_t vu_back_message_count = ARRAY_LEN(vu_back_messages);

const struct vu_message_kind *vu_message_kind(uint32_t request, bool to_backend)
{
        const struct vu_message_kind *kinds = to_backend ? vu_front_messages : vu_back_messages;
        size_t count = to_backend ? vu_front_message_count : vu_back_message_count;

        for (size_t i = 0; i < count; i++)
                if (kinds[i].request == request)
                        return &kinds[i];
        return NULL;
}

void vu_message_close(struct vu_message *m)
{
        for (unsigned int i = 0; i < m->fd_count && i < VU_FDS_MAX; i++)
                fd_closep(&m->fds[i]);
        m->fd_count = 0;
}

/* Waits until fd is worth a try. Returns 0, -ETIMEDOUT or another negative errno. */
static int wait_ready(int fd, short events, int64_t deadline_ms)
{
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left;
        int n;

        do {
                left = deadline_ms - clock_now_ms();
                if (left <= 0)
                        return -ETIMEDOUT;
                n = poll(&p, 1, (int)left);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == 0 ? -ETIMEDOUT : 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare" /* in musl's CMSG_NXTHDR() */

/* Takes over what the control buffer brought. Returns 0 or -EPROTO; m owns the descriptors either way. */
static int take_fds(struct vu_message *m, struct msghdr *h)
{
        bool stray = h->msg_flags & (MSG_CTRUNC | MSG_TRUNC);

        for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
                unsigned int n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > VU_FDS_MAX - m->fd_count) {
                        stray = true;
                        continue;
                }
                memcpy(m->fds + m->fd_count, CMSG_DATA(c), n * sizeof(int));
                m->fd_count += n;
        }
        return stray ? -EPROTO : 0;
}

#pragma GCC diagnostic pop

/*
 * Receives exactly len bytes. Descriptors come with a message's first byte (m not NULL) and nowhere else: without a
 * control buffer the kernel closes them, and says so by MSG_CTRUNC.
 */
static int receive_all(int fd, void *buf, size_t len, struct vu_message *m, int64_t deadline_ms)
{
        union control control;
        uint8_t *p = buf;

        while (len > 0) {
                struct iovec v = {.iov_base = p, .iov_len = len};
                struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
                ssize_t n;
                int r;

                if (m) {
                        h.msg_control = &control;
                        h.msg_controllen = sizeof(control);
                }
                n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN)
                        return errno == ECONNRESET ? -EPIPE : -errno;
                if (n < 0) {
                        r = wait_ready(fd, POLLIN, deadline_ms);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (m) {
                        r = take_fds(m, &h);
                        if (r < 0)
                                return r;
                } else if (h.msg_flags & MSG_CTRUNC) {
                        return -EPROTO;
                }
                if (n == 0) /* the end: that of a connection only where a message could begin */
                        return m ? -EPIPE : -EPROTO;
                m = NULL;
                p += n;
                len -= (size_t)n;
        }
        return 0;
}

static bool head_fits(const struct vu_message *m, const struct vu_message_kind *kind, bool reply)
{
        uint32_t flags = m->head.flags, size = m->head.size_bytes;

        if (reply)
                return flags == (VU_FLAG_VERSION | VU_FLAG_REPLY) && m->head.request == kind->request &&
                       size >= kind->reply_min && size <= kind->reply_max && m->fd_count <= kind->reply_fds_max;
        return (flags & ~VU_FLAG_NEED_REPLY) == VU_FLAG_VERSION && size >= kind->size_min && size <= kind->size_max &&
               m->fd_count >= kind->fds_min && m->fd_count <= kind->fds_max;
}

static bool mem_table_fits(const struct vu_message *m)
{
        uint32_t count = m->body.mem_table.count;

        return count >= 1 && count <= VU_REGIONS_MAX && m->head.size_bytes == VU_MEM_TABLE_BYTES(count) &&
               m->fd_count == count;
}

static bool config_fits(const struct vu_message *m)
{
        const struct vu_payload_config *c = &m->body.config;

        if (m->head.size_bytes == 0) /* an answer that says no */
                return true;
        return m->head.size_bytes >= VU_CONFIG_BYTES(1) && c->size_bytes == m->head.size_bytes - VU_CONFIG_BYTES(0) &&
               range_fits(c->off_bytes, c->size_bytes, VU_CONFIG_MAX) && c->flags <= 1;
}

/* Ranges that hold whoever the ends are. An acknowledgement is any number. */
static bool fields_fit(const struct vu_message *m, const struct vu_message_kind *kind, bool reply)
{
        if (reply && !kind->reply_always)
                return true;
        switch (m->head.request) {
        case VU_SET_MEM_TABLE:
                return mem_table_fits(m);
        case VU_GET_CONFIG:
        case VU_SET_CONFIG:
                return config_fits(m);
        case VU_SET_VRING_KICK:
        case VU_SET_VRING_CALL:
        case VU_SET_VRING_ERR:
                return (m->body.u64 & ~(uint64_t)VU_VRING_INDEX_MASK) == (m->fd_count ? 0 : VU_VRING_NO_FD);
        case VU_SET_VRING_ENABLE:
                return m->body.state.num <= 1;
        case VU_SET_VRING_BASE:
        case VU_GET_VRING_BASE:
                return m->body.state.num <= UINT16_MAX;
        case VU_SET_STATUS:
        case VU_GET_STATUS:
                return m->body.u64 <= UINT8_MAX;
        default:
                return true;
        }
}

static int receive(int fd, bool to_backend, const struct vu_message_kind *expect, int64_t deadline_ms,
                   struct vu_message *m)
{
        const struct vu_message_kind *kind = expect;
        int r = receive_all(fd, &m->head, sizeof(m->head), m, deadline_ms);

        if (r < 0)
                return r;
        if (!kind)
                kind = vu_message_kind(m->head.request, to_backend);
        if (!kind || !head_fits(m, kind, expect))
                return -EPROTO;
        r = receive_all(fd, m->body.bytes, m->head.size_bytes, NULL, deadline_ms);
        if (r < 0)
                return r;
        return fields_fit(m, kind, expect) ? 0 : -EPROTO;
}

int vu_message_receive(int fd, bool to_backend, const struct vu_message_kind *expect, int timeout_ms,
                       struct vu_message *ret)
{
        int r;

        memset(ret, 0, sizeof(*ret));
        r = receive(fd, to_backend, expect, clock_now_ms() + timeout_ms, ret);
        if (r < 0)
                vu_message_close(ret);
        return r;
}

int vu_message_send(int fd, const struct vu_message *m, int timeout_ms)
{
        int64_t deadline_ms = clock_now_ms() + timeout_ms;
        size_t sent = 0, head = sizeof(m->head), total = head + m->head.size_bytes;
        union control control = {0};

        if (m->head.size_bytes > sizeof(m->body) || m->fd_count > VU_FDS_MAX)
                return -EINVAL;
        while (sent < total) {
                struct iovec v[2] = {
                        {(uint8_t *)(uintptr_t)&m->head + (sent < head ? sent : head), sent < head ? head - sent : 0},
                        {(uint8_t *)(uintptr_t)&m->body + (sent < head ? 0 : sent - head),
                         sent < head ? m->head.size_bytes : total - sent},
                };
                struct msghdr h = {.msg_iov = v, .msg_iovlen = 2};
                ssize_t n;

                if (sent == 0 && m->fd_count > 0) {
                        h.msg_control = &control;
                        h.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
                        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(m->fd_count * sizeof(int)),
                                                        .cmsg_level = SOL_SOCKET,
                                                        .cmsg_type = SCM_RIGHTS};
                        memcpy(CMSG_DATA(&control.head), m->fds, m->fd_count * sizeof(int));
                }
                n = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EAGAIN) {
                        int r = wait_ready(fd, POLLOUT, deadline_ms);

                        if (r < 0)
                                return r;
                } else if (n < 0 && errno != EINTR) {
                        return errno == ECONNRESET ? -EPIPE : -errno;
                } else if (n > 0) {
                        sent += (size_t)n;
                }
        }
        return 0;
}
