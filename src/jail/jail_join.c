/*
 * A process for a jail that is there already.
 *
 * Should:  be a child of the supervisor from its birth in the guest's namespaces, all of them. A helper enters those by
 *          the descriptors that the first process of the guest gave out from inside, and makes the child beside itself.
 *          The user namespace comes first, because the right to enter the others is in there; the owner of a user
 *          namespace may enter it without any capability. The cgroup namespace is left to the child, which must be in
 *          the guest's cgroup before (a cgroup that the process cannot see cannot be entered).
 * Mustn't: use a name for a namespace, like that of a process in /proc, which may be another's by now; share memory
 * with the supervisor (the kernel refuses the time namespace then); let the supervisor enter anything. Fails closed: a
 * namespace that cannot be entered ends the helper before there is a child.
 */
#include "jail/jail_join.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "jail/jail_stages.h"

static const struct {
        const char *name; /* in /proc/PID/ns */
        int flag;
        enum jail_layer layer;
} kinds[JAIL_NS_COUNT] = {
        [JAIL_NS_USER] = {"user", CLONE_NEWUSER, LAYER_USER_NS},
        [JAIL_NS_MOUNT] = {"mnt", CLONE_NEWNS, LAYER_MOUNT_NS},
        [JAIL_NS_PID] = {"pid", CLONE_NEWPID, LAYER_PID_NS},
        [JAIL_NS_NET] = {"net", CLONE_NEWNET, LAYER_NET_NS},
        [JAIL_NS_IPC] = {"ipc", CLONE_NEWIPC, LAYER_IPC_NS},
        [JAIL_NS_UTS] = {"uts", CLONE_NEWUTS, LAYER_UTS_NS},
        [JAIL_NS_TIME] = {"time", CLONE_NEWTIME, LAYER_TIME_NS},
        [JAIL_NS_CGROUP] = {"cgroup", CLONE_NEWCGROUP, LAYER_CGROUP_NS},
};

void jail_namespaces_close(struct jail_namespaces *n)
{
        for (size_t i = 0; i < JAIL_NS_COUNT; i++)
                fd_closep(&n->fds[i]);
}

/* ---- giving the namespaces out ---- */

union fds_room {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(JAIL_NS_COUNT * sizeof(int))];
};

static int rooted_send(int control_fd, const int *fds, size_t count)
{
        struct control_header rooted = CONTROL_HEADER(CONTROL_ROOTED, sizeof(rooted));
        struct iovec iov = {&rooted, sizeof(rooted)};
        union fds_room room = {0};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = CMSG_LEN(count * sizeof(int))};

        room.head.cmsg_level = SOL_SOCKET;
        room.head.cmsg_type = SCM_RIGHTS;
        room.head.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&room.head), fds, count * sizeof(int));
        return sendmsg(control_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int jail_namespaces_give(const struct jail *j, struct err *e)
{
        int fds[JAIL_NS_COUNT], r = 0;
        size_t count = 0;

        for (size_t i = 0; i < JAIL_NS_COUNT && r == 0; i++) {
                char path[32];

                if (!(j->layers & LAYER_BIT(kinds[i].layer)))
                        continue;
                snprintf(path, sizeof(path), "self/ns/%s", kinds[i].name);
                fds[count] = openat(j->proc_fd, path, O_RDONLY | O_CLOEXEC);
                if (fds[count] < 0)
                        r = err_set(e, -errno, "open /proc/%s", path);
                else
                        count++;
        }
        if (r == 0) {
                r = rooted_send(j->control_fd, fds, count);
                if (r < 0)
                        err_set(e, r, "give the namespaces to the supervisor");
        }
        while (count > 0)
                close(fds[--count]);
        return r;
}

/* The descriptors that came along. Returns how many. */
static size_t fds_take(const union fds_room *room, size_t len, int fds[JAIL_NS_COUNT])
{
        size_t bytes;

        if (len < CMSG_LEN(sizeof(int)) || room->head.cmsg_level != SOL_SOCKET || room->head.cmsg_type != SCM_RIGHTS)
                return 0;
        bytes = room->head.cmsg_len - CMSG_LEN(0);
        memcpy(fds, CMSG_DATA(&room->head), bytes);
        return bytes / sizeof(int);
}

/* Gives each descriptor its place: which of the two last kinds is missing follows from the number and from layers. */
static int namespaces_sort(const int *fds, size_t count, uint64_t layers, struct jail_namespaces *ret)
{
        size_t used = 0;

        for (size_t i = 0; i < JAIL_NS_COUNT; i++) {
                bool has = i == JAIL_NS_CGROUP ? used < count : (layers & LAYER_BIT(kinds[i].layer)) != 0;

                if (has && used == count)
                        return -EPROTO;
                ret->fds[i] = has ? fds[used++] : -1;
        }
        return used == count ? 0 : -EPROTO;
}

int jail_receive_rooted(int control_fd, uint64_t layers, union control_message *ret,
                        struct jail_namespaces *ret_namespaces)
{
        struct iovec iov = {ret, sizeof(ret->head)};
        union fds_room room = {0};
        struct control_header head;
        struct jail_namespaces n;
        struct msghdr msg;
        int fds[JAIL_NS_COUNT], r;
        size_t count;
        ssize_t len;

        len = recv(control_fd, &head, sizeof(head), MSG_PEEK);
        if (len != sizeof(head) || head.type != CONTROL_ROOTED)
                return control_receive(control_fd, ret);
        do {
                msg = (struct msghdr){.msg_iov = &iov,
                                      .msg_iovlen = 1,
                                      .msg_control = room.bytes,
                                      .msg_controllen = sizeof(room.bytes)};
                len = recvmsg(control_fd, &msg, MSG_CMSG_CLOEXEC);
        } while (len < 0 && errno == EINTR);
        if (len < 0)
                return -errno;
        count = fds_take(&room, msg.msg_controllen, fds);
        r = namespaces_sort(fds, count, layers, &n);
        if (r < 0 || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) || len != sizeof(head)) {
                while (count > 0)
                        close(fds[--count]);
                return -EPROTO;
        }
        *ret_namespaces = n;
        return 0;
}

/* ---- joining ---- */

/* What the helper tells. */
struct join_report {
        int32_t pid;   /* of the child, or -1 */
        int32_t error; /* negative errno */
        char text[ERR_TEXT_MAX];
};

/* Enters every namespace but that of the cgroup. */
static int namespaces_enter(const struct jail_namespaces *n, struct err *e)
{
        for (size_t i = 0; i < JAIL_NS_CGROUP; i++)
                if (n->fds[i] >= 0 && syscall(SYS_setns, n->fds[i], kinds[i].flag) < 0)
                        return err_set(e, -errno, "enter the guest's %s namespace", kinds[i].name);
        return 0;
}

/* In the namespaces but still the supervisor's copy: makes the child, which is the supervisor's, too. */
static pid_t child_clone(const struct jail_request *req, uint64_t layers, int proc_fd, int null_fd)
{
        struct clone_args args = {.flags = CLONE_PARENT}; /* the exit signal is the helper's */
        pid_t pid;

        if (req->cgroup && req->cgroup->unified_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)req->cgroup->unified_fd;
        }
        pid = sys_clone3(&args);
        if (pid == 0)
                jail_child_main(req, layers, proc_fd, null_fd);
        return pid;
}

static int helper_run(const struct jail_request *req, uint64_t layers, int32_t *ret_pid, struct err *e)
{
        /* The jail has no name for these. */
        int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
            r;

        if (proc_fd < 0 || null_fd < 0)
                return err_set(e, -errno, "open /proc and /dev/null");
        r = namespaces_enter(req->join, e);
        if (r < 0)
                return r;
        *ret_pid = child_clone(req, layers, proc_fd, null_fd);
        return *ret_pid < 0 ? err_set(e, -errno, "create a process in the guest's namespaces") : 0;
}

static _Noreturn void helper_main(const struct jail_request *req, uint64_t layers, int report_fd)
{
        struct join_report report = {.pid = -1};
        struct err e = ERR_INIT;

        report.error = helper_run(req, layers, &report.pid, &e);
        memcpy(report.text, e.text, sizeof(report.text));
        /* When even this cannot be sent, the supervisor sees the socket close. */
        (void)send(report_fd, &report, sizeof(report), MSG_NOSIGNAL);
        _exit(STATUS_OK);
}

/* Runs the helper to its end. Returns the child's pid or a negative errno. */
static pid_t helper_start(const struct jail_request *req, uint64_t layers, struct err *e)
{
        struct clone_args args = {.exit_signal = SIGCHLD};
        struct join_report report = {.pid = -1};
        int fds[2], r = 0;
        ssize_t n;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return err_set(e, -errno, "create a socket pair");
        pid = sys_clone3(&args);
        if (pid == 0)
                helper_main(req, layers, fds[1]);
        if (pid < 0)
                r = err_set(e, -errno, "create a process that joins the guest's jail");
        close(fds[1]);
        if (r == 0) {
                do
                        n = recv(fds[0], &report, sizeof(report), 0);
                while (n < 0 && errno == EINTR);
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                if (n != sizeof(report))
                        r = err_set(e, -ECHILD, "join the guest's jail");
        }
        close(fds[0]);
        if (r == 0 && report.error < 0) {
                report.text[sizeof(report.text) - 1] = '\0';
                r = report.error;
                err_bad(e, STATUS_ISOLATION, "%s", report.text);
        }
        return r < 0 ? r : report.pid;
}

int jail_join(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers, struct err *e)
{
        uint64_t layers = 0;
        int pidfd;
        pid_t pid;

        for (size_t i = 0; i < JAIL_NS_CGROUP; i++)
                if (req->join->fds[i] >= 0)
                        layers |= LAYER_BIT(kinds[i].layer);
        pid = helper_start(req, layers, e);
        if (pid < 0)
                return pid;
        pidfd = sys_pidfd_open(pid); /* our own child, not reaped: the pid is nobody else's */
        if (pidfd < 0) {
                int r = err_set(e, -errno, "open a process descriptor");

                kill(pid, SIGKILL);
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return r;
        }
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        *ret_layers = layers;
        return 0;
}

int jail_cgroup_namespace_join(struct jail *j, struct err *e)
{
        const int fd = j->req->join->fds[JAIL_NS_CGROUP];

        if (fd < 0)
                return 0;
        if (syscall(SYS_setns, fd, CLONE_NEWCGROUP) < 0)
                return err_set(e, -errno, "enter the guest's cgroup namespace");
        j->layers |= LAYER_BIT(LAYER_CGROUP_NS);
        return 0;
}
