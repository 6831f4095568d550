/*
 * Which arguments of which calls are file descriptors. x86_64's calls, Linux 6.18 (include/linux/syscalls.h); not those
 * whose descriptors are in memory, where no filter can look: poll, select, clone3, sendmsg's and io_uring's lists.
 */
#include <string.h>

#include "policy.h"

#define A(n) (1U << (n))

static const struct {
        const char *call;
        unsigned int arguments;
} takers[] = {
        /* reading and writing */
        {"read", A(0)},
        {"write", A(0)},
        {"readv", A(0)},
        {"writev", A(0)},
        {"pread64", A(0)},
        {"pwrite64", A(0)},
        {"preadv", A(0)},
        {"pwritev", A(0)},
        {"preadv2", A(0)},
        {"pwritev2", A(0)},
        {"lseek", A(0)},
        {"sendfile", A(0) | A(1)},
        {"splice", A(0) | A(2)},
        {"tee", A(0) | A(1)},
        {"vmsplice", A(0)},
        {"copy_file_range", A(0) | A(2)},
        {"readahead", A(0)},
        {"fadvise64", A(0)},
        {"fsync", A(0)},
        {"fdatasync", A(0)},
        {"sync_file_range", A(0)},
        {"syncfs", A(0)},
        {"ftruncate", A(0)},
        {"fallocate", A(0)},
        {"cachestat", A(0)},
        {"mmap", A(4)},
        /* descriptors themselves */
        {"ioctl", A(0)},
        {"fcntl", A(0)},
        {"flock", A(0)},
        {"dup", A(0)},
        {"dup2", A(0) | A(1)},
        {"dup3", A(0) | A(1)},
        {"close", A(0)},
        {"close_range", A(0) | A(1)},
        {"pidfd_getfd", A(0) | A(1)},
        {"pidfd_send_signal", A(0)},
        {"process_madvise", A(0)},
        {"process_mrelease", A(0)},
        {"setns", A(0)},
        {"kcmp", A(3) | A(4)},
        {"finit_module", A(0)},
        {"kexec_file_load", A(0) | A(1)},
        {"perf_event_open", A(3)},
        {"io_uring_enter", A(0)},
        {"io_uring_register", A(0)},
        {"landlock_add_rule", A(0)},
        {"landlock_restrict_self", A(0)},
        /* sockets */
        {"sendto", A(0)},
        {"recvfrom", A(0)},
        {"sendmsg", A(0)},
        {"recvmsg", A(0)},
        {"sendmmsg", A(0)},
        {"recvmmsg", A(0)},
        {"bind", A(0)},
        {"connect", A(0)},
        {"listen", A(0)},
        {"accept", A(0)},
        {"accept4", A(0)},
        {"shutdown", A(0)},
        {"getsockname", A(0)},
        {"getpeername", A(0)},
        {"getsockopt", A(0)},
        {"setsockopt", A(0)},
        /* events */
        {"epoll_ctl", A(0) | A(2)},
        {"epoll_wait", A(0)},
        {"epoll_pwait", A(0)},
        {"epoll_pwait2", A(0)},
        {"signalfd", A(0)},
        {"signalfd4", A(0)},
        {"timerfd_settime", A(0)},
        {"timerfd_gettime", A(0)},
        {"inotify_add_watch", A(0)},
        {"inotify_rm_watch", A(0)},
        {"fanotify_mark", A(0) | A(3)},
        {"mq_timedsend", A(0)},
        {"mq_timedreceive", A(0)},
        {"mq_notify", A(0)},
        {"mq_getsetattr", A(0)},
        /* files and directories */
        {"fstat", A(0)},
        {"fstatfs", A(0)},
        {"newfstatat", A(0)},
        {"statx", A(0)},
        {"getdents", A(0)},
        {"getdents64", A(0)},
        {"fchdir", A(0)},
        {"fchmod", A(0)},
        {"fchmodat", A(0)},
        {"fchmodat2", A(0)},
        {"fchown", A(0)},
        {"fchownat", A(0)},
        {"futimesat", A(0)},
        {"utimensat", A(0)},
        {"faccessat", A(0)},
        {"faccessat2", A(0)},
        {"openat", A(0)},
        {"openat2", A(0)},
        {"open_by_handle_at", A(0)},
        {"name_to_handle_at", A(0)},
        {"open_tree", A(0)},
        {"mkdirat", A(0)},
        {"mknodat", A(0)},
        {"unlinkat", A(0)},
        {"renameat", A(0) | A(2)},
        {"renameat2", A(0) | A(2)},
        {"linkat", A(0) | A(2)},
        {"symlinkat", A(1)},
        {"readlinkat", A(0)},
        {"fgetxattr", A(0)},
        {"fsetxattr", A(0)},
        {"flistxattr", A(0)},
        {"fremovexattr", A(0)},
        {"execveat", A(0)},
        {"fsconfig", A(0)},
        {"fsmount", A(0)},
        {"fspick", A(0)},
        {"move_mount", A(0) | A(2)},
        {"mount_setattr", A(0)},
        {"quotactl_fd", A(0)},
};

unsigned int fd_arguments(const char *call)
{
        for (size_t i = 0; i < ARRAY_LEN(takers); i++)
                if (strcmp(takers[i].call, call) == 0)
                        return takers[i].arguments;
        return 0;
}

int fd_check(const struct rule *rule, struct err *e)
{
        unsigned int unnamed = fd_arguments(rule->call);

        for (unsigned int i = 0; i < rule->condition_count; i++)
                if (rule->conditions[i].op == CONDITION_EQ || rule->conditions[i].op == CONDITION_MASKED_EQ)
                        unnamed &= ~A(rule->conditions[i].arg);
        for (unsigned int arg = 0; arg < POLICY_ARGS; arg++)
                if (unnamed & A(arg))
                        return err_bad(e, STATUS_FAILURE, "%s without its descriptor: add arg%u == NUMBER", rule->call,
                                       arg);
        return 0;
}
