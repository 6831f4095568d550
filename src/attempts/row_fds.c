/* E14: every descriptor the role has, used as the role does not. */
#include <linux/fs.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "attempts/call.h"
#include "attempts/rows.h"

/* The calls below are of no use to an attacker as such: what counts is what they tell or change. */

static struct attempt_result fstat_every(const struct attempt_target *t, const struct attempt *a)
{
        struct stat st = {0};

        for (int fd = 0; fd < FDS_MAX; fd++) {
                long r = CALL(SYS_fstat, fd, &st);

                if (r == -EBADF)
                        continue;
                if (r < 0)
                        return refused(r);
                if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
                        return succeeded("there is a file, a directory or a disk");
        }
        return contained("sockets, KVM, an eventfd and /dev/null");
}

/* What can be read without waiting. */
static struct attempt_result read_every(const struct attempt_target *t, const struct attempt *a)
{
        char data[64];

        for (int fd = 0; fd < FDS_MAX; fd++) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                long r = CALL(SYS_poll, &p, 1, 0);

                if (r < 0)
                        return refused(r);
                if (p.revents & POLLIN && CALL(SYS_read, fd, data, sizeof(data)) > 0)
                        return succeeded("there is something to read");
        }
        return contained("there is nothing to read");
}

/* Not to the sockets: that is the role's own business. */
static struct attempt_result write_every(const struct attempt_target *t, const struct attempt *a)
{
        struct stat st = {0};

        for (int fd = 0; fd < FDS_MAX; fd++) {
                long r = CALL(SYS_fstat, fd, &st);

                if (r < 0 && r != -EBADF)
                        return refused(r);
                if (r == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && CALL(SYS_write, fd, "x", 1) > 0)
                        return succeeded("there is a file to write to");
        }
        return contained("there is no file to write to");
}

/* Where there is a position, it can be set; what has none ignores that or refuses. */
static struct attempt_result seek_every(const struct attempt_target *t, const struct attempt *a)
{
        for (int fd = 0; fd < FDS_MAX; fd++) {
                long r = CALL(SYS_lseek, fd, 1, 0 /* SEEK_SET */);

                if (r == 1)
                        return succeeded("there is something with positions");
        }
        return contained("nothing has positions");
}

static struct attempt_result set_nonblocking(const struct attempt_target *t, const struct attempt *a)
{
        for (int fd = 0; fd < FDS_MAX; fd++) {
                long r = CALL(SYS_fcntl, fd, 4 /* F_SETFL, asm-generic/fcntl.h */, O_NONBLOCK | O_APPEND);

                if (r < 0 && r != -EBADF)
                        return refused(r);
        }
        return contained("its own ends of what it holds");
}

static long open_above(int fd, const struct attempt *a)
{
        return CALL(SYS_openat, fd, "..", O_RDONLY | O_CLOEXEC);
}

static struct attempt_result openat_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(open_above, a);
}

/* Received by nobody: the supervisor asks for bytes only. */
static struct attempt_result send_descriptor(const struct attempt_target *t, const struct attempt *a)
{
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct iovec data = {(void *)(uintptr_t) "\n", 1};
        const struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        long r = -EBADF;

        /* To the first socket there is that is a stream: a message would be one of the supervisor's protocol. */
        for (int fd = 0; fd < FDS_MAX && r < 0 && r != -EPERM; fd++) {
                int type = 0, len = sizeof(type);

                r = CALL(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
                if (r == 0)
                        r = type == SOCK_STREAM ? CALL(SYS_sendmsg, fd, &message, MSG_NOSIGNAL) : -EBADF;
        }
        return r < 0 ? refused(r) : contained("sent, and dropped by the receiver");
}

static long lock_fd(int fd, const struct attempt *a)
{
        return CALL(SYS_flock, fd, LOCK_EX | LOCK_NB);
}

static struct attempt_result lock_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(lock_fd, a);
}

static long file_flags(int fd, const struct attempt *a)
{
        long flags = 0;

        return CALL(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags);
}

static struct attempt_result ioctl_flags(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(file_flags, a);
}

/* Every request of terminals and sockets; some of the latter work on any socket and tell of the empty network. */
static struct attempt_result ioctl_scan(const struct attempt_target *t, const struct attempt *a)
{
        static _Alignas(8) char argument[4096];
        unsigned int tty = 0;

        for (int fd = 0; fd < FDS_MAX; fd++)
                for (unsigned int request = 0; request < 256; request++) {
                        long r = CALL(SYS_ioctl, fd, 0x5400 | request, argument);

                        /* FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC and FIOQSIZE are for every file. */
                        if (request != 0x1b && request != 0x21 && (request < 0x50 || request > 0x52) &&
                            request != 0x60 && request != 0x11 && r >= 0)
                                tty++;
                        CALL(SYS_ioctl, fd, 0x8900 | request, argument);
                }
        return tty ? succeeded("there is a terminal") : contained("no terminal, and the empty network's sockets");
}

const struct attempt row_fds[] = {
        {"E14.1", "fstat every descriptor", fstat_every, 0, NULL},
        {"E14.2", "read every descriptor", read_every, 0, NULL},
        {"E14.3", "write to every file among the descriptors", write_every, 0, NULL},
        {"E14.4", "lseek every descriptor", seek_every, 0, NULL},
        {"E14.5", "send a descriptor to the supervisor", send_descriptor, 0, NULL},
        {"E14.6", "F_SETFL of every descriptor", set_nonblocking, 0, NULL},
        {"E14.7", "openat .. of every descriptor", openat_every, 0, NULL},
        {"E14.8", "ioctls of terminals and sockets on every descriptor", ioctl_scan, 0, NULL},
        {"E14.9", "FS_IOC_GETFLAGS on every descriptor", ioctl_flags, 0, NULL},
        {"E14.10", "flock every descriptor", lock_every, 0, NULL},
        {0},
};
