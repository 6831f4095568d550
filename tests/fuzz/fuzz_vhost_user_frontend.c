/*
 * A front end, and a back end that answers what it wants: the right answer with any bytes changed, any descriptors,
 * more or less of it, or the end; and messages of its own. Time is made up: when the front end would wait for an
 * answer, the back end makes one, and where it does not, the time is over.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "vhost_user/frontend.h"

int __wrap_poll(struct pollfd *p, nfds_t count, int timeout);
int __real_poll(struct pollfd *p, nfds_t count, int timeout);

#define RAM         0x20000
#define HOLE        0x10000 /* two regions */
#define QUEUES_MAX  4
#define CONFIG      32
#define WANTED      (1ULL << 32 | 3ULL << 28 | 0xff)
#define INFLIGHT_AT 90
#define PROTOCOL    0x1b229

static struct guest_ram ram;
static int ram_fd, event_fd, any_fd[4];

static struct vu_frontend front;
static struct reader *input;
static int back = -1, channel = -1; /* the back end's ends */
static uint64_t offered;            /* features, as last said */

static void world_open(void)
{
        int pair[2];

        MUST(guest_ram_map(&ram, RAM, HOLE, 1 << 20, &ram_fd, NULL) == 0);
        event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        any_fd[0] = memfd_create("fuzz", MFD_CLOEXEC);
        MUST(event_fd >= 0 && any_fd[0] >= 0 && ftruncate(any_fd[0], 4096) == 0);
        any_fd[1] = event_fd;
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        any_fd[2] = pair[0];
        any_fd[3] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- the back end ---- */

/* What the front end says is within the protocol, always. */
static void check_request(const struct vu_message *m)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);

        MUST((kind->protocol & ~front.protocol_features) == 0);
        MUST(!(m->head.flags & VU_FLAG_NEED_REPLY) ||
             (!kind->reply_always && front.protocol_features & VU_PROTOCOL_REPLY_ACK));
        if (m->head.request == VU_SET_FEATURES)
                MUST((m->body.u64 & ~offered) == 0);
        if (m->head.request == VU_SET_VRING_ENABLE)
                MUST(offered & VU_F_PROTOCOL_FEATURES);
        if (m->head.request >= VU_SET_VRING_NUM && m->head.request <= VU_GET_VRING_BASE)
                MUST(m->body.state.index < front.queues);
}

/* The right answer, in the place of the request. */
static void right_answer(struct vu_message *m)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);

        m->head.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
        if (m->head.request != VU_GET_CONFIG)
                m->head.size_bytes = kind->reply_max;
        switch (m->head.request) {
        case VU_GET_FEATURES:
                m->body.u64 = WANTED | VU_F_PROTOCOL_FEATURES;
                break;
        case VU_GET_PROTOCOL_FEATURES:
                m->body.u64 = PROTOCOL;
                break;
        case VU_GET_QUEUE_NUM:
                m->body.u64 = 2;
                break;
        case VU_GET_MAX_MEM_SLOTS:
                m->body.u64 = 8;
                break;
        case VU_GET_INFLIGHT_FD:
                m->body.inflight.size_bytes = 4096;
                m->fds[0] = any_fd[0];
                m->fd_count = 1;
                break;
        case VU_GET_CONFIG:
        case VU_GET_VRING_BASE:
                break;
        default:
                m->body.u64 = 0;
                break;
        }
}

static void change(struct vu_message *m, uint8_t how)
{
        for (unsigned int changes = how & 3; changes > 0; changes--) {
                unsigned int at = (unsigned int)read_in(input, 0, 39);
                unsigned int bytes = 1U << (read_u8(input) & 3);
                uint64_t value = read_u8(input) & 1 ? read_u64(input) : read_u8(input);

                memcpy(m->body.bytes + at, &value, bytes);
        }
        if (how & 4) {
                uint8_t at = read_u8(input) % 3;
                uint32_t value = read_u8(input) & 1 ? read_u32(input) : read_u8(input);

                memcpy((uint8_t *)&m->head + 4 * at, &value, sizeof(value));
        }
        if (how & 8) {
                m->fd_count = (unsigned int)read_in(input, 0, VU_FDS_MAX);
                for (unsigned int i = 0; i < m->fd_count; i++)
                        m->fds[i] = any_fd[read_u8(input) & 3];
        }
}

static void say(int fd, const struct vu_message *m, uint32_t cut)
{
        union {
                struct cmsghdr head;
                char bytes[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
        } control = {0};
        uint8_t all[sizeof(m->head) + sizeof(m->body)];
        size_t len = m->head.size_bytes < sizeof(m->body) ? m->head.size_bytes : sizeof(m->body);
        struct iovec v = {all, sizeof(m->head) + len};
        struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};

        memcpy(all, &m->head, sizeof(m->head));
        memcpy(all + sizeof(m->head), &m->body, sizeof(m->body));
        if (cut < v.iov_len)
                v.iov_len = cut;
        if (v.iov_len == 0)
                return;
        if (m->fd_count > 0) {
                h.msg_control = &control;
                h.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
                control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(m->fd_count * sizeof(int)),
                                                .cmsg_level = SOL_SOCKET,
                                                .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.head), m->fds, m->fd_count * sizeof(int));
        }
        MUST(sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0);
}

static void answer(struct vu_message *m)
{
        uint8_t how = read_u8(input);
        uint32_t cut = how & 0x10 ? read_u8(input) : UINT32_MAX;
        bool features_asked = m->head.request == VU_GET_FEATURES;
        uint64_t features;

        vu_message_close(m);
        right_answer(m);
        change(m, how);
        memcpy(&features, m->body.bytes, sizeof(features));
        if (features_asked)
                offered = cut == UINT32_MAX ? features : UINT64_MAX; /* cut, the rest may be of anything */
        say(back, m, cut);
        if (how & 0x20)
                say(back, m, cut);
        if (how & 0x40)
                fd_closep(&back);
}

/* Reads what the front end has said. Returns whether there is anything for it to look at. */
static bool back_works(void)
{
        bool said = false;
        struct vu_message m;

        while (back >= 0 && vu_message_receive(back, true, NULL, 1000, &m) == 0) {
                check_request(&m);
                if (vu_message_kind(m.head.request, true)->reply_always || m.head.flags & VU_FLAG_NEED_REPLY) {
                        answer(&m);
                        m.fd_count = 0; /* the answer's are not its own */
                        said = true;
                }
                vu_message_close(&m);
        }
        return said || back < 0;
}

int __wrap_poll(struct pollfd *p, nfds_t count, int timeout)
{
        if (!target_runs)
                return __real_poll(p, count, timeout);
        if (p->fd != front.fd || !(p->events & POLLIN) || !back_works())
                return 0;
        p->revents = POLLIN;
        return 1;
}

/* ---- the VMM ---- */

static void must_be_whole(int r, const struct err *e)
{
        if (r < 0 && r != -EPIPE)
                must_be_error(e, r, STATUS_BIT(STATUS_FAILURE));
        MUST((front.features & ~WANTED) == 0 && (front.features & ~offered) == 0);
        MUST(front.queues <= QUEUES_MAX && front.config_bytes <= CONFIG);
        MUST((front.protocol_features & ~(uint64_t)PROTOCOL) == 0);
        MUST(front.inflight_fd == -1 || front.inflight_fd == INFLIGHT_AT);
        for (unsigned int i = front.config_bytes; i < sizeof(front.config); i++)
                MUST(front.config[i] == 0);
}

static int connect_anew(void)
{
        int pair[2], own[2], r;
        struct err e = ERR_INIT;

        vu_frontend_disconnect(&front);
        fd_closep(&back);
        fd_closep(&channel);
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, own) == 0);
        back = pair[1];
        channel = own[1];
        r = vu_frontend_connect(&front, pair[0], WANTED, QUEUES_MAX, CONFIG, own, &e);
        must_be_whole(r, &e);
        MUST(r == 0 || (front.fd == -1 && front.request_fd == -1));
        return r;
}

static int start(void)
{
        struct vu_frontend_queue queues[QUEUES_MAX] = {0};
        struct err e = ERR_INIT;
        int r;

        for (unsigned int i = 0; i < front.queues; i++)
                queues[i] = (struct vu_frontend_queue){.size = (uint16_t)(1U << (read_u8(input) & 7)),
                                                       .descriptors = 0x1000 + 0x3000ULL * i,
                                                       .driver = 0x2000 + 0x3000ULL * i,
                                                       .device = 0x3000 + 0x3000ULL * i,
                                                       .next_avail = read_u8(input),
                                                       .kick_fd = event_fd,
                                                       .call_fd = read_u8(input) & 1 ? event_fd : -1};
        r = vu_frontend_start(&front, &ram, ram_fd, front.features, queues, front.queues, &e);
        must_be_whole(r, &e);
        return r;
}

static int request(void)
{
        struct vu_message m = {.head = {VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0}};
        struct err e = ERR_INIT;
        uint8_t how = read_u8(input);
        int r;

        if (channel < 0 || front.request_fd < 0)
                return 0;
        if (how & 0x20)
                m.head.flags |= VU_FLAG_NEED_REPLY;
        change(&m, how);
        say(channel, &m, how & 0x10 ? read_u8(input) : UINT32_MAX);
        r = vu_frontend_request_handle(&front, &e);
        must_be_whole(r, &e);
        MUST(r == 1 || r < 0);
        return r;
}

static int step(void)
{
        struct err e = ERR_INIT;
        uint8_t byte = 1;
        int r;

        if (front.fd < 0)
                return connect_anew();
        switch (read_u8(input) & 7) {
        case 0:
                return -EPIPE; /* the supervisor has ended it */
        case 1:
        case 2:
                return start();
        case 3:
                r = vu_frontend_config_fetch(&front, &e);
                break;
        case 4:
                r = vu_frontend_config_write(&front, read_u8(input) & 31, &byte, 1, &e);
                break;
        case 5:
                return request();
        default:
                r = vu_frontend_stop(&front, front.queues, &e);
                MUST(front.inflight_fd == -1);
                break;
        }
        must_be_whole(r, &e);
        return r;
}

static int lowest_free(void)
{
        int fd = fcntl(event_fd, F_DUPFD_CLOEXEC, 0);

        MUST(fd >= 0);
        close(fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};
        int free_before;

        if (ram.region_count == 0)
                world_open();
        free_before = lowest_free();
        input = &r;
        offered = 0;
        vu_frontend_init(&front, INFLIGHT_AT);
        target_runs = true;
        while (r.len > 0)
                if (step() < 0)
                        vu_frontend_disconnect(&front);
        vu_frontend_fini(&front);
        target_runs = false;
        fd_closep(&back);
        fd_closep(&channel);
        MUST(lowest_free() == free_before && fcntl(INFLIGHT_AT, F_GETFD) < 0);
        return 0;
}
