/* E15: leave files behind. E16: use a number that has become somebody else's. */
#include <signal.h>
#include <sys/wait.h>

#include "attempts/call.h"
#include "attempts/rows.h"

/* The first process of a PID namespace ignores what it sends itself. */
static struct attempt_result abort_itself(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_tgkill, CALL(SYS_getpid), CALL(SYS_gettid), SIGABRT);

        return r < 0 ? refused(r) : contained("ignored");
}

/* Does not come back: whoever looks at the end sees that no file is left. */
static struct attempt_result crash(const struct attempt_target *t, const struct attempt *a)
{
        *(volatile char *)(uintptr_t)a->number = 1;
        return succeeded("lived on");
}

static struct attempt_result write_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root(a->text, O_WRONLY));
}

static struct attempt_result touch_root(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_utimensat, AT_FDCWD, "/", NULL, 0));
}

static long touch_fd(int fd, const struct attempt *a)
{
        return CALL(SYS_utimensat, fd, NULL, NULL, 0);
}

static struct attempt_result touch_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(touch_fd, a);
}

static struct attempt_result attribute_root(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_setxattr, "/", "user.attempt", "x", 1, 0));
}

static long attribute_fd(int fd, const struct attempt *a)
{
        return CALL(SYS_fsetxattr, fd, "user.attempt", "x", 1, 0);
}

static struct attempt_result attribute_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(attribute_fd, a);
}

/* Sockets have modes, too, that say nothing: only /dev/null is somebody else's. */
static struct attempt_result mode_null(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_fchmod, 0, 0666));
}

static struct attempt_result owner_null(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_fchown, 0, 1, 1));
}

/* A pidfd outlives the process, but not to mean another one. */
static struct attempt_result stale_pidfd(const struct attempt_target *t, const struct attempt *a)
{
        long fd, pid = CALL(SYS_fork);

        if (pid == 0)
                CALL(SYS_exit_group, 0);
        if (pid < 0)
                return refused(pid);
        fd = CALL(SYS_pidfd_open, pid, 0);
        if (fd < 0)
                return refused(fd);
        CALL(SYS_wait4, pid, NULL, 0, NULL);
        return reached(CALL(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
}

const struct attempt row_traces[] = {
        {"E15.1", "abort with a core dump", abort_itself, 0, NULL},
        {"E15.2", "crash with a core dump", crash, 0, NULL},
        {"E15.3", "write /proc/self/oom_score_adj", write_path, 0, "/proc/self/oom_score_adj"},
        {"E15.4", "write /proc/self/mem", write_path, 0, "/proc/self/mem"},
        {"E15.5", "set the times of its root", touch_root, 0, NULL},
        {"E15.6", "set the times of every descriptor", touch_every, 0, NULL},
        {"E15.7", "set an attribute of its root", attribute_root, 0, NULL},
        {"E15.8", "set an attribute of every descriptor", attribute_every, 0, NULL},
        {"E15.9", "set the mode of /dev/null", mode_null, 0, NULL},
        {"E15.10", "own /dev/null", owner_null, 0, NULL},
        {"E16.1", "signal by the pidfd of a process that is gone", stale_pidfd, 0, NULL},
        {0},
};
