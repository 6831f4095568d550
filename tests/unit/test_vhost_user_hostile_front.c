/*
 * Hostile back ends: what a device answers to each of the front end's messages, with each field at nothing, at the most
 * that is allowed and one past it, with too few descriptors and too many; silence, and death at every message and at
 * every byte of an answer. The front end fails within a bounded time, loses no descriptor, and can take another device.
 * Counts are printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vu_bench.h"

#define PROTOCOL_FULL  0x1b229
#define PROTOCOL_SMALL (VU_PROTOCOL_REPLY_ACK | VU_PROTOCOL_CONFIG | VU_PROTOCOL_STATUS | VU_PROTOCOL_MQ)
#define PROTOCOL_NONE  0

/* ---- a device that lies once ---- */

struct liar {
        int fd;
        uint64_t protocol;
        uint32_t target; /* the request whose answer is a lie */
        void (*lie)(struct liar *l, struct wire *answer);
        uint64_t a, b;      /* the lie's */
        uint32_t len_bytes; /* of the answer that are sent before the end */
        bool die, twice, mute;
        bool reached, answered; /* the target; by more than the end */
        uint32_t base;          /* of queue 0, as it was told */
        pthread_t thread;
};

static bool liar_answer(const struct liar *l, const struct vu_message *m, struct wire *w)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);
        uint64_t u64 = 0;

        if (!kind->reply_always && !(m->head.flags & VU_FLAG_NEED_REPLY))
                return false;
        memset(w, 0, sizeof(*w));
        w->head = (struct vu_header){m->head.request, VU_FLAG_VERSION | VU_FLAG_REPLY, kind->reply_max};
        memcpy(w->payload, m->body.bytes, m->head.size_bytes);
        switch (m->head.request) {
        case VU_GET_FEATURES:
                u64 = WORLD_FEATURES | VU_F_PROTOCOL_FEATURES;
                break;
        case VU_GET_PROTOCOL_FEATURES:
                u64 = l->protocol;
                break;
        case VU_GET_QUEUE_NUM:
                u64 = WORLD_QUEUES;
                break;
        case VU_GET_MAX_MEM_SLOTS:
                u64 = GUEST_RAM_REGIONS_MAX;
                break;
        case VU_GET_STATUS:
                u64 = 15;
                break;
        case VU_GET_CONFIG:
                w->head.size_bytes = m->head.size_bytes;
                break;
        case VU_GET_INFLIGHT_FD:
                memcpy(w->payload, &(uint64_t){4096}, 8);
                w->fds[w->fd_count++] = world_memfd("inflight", 4096, F_SEAL_SHRINK);
                break;
        default:
                break;
        }
        w->payload_bytes = w->head.size_bytes;
        if (kind->reply_max == 8 && m->head.request != VU_GET_VRING_BASE)
                memcpy(w->payload, &u64, sizeof(u64));
        return true;
}

/* Sends the answer, or the lie. Returns false when that was the end. */
static bool liar_say(struct liar *l, struct wire *w, bool target)
{
        uint32_t len = (uint32_t)sizeof(w->head) + w->payload_bytes;

        if (target && l->lie)
                l->lie(l, w);
        if (target && l->lie)
                len = (uint32_t)sizeof(w->head) + w->payload_bytes;
        if (target && l->die)
                len = l->len_bytes < len ? l->len_bytes : len;
        if (target && len > 0)
                l->answered = true;
        if (len > 0 && wire_send(l->fd, w, len) < 0)
                return false;
        if (target && l->twice)
                (void)wire_send(l->fd, w, len); /* if the front end has gone by then, so be it */
        return !(target && l->die);
}

static void *liar_main(void *p)
{
        struct liar *l = p;
        struct vu_message m;
        bool goes_on = true;

        while (goes_on && vu_message_receive(l->fd, true, NULL, 60000, &m) == 0) {
                bool target = m.head.request == l->target && !l->reached;
                struct wire w = {0};

                l->reached |= target;
                if (m.head.request == VU_SET_VRING_BASE && m.body.state.index == 0)
                        l->base = m.body.state.num;
                if (target && l->mute) {
                        vu_message_close(&m);
                        continue;
                }
                if (liar_answer(l, &m, &w))
                        goes_on = liar_say(l, &w, target);
                else if (target && l->die)
                        goes_on = false;
                wire_fini(&w);
                vu_message_close(&m);
        }
        close(l->fd);
        return NULL;
}

/* ---- what a VMM does with it ---- */

#define STEPS 5

/* Returns the first step's failure, and *ret_steps that went well. */
static int session(int fd, const int pair[2], int *ret_steps)
{
        struct vu_frontend_queue queues[WORLD_QUEUES];
        struct err e = ERR_INIT;
        struct vu_frontend f;
        uint8_t byte = 1;
        unsigned int count;
        int r;

        *ret_steps = 0;
        vu_frontend_init(&f, -1);
        driver_queues(&driver, queues);
        r = vu_frontend_connect(&f, fd, WORLD_FEATURES, WORLD_QUEUES, WORLD_CONFIG, pair, &e);
        if (r == 0) {
                (*ret_steps)++;
                assert_true((f.features & ~WORLD_FEATURES) == 0 && f.queues >= 1 && f.queues <= WORLD_QUEUES);
                assert_true(f.config_bytes <= WORLD_CONFIG);
        }
        count = f.queues;
        if (r == 0 && ++*ret_steps)
                r = vu_frontend_start(&f, &driver.ram, driver.ram_fd, f.features, queues, count, &e);
        if (r == 0 && ++*ret_steps)
                r = vu_frontend_config_fetch(&f, &e);
        if (r == 0 && f.config_bytes > 8 && ++*ret_steps)
                r = vu_frontend_config_write(&f, 8, &byte, 1, &e);
        if (r == 0 && ++*ret_steps)
                r = vu_frontend_stop(&f, count, &e);
        if (r < 0)
                assert_true(e.text[0] != '\0');
        vu_frontend_fini(&f);
        assert_true(f.fd == -1 && f.request_fd == -1 && f.inflight_fd == -1);
        return r;
}

static int lie_to_session(struct liar *l, int64_t *ret_ms)
{
        int front[2], channel[2], steps, r;
        int64_t before = clock_now_ms();

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, front), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
        l->fd = front[1];
        assert_int_equal(pthread_create(&l->thread, NULL, liar_main, l), 0);
        r = session(front[0], channel, &steps);
        pthread_join(l->thread, NULL);
        close(channel[1]);
        *ret_ms = clock_now_ms() - before;
        return r;
}

static unsigned long sessions, failed;

static int tell_lie(struct liar *l)
{
        unsigned int fds = world_open_fds();
        int64_t took_ms;
        int r = lie_to_session(l, &took_ms);

        assert_true(took_ms < SLACK_MS);
        assert_int_equal(world_open_fds(), fds);
        sessions++;
        failed += r < 0;
        return r;
}

/* Each request of a session, with a device that knows everything, little, and nothing of the protocol's features. */
#define EACH_REQUEST(l, protocol, k)                                                                              \
        for (size_t _p = 0; _p < ARRAY_LEN(protocols); _p++)                                                      \
                for (size_t k = 0; k < vu_front_message_count; k++)                                               \
                        for (struct liar l = {.protocol = protocols[_p], .target = vu_front_messages[k].request}; \
                             l.target; l.target = 0)

static const uint64_t protocols[] = {PROTOCOL_FULL, PROTOCOL_SMALL, PROTOCOL_NONE};

static void honest_devices_are_served(void **state)
{
        bool seen[VU_REQUEST_END] = {false};

        EACH_REQUEST(l, protocol, k)
        {
                assert_int_equal(tell_lie(&l), 0);
                seen[vu_front_messages[k].request] |= l.reached;
        }
        for (size_t k = 0; k < vu_front_message_count; k++) {
                uint32_t request = vu_front_messages[k].request;
                bool needless = request == VU_RESET_OWNER || request == VU_SET_VRING_ERR || request == VU_REM_MEM_REG;

                if (seen[request] == needless)
                        fail_msg("%s", vu_front_messages[k].name);
        }
}

/* ---- lies ---- */

static void lie_head(struct liar *l, struct wire *w)
{
        if (l->a == 0)
                w->head.flags = (uint32_t)l->b;
        else if (l->a == 1)
                w->head.request = (uint32_t)l->b;
        else
                w->head.size_bytes = (uint32_t)l->b;
        w->payload_bytes = w->head.size_bytes < 512 ? w->head.size_bytes : 512;
}

static void heads(void **state)
{
        EACH_REQUEST(l, protocol, k)
        {
                const struct vu_message_kind *kind = &vu_front_messages[k];
                const uint64_t values[][2] = {
                        {0, 0},
                        {0, 1},
                        {0, 4},
                        {0, 6},
                        {0, 13},
                        {0, UINT32_MAX},
                        {1, 0},
                        {1, kind->request + 1},
                        {1, VU_REQUEST_END},
                        {1, UINT32_MAX},
                        {2, kind->reply_min - 1U},
                        {2, kind->reply_max + 1U},
                        {2, 512},
                        {2, UINT32_MAX},
                };

                l.lie = lie_head;
                l.die = true; /* behind it, so that nobody waits for the rest of a payload */
                l.len_bytes = UINT32_MAX;
                for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                        l.reached = l.answered = false;
                        l.a = values[i][0];
                        l.b = values[i][1];
                        if (tell_lie(&l) == 0 && l.answered)
                                fail_msg("%s: %zu", kind->name, i);
                }
        }
}

static void lie_field(struct liar *l, struct wire *w)
{
        memcpy(w->payload + (l->a >> 8), &l->b, l->a & 0xff);
}

/* An answer's fields. Of what is said to be right, the session may still make nothing: the device has no features, say.
 */
static const struct {
        uint32_t request;
        unsigned int off, bytes;
        uint64_t value;
        bool right;
} answers[] = {
        {VU_GET_FEATURES, 0, 8, 0, true},
        {VU_GET_FEATURES, 0, 8, UINT64_MAX, true},
        {VU_GET_PROTOCOL_FEATURES, 0, 8, 0, true},
        {VU_GET_PROTOCOL_FEATURES, 0, 8, PROTOCOL_SMALL | ~(uint64_t)PROTOCOL_FULL, true},
        {VU_GET_QUEUE_NUM, 0, 8, 0, false},
        {VU_GET_QUEUE_NUM, 0, 8, 1, true},
        {VU_GET_QUEUE_NUM, 0, 8, UINT64_MAX, true},
        {VU_GET_MAX_MEM_SLOTS, 0, 8, 0, false},
        {VU_GET_MAX_MEM_SLOTS, 0, 8, 1, true},
        {VU_GET_MAX_MEM_SLOTS, 0, 8, UINT64_MAX, true},
        {VU_GET_STATUS, 0, 8, 0, true},
        {VU_GET_STATUS, 0, 8, 255, true},
        {VU_GET_STATUS, 0, 8, 256, false},
        {VU_GET_STATUS, 0, 8, UINT64_MAX, false},
        {VU_GET_CONFIG, 0, 4, 1, false},
        {VU_GET_CONFIG, 0, 4, UINT32_MAX, false},
        {VU_GET_CONFIG, 4, 4, 0, false},
        {VU_GET_CONFIG, 4, 4, WORLD_CONFIG + 1, false},
        {VU_GET_CONFIG, 4, 4, UINT32_MAX, false},
        {VU_GET_CONFIG, 8, 4, 1, true},
        {VU_GET_CONFIG, 8, 4, 2, false},
        {VU_GET_CONFIG, 8, 4, UINT32_MAX, false},
        {VU_GET_CONFIG, 12, 8, UINT64_MAX, true},
        {VU_GET_INFLIGHT_FD, 0, 8, 0, false},
        {VU_GET_INFLIGHT_FD, 0, 8, 16 << 20, true},
        {VU_GET_INFLIGHT_FD, 0, 8, (16 << 20) + 1, false},
        {VU_GET_INFLIGHT_FD, 0, 8, UINT64_MAX, false},
        {VU_GET_INFLIGHT_FD, 8, 8, 16 << 20, true},
        {VU_GET_INFLIGHT_FD, 8, 8, (16 << 20) + 1, false},
        {VU_GET_INFLIGHT_FD, 8, 8, UINT64_MAX, false},
        {VU_GET_INFLIGHT_FD, 16, 2, 0, false},
        {VU_GET_INFLIGHT_FD, 16, 2, WORLD_QUEUES + 1, false},
        {VU_GET_INFLIGHT_FD, 16, 2, UINT16_MAX, false},
        {VU_GET_INFLIGHT_FD, 18, 2, 0, false},
        {VU_GET_INFLIGHT_FD, 18, 2, WORLD_SIZE + 1, false},
        {VU_GET_INFLIGHT_FD, 18, 2, UINT16_MAX, false},
        {VU_GET_INFLIGHT_FD, 20, 4, UINT32_MAX, true},
        {VU_GET_VRING_BASE, 0, 4, WORLD_QUEUES, false},
        {VU_GET_VRING_BASE, 0, 4, UINT32_MAX, false},
        {VU_GET_VRING_BASE, 4, 4, 65535, true},
        {VU_GET_VRING_BASE, 4, 4, 65536, false},
        {VU_GET_VRING_BASE, 4, 4, UINT32_MAX, false},
};

static void fields_at_their_ends(void **state)
{
        EACH_REQUEST(l, protocol, k)
        {
                l.lie = lie_field;
                for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
                        int r;

                        if (answers[i].request != l.target)
                                continue;
                        l.reached = l.answered = false;
                        l.a = answers[i].off << 8 | answers[i].bytes;
                        l.b = answers[i].value;
                        r = tell_lie(&l);
                        if (l.answered && (r == 0) != answers[i].right)
                                fail_msg("%s: %zu: %d", vu_front_messages[k].name, i, r);
                }
                if (vu_front_messages[k].reply_always)
                        continue;
                for (uint64_t no = 1; no != 0; no = no == 1 ? UINT64_MAX : 0) { /* an acknowledgement that says no */
                        l.reached = l.answered = false;
                        l.a = 8;
                        l.b = no;
                        if (tell_lie(&l) == 0 && l.answered)
                                fail_msg("%s: refused", vu_front_messages[k].name);
                }
        }
}

static void lie_fds(struct liar *l, struct wire *w)
{
        wire_fini(w);
        while (w->fd_count < l->a)
                w->fds[w->fd_count++] = eventfd(0, EFD_CLOEXEC);
}

/* One is right for an in-flight region, whatever it is of: this end does nothing with it. */
static void descriptors_too_few_and_too_many(void **state)
{
        EACH_REQUEST(l, protocol, k)
        {
                l.lie = lie_fds;
                for (l.a = 0; l.a <= 10; l.a++) {
                        bool right = l.a == (l.target == VU_GET_INFLIGHT_FD);
                        int r;

                        l.reached = l.answered = false;
                        r = tell_lie(&l);
                        if (l.answered && (r == 0) != right)
                                fail_msg("%s with %u descriptors: %d", vu_front_messages[k].name, (unsigned int)l.a, r);
                }
        }
}

static void lie_none(struct liar *l, struct wire *w)
{
        wire_fini(w);
        memset(w->payload, 0, 8);
}

static void lie_empty(struct liar *l, struct wire *w)
{
        w->head.size_bytes = w->payload_bytes = 0;
}

/* A device without an in-flight region says so by its size; one that has less configuration space than asked for, by
 * nothing. */
static void devices_that_have_less(void **state)
{
        struct liar region = {.protocol = PROTOCOL_FULL, .target = VU_GET_INFLIGHT_FD, .lie = lie_none};
        struct liar config = {.protocol = PROTOCOL_FULL, .target = VU_GET_CONFIG, .lie = lie_empty};

        assert_int_equal(tell_lie(&region), 0);
        assert_int_equal(tell_lie(&config), 0);
        assert_true(region.answered && config.answered);
}

static void answers_that_nobody_asked_for(void **state)
{
        unsigned long accepted = 0, told = 0;

        EACH_REQUEST(l, protocol, k)
        {
                int r;

                l.twice = true;
                r = tell_lie(&l);
                told += l.answered;
                accepted += l.answered && r == 0;
        }
        /* Only where the next question is the same one, or none follows, can a second answer pass. */
        print_message("unasked: %lu of %lu passed\n", accepted, told);
        assert_true(told > 20 && accepted <= told / 3);
}

static void death_at_every_message_and_byte(void **state)
{
        unsigned long deaths = 0;

        EACH_REQUEST(l, protocol, k)
        {
                uint32_t len = 0;
                int r;

                l.die = true;
                do {
                        l.reached = l.answered = false;
                        l.len_bytes = len;
                        r = tell_lie(&l);
                        deaths += l.reached;
                        if (l.reached && r == 0)
                                fail_msg("%s: death after %u bytes", vu_front_messages[k].name, len);
                } while (l.reached && ++len < sizeof(struct vu_header) + vu_front_messages[k].reply_min &&
                         (l.answered || len == 1));
        }
        print_message("death: %lu places\n", deaths);
        assert_true(deaths > 500);
}

/* ---- silence ---- */

struct silent {
        struct liar liar;
        pthread_t thread;
        int64_t took_ms;
        int r;
};

static void *silent_main(void *p)
{
        struct silent *s = p;

        s->r = lie_to_session(&s->liar, &s->took_ms);
        return NULL;
}

static void silence(void **state)
{
        static struct silent silent[128];
        unsigned int fds = world_open_fds();
        size_t n = 0, waited = 0;

        EACH_REQUEST(l, protocol, k)
        {
                silent[n].liar = l;
                silent[n].liar.mute = true;
                n++;
        }
        for (size_t i = 0; i < n; i++)
                assert_int_equal(pthread_create(&silent[i].thread, NULL, silent_main, &silent[i]), 0);
        for (size_t i = 0; i < n; i++) {
                pthread_join(silent[i].thread, NULL);
                if (silent[i].r == 0) /* does not come, or has no answer */
                        continue;
                assert_int_equal(silent[i].r, -ETIMEDOUT);
                assert_true(silent[i].liar.reached);
                assert_true(silent[i].took_ms >= VU_REPLY_TIMEOUT_MS - 1);
                assert_true(silent[i].took_ms < VU_FIRST_TIMEOUT_MS + SLACK_MS);
                waited++;
        }
        print_message("silence: %zu places\n", waited);
        assert_true(waited > 20);
        assert_int_equal(world_open_fds(), fds);
}

/* ---- the device's own channel ---- */

static int channel_say(const struct wire *w, uint32_t len_bytes, bool die, uint64_t protocol)
{
        struct vu_frontend f;
        struct err e = ERR_INIT;
        unsigned int fds = world_open_fds();
        int pair[2], r;

        vu_frontend_init(&f, -1);
        f.protocol_features = protocol;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        f.request_fd = pair[0];
        if (len_bytes > 0)
                assert_int_equal(wire_send(pair[1], w, len_bytes), 0);
        if (die)
                fd_closep(&pair[1]);
        r = vu_frontend_request_handle(&f, &e);
        fd_closep(&pair[1]);
        vu_frontend_fini(&f);
        assert_int_equal(world_open_fds(), fds);
        sessions++;
        failed += r < 0;
        return r;
}

static void the_channel(void **state)
{
        static const struct vu_header heads[] = {
                {0, 1, 0}, {1, 1, 0},    {3, 1, 0},          {UINT32_MAX, 1, 0}, {2, 0, 0},   {2, 2, 0},
                {2, 5, 0}, {2, 0x11, 0}, {2, UINT32_MAX, 0}, {2, 1, 1},          {2, 1, 512}, {2, 1, UINT32_MAX},
        };
        struct wire w = {.head = {VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0}};
        int64_t before;

        assert_int_equal(channel_say(&w, 12, false, PROTOCOL_FULL), 1);
        assert_int_equal(channel_say(&w, 12, false, PROTOCOL_NONE), -EPROTO);
        for (uint32_t len = 0; len < 12; len++)
                assert_int_equal(channel_say(&w, len, true, PROTOCOL_FULL), len == 0 ? -EPIPE : -EPROTO);
        w.head.flags |= VU_FLAG_NEED_REPLY;
        assert_int_equal(channel_say(&w, 12, false, PROTOCOL_FULL), 1);
        assert_true(channel_say(&w, 12, true, PROTOCOL_FULL) < 0); /* the answer has no reader */
        assert_int_equal(channel_say(&w, 12, false, PROTOCOL_FULL & ~VU_PROTOCOL_REPLY_ACK), -EPROTO);
        for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
                w.head = heads[i];
                assert_int_equal(channel_say(&w, 12, false, PROTOCOL_FULL), -EPROTO);
        }
        w.head = (struct vu_header){VU_BACKEND_CONFIG_CHANGE, VU_FLAG_VERSION, 0};
        for (unsigned int n = 1; n <= 10; n++) {
                while (w.fd_count < n)
                        w.fds[w.fd_count++] = eventfd(0, EFD_CLOEXEC);
                assert_int_equal(channel_say(&w, 12, false, PROTOCOL_FULL), -EPROTO);
        }
        wire_fini(&w);
        before = clock_now_ms();
        assert_int_equal(channel_say(&w, 5, false, PROTOCOL_FULL), -ETIMEDOUT);
        assert_true(clock_now_ms() - before < VU_MESSAGE_TIMEOUT_MS + SLACK_MS);
}

/* A device that died is followed by one that starts where the used ring says; by none that knows nothing of in-flight
 * regions. */
static void successors(void **state)
{
        struct liar liars[] = {{.protocol = PROTOCOL_FULL}, {.protocol = PROTOCOL_FULL}, {.protocol = PROTOCOL_SMALL}};
        uint16_t *used = guest_ram_at(&driver.ram, world_used(0), 4);
        struct vu_frontend_queue queues[WORLD_QUEUES];
        unsigned int fds = world_open_fds();
        struct vu_frontend f;

        driver_queues(&driver, queues);
        queues[0].next_avail = 9;
        used[1] = 5;
        vu_frontend_init(&f, -1);
        for (size_t i = 0; i < ARRAY_LEN(liars); i++) {
                int pair[2], r;

                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
                liars[i].fd = pair[1];
                assert_int_equal(pthread_create(&liars[i].thread, NULL, liar_main, &liars[i]), 0);
                assert_int_equal(vu_frontend_connect(&f, pair[0], WORLD_FEATURES, 2, WORLD_CONFIG, NULL, NULL), 0);
                r = vu_frontend_start(&f, &driver.ram, driver.ram_fd, 0, queues, WORLD_QUEUES, NULL);
                assert_int_equal(r, i == 2 ? -ENOTSUP : 0);
                assert_true(f.inflight_fd >= 0);
                vu_frontend_disconnect(&f);
                pthread_join(liars[i].thread, NULL);
        }
        assert_int_equal(liars[0].base, 9);
        assert_int_equal(liars[1].base, 5);
        vu_frontend_fini(&f);
        driver_rings_clear(&driver);
        assert_int_equal(world_open_fds(), fds);
}

static void front_end_counts(void **state)
{
        print_message("front end: %lu sessions, %lu of them failed\n", sessions, failed);
        assert_true(sessions > failed && failed > 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(honest_devices_are_served),
                cmocka_unit_test(heads),
                cmocka_unit_test(fields_at_their_ends),
                cmocka_unit_test(descriptors_too_few_and_too_many),
                cmocka_unit_test(devices_that_have_less),
                cmocka_unit_test(answers_that_nobody_asked_for),
                cmocka_unit_test(death_at_every_message_and_byte),
                cmocka_unit_test(silence),
                cmocka_unit_test(the_channel),
                cmocka_unit_test(successors),
                cmocka_unit_test(front_end_counts),
        };

        return cmocka_run_group_tests(tests, world_open, world_close);
}
