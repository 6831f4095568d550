#include "cli/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"

static int end_wait(int pidfd, int timeout_ms)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int64_t end = clock_now_ms() + timeout_ms, left;

        while ((left = end - clock_now_ms()) > 0) {
                int n = poll(&p, 1, (int)left);

                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
        }
        return -ETIMEDOUT;
}

int child_wait(pid_t pid, int timeout_ms, int *ret_status)
{
        _cleanup_fd_ int pidfd = sys_pidfd_open(pid);
        int status = 0, r = pidfd < 0 ? -errno : end_wait(pidfd, timeout_ms);

        if (r < 0)
                kill(pid, SIGKILL); /* our own unreaped child: the pid is nobody else's */
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (r == 0)
                *ret_status = status;
        return r;
}

/* An exit status has 8 bits: those above 127 carry an errno. */
#define ERRNO_FLAG 0x80

int child_call(int (*fn)(int arg), int arg)
{
        int status = 0, r;
        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0) {
                r = fn(arg);
                _exit(r < 0 ? ERRNO_FLAG | (-r & 0x7f) : r & 0x7f);
        }
        r = child_wait(pid, CHILD_TIMEOUT_MS, &status);
        if (r < 0)
                return r;
        if (!WIFEXITED(status))
                return -ECHILD;
        return WEXITSTATUS(status) & ERRNO_FLAG ? -(WEXITSTATUS(status) & 0x7f) : WEXITSTATUS(status);
}
