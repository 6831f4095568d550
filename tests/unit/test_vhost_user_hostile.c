/*
 * Hostile ends, enumerated from the codec's own table: each message with each of its fields at nothing, at the most
 * that is allowed and one past it, with too few descriptors and too many, of each kind, in each state; silence, one
 * byte at a time, death at every byte. The other end answers or ends the connection within a bounded time, loses no
 * descriptor and never touches memory that has gone. The same for what a device answers. Counts are printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vu_bench.h"

/* ---- fields ---- */

struct field {
        uint32_t request;
        const char *name;
        unsigned int off_bytes, bytes;
        uint64_t most; /* allowed; one more is not, in any state */
};

#define FIELD(request, type, member, most)                                                  \
        {                                                                                   \
                request, #member, offsetof(type, member), sizeof(((type *)0)->member), most \
        }
#define STATE(request, most)                                                    \
        FIELD(request, struct vu_payload_vring_state, index, WORLD_QUEUES - 1), \
                FIELD(request, struct vu_payload_vring_state, num, most)
#define ADDR(member, most) FIELD(VU_SET_VRING_ADDR, struct vu_payload_vring_addr, member, most)
#define U64(request, most)                 \
        {                                  \
                request, "u64", 0, 8, most \
        }
#define LAST_BASE (0 - WORLD_RAM - 4096) /* the region's end may be the last page, and does not wrap */
#define REGION(request, type, where)                                                                   \
        FIELD(request, type, where.base, LAST_BASE), FIELD(request, type, where.len_bytes, WORLD_RAM), \
                FIELD(request, type, where.peer, LAST_BASE)
#define INFLIGHT(request)                                                 \
        FIELD(request, struct vu_payload_inflight, queues, WORLD_QUEUES), \
                FIELD(request, struct vu_payload_inflight, queue_size, VIRTQ_SIZE_MAX)

static const struct field fields[] = {
        U64(VU_SET_FEATURES, WORLD_FEATURES | VU_F_PROTOCOL_FEATURES),
        U64(VU_SET_PROTOCOL_FEATURES, 0x1b229),
        U64(VU_SET_STATUS, 255),
        U64(VU_SET_VRING_KICK, WORLD_QUEUES - 1),
        U64(VU_SET_VRING_CALL, WORLD_QUEUES - 1),
        U64(VU_SET_VRING_ERR, WORLD_QUEUES - 1),
        STATE(VU_SET_VRING_NUM, VIRTQ_SIZE_MAX),
        STATE(VU_SET_VRING_BASE, 65535),
        STATE(VU_GET_VRING_BASE, 65535),
        STATE(VU_SET_VRING_ENABLE, 1),
        ADDR(index, WORLD_QUEUES - 1),
        ADDR(flags, 0),
        ADDR(descriptors, ~0xfULL),
        ADDR(used, ~3ULL),
        ADDR(avail, ~1ULL),
        FIELD(VU_SET_MEM_TABLE, struct vu_payload_mem_table, count, 1),
        REGION(VU_SET_MEM_TABLE, struct vu_payload_mem_table, regions[0]),
        FIELD(VU_SET_MEM_TABLE, struct vu_payload_mem_table, regions[0].off_bytes, 0),
        REGION(VU_ADD_MEM_REG, struct vu_payload_mem_reg, region),
        FIELD(VU_ADD_MEM_REG, struct vu_payload_mem_reg, region.off_bytes, 0),
        FIELD(VU_REM_MEM_REG, struct vu_payload_mem_reg, region.base, 0),
        FIELD(VU_REM_MEM_REG, struct vu_payload_mem_reg, region.len_bytes, WORLD_RAM),
        FIELD(VU_REM_MEM_REG, struct vu_payload_mem_reg, region.peer, 0),
        FIELD(VU_GET_CONFIG, struct vu_payload_config, off_bytes, VU_CONFIG_MAX - WORLD_CONFIG),
        FIELD(VU_GET_CONFIG, struct vu_payload_config, size_bytes, WORLD_CONFIG),
        FIELD(VU_GET_CONFIG, struct vu_payload_config, flags, 1),
        FIELD(VU_SET_CONFIG, struct vu_payload_config, off_bytes, 8),
        FIELD(VU_SET_CONFIG, struct vu_payload_config, size_bytes, 1),
        FIELD(VU_SET_CONFIG, struct vu_payload_config, flags, 0),
        INFLIGHT(VU_GET_INFLIGHT_FD),
        INFLIGHT(VU_SET_INFLIGHT_FD),
        FIELD(VU_SET_INFLIGHT_FD, struct vu_payload_inflight, size_bytes, 4096),
        FIELD(VU_SET_INFLIGHT_FD, struct vu_payload_inflight, off_bytes, 0),
};

/* Bytes that mean nothing: any value is as good. */
static bool is_padding(uint32_t request, unsigned int off)
{
        switch (request) {
        case VU_SET_MEM_TABLE:
                return off >= 4 && off < 8;
        case VU_ADD_MEM_REG:
        case VU_REM_MEM_REG:
                return off < 8 || (request == VU_REM_MEM_REG && off >= 32);
        case VU_SET_VRING_ADDR:
                return off >= offsetof(struct vu_payload_vring_addr, log);
        case VU_GET_CONFIG:
        case VU_SET_CONFIG:
                return off >= offsetof(struct vu_payload_config, data);
        case VU_GET_INFLIGHT_FD:
                return off < 16 || off >= 20;
        case VU_SET_INFLIGHT_FD:
                return off >= 20;
        default:
                return false;
        }
}

/* A field that is added to a message is also added above. */
static void every_field_is_enumerated(void **state)
{
        for (size_t k = 0; k < vu_front_message_count; k++) {
                uint8_t covered[512] = {0};
                struct wire w;

                wire_init(&w, &driver, vu_front_messages[k].request, 0);
                for (size_t i = 0; i < ARRAY_LEN(fields); i++)
                        if (fields[i].request == w.head.request)
                                memset(covered + fields[i].off_bytes, 1, fields[i].bytes);
                for (unsigned int off = 0; off < w.payload_bytes; off++)
                        if (covered[off] == is_padding(w.head.request, off))
                                fail_msg("%s: byte %u", vu_front_messages[k].name, off);
                wire_fini(&w);
        }
}

/* ---- descriptors ---- */

enum fd_kind {
        FD_EVENT,
        FD_EVENT_BLOCKING_FULL,
        FD_PIPE,
        FD_SOCKET,
        FD_MEMFD,
        FD_MEMFD_SHORT,
        FD_NULL,
        FD_DIRECTORY,
        FD_EPOLL,
        FD_KINDS,
};

static int fd_of_kind(enum fd_kind kind)
{
        uint64_t full = UINT64_MAX - 1;
        int pair[2], fd = -1;

        switch (kind) {
        case FD_EVENT:
                fd = eventfd(0, EFD_CLOEXEC);
                break;
        case FD_EVENT_BLOCKING_FULL:
                fd = eventfd(0, EFD_CLOEXEC);
                assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
                break;
        case FD_PIPE:
                assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
                close(pair[0]);
                fd = pair[1];
                break;
        case FD_SOCKET:
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
                close(pair[0]);
                fd = pair[1];
                break;
        case FD_MEMFD:
                fd = world_memfd("any", WORLD_RAM, F_SEAL_SHRINK);
                break;
        case FD_MEMFD_SHORT: /* and one that can shrink */
                fd = world_memfd("short", 100, 0);
                break;
        case FD_NULL:
                fd = open("/dev/null", O_RDWR | O_CLOEXEC);
                break;
        case FD_DIRECTORY:
                fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                break;
        case FD_EPOLL:
                fd = epoll_create1(EPOLL_CLOEXEC);
                break;
        case FD_KINDS:
                break;
        }
        assert_true(fd >= 0);
        return fd;
}

static void wire_fds(struct wire *w, unsigned int count, enum fd_kind kind)
{
        wire_fini(w);
        while (w->fd_count < count)
                w->fds[w->fd_count++] = fd_of_kind(kind);
}

/* ---- against the back end ---- */

enum outcome { ACCEPTED, REFUSED, ENDED, OUTCOMES };

static unsigned long back_count[BENCH_STATES][OUTCOMES];
static const char *const state_names[] = {"fresh", "features set", "memory set", "running", "stopped"};

/* One message in one state. An outcome, after which the back end is still in order. */
static enum outcome trial(enum bench_state state, struct wire *w)
{
        static struct bench x;
        const struct vu_message_kind *kind = vu_message_kind(w->head.request, true);
        bool asked = w->head.flags & VU_FLAG_NEED_REPLY;
        unsigned int fds;
        struct vu_message answer = {0};
        struct err e = ERR_INIT;
        enum outcome outcome;
        int64_t before;
        int r;

        fds = world_open_fds();
        bench_init(&x, &driver, state);
        for (unsigned int q = 0; q < WORLD_QUEUES && state == BENCH_RUNNING; q++)
                driver_send(&driver, q, 0, 7);
        before = clock_now_ms();
        r = bench_say(&x, w, &e);
        assert_true(clock_now_ms() - before < SLACK_MS);
        if (r < 0) {
                assert_true(e.text[0] != '\0');
                assert_false(bench_answer(&x, w->head.request, &answer));
                outcome = ENDED;
        } else {
                assert_non_null(kind);
                assert_int_equal(bench_answer(&x, w->head.request, &answer), asked || kind->reply_always);
                outcome = !kind->reply_always && asked && answer.body.u64 != 0 ? REFUSED : ACCEPTED;
                vu_message_close(&answer);
                assert_false(bench_answer(&x, w->head.request, &answer)); /* one answer */
        }
        bench_check(&x);
        if (outcome != ENDED) { /* and goes on */
                struct wire next;

                wire_init(&next, &driver, VU_GET_FEATURES, 0);
                assert_int_equal(bench_say(&x, &next, &e), 0);
                assert_true(bench_answer(&x, VU_GET_FEATURES, &answer));
                assert_int_equal(answer.body.u64, WORLD_FEATURES | VU_F_PROTOCOL_FEATURES);
        }
        bench_fini(&x);
        assert_int_equal(world_open_fds(), fds);
        back_count[state][outcome]++;
        return outcome;
}

#define EACH_MESSAGE_IN_EACH_STATE(state, k, need)                      \
        for (enum bench_state state = 0; state < BENCH_STATES; state++) \
                for (size_t k = 0; k < vu_front_message_count; k++)     \
                        for (uint32_t need = 0; need <= VU_FLAG_NEED_REPLY; need += VU_FLAG_NEED_REPLY)

/* What is right in a state is accepted there: the enumeration below is of one deviation each. */
static void right_messages_are_accepted(void **unused)
{
        EACH_MESSAGE_IN_EACH_STATE(state, k, need)
        {
                enum outcome outcome;
                struct wire w;

                wire_init(&w, &driver, vu_front_messages[k].request, need);
                outcome = trial(state, &w);
                if (state == BENCH_STOPPED && outcome != ACCEPTED)
                        fail_msg("%s is refused", vu_front_messages[k].name);
                if (state == BENCH_FRESH && vu_front_messages[k].protocol)
                        assert_int_equal(outcome, ENDED);
                wire_fini(&w);
        }
}

static void fields_at_their_ends(void **unused)
{
        EACH_MESSAGE_IN_EACH_STATE(state, k, need)
        for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
                const struct field *f = &fields[i];
                const uint64_t values[] = {0, f->most, f->most + 1, UINT64_MAX};

                if (f->request != vu_front_messages[k].request)
                        continue;
                for (size_t v = 0; v < ARRAY_LEN(values); v++) {
                        enum outcome outcome;
                        struct wire w;

                        wire_init(&w, &driver, f->request, need);
                        memcpy(w.payload + f->off_bytes, &values[v], f->bytes);
                        outcome = trial(state, &w);
                        if (v >= 2 && outcome == ACCEPTED)
                                fail_msg("%s of %#llx in %s is accepted", f->name, (unsigned long long)values[v],
                                         vu_front_messages[k].name);
                        wire_fini(&w);
                }
        }
}

static void heads(void **unused)
{
        EACH_MESSAGE_IN_EACH_STATE(state, k, need)
        {
                const struct vu_message_kind *kind = &vu_front_messages[k];
                const uint32_t flags[] = {0, 2, 3, VU_FLAG_VERSION | VU_FLAG_REPLY, VU_FLAG_VERSION | 0x10, UINT32_MAX};
                const uint32_t sizes[] = {0, kind->size_min - 1U, kind->size_max + 1U, 512, UINT32_MAX};
                const uint32_t requests[] = {0, VU_SET_LOG_BASE, VU_REQUEST_END, UINT32_MAX};

                for (size_t i = 0; i < ARRAY_LEN(flags) + ARRAY_LEN(sizes) + ARRAY_LEN(requests); i++) {
                        struct wire w;

                        wire_init(&w, &driver, kind->request, need);
                        if (i < ARRAY_LEN(flags)) {
                                w.head.flags = flags[i];
                        } else if (i < ARRAY_LEN(flags) + ARRAY_LEN(sizes)) {
                                w.head.size_bytes = sizes[i - ARRAY_LEN(flags)];
                                w.payload_bytes = w.head.size_bytes < 512 ? w.head.size_bytes : 512;
                                if (w.head.size_bytes >= kind->size_min && w.head.size_bytes <= kind->size_max) {
                                        wire_fini(&w); /* no payload is right */
                                        continue;
                                }
                        } else {
                                w.head.request = requests[i - ARRAY_LEN(flags) - ARRAY_LEN(sizes)];
                        }
                        assert_int_equal(trial(state, &w), ENDED);
                        wire_fini(&w);
                }
        }
}

static void descriptors_too_few_and_too_many(void **unused)
{
        EACH_MESSAGE_IN_EACH_STATE(state, k, need)
        for (unsigned int count = 0; count <= 10; count++)
                for (enum fd_kind kind = 0; kind < FD_KINDS; kind++) {
                        const struct vu_message_kind *m = &vu_front_messages[k];
                        enum outcome outcome;
                        struct wire w;

                        if (count != m->fds_min && count != m->fds_max && kind != FD_EVENT)
                                continue; /* one kind shows that it is not the right number */
                        wire_init(&w, &driver, m->request, need);
                        wire_fds(&w, count, kind);
                        outcome = trial(state, &w);
                        if (count < m->fds_min || count > m->fds_max)
                                assert_int_equal(outcome, ENDED);
                        if (count == 1 && m->fds_max == 1 && m->size_max == 8 && kind != FD_EVENT &&
                            kind != FD_EVENT_BLOCKING_FULL && kind != FD_EPOLL)
                                assert_int_not_equal(outcome, ACCEPTED); /* a file, pipe or socket is no event */
                        if (m->request == VU_SET_INFLIGHT_FD && kind != FD_MEMFD)
                                assert_int_not_equal(outcome, ACCEPTED);
                        wire_fini(&w);
                }
}

/* The kernel puts those of a later byte with the first one when both are there; behind the head they are too late. */
static void descriptors_come_with_the_head(void **unused)
{
        static const unsigned int at[] = {1, 11, 12, 13};

        EACH_MESSAGE_IN_EACH_STATE(state, k, need)
        for (size_t i = 0; i < ARRAY_LEN(at); i++) {
                struct wire w;

                wire_init(&w, &driver, vu_front_messages[k].request, need);
                if (w.fd_count == 0)
                        wire_fds(&w, 1, FD_EVENT);
                w.fds_at = at[i];
                if (at[i] < sizeof(w.head))
                        (void)trial(state, &w);
                else if (at[i] < sizeof(w.head) + w.payload_bytes)
                        assert_int_equal(trial(state, &w), ENDED);
                wire_fini(&w);
        }
}

/* The front end dies after each byte of each message. */
static void death_at_every_byte(void **unused)
{
        static struct bench x;
        unsigned long deaths = 0;

        for (enum bench_state state = 0; state < BENCH_STATES; state++)
                for (size_t k = 0; k < vu_front_message_count; k++) {
                        struct wire w;

                        wire_init(&w, &driver, vu_front_messages[k].request, 0);
                        for (uint32_t len = 0; len < sizeof(w.head) + w.payload_bytes; len++, deaths++) {
                                unsigned int fds = world_open_fds();
                                struct err e = ERR_INIT;
                                int r;

                                bench_init(&x, &driver, state);
                                if (len > 0)
                                        assert_int_equal(wire_send(x.front, &w, len), 0);
                                fd_closep(&x.front);
                                r = vu_backend_handle(&x.b, &e);
                                assert_true(r == (len == 0 ? -EPIPE : -EPROTO));
                                bench_check(&x);
                                bench_fini(&x);
                                assert_int_equal(world_open_fds(), fds);
                        }
                        wire_fini(&w);
                }
        print_message("death: %lu places\n", deaths);
}

/* ---- time ---- */

struct slow {
        pthread_t thread;
        int fd;
        struct wire w;
        uint32_t len_bytes;
        int64_t took_ms;
        int r;
};

static void *slow_receive(void *p)
{
        struct slow *s = p;
        struct vu_message m;
        int64_t before = clock_now_ms();

        s->r = vu_message_receive(s->fd, true, NULL, VU_MESSAGE_TIMEOUT_MS, &m);
        s->took_ms = clock_now_ms() - before;
        if (s->r == 0)
                vu_message_close(&m);
        return NULL;
}

/* Nothing, half a head, half a payload, and then silence. All at once, because each takes its second. */
static void silence(void **state)
{
        static struct slow slow[3 * 64];
        static int front[3 * 64];
        unsigned int fds = world_open_fds();
        size_t n = 0;

        for (size_t k = 0; k < vu_front_message_count; k++)
                for (unsigned int part = 0; part < 3; part++, n++) {
                        struct slow *s = &slow[n];
                        int pair[2];

                        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
                        front[n] = pair[0];
                        s->fd = pair[1];
                        wire_init(&s->w, &driver, vu_front_messages[k].request, 0);
                        s->len_bytes = part * 6;
                        if (part == 2 && s->w.payload_bytes > 0)
                                s->len_bytes += s->w.payload_bytes / 2;
                        else if (part == 2)
                                s->len_bytes--; /* has no payload: all but the last byte */
                        if (s->len_bytes > 0)
                                assert_int_equal(wire_send(front[n], &s->w, s->len_bytes), 0);
                        wire_fini(&s->w);
                        assert_int_equal(pthread_create(&s->thread, NULL, slow_receive, s), 0);
                }
        for (size_t i = 0; i < n; i++) {
                pthread_join(slow[i].thread, NULL);
                assert_int_equal(slow[i].r, -ETIMEDOUT);
                assert_true(slow[i].took_ms >= VU_MESSAGE_TIMEOUT_MS - 1);
                assert_true(slow[i].took_ms < VU_MESSAGE_TIMEOUT_MS + SLACK_MS);
                close(slow[i].fd);
                close(front[i]);
        }
        assert_int_equal(world_open_fds(), fds);
        print_message("silence: %zu places\n", n);
}

static void *drip(void *p)
{
        struct slow *s = p;
        int unread;

        for (uint32_t i = 0; i < sizeof(s->w.head) + s->w.payload_bytes; i++) {
                struct wire one = s->w;
                uint8_t all[sizeof(one.head) + sizeof(one.payload)];

                memcpy(all, &s->w.head, sizeof(s->w.head));
                memcpy(all + sizeof(s->w.head), s->w.payload, sizeof(s->w.payload));
                memcpy(&one.head, all + i, sizeof(one.head));
                one.fd_count = i == 0 ? s->w.fd_count : 0;
                s->r = wire_send(s->fd, &one, 1);
                do
                        if (ioctl(s->fd, SIOCOUTQ, &unread) < 0)
                                s->r = -errno;
                while (s->r == 0 && unread > 0);
                if (s->r < 0)
                        break;
        }
        return NULL;
}

/* Each byte is sent when the one before has been read. */
static void one_byte_at_a_time(void **state)
{
        static struct bench x;

        for (size_t k = 0; k < vu_front_message_count; k++) {
                struct slow s = {0};
                struct vu_message answer;
                struct err e = ERR_INIT;

                bench_init(&x, &driver, BENCH_STOPPED);
                wire_init(&s.w, &driver, vu_front_messages[k].request, VU_FLAG_NEED_REPLY);
                s.fd = x.front;
                assert_int_equal(pthread_create(&s.thread, NULL, drip, &s), 0);
                if (vu_backend_handle(&x.b, &e) != 0)
                        fail_msg("%s", e.text);
                pthread_join(s.thread, NULL);
                assert_int_equal(s.r, 0);
                assert_true(bench_answer(&x, s.w.head.request, &answer));
                if (!vu_front_messages[k].reply_always)
                        assert_int_equal(answer.body.u64, 0);
                vu_message_close(&answer);
                wire_fini(&s.w);
                bench_fini(&x);
        }
}

/* A front end that asks and never reads its answers: the back end gives up on it. */
static void answers_that_nobody_reads(void **state)
{
        static struct bench x;
        struct err e = ERR_INIT;
        struct wire w;
        int64_t before;
        int r = 0;

        bench_init(&x, &driver, BENCH_FEATURES);
        assert_int_equal(setsockopt(x.b.fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int)), 0);
        wire_init(&w, &driver, VU_GET_FEATURES, 0);
        before = clock_now_ms();
        for (unsigned int i = 0; i < 10000 && r == 0; i++)
                r = bench_say(&x, &w, &e);
        assert_int_equal(r, -ETIMEDOUT);
        assert_true(clock_now_ms() - before < VU_MESSAGE_TIMEOUT_MS + SLACK_MS);
        bench_fini(&x);
}

static void back_end_counts(void **state)
{
        unsigned long all = 0;

        for (enum bench_state s = 0; s < BENCH_STATES; s++) {
                print_message("back end, %s: %lu accepted, %lu refused, %lu ended\n", state_names[s],
                              back_count[s][ACCEPTED], back_count[s][REFUSED], back_count[s][ENDED]);
                for (enum outcome o = 0; o < OUTCOMES; o++) {
                        all += back_count[s][o];
                        assert_true(back_count[s][o] > 0 || (o == REFUSED && s == BENCH_FRESH));
                }
        }
        print_message("back end: %lu messages\n", all);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_field_is_enumerated),
                cmocka_unit_test(right_messages_are_accepted),
                cmocka_unit_test(fields_at_their_ends),
                cmocka_unit_test(heads),
                cmocka_unit_test(descriptors_too_few_and_too_many),
                cmocka_unit_test(descriptors_come_with_the_head),
                cmocka_unit_test(death_at_every_byte),
                cmocka_unit_test(silence),
                cmocka_unit_test(one_byte_at_a_time),
                cmocka_unit_test(answers_that_nobody_reads),
                cmocka_unit_test(back_end_counts),
        };

        return cmocka_run_group_tests(tests, world_open, world_close);
}
