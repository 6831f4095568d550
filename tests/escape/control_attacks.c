/*
 * Attacks on the supervisor by the control channel and the console, as the main thread, whose filter allows to write to
 * both. The guest does not run yet; attacks on the supervisor of one that does say READY first.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "escape.h"
#include "jail/layers.h"
#include "spec/control.h"
#include "spec/vmm_fds.h"

#define OVERSIZED_BYTES (64 * 1024)
#define FLOOD_MESSAGES  100000

static void post(const void *message, size_t bytes)
{
        (void)send(VMM_FD_CONTROL, message, bytes, MSG_NOSIGNAL); /* the supervisor may have closed its end */
}

static void ready_say(uint64_t layers)
{
        struct control_ready m = {.head = CONTROL_HEADER(CONTROL_READY, sizeof(m)),
                                  .layers = layers,
                                  .landlock_abi = UINT32_MAX};

        post(&m, sizeof(m));
}

static void head_say(unsigned int type)
{
        struct control_header head = CONTROL_HEADER((uint16_t)type, sizeof(head));

        post(&head, sizeof(head));
}

static void end_say(uint32_t reason)
{
        struct control_end m = {.head = CONTROL_HEADER(CONTROL_END, sizeof(m)),
                                .reason = reason,
                                .verdict = UINT32_MAX};

        post(&m, sizeof(m));
}

static void failed_say(uint32_t status, const char *text)
{
        struct control_failed m = {.head = CONTROL_HEADER(CONTROL_FAILED, sizeof(m)), .status = status};

        for (size_t i = 0; text[i] && i < sizeof(m.text); i++)
                m.text[i] = text[i];
        post(&m, sizeof(m));
}

static void short_message(void)
{
        post("BUK", 3);
}

static void empty_message(void)
{
        post("", 0);
}

static void bad_magic(void)
{
        struct control_header head = CONTROL_HEADER(CONTROL_ROOTED, sizeof(head));

        head.magic++;
        post(&head, sizeof(head));
}

static void bad_version(void)
{
        struct control_header head = CONTROL_HEADER(CONTROL_ROOTED, sizeof(head));

        head.version++;
        post(&head, sizeof(head));
}

static void unknown_type(void)
{
        head_say(UINT16_MAX);
}

static void type_zero(void)
{
        head_say(0);
}

static void size_too_large(void)
{
        struct control_header head = CONTROL_HEADER(CONTROL_ROOTED, UINT32_MAX);

        post(&head, sizeof(head));
}

static void wrong_size_for_type(void)
{
        head_say(CONTROL_READY);
}

static void oversized(void)
{
        static union {
                struct control_header head;
                char bytes[OVERSIZED_BYTES];
        } m = {.head = CONTROL_HEADER(CONTROL_FAILED, sizeof(m))};

        post(&m, sizeof(m));
}

static void supervisors_mapped(void)
{
        head_say(CONTROL_MAPPED);
}

static void supervisors_config(void)
{
        static const struct control_config m = {.head = CONTROL_HEADER(CONTROL_CONFIG, sizeof(m))};

        post(&m, sizeof(m));
}

static void supervisors_button(void)
{
        head_say(CONTROL_POWER_BUTTON);
}

static void rooted_again(void)
{
        head_say(CONTROL_ROOTED);
}

static void jailed_again(void)
{
        const struct control_jailed m = {.head = CONTROL_HEADER(CONTROL_JAILED, sizeof(m)), .layers = UINT64_MAX};

        post(&m, sizeof(m));
}

static void end_before_ready(void)
{
        end_say(END_POWEROFF);
}

static void ready_twice(void)
{
        ready_say(UINT64_MAX);
        ready_say(UINT64_MAX);
}

static void end_unknown(void)
{
        ready_say(UINT64_MAX);
        end_say(UINT32_MAX);
}

static void end_twice(void)
{
        ready_say(UINT64_MAX);
        end_say(END_POWEROFF);
        end_say(END_POWEROFF);
}

/* Says that it ends, and stays. */
static void end_and_stay(void)
{
        ready_say(UINT64_MAX);
        end_say(END_POWEROFF);
}

static void end_verdict(void)
{
        ready_say(UINT64_MAX);
        end_say(END_VERDICT);
}

static void failed_ok(void)
{
        failed_say(STATUS_OK, "all is well");
}

static void failed_unknown(void)
{
        failed_say(UINT32_MAX, "a status that there is not");
}

static void failed_signal(void)
{
        failed_say(STATUS_SIGNAL + 9, "as if an operator had");
}

/* Two lines, a terminal's escapes, and bytes that are no text. */
static void failed_text(void)
{
        failed_say(STATUS_GUEST, "one\nbulkhead: two\r\x1b[2J\x1b]0;title\x07 \x9b\xff%n%s");
}

static void failed_unterminated(void)
{
        static char text[ERR_TEXT_MAX + 1];

        memset(text, 'A', ERR_TEXT_MAX);
        failed_say(STATUS_GUEST, text);
}

static void failed_while_running(void)
{
        ready_say(UINT64_MAX);
        failed_say(STATUS_USAGE, "an error of its own");
}

static void flood_valid(void)
{
        ready_say(UINT64_MAX);
        for (unsigned int i = 0; i < FLOOD_MESSAGES; i++)
                end_say(END_RESET);
}

static void flood_bad(void)
{
        for (unsigned int i = 0; i < FLOOD_MESSAGES; i++)
                post("x", 1);
}

static void channel_shut(void)
{
        (void)syscall(SYS_shutdown, VMM_FD_CONTROL, SHUT_RDWR);
}

static void channel_shut_running(void)
{
        ready_say(UINT64_MAX);
        channel_shut();
}

/* A hundred descriptors with each of some messages that are in order: READY, then nothing that would end the guest. */
static void send_descriptors(void)
{
        enum { COUNT = 100 };
        struct control_ready m = {.head = CONTROL_HEADER(CONTROL_READY, sizeof(m)), .layers = UINT64_MAX};
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(COUNT * sizeof(int))];
        } control = {
                .head = {.cmsg_len = CMSG_LEN(COUNT * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct iovec data = {&m, sizeof(m)};
        const struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        if (sendmsg(VMM_FD_CONTROL, &message, MSG_NOSIGNAL) < 0)
                escape_say("escape: cannot send\n");
        data = (struct iovec){(void *)(uintptr_t) "x", 1};
        for (unsigned int i = 0; i < 10; i++)
                (void)sendmsg(VMM_FD_CONSOLE, &message, MSG_NOSIGNAL);
        escape_say("escape: sent\n");
}

/* Without an end, and whatever the supervisor does with it. */
static void flood_console(void)
{
        static char data[4096];

        memset(data, 'x', sizeof(data));
        ready_say(UINT64_MAX);
        for (;;)
                (void)send(VMM_FD_CONSOLE, data, sizeof(data), MSG_NOSIGNAL);
}

/* As many threads as it gets, which never stop. */
static void spin(void)
{
        const struct attempt *threads = attempt_find("E12.7");
        const struct attempt_target nobody = {0};

        ready_say(UINT64_MAX);
        (void)threads->make(&nobody, threads); /* how many these are does not matter */
}

static const struct {
        const char *name;
        void (*make)(void);
} attacks[] = {
        {"short", short_message},
        {"empty", empty_message},
        {"magic", bad_magic},
        {"version", bad_version},
        {"unknown-type", unknown_type},
        {"type-0", type_zero},
        {"size", size_too_large},
        {"size-of-another-type", wrong_size_for_type},
        {"oversized", oversized},
        {"mapped", supervisors_mapped},
        {"config", supervisors_config},
        {"power-button", supervisors_button},
        {"rooted-again", rooted_again},
        {"jailed-again", jailed_again},
        {"end-before-ready", end_before_ready},
        {"ready-twice", ready_twice},
        {"end-unknown", end_unknown},
        {"end-twice", end_twice},
        {"end-and-stay", end_and_stay},
        {"end-verdict", end_verdict},
        {"failed-ok", failed_ok},
        {"failed-unknown", failed_unknown},
        {"failed-signal", failed_signal},
        {"failed-text", failed_text},
        {"failed-unterminated", failed_unterminated},
        {"failed-while-running", failed_while_running},
        {"flood", flood_valid},
        {"flood-bad", flood_bad},
        {"shut", channel_shut},
        {"shut-while-running", channel_shut_running},
        {"descriptors", send_descriptors},
        {"flood-console", flood_console},
        {"spin", spin},
        {"silent", NULL},
};

void control_attack(const char *name)
{
        for (size_t i = 0; i < ARRAY_LEN(attacks); i++)
                if (strcmp(attacks[i].name, name) == 0 && attacks[i].make)
                        attacks[i].make();
        /* It stays: what ends the guest is the supervisor. */
        for (;;)
                (void)poll(NULL, 0, -1);
}
