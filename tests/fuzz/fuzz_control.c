/*
 * One packet on the control channel, of any bytes, as both ends receive it; and the description of a guest, of any
 * bytes, as the command line takes it over from bulkhead-json.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "spec/control.h"
#include "spec_check.h"

static size_t size_of(uint16_t type)
{
        static const size_t sizes[] = {
                [CONTROL_ROOTED] = 16,
                [CONTROL_MAPPED] = 16,
                [CONTROL_JAILED] = sizeof(struct control_jailed),
                [CONTROL_CONFIG] = sizeof(struct control_config),
                [CONTROL_POWER_BUTTON] = 16,
                [CONTROL_READY] = sizeof(struct control_ready),
                [CONTROL_END] = sizeof(struct control_end),
                [CONTROL_FAILED] = sizeof(struct control_failed),
                [CONTROL_DEVICE] = sizeof(struct control_device),
                [CONTROL_DEVICE_DOWN] = sizeof(struct control_device),
                [CONTROL_DEVICE_CONFIG] = sizeof(struct control_device_config),
                [CONTROL_RESIZE] = sizeof(struct control_resize),
                [CONTROL_RESIZED] = sizeof(struct control_resize),
        };

        return type < ARRAY_LEN(sizes) ? sizes[type] : 0;
}

/* Every text must end, whatever was sent, and nothing else may differ from what was sent. */
static void check_received(const union control_message *m, const uint8_t *sent, size_t len)
{
        union control_message same;

        memcpy(&same, sent, len);
        if (m->head.type == CONTROL_CONFIG) {
                MUST(memchr(m->config.cmdline, '\0', sizeof(m->config.cmdline)));
                same.config.cmdline[sizeof(same.config.cmdline) - 1] = '\0';
        }
        if (m->head.type == CONTROL_FAILED) {
                MUST(memchr(m->failed.text, '\0', sizeof(m->failed.text)));
                same.failed.text[sizeof(same.failed.text) - 1] = '\0';
        }
        if (m->head.type == CONTROL_DEVICE_CONFIG) {
                MUST(memchr(m->device_config.disk.path, '\0', sizeof(m->device_config.disk.path)));
                MUST(memchr(m->device_config.disk.id, '\0', sizeof(m->device_config.disk.id)));
                same.device_config.disk.path[sizeof(same.device_config.disk.path) - 1] = '\0';
                same.device_config.disk.id[sizeof(same.device_config.disk.id) - 1] = '\0';
        }
        MUST(memcmp(m, &same, len) == 0);
}

static void packet(struct reader *r)
{
        static uint8_t bytes[sizeof(union control_message) + 64];
        static union control_message m;
        struct control_header head;
        uint8_t how = read_u8(r);
        size_t given, len;
        int pair[2], result;
        bool good, with_fd = how & 8;
        int passed = -1;

        memset(bytes, 0x41, sizeof(bytes)); /* no zero ends a text by accident */
        given = read_bytes(r, bytes, sizeof(bytes));
        memcpy(&head, bytes, sizeof(head));
        len = given;
        if (how & 1) { /* a good header, and the length that the input says or that its type has */
                head.magic = CONTROL_MAGIC;
                head.version = CONTROL_VERSION;
                head.type %= CONTROL_RESIZED + 2;
                len = how & 2 ? size_of(head.type) : head.size % sizeof(bytes);
                head.size = (uint32_t)len + ((how & 4) != 0);
                memcpy(bytes, &head, sizeof(head));
        }
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
        MUST(control_receive(pair[1], &m) == -EAGAIN);
        good = len >= sizeof(head) && head.magic == CONTROL_MAGIC && head.version == CONTROL_VERSION &&
               head.size == len && size_of(head.type) == len;
        with_fd = with_fd && good;
        if (with_fd)
                MUST(control_send_fd(pair[0], bytes, pair[0]) == 0);
        else
                MUST(len == 0 || send(pair[0], bytes, len, 0) == (ssize_t)len);
        close(pair[0]);
        result = how & 16 ? control_receive_fd(pair[1], &m, &passed) : control_receive(pair[1], &m);
        if (with_fd && how & 16)
                good = head.type == CONTROL_DEVICE;
        MUST((passed >= 0) == (good && with_fd && (how & 16)));
        if (passed >= 0)
                close(passed);
        MUST(result == (good ? 0 : len == 0 ? -EPIPE : -EPROTO));
        if (good)
                check_received(&m, bytes, len);
        MUST(control_receive(pair[1], &m) == -EPIPE);
        close(pair[1]);
}

/* One error goes through the channel as it is. */
static void failed_round_trip(struct reader *r)
{
        struct err e = {.status = read_u8(r)};
        union control_message m;
        int pair[2];

        read_bytes(r, e.text, sizeof(e.text) - 1);
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
        MUST(control_send_failed(pair[0], &e) == 0);
        MUST(control_receive(pair[1], &m) == 0 && m.head.type == CONTROL_FAILED);
        MUST(m.failed.status == e.status && strcmp(m.failed.text, e.text) == 0);
        close(pair[0]);
        close(pair[1]);
}

/* Fields of a good description, overwritten at places that the input says. */
static void spec_bytes(struct reader *r)
{
        struct guest_spec s, out = {0};
        size_t len = sizeof(s) - read_u8(r) % 2;
        struct err e = ERR_INIT;
        int result;

        guest_spec_init(&s);
        memcpy(s.name, "vm", 3);
        memcpy(s.kernel, "/k", 3);
        while (r->len > 0) {
                size_t offset = read_u16(r) % sizeof(s), count = read_u16(r) % (sizeof(s) - offset + 1);
                uint8_t how = read_u8(r);

                if (how & 1) /* a text without an end */
                        memset((uint8_t *)&s + offset, how, count);
                else
                        read_bytes(r, (uint8_t *)&s + offset, count);
        }
        result = guest_spec_draft_from_bytes(&s, len, &out, &e);
        if (result < 0) {
                must_be_error(&e, result,
                              STATUS_BIT(STATUS_USAGE) | STATUS_BIT(STATUS_IMAGE) | STATUS_BIT(STATUS_FAILURE));
                MUST(out.version == 0);
                return;
        }
        MUST(memcmp(&s, &out, sizeof(s)) == 0);
        spec_must_be_in_range(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};

        switch (read_u8(&r) & 3) {
        case 0:
        case 1:
                packet(&r);
                break;
        case 2:
                failed_round_trip(&r);
                break;
        default:
                spec_bytes(&r);
                break;
        }
        return 0;
}
