/* The control channel takes well-formed messages and nothing else. */
#include <errno.h>
#include <fcntl.h>
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
        {CONTROL_DEVICE, sizeof(struct control_device)},
        {CONTROL_DEVICE_DOWN, sizeof(struct control_device)},
        {CONTROL_DEVICE_CONFIG, sizeof(struct control_device_config)},
        {CONTROL_RESIZE, sizeof(struct control_resize)},
        {CONTROL_RESIZED, sizeof(struct control_resize)},
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
        unknown.type = CONTROL_RESIZED + 1;
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

        m.head = CONTROL_HEADER(CONTROL_DEVICE_CONFIG, sizeof(m.device_config));
        assert_int_equal(control_send(p->fds[0], &m), 0);
        assert_int_equal(control_receive(p->fds[1], &in), 0);
        assert_int_equal(strlen(in.device_config.disk.path), sizeof(in.device_config.disk.path) - 1);
        assert_int_equal(strlen(in.device_config.disk.id), sizeof(in.device_config.disk.id) - 1);
}

static int open_files(void)
{
        int count = 0;

        for (int fd = 0; fd < 256; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

/* The socket of a device comes with its message, and only with that. */
static void a_descriptor_comes_along(void **state)
{
        struct pair *p = *state;
        struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(m)), .index = 3};
        struct control_header other = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(other));
        union control_message in;
        int got = 77, before = open_files(), pipe_fds[2];

        assert_int_equal(control_receive_fd(p->fds[1], &in, &got), -EAGAIN);
        assert_int_equal(pipe(pipe_fds), 0);
        assert_int_equal(control_send_fd(p->fds[0], &m, pipe_fds[1]), 0);
        assert_int_equal(got, 77);
        assert_int_equal(control_receive_fd(p->fds[1], &in, &got), 0);
        assert_memory_equal(&in, &m, sizeof(m));
        assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
        assert_int_equal(write(got, "x", 1), 1);
        assert_int_equal(read(pipe_fds[0], &(char){0}, 1), 1);
        close(got);

        assert_int_equal(control_send(p->fds[0], &m), 0);
        assert_int_equal(control_receive_fd(p->fds[1], &in, &got), 0);
        assert_int_equal(got, -1);

        got = 77;
        assert_int_equal(control_send_fd(p->fds[0], &other, pipe_fds[1]), 0);
        assert_int_equal(control_receive_fd(p->fds[1], &in, &got), -EPROTO);
        m.head.version++;
        assert_int_equal(control_send_fd(p->fds[0], &m, pipe_fds[1]), 0);
        assert_int_equal(control_receive_fd(p->fds[1], &in, &got), -EPROTO);
        m.head.version--;
        assert_int_equal(control_send_fd(p->fds[0], &m, pipe_fds[1]), 0);
        assert_int_equal(control_receive(p->fds[1], &in), 0); /* who does not ask for it gets none */
        assert_int_equal(got, 77);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        assert_int_equal(open_files(), before);
}

static void many_descriptors_are_refused(void **state)
{
        struct pair *p = *state;

        for (unsigned int count = 2; count <= 4; count++) {
                struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(m))};
                struct iovec iov = {&m, sizeof(m)};
                union {
                        struct cmsghdr head;
                        uint8_t bytes[CMSG_SPACE(4 * sizeof(int))];
                } room = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
                struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes};
                union control_message in;
                int got = 77, before = open_files();

                msg.msg_controllen = room.head.cmsg_len = CMSG_LEN(count * sizeof(int));
                for (unsigned int i = 0; i < count; i++)
                        memcpy(CMSG_DATA(&room.head) + i * sizeof(int), &p->fds[0], sizeof(int));
                assert_int_equal(sendmsg(p->fds[0], &msg, 0), (ssize_t)sizeof(m));
                assert_int_equal(control_receive_fd(p->fds[1], &in, &got), -EPROTO);
                assert_int_equal(got, 77);
                assert_int_equal(open_files(), before);
        }
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
                cmocka_unit_test_setup_teardown(a_descriptor_comes_along, setup, teardown),
                cmocka_unit_test_setup_teardown(many_descriptors_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(a_dead_peer_is_noticed, setup, teardown),
                cmocka_unit_test_setup_teardown(last_words_are_heard, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
