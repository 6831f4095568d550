#include "spec/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

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
        case CONTROL_DEVICE:
        case CONTROL_DEVICE_DOWN:
                return sizeof(struct control_device);
        case CONTROL_DEVICE_CONFIG:
                return sizeof(struct control_device_config);
        case CONTROL_RESIZE:
        case CONTROL_RESIZED:
                return sizeof(struct control_resize);
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

/* Is it what its header says? len: what came. Ends its texts. */
static int message_check(union control_message *m, size_t len)
{
        if (len < sizeof(struct control_header) || m->head.magic != CONTROL_MAGIC ||
            m->head.version != CONTROL_VERSION || m->head.size != len || message_size(m->head.type) != len)
                return -EPROTO;
        if (m->head.type == CONTROL_CONFIG)
                m->config.cmdline[sizeof(m->config.cmdline) - 1] = '\0';
        if (m->head.type == CONTROL_FAILED)
                m->failed.text[sizeof(m->failed.text) - 1] = '\0';
        if (m->head.type == CONTROL_DEVICE_CONFIG) {
                m->device_config.disk.path[sizeof(m->device_config.disk.path) - 1] = '\0';
                m->device_config.disk.id[sizeof(m->device_config.disk.id) - 1] = '\0';
        }
        return 0;
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
        return message_check(ret, (size_t)n);
}

union fd_room {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

int control_send_fd(int fd, const void *message, int passed)
{
        const struct control_header *head = message;
        struct iovec iov = {(void *)message, head->size};
        union fd_room room = {0};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = CMSG_LEN(sizeof(int))};
        ssize_t n;

        room.head.cmsg_level = SOL_SOCKET;
        room.head.cmsg_type = SCM_RIGHTS;
        room.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&room.head), &passed, sizeof(passed));
        do
                n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == (ssize_t)head->size ? 0 : -EIO;
}

/* The descriptor that came along, or -1. The room is that of one: the kernel closes what does not fit. */
static int fd_taken(const union fd_room *room, size_t len)
{
        int passed;

        if (len < CMSG_LEN(sizeof(int)) || room->head.cmsg_level != SOL_SOCKET || room->head.cmsg_type != SCM_RIGHTS)
                return -1;
        memcpy(&passed, CMSG_DATA(&room->head), sizeof(passed));
        return passed;
}

int control_receive_fd(int fd, union control_message *ret, int *ret_fd)
{
        struct iovec iov = {ret, sizeof(*ret)};
        union fd_room room = {0};
        struct msghdr msg;
        _cleanup_fd_ int passed = -1;
        ssize_t n;
        int r;

        do {
                msg = (struct msghdr){.msg_iov = &iov,
                                      .msg_iovlen = 1,
                                      .msg_control = room.bytes,
                                      .msg_controllen = CMSG_LEN(sizeof(int))};
                n = recvmsg(fd, &msg, MSG_TRUNC | MSG_CMSG_CLOEXEC);
        } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
        if (n < 0)
                return -errno;
        passed = fd_taken(&room, msg.msg_controllen);
        if (n == 0)
                return -EPIPE;
        if (msg.msg_flags & MSG_CTRUNC)
                return -EPROTO;
        r = message_check(ret, (size_t)n);
        if (r == 0 && passed >= 0 && ret->head.type != CONTROL_DEVICE)
                r = -EPROTO;
        if (r == 0)
                *ret_fd = TAKE_FD(passed);
        return r;
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
