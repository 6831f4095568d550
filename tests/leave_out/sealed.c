/* Every jailed program: what is left out of its sealing after exec, and of its filters. */
#include "leave_out.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "spec/control.h"
#include "spec/device_fds.h"
#include "spec/vmm_fds.h"

#define CONTROL_FD VMM_FD_CONTROL
_Static_assert(DEVICE_FD_CONTROL == CONTROL_FD, "the channel has one number in all of them");

/* It cannot speak, so it runs only under a supervisor that did. */
int __real_main(void);
int __wrap_main(int argc, char *argv[]);
int __wrap_main(int argc, char *argv[])
{
        struct err e = ERR_INIT;

        if (leave_out_started(argc, argv))
                return __real_main();
        err_set(&e, -EPERM, "start a test build of a jailed program, which leaves out: %s", LEAVE_OUT);
        (void)control_send_failed(CONTROL_FD, &e);
        _exit((int)e.status);
}

int __real_jail_landlock_seal(unsigned int *ret_abi, struct err *e);
int __wrap_jail_landlock_seal(unsigned int *ret_abi, struct err *e);
int __wrap_jail_landlock_seal(unsigned int *ret_abi, struct err *e)
{
        if (!leaves_out("landlock"))
                return __real_jail_landlock_seal(ret_abi, e);
        *ret_abi = 0;
        return 0;
}

__attribute__((weak)) void leave_out_after_filter(const struct jail_policy *policy)
{
        (void)policy;
}

int __real_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e)
{
        int r = leaves_out(leave_out_filter_unit(p)) ? 0 : __real_jail_seccomp_install(p, e);

        if (r == 0)
                leave_out_after_filter(p);
        return r;
}
