/* System calls that not every C library wraps: thin, errno-style, nothing added. */
#pragma once

#include <linux/sched.h> /* struct clone_args, CLONE_* */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static inline pid_t sys_clone3(struct clone_args *args)
{
        return (pid_t)syscall(SYS_clone3, args, sizeof(*args));
}

static inline int sys_close_range(unsigned int first, unsigned int last)
{
        return (int)syscall(SYS_close_range, first, last, 0U);
}

static inline int sys_execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
        return (int)syscall(SYS_execveat, fd, path, argv, envp, flags);
}

static inline int sys_pidfd_open(pid_t pid)
{
        return (int)syscall(SYS_pidfd_open, pid, 0U);
}

static inline int sys_pidfd_send_signal(int pidfd, int sig)
{
        return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0U);
}

static inline int sys_fsopen(const char *type, unsigned int flags)
{
        return (int)syscall(SYS_fsopen, type, flags);
}

static inline int sys_fsconfig(int fd, unsigned int cmd, const char *key, const void *value, int aux)
{
        return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

static inline int sys_fsmount(int fd, unsigned int flags, unsigned int attrs)
{
        return (int)syscall(SYS_fsmount, fd, flags, attrs);
}

static inline int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
        return (int)syscall(SYS_move_mount, from_fd, from, to_fd, to, flags);
}

static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
        return (int)syscall(SYS_pivot_root, new_root, put_old);
}

static inline int sys_mount(const char *src, const char *dst, const char *type, unsigned long flags, const void *data)
{
        return (int)syscall(SYS_mount, src, dst, type, flags, data);
}

static inline int sys_umount2(const char *target, int flags)
{
        return (int)syscall(SYS_umount2, target, flags);
}
