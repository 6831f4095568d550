/*
 * known-calls: installs the filter of known.policy and makes a known number of calls under it, to show that
 * syscall-trace misses none: three children call getppid 1000 times each, all at once, a fourth is killed for getgid,
 * and the parent calls getppid twice. Prints nothing; exit status 0 when all of that happened.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail_seccomp.h"

#define CHILDREN 3
#define CALLS    1000

extern const struct jail_policy policy_known;

static long getppid_marked(long mark)
{
        return syscall(SYS_getppid, 0, 0, 0, 0, 0, mark);
}

int main(void)
{
        struct err e = ERR_INIT;
        int status, ended = 0, killed = 0;
        sigset_t set;

        /* A fork that a signal interrupts is made again, and counts again. */
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return 1;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || jail_seccomp_install(&policy_known, &e) < 0)
                return 1;
        for (int child = 0; child <= CHILDREN; child++) {
                if (syscall(SYS_fork) != 0)
                        continue;
                for (int i = 0; child < CHILDREN && i < CALLS; i++)
                        (void)getppid_marked(1);
                if (child == CHILDREN)
                        (void)syscall(SYS_getgid, 7);
                _exit(0);
        }
        while (wait4(-1, &status, 0, NULL) > 0) {
                ended += WIFEXITED(status);
                killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        }
        (void)getppid_marked(2);
        (void)getppid_marked(2);
        _exit(ended == CHILDREN && killed == 1 ? 0 : 2);
}
