/*
 * bulkhead-storage.so: makes QEMU's qemu-storage-daemon, as packaged, the process of a device of ours.
 *
 * The dynamic loader maps it into the program before all libraries (LD_PRELOAD), so that what it defines is what the
 * program calls. It does what device.c does for our own programs: before main() it seals the process, hears CONFIG and
 * installs the narrow filter; when the program has opened the image and would listen for a front end it says READY.
 * The program gets from it the two things that it has no option for in QEMU 7.2: an image that is open already, and a
 * front end that is connected already.
 *
 * It trusts the program up to the moment when that has a front end, as it does the kernel: it is the program. What
 * holds afterwards are the jail and the filter.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "devices/common/device_config.h"
#include "jail/jail.h"
#include "jail/jail_seccomp.h"
#include "spec/device_fds.h"
#include "spec/storage.h"

/* Compiled from policy/. */
extern const struct jail_policy policy_storage_main;

#define EXPORTED __attribute__((visibility("default")))

#define SAID_MAX 4096 /* bytes of what the program says before it is ready */

static struct control_ready ready = {.head = CONTROL_HEADER(CONTROL_READY, sizeof(ready))};
static int said_fd = -1; /* what it has written to standard error */
static bool opened, accepted;

/* ---- before main() ---- */

static _Noreturn void fail(const struct err *e)
{
        (void)control_send_failed(DEVICE_FD_CONTROL, e); /* a supervisor that is gone needs no news */
        _exit((int)e->status);
}

/* What the program complains of is what the operator should read: kept in a pipe, whose end it is when it is full. */
static int said_open(struct err *e)
{
        int fds[2], r = 0;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return err_set(e, -errno, "create a pipe");
        said_fd = fds[0];
        if (dup2(fds[1], STDERR_FILENO) < 0)
                r = err_set(e, -errno, "put the pipe in the place of standard error");
        close(fds[1]);
        return r;
}

/* A file is opened without waiting for anything; operations on it do wait. The number of the front end is taken. What
 * the supervisor blocks is for it alone: SIGTERM is how the program is told to end. */
static int inherited_prepare(struct err *e)
{
        int flags = fcntl(DEVICE_FD_RESOURCE, F_GETFL);
        sigset_t none;

        sigemptyset(&none);
        if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
                return err_set(e, -errno, "take signals again");
        if (flags < 0 || fcntl(DEVICE_FD_RESOURCE, F_SETFL, flags & ~O_NONBLOCK) < 0)
                return err_set(e, -errno, "make the disk's descriptor blocking");
        if (dup3(STDIN_FILENO, DEVICE_FD_CLIENT, O_CLOEXEC) < 0)
                return err_set(e, -errno, "occupy descriptor %d", DEVICE_FD_CLIENT);
        return 0;
}

/*
 * The narrow filter cannot look at the flags of clone3(2), which are in memory, and the C library starts threads by
 * it. Where there is no clone3 it takes clone(2), whose flags the filter knows. Of the answers of two filters the
 * kernel takes the stricter one, here this.
 */
static int clone3_hide(struct err *e)
{
        static struct sock_filter program[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog filter = {.len = ARRAY_LEN(program), .filter = program};

        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
                return err_set(e, -errno, "hide clone3");
        return 0;
}

__attribute__((constructor)) static void start(void)
{
        static struct control_device_config config;
        struct err e = ERR_INIT;
        int r = jail_seal(&ready.layers, &ready.landlock_abi, &e);

        if (r == 0)
                r = device_config_receive(&config, ready.layers, &e);
        if (r == 0)
                r = inherited_prepare(&e);
        if (r == 0)
                r = said_open(&e);
        if (r == 0)
                r = clone3_hide(&e);
        if (r == 0)
                r = jail_seccomp_install(&policy_storage_main, &e);
        if (r < 0)
                fail(&e);
}

/* ---- the end of one that did not get ready ---- */

/* "qemu-storage-daemon: --blockdev {...}: Image is not in qcow2 format": the program, and what it was told, are known.
 */
static const char *reason_of(char *line)
{
        char *text = strstr(line, ": ");

        line[strcspn(line, "\n")] = '\0';
        if (!text)
                return line;
        text += 2;
        if (text[0] == '-' && text[1] == '-' && strstr(text, "}: "))
                text = strstr(text, "}: ") + 3;
        return text;
}

__attribute__((destructor)) static void end(void)
{
        static char said[SAID_MAX];
        struct err e = ERR_INIT;
        ssize_t n;

        if (said_fd < 0)
                return;
        n = read(said_fd, said, sizeof(said) - 1);
        said[n > 0 ? n : 0] = '\0';
        err_bad(&e, STATUS_IMAGE, "qemu-storage-daemon cannot use the image: %s",
                n > 0 ? reason_of(said) : "it does not say why");
        (void)control_send_failed(DEVICE_FD_CONTROL, &e);
}

/* ---- what the program calls ---- */

EXPORTED int open64(const char *path, int flags, ...);

/* The image, once, by a name that there is not; there is nothing else. */
int open64(const char *path, int flags, ...)
{
        (void)flags; /* as the supervisor has opened it */
        if (opened || strcmp(path, STORAGE_IMAGE) != 0) {
                errno = ENOENT;
                return -1;
        }
        opened = true;
        return DEVICE_FD_RESOURCE;
}

EXPORTED int listen(int fd, int backlog);

/* All that can fail has been done. */
int listen(int fd, int backlog)
{
        (void)backlog;
        if (fd != DEVICE_FD_FRONTEND || said_fd < 0) {
                errno = EOPNOTSUPP;
                return -1;
        }
        /* From here on it is a guest that makes it complain. */
        if (dup2(STDIN_FILENO, STDERR_FILENO) < 0)
                return -1;
        close(said_fd);
        said_fd = -1;
        return control_send(DEVICE_FD_CONTROL, &ready) < 0 ? -1 : 0;
}

EXPORTED int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

/* It has one front end. When that is gone, and the program looks for the next one, it is to end, and in good order. */
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
        (void)flags;
        if (fd != DEVICE_FD_FRONTEND || accepted) {
                raise(SIGTERM);
                errno = EAGAIN;
                return -1;
        }
        accepted = true;
        if (address && getpeername(fd, address, len) < 0)
                return -1;
        return dup3(fd, DEVICE_FD_CLIENT, O_CLOEXEC);
}

EXPORTED int unlink(const char *path);

/* It would remove the name of the socket that it listened at, which has none. */
int unlink(const char *path)
{
        (void)path;
        errno = ENOENT;
        return -1;
}

EXPORTED int io_uring_queue_init(unsigned int entries, void *ring, unsigned int flags);

/* As where there is no io_uring: the program then polls. */
int io_uring_queue_init(unsigned int entries, void *ring, unsigned int flags)
{
        (void)entries;
        (void)ring;
        (void)flags;
        return -ENOSYS;
}

EXPORTED long syscall(long number, ...);

/* As where there is no userfaultfd, which it would look for although nobody migrates it, and no NUMA, which a library
 * asks for at its start. */
long syscall(long number, ...)
{
        long a[6], result;
        va_list ap;

        if (number == SYS_userfaultfd || number == SYS_get_mempolicy || number == SYS_set_mempolicy) {
                errno = ENOSYS;
                return -1;
        }
        va_start(ap, number);
        for (size_t i = 0; i < ARRAY_LEN(a); i++)
                a[i] = va_arg(ap, long);
        va_end(ap);
        register long r10 __asm__("r10") = a[3];
        register long r8 __asm__("r8") = a[4];
        register long r9 __asm__("r9") = a[5];
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        if (result < 0 && result >= -4095) {
                errno = (int)-result;
                return -1;
        }
        return result;
}
