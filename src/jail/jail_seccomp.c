/*
 * Should: leave the calling thread with exactly the system calls and arguments its role's policy file names.
 *
 * Mustn't: install anything on other threads (each role has its own policy, and TSYNC would give them this
 * one), run without no_new_privs (root could, and a set-user-ID program started later would then run under
 * rules it does not expect), or accept an empty policy.
 *
 * How it fails closed: the kernel takes the whole program or nothing, and any failure is returned, upon which
 * the caller ends the process. The program's default is KILL_PROCESS, so what the policy forgot stops the
 * guest instead of passing.
 */
#include "jail/jail_seccomp.h"
#include "jail/jail_stages.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int jail_seccomp_install(const struct jail_policy *p, struct err *e)
{
        struct sock_fprog program;
        int r;

        if (!p || !p->filter || p->len == 0)
                return err_set(e, -EINVAL, "install system-call filter: empty policy");
        r = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
        if (r < 0)
                return err_set(e, -errno, "install system-call filter: PR_GET_NO_NEW_PRIVS");
        if (r != 1)
                return err_set(e, -EPERM, "install system-call filter: no_new_privs is not set");

        /* The kernel copies the program and does not write to it; only its struct lacks the const. */
        program = (struct sock_fprog){.len = p->len, .filter = (struct sock_filter *)p->filter};
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
                return err_set(e, -errno, "install system-call filter of %u instructions", p->len);
        return 0;
}

int jail_stage_seccomp(struct jail *j, struct err *e)
{
        int r = jail_seccomp_install(j->req->policy, e);

        if (r == 0)
                j->layers |= LAYER_BIT(LAYER_SECCOMP);
        return r;
}
