/* The control channel takes well-formed messages and nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "spec/control.h"

static const struct {
        uint16_t type;
        size_t size;
} messages[] = {
        {CONTROL_ROOTED, sizeof(struct control_header)},
        {CONTROL_MAPPED, sizeof(struct control_header)},
        {CONTROL_JAILED, sizeof(struct control_jailed)},
        {CONTROL_CONFIG, sizeof(struct control_config)},
        {CONTROL_POWER_BUTTON, sizeof(struct control_header)},
        {CONTROL_READY, sizeof(struct control_ready)},
        {CONTROL_END, sizeof(struct control_end)},
        {CONTROL_FAILED, sizeof(struct control_failed)},
};

struct pair {
        int fds[2];
};

static int setup(void **state)
{
        struct pair *p = calloc(1, sizeof(*p));

        *state = p;
        return p && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
        struct pair *p = *state;

        fd_closep(&p->fds[0]);
        fd_closep(&p->fds[1]);
        free(p);
        return 0;
}

static void every_type_arrives(void **state)
{
        struct pair *p = *state;

        for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
                union control_message out, in;

                memset(&out, 0, sizeof(out));
                out.head = CONTROL_HEADER(messages[i].type, messages[i].size);
                assert_int_equal(control_send(p->fds[0], &out), 0);
                assert_int_equal(control_receive(p->fds[1], &in), 0);
                assert_int_equal(in.head.type, messages[i].type);
                assert_memory_equal(&in, &out, messages[i].size);
        }
        union control_message none;

        assert_int_equal(control_receive(p->fds[1], &none), -EAGAIN);
}

/* Sends raw bytes and says how they are received. */
static int received(struct pair *p, const void *bytes, size_t len)
{
        union control_message in;

        assert_int_equal(send(p->fds[0], bytes, len, MSG_NOSIGNAL), (ssize_t)len);
        return control_receive(p->fds[1], &in);
}

static void malformed_is_refused(void **state)
{
        struct pair *p = *state;
        static uint8_t big[sizeof(union control_message) + 4096];

        for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
                union control_message m;
                struct control_header good = CONTROL_HEADER(messages[i].type, messages[i].size);

                memset(&m, 0, sizeof(m));
                m.head = good;
                assert_int_equal(received(p, &m, messages[i].size), 0);
                assert_int_equal(received(p, &m, messages[i].size - 1), -EPROTO);
                m.head.size++; /* what it says and what it is must agree with each other … */
                assert_int_equal(received(p, &m, messages[i].size), -EPROTO);
                memset(big, 0, sizeof(big));
                memcpy(big, &m, sizeof(m.head)); /* … and with the type */
                assert_int_equal(received(p, big, messages[i].size + 1), -EPROTO);
                m.head = good;
                m.head.magic ^= 1;
                assert_int_equal(received(p, &m, messages[i].size), -EPROTO);
                m.head = good;
                m.head.version++;
                assert_int_equal(received(p, &m, messages[i].size), -EPROTO);
        }

        struct control_header unknown = CONTROL_HEADER(0, sizeof(unknown));

        assert_int_equal(received(p, &unknown, sizeof(unknown)), -EPROTO);
        unknown.type = CONTROL_FAILED + 1;
        assert_int_equal(received(p, &unknown, sizeof(unknown)), -EPROTO);
        assert_int_equal(received(p, &unknown, 1), -EPROTO);
        unknown.size = sizeof(big);
        memcpy(big, &unknown, sizeof(unknown));
        assert_int_equal(received(p, big, sizeof(big)), -EPROTO);
}

static void texts_end(void **state)
{
        struct pair *p = *state;
        union control_message m, in;

        memset(&m, 'x', sizeof(m));
        m.head = CONTROL_HEADER(CONTROL_FAILED, sizeof(m.failed));
        assert_int_equal(control_send(p->fds[0], &m), 0);
        assert_int_equal(control_receive(p->fds[1], &in), 0);
        assert_int_equal(strlen(in.failed.text), sizeof(in.failed.text) - 1);

        m.head = CONTROL_HEADER(CONTROL_CONFIG, sizeof(m.config));
        assert_int_equal(control_send(p->fds[0], &m), 0);
        assert_int_equal(control_receive(p->fds[1], &in), 0);
        assert_int_equal(strlen(in.config.cmdline), sizeof(in.config.cmdline) - 1);
}

static void a_dead_peer_is_noticed(void **state)
{
        struct pair *p = *state;
        struct control_header m = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(m));
        union control_message in;

        assert_int_equal(control_send(p->fds[0], &m), 0);
        fd_closep(&p->fds[0]);
        assert_int_equal(control_receive(p->fds[1], &in), 0); /* what it said before still counts */
        assert_int_equal(control_receive(p->fds[1], &in), -EPIPE);
        assert_int_equal(control_send(p->fds[1], &m), -EPIPE);
}

/* A peer that dies with our message unread is still heard. */
static void last_words_are_heard(void **state)
{
        struct pair *p = *state;
        struct control_header ours = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(ours));
        struct err e = ERR_INIT;
        union control_message in;

        err_bad(&e, STATUS_IMAGE, "no kernel");
        assert_int_equal(control_send_failed(p->fds[0], &e), 0);
        assert_int_equal(control_send(p->fds[1], &ours), 0);
        fd_closep(&p->fds[0]);
        assert_int_equal(control_receive(p->fds[1], &in), 0);
        assert_int_equal(in.head.type, CONTROL_FAILED);
        assert_int_equal(in.failed.status, STATUS_IMAGE);
        assert_string_equal(in.failed.text, "no kernel");
        assert_int_equal(control_receive(p->fds[1], &in), -EPIPE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(every_type_arrives, setup, teardown),
                cmocka_unit_test_setup_teardown(malformed_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(texts_end, setup, teardown),
                cmocka_unit_test_setup_teardown(a_dead_peer_is_noticed, setup, teardown),
                cmocka_unit_test_setup_teardown(last_words_are_heard, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
