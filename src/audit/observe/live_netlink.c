/*
 * Netlink sockets in the network namespace of a process. A socket stays in the namespace it was made in, so that only a
 * child of this process ever enters another's: it makes the socket there, passes it up and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "base/cleanup.h"

static int netlink_socket(int protocol)
{
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

        return fd < 0 ? -errno : fd;
}

/* What the child sends: 0 with the socket, or a negative errno without one. */
static void child_run(int ns, int protocol, int up)
{
        int result = setns(ns, CLONE_NEWNET) < 0 ? -errno : 0, fd = result < 0 ? result : netlink_socket(protocol);
        char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr)))) = {0};
        struct iovec iov = {.iov_base = &result, .iov_len = sizeof(result)};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fd < 0)
                result = fd;
        else {
                struct cmsghdr *c;

                msg.msg_control = control;
                msg.msg_controllen = sizeof(control);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(fd));
        }
        _exit(sendmsg(up, &msg, MSG_NOSIGNAL) < 0);
}

static int socket_receive(int from)
{
        char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(__alignof__(struct cmsghdr)))) = {0};
        int result = 0, fd;
        struct iovec iov = {.iov_base = &result, .iov_len = sizeof(result)};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        struct cmsghdr *c;
        ssize_t n;

        do
                n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n != sizeof(result))
                return n < 0 ? -errno : -EPROTO;
        if (result < 0)
                return result;
        c = CMSG_FIRSTHDR(&msg);
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
                return -EPROTO;
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        return fd;
}

static bool is_own_namespace(int ns)
{
        struct stat own, other;

        return fstat(ns, &other) == 0 && stat("/proc/self/ns/net", &own) == 0 && own.st_ino == other.st_ino &&
               own.st_dev == other.st_dev;
}

int live_netlink_open(struct live *l, pid_t pid, int protocol)
{
        _cleanup_fd_ int ns = -1, here = -1, there = -1;
        int pair[2], fd, dirfd = live_process_dir(l, pid);
        pid_t child;

        if (dirfd < 0)
                return dirfd;
        ns = openat(dirfd, "ns/net", O_RDONLY | O_CLOEXEC);
        if (ns < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        if (is_own_namespace(ns))
                return netlink_socket(protocol);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        here = pair[0];
        there = pair[1];
        child = fork();
        if (child < 0)
                return -errno;
        if (child == 0)
                child_run(ns, protocol, there);
        fd_closep(&there);
        fd = socket_receive(here);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        return fd;
}
