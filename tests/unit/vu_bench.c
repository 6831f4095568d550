#include "vu_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

struct driver driver;

int world_open(void **state)
{
        driver_init(&driver);
        return 0;
}

int world_close(void **state)
{
        driver_fini(&driver);
        return 0;
}

#define FEATURES (WORLD_FEATURES | VU_F_PROTOCOL_FEATURES)
#define PROTOCOL                                                                                 \
        (VU_PROTOCOL_MQ | VU_PROTOCOL_REPLY_ACK | VU_PROTOCOL_BACKEND_REQ | VU_PROTOCOL_CONFIG | \
         VU_PROTOCOL_INFLIGHT_SHMFD | VU_PROTOCOL_RESET_DEVICE | VU_PROTOCOL_CONFIGURE_MEM_SLOTS | VU_PROTOCOL_STATUS)

static void wire_fd(struct wire *w, int fd)
{
        assert_true(fd >= 0);
        w->fds[w->fd_count++] = fd;
}

static void wire_event(struct wire *w)
{
        wire_fd(w, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static void wire_inflight(struct wire *w, bool hand_over)
{
        struct vu_payload_inflight i = {.queues = WORLD_QUEUES, .queue_size = WORLD_SIZE};

        if (hand_over) {
                i.size_bytes = 4096;
                wire_fd(w, world_memfd("inflight", 4096, F_SEAL_SHRINK | F_SEAL_GROW));
        }
        memcpy(w->payload, &i, sizeof(i));
}

static void wire_region(struct wire *w, const struct driver *d, bool add)
{
        struct vu_payload_mem_reg m = {.region = {.len_bytes = WORLD_RAM}};

        if (add) { /* beside what is there */
                m.region.base = m.region.peer = 1ULL << 30;
                wire_fd(w, fcntl(d->ram_fd, F_DUPFD_CLOEXEC, 3));
        }
        memcpy(w->payload, &m, sizeof(m));
}

static void wire_table(struct wire *w, const struct driver *d)
{
        struct vu_payload_mem_table m = {.count = 1, .regions = {{.len_bytes = WORLD_RAM}}};

        wire_fd(w, fcntl(d->ram_fd, F_DUPFD_CLOEXEC, 3));
        memcpy(w->payload, &m, VU_MEM_TABLE_BYTES(1));
        w->head.size_bytes = (uint32_t)VU_MEM_TABLE_BYTES(1);
}

static void wire_config(struct wire *w, uint32_t off_bytes, uint32_t len_bytes)
{
        struct vu_payload_config c = {.off_bytes = off_bytes, .size_bytes = len_bytes};

        memcpy(w->payload, &c, VU_CONFIG_BYTES(len_bytes));
        w->head.size_bytes = (uint32_t)VU_CONFIG_BYTES(len_bytes);
}

static void wire_u64(struct wire *w, uint64_t value)
{
        memcpy(w->payload, &value, sizeof(value));
}

static void wire_state(struct wire *w, uint32_t num)
{
        struct vu_payload_vring_state s = {.num = num};

        memcpy(w->payload, &s, sizeof(s));
}

static void wire_addr(struct wire *w)
{
        struct vu_payload_vring_addr a = {.descriptors = world_table(0),
                                          .avail = world_avail(0),
                                          .used = world_used(0)};

        memcpy(w->payload, &a, sizeof(a));
}

static void wire_channel(struct wire *w)
{
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        close(pair[1]);
        wire_fd(w, pair[0]);
}

void wire_init(struct wire *w, const struct driver *d, uint32_t request, uint32_t flags)
{
        const struct vu_message_kind *kind = vu_message_kind(request, true);

        assert_non_null(kind);
        memset(w, 0, sizeof(*w));
        w->head = (struct vu_header){request, VU_FLAG_VERSION | flags, kind->size_max};
        switch (request) {
        case VU_SET_FEATURES:
                wire_u64(w, FEATURES);
                break;
        case VU_SET_PROTOCOL_FEATURES:
                wire_u64(w, PROTOCOL);
                break;
        case VU_SET_STATUS:
                wire_u64(w, 15);
                break;
        case VU_SET_VRING_NUM:
                wire_state(w, WORLD_SIZE);
                break;
        case VU_SET_VRING_ENABLE:
                wire_state(w, 1);
                break;
        case VU_SET_VRING_ADDR:
                wire_addr(w);
                break;
        case VU_SET_VRING_KICK:
        case VU_SET_VRING_CALL:
        case VU_SET_VRING_ERR:
                wire_event(w);
                break;
        case VU_SET_BACKEND_REQ_FD:
                wire_channel(w);
                break;
        case VU_GET_CONFIG:
                wire_config(w, 0, WORLD_CONFIG);
                break;
        case VU_SET_CONFIG:
                wire_config(w, 8, 1);
                break;
        case VU_GET_INFLIGHT_FD:
        case VU_SET_INFLIGHT_FD:
                wire_inflight(w, request == VU_SET_INFLIGHT_FD);
                break;
        case VU_SET_MEM_TABLE:
                wire_table(w, d);
                break;
        case VU_ADD_MEM_REG:
        case VU_REM_MEM_REG:
                wire_region(w, d, request == VU_ADD_MEM_REG);
                break;
        default:
                break;
        }
        w->payload_bytes = w->head.size_bytes;
}

void wire_fini(struct wire *w)
{
        while (w->fd_count > 0)
                close(w->fds[--w->fd_count]);
}

static int wire_piece(int fd, const struct wire *w, uint32_t from, uint32_t to, bool with_fds)
{
        uint8_t all[sizeof(w->head) + sizeof(w->payload)];
        union {
                struct cmsghdr head;
                char bytes[CMSG_SPACE(sizeof(w->fds))];
        } control = {0};
        struct iovec v = {all + from, to - from};
        struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
        ssize_t n;

        memcpy(all, &w->head, sizeof(w->head));
        memcpy(all + sizeof(w->head), w->payload, sizeof(w->payload));
        if (with_fds) {
                h.msg_control = &control;
                h.msg_controllen = CMSG_SPACE(w->fd_count * sizeof(int));
                control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(w->fd_count * sizeof(int)),
                                                .cmsg_level = SOL_SOCKET,
                                                .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.head), w->fds, w->fd_count * sizeof(int));
        }
        n = sendmsg(fd, &h, MSG_NOSIGNAL);
        return n < 0 ? -errno : n == (ssize_t)(to - from) ? 0 : -EIO;
}

int wire_send(int fd, const struct wire *w, uint32_t len_bytes)
{
        uint32_t at = w->fd_count > 0 && w->fds_at < len_bytes ? w->fds_at : 0;
        int r = at > 0 ? wire_piece(fd, w, 0, at, false) : 0;

        return r < 0 || at == len_bytes ? r : wire_piece(fd, w, at, len_bytes, w->fd_count > 0);
}

int bench_say(struct bench *x, const struct wire *w, struct err *e)
{
        assert_int_equal(wire_send(x->front, w, (uint32_t)sizeof(w->head) + w->payload_bytes), 0);
        return vu_backend_handle(&x->b, e);
}

bool bench_answer(struct bench *x, uint32_t request, struct vu_message *ret)
{
        struct pollfd p = {.fd = x->front, .events = POLLIN};

        if (poll(&p, 1, 0) == 0 || p.revents & POLLHUP)
                return false;
        assert_int_equal(vu_message_receive(x->front, false, vu_message_kind(request, true), 1000, ret), 0);
        assert_int_equal(ret->head.request, request);
        return true;
}

uint64_t bench_ask(struct bench *x, struct wire *w, struct vu_message *ret)
{
        struct vu_message answer;
        struct err e = ERR_INIT;

        w->head.flags |= VU_FLAG_NEED_REPLY;
        if (bench_say(x, w, &e) != 0)
                fail_msg("%s", e.text);
        assert_true(bench_answer(x, w->head.request, &answer));
        if (ret)
                *ret = answer;
        else
                vu_message_close(&answer);
        return vu_message_kind(w->head.request, true)->reply_always ? 0 : answer.body.u64;
}

/* As a front end says it: without the flag where acknowledgements are not agreed on. */
static void bench_do(struct bench *x, uint32_t request, uint32_t index)
{
        struct err e = ERR_INIT;
        struct vu_message m;
        struct wire w;

        wire_init(&w, x->d, request, 0);
        if (request == VU_SET_VRING_ADDR && index == 1) {
                struct vu_payload_vring_addr a = {.descriptors = world_table(1),
                                                  .avail = world_avail(1),
                                                  .used = world_used(1)};

                memcpy(w.payload, &a, sizeof(a));
        }
        if (index > 0)
                memcpy(w.payload, &index, sizeof(index));
        if (bench_say(x, &w, &e) != 0)
                fail_msg("%s", e.text);
        if (vu_message_kind(request, true)->reply_always) {
                assert_true(bench_answer(x, request, &m));
                vu_message_close(&m);
        }
        wire_fini(&w);
}

void bench_init(struct bench *x, struct driver *d, enum bench_state state)
{
        static const uint32_t ring[] = {VU_SET_VRING_NUM,  VU_SET_VRING_BASE, VU_SET_VRING_ADDR,
                                        VU_SET_VRING_CALL, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE};
        int pair[2];

        memset(&x->echo, 0, sizeof(x->echo));
        x->d = d;
        x->channel = -1;
        driver_rings_clear(d);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        x->front = pair[0];
        vu_backend_init(&x->b, &echo_ops, &x->echo, pair[1]);
        if (state >= BENCH_FEATURES) {
                bench_do(x, VU_SET_PROTOCOL_FEATURES, 0);
                bench_do(x, VU_SET_FEATURES, 0);
                bench_do(x, VU_SET_BACKEND_REQ_FD, 0);
        }
        if (state >= BENCH_MEMORY) {
                bench_do(x, VU_SET_MEM_TABLE, 0);
                bench_do(x, VU_SET_INFLIGHT_FD, 0);
        }
        for (uint32_t q = 0; q < WORLD_QUEUES && state >= BENCH_RUNNING; q++)
                for (size_t i = 0; i < ARRAY_LEN(ring); i++)
                        bench_do(x, ring[i], q);
        for (uint32_t q = 0; q < WORLD_QUEUES && state >= BENCH_RUNNING; q++)
                assert_true(x->b.queues[q].started);
        for (uint32_t q = 0; q < WORLD_QUEUES && state >= BENCH_STOPPED; q++)
                bench_do(x, VU_GET_VRING_BASE, q);
}

void bench_check(struct bench *x)
{
        for (unsigned int i = 0; i < WORLD_QUEUES; i++) {
                struct vu_queue *q = &x->b.queues[i];
                const struct virtq_layout *l = &q->ring.layout;

                assert_true(x->echo.queues[i] == (q->started ? q : NULL));
                assert_true(!q->started || (q->live && q->kick_fd >= 0));
                if (!q->started)
                        continue;
                assert_true(q->ring.table == guest_ram_at(&x->b.ram, l->descriptors, 16ULL * l->size));
                assert_non_null(q->ring.table);
                echo_serve(&x->echo, q);
        }
}

void bench_fini(struct bench *x)
{
        fd_closep(&x->front);
        fd_closep(&x->channel);
        vu_backend_fini(&x->b);
        assert_true(x->echo.starts == x->echo.stops);
}
