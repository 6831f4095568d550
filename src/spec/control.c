#include "spec/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static size_t message_size(uint16_t type)
{
        switch (type) {
        case CONTROL_ROOTED:
        case CONTROL_MAPPED:
        case CONTROL_POWER_BUTTON:
                return sizeof(struct control_header);
        case CONTROL_JAILED:
                return sizeof(struct control_jailed);
        case CONTROL_CONFIG:
                return sizeof(struct control_config);
        case CONTROL_READY:
                return sizeof(struct control_ready);
        case CONTROL_END:
                return sizeof(struct control_end);
        case CONTROL_FAILED:
                return sizeof(struct control_failed);
        default:
                return 0;
        }
}

int control_send(int fd, const void *message)
{
        const struct control_header *head = message;
        ssize_t n;

        do
                n = send(fd, message, head->size, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == (ssize_t)head->size ? 0 : -EIO;
}

int control_receive(int fd, union control_message *ret)
{
        ssize_t n;

        /* ECONNRESET says, once, that the peer died with something of ours unread; what it sent before is still to
         * come. */
        do
                n = recv(fd, ret, sizeof(*ret), MSG_TRUNC);
        while (n < 0 && (errno == EINTR || errno == ECONNRESET));
        if (n < 0)
                return -errno;
        if (n == 0)
                return -EPIPE;
        if ((size_t)n < sizeof(struct control_header) || ret->head.magic != CONTROL_MAGIC ||
            ret->head.version != CONTROL_VERSION || ret->head.size != (size_t)n ||
            message_size(ret->head.type) != (size_t)n)
                return -EPROTO;
        if (ret->head.type == CONTROL_CONFIG)
                ret->config.cmdline[sizeof(ret->config.cmdline) - 1] = '\0';
        if (ret->head.type == CONTROL_FAILED)
                ret->failed.text[sizeof(ret->failed.text) - 1] = '\0';
        return 0;
}

int control_send_failed(int fd, const struct err *e)
{
        struct control_failed m = {
                .head = CONTROL_HEADER(CONTROL_FAILED, sizeof(m)),
                .status = e->status,
        };

        memcpy(m.text, e->text, sizeof(m.text));
        return control_send(fd, &m);
}
