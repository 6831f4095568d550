/*
 * Netlink sockets and settings in the network namespace of a process. A socket stays in the namespace it was made in,
 * and so does an open file of /proc/sys/net, so that only a child of this process ever enters another's: it opens what
 * is wanted there, passes it up and ends.
 *
 *   net-sysctl NS NAME   the file NAME below /proc/sys/net of that network namespace, "ipv4/ip_forward"; NS "self" or a
 * pid tun-netns PID FD     inode of the network namespace in which the interface of that tun descriptor is; -ENOTTY,
 * -EINVAL: this kernel does not tell; -EBADFD: it has no interface
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/sys.h"

#define SYSCTL_MAX 4096

/* What to open in a namespace. */
struct wish {
        int protocol;       /* a netlink socket of it, */
        const char *sysctl; /* or, if not NULL, this file below /proc/sys/net */
};

static int sysctl_open(const char *name)
{
        const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        _cleanup_fd_ int dir = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

static int wish_open(const struct wish *w)
{
        int fd = w->sysctl ? sysctl_open(w->sysctl) : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, w->protocol);

        return fd < 0 && !w->sysctl ? -errno : fd;
}

/* What the child sends: 0 with the socket, or a negative errno without one. */
static void child_run(int ns, const struct wish *w, int up)
{
        int result = setns(ns, CLONE_NEWNET) < 0 ? -errno : 0, fd = result < 0 ? result : wish_open(w);
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

static int namespace_open(struct live *l, pid_t pid, const struct wish *w)
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
                return wish_open(w);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        here = pair[0];
        there = pair[1];
        child = fork();
        if (child < 0)
                return -errno;
        if (child == 0)
                child_run(ns, w, there);
        fd_closep(&there);
        fd = socket_receive(here);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        return fd;
}

int live_netlink_open(struct live *l, pid_t pid, int protocol)
{
        return namespace_open(l, pid, &(struct wish){.protocol = protocol});
}

static int answer_net_sysctl(struct live *l, const char *subject, struct answer *ret)
{
        size_t n = strcspn(subject, " ");
        pid_t pid = text_has_prefix(subject, "self ") ? getpid() : (pid_t)strtol(subject, NULL, 10);
        char buf[SYSCTL_MAX];
        ssize_t len;

        if (pid <= 0 || subject[n] == '\0')
                return -EINVAL;
        _cleanup_fd_ int fd = namespace_open(l, pid, &(struct wish){.sysctl = subject + n + 1});
        if (fd < 0)
                return fd;
        len = read(fd, buf, sizeof(buf));
        if (len < 0)
                return -errno;
        ret->bytes = arena_copy(live_arena(l), buf, (size_t)len);
        ret->len = (size_t)len;
        return 0;
}

/* Holds the descriptor for the moment of one ioctl. */
static int answer_tun_netns(struct live *l, const char *subject, struct answer *ret)
{
        struct stat st;
        pid_t pid;
        int number, r;

        if (sscanf(subject, "%d %d", &pid, &number) != 2)
                return -EINVAL;
        _cleanup_fd_ int process = sys_pidfd_open(pid);
        if (process < 0)
                return -errno;
        r = live_process_still(l, pid);
        if (r < 0)
                return r;
        _cleanup_fd_ int tun = (int)syscall(SYS_pidfd_getfd, process, number, 0);
        if (tun < 0)
                return -errno;
        if (fstat(tun, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 200)) /* Documentation/admin-guide/devices.txt */
                return -ENOTTY;
        _cleanup_fd_ int ns = ioctl(tun, TUNGETDEVNETNS);
        if (ns < 0)
                return -errno;
        return fstat(ns, &st) < 0 ? -errno : live_answer(l, ret, "%llu", (unsigned long long)st.st_ino);
}

const struct live_verb live_namespace_verbs[] = {
        {"net-sysctl", answer_net_sysctl},
        {"tun-netns", answer_tun_netns},
        {NULL, NULL},
};
