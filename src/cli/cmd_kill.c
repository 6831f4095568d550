#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "cli/commands.h"
#include "state/state.h"

#define END_TIMEOUT_MS 10000

static const char kill_help[] = "Usage: bulkhead kill [--power-button] NAME\n\n"
                                "Ends a guest and waits until nothing of it is left.\n\n"
                                "  --power-button  press its power button instead; the guest decides what it does\n";

/*
 * The supervisor of name, as an fd: the kernel names the lock's holder, and asking again after opening the pidfd shows
 * that the pid was not reused in between.
 */
static int supervisor_open(const struct state_dir *d, const char *name, struct err *e)
{
        pid_t pid = guest_name_valid(name) ? state_lock_owner(d, name) : 0;
        _cleanup_fd_ int fd = pid > 0 ? sys_pidfd_open(pid) : -1;

        if (fd >= 0 && state_lock_owner(d, name) == pid)
                return TAKE_FD(fd);
        err_bad(e, STATUS_NAME, "there is no guest named \"%s\"", name);
        err_hint(e, "bulkhead ps lists the guests");
        return -ESRCH;
}

static int end_wait(int pidfd, const char *name, struct err *e)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int n = poll(&p, 1, END_TIMEOUT_MS);

        return n == 1 ? 0 : err_set(e, n < 0 ? -errno : -ETIMEDOUT, "wait for guest \"%s\" to end", name);
}

int cmd_kill(int argc, char *argv[], struct err *e)
{
        struct state_dir d = {.fd = -1, .guests_fd = -1, .ids_fd = -1};
        _cleanup_fd_ int fd = -1;
        const char *name = NULL;
        bool button = false;
        int r;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--help") == 0) {
                        fputs(kill_help, stdout);
                        return STATUS_OK;
                }
                if (strcmp(argv[i], "--power-button") == 0)
                        button = true;
                else if (argv[i][0] == '-' || name) {
                        err_bad(e, STATUS_USAGE, "bulkhead kill does not take \"%s\"", argv[i]);
                        err_hint(e, "see bulkhead kill --help");
                        return STATUS_USAGE;
                } else
                        name = argv[i];
        }
        if (!name) {
                err_bad(e, STATUS_USAGE, "bulkhead kill needs the name of a guest; see bulkhead kill --help");
                return STATUS_USAGE;
        }
        r = state_dir_open(&d, e);
        if (r == 0) {
                fd = supervisor_open(&d, name, e);
                r = fd < 0 ? fd : 0;
        }
        if (r == 0 && sys_pidfd_send_signal(fd, button ? SIGUSR1 : SIGTERM) < 0)
                r = err_set(e, -errno, "signal the supervisor of guest \"%s\"", name);
        if (r == 0 && !button)
                r = end_wait(fd, name, e);
        state_dir_close(&d);
        return r < 0 ? (int)e->status : STATUS_OK;
}
