#include "device_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "jail/jail_seccomp.h"
#include "jail/jail_stages.h"
#include "spec/device_fds.h"

#define HEAR_MS   10000
#define ANSWER_MS 30000 /* a queue that stops waits for its disk */

static _Noreturn void become(const char *program, const char *name, const struct jail_policy *policy,
                             const struct device_ends *theirs, int resource)
{
        char *const argv[] = {(char *)(uintptr_t)name, NULL}, *const envp[] = {NULL};
        int given[] = {theirs->control, theirs->frontend, resource};
        const int targets[] = {DEVICE_FD_CONTROL, DEVICE_FD_FRONTEND, DEVICE_FD_RESOURCE};
        const unsigned int count = resource < 0 ? 2 : 3;
        int fd = open(program, O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_RDWR);

        for (unsigned int i = 0; i < count; i++)
                given[i] = fcntl(given[i], F_DUPFD, 300);
        if (fd < 0 || dup3(fd, JAIL_FD_PROGRAM, O_CLOEXEC) < 0 || dup2(null, 0) < 0)
                _exit(110);
        for (unsigned int i = 0; i < count; i++)
                if (dup2(given[i], targets[i]) < 0)
                        _exit(111);
        if (syscall(SYS_close_range, targets[count - 1] + 1, JAIL_FD_PROGRAM - 1, 0) < 0 ||
            syscall(SYS_close_range, JAIL_FD_PROGRAM + 1, ~0U, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            jail_seccomp_install(policy, NULL) < 0)
                _exit(112);
        syscall(SYS_execveat, JAIL_FD_PROGRAM, "", argv, envp, AT_EMPTY_PATH);
        _exit(113);
}

pid_t device_fork(const char *program, const char *name, const struct jail_policy *policy, int resource,
                  struct device_ends *ret)
{
        int control[2], frontend[2];
        pid_t pid;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frontend), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                become(program, name, policy, &(struct device_ends){control[1], frontend[1]}, resource);
        close(control[1]);
        close(frontend[1]);
        *ret = (struct device_ends){control[0], frontend[0]};
        return pid;
}

bool readable(int fd, int timeout_ms)
{
        struct pollfd p = {fd, POLLIN, 0};

        return poll(&p, 1, timeout_ms) == 1;
}

void device_hear(const struct device_ends *d, uint16_t type, union control_message *ret)
{
        assert_true(readable(d->control, HEAR_MS));
        assert_int_equal(control_receive(d->control, ret), 0);
        if (ret->head.type == CONTROL_FAILED)
                print_message("%s\n", ret->failed.text);
        assert_int_equal(ret->head.type, type);
}

void device_tell(const struct device_ends *d, struct vu_message *m, uint32_t request, uint32_t size)
{
        m->head = (struct vu_header){request, VU_FLAG_VERSION, size};
        assert_int_equal(vu_message_send(d->frontend, m, VU_MESSAGE_TIMEOUT_MS), 0);
}

void device_tell_u64(const struct device_ends *d, uint32_t request, uint64_t value, int fd)
{
        struct vu_message m = {.body.u64 = value, .fd_count = fd >= 0, .fds = {fd}};

        device_tell(d, &m, request, sizeof(m.body.u64));
}

void device_tell_state(const struct device_ends *d, uint32_t request, uint32_t index, uint32_t num)
{
        struct vu_message m = {.body.state = {index, num}};

        device_tell(d, &m, request, sizeof(m.body.state));
}

struct vu_message device_answer(const struct device_ends *d, uint32_t request)
{
        struct vu_message m;

        assert_int_equal(vu_message_receive(d->frontend, false, vu_message_kind(request, true), ANSWER_MS, &m), 0);
        return m;
}
