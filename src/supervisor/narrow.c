#include "supervisor/narrow.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail_seccomp.h"

/* Compiled from the policy files beside this. */
extern const struct jail_policy policy_supervisor, policy_supervisor_restart, policy_supervisor_devices,
        policy_supervisor_sockets, policy_supervisor_storage;

static int prctl3(int op, unsigned long a, unsigned long b)
{
        return (int)syscall(SYS_prctl, op, a, b, 0, 0) < 0 ? -errno : 0;
}

static int capabilities_keep(uint32_t keep, struct err *e)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
        int r = 0;

        /* An ordinary user's supervisor has none to lose, nor the right to lose bounding ones. */
        if (syscall(SYS_capget, &head, data) < 0)
                return err_set(e, -errno, "read the supervisor's capabilities");
        for (unsigned long cap = 0; (data[0].effective & (1U << CAP_SETPCAP)) && r == 0; cap++) {
                if (cap >= 32 || !(keep & (1U << cap)))
                        r = prctl3(PR_CAPBSET_DROP, cap, 0);
                /* EINVAL: past the last capability this kernel knows, which knows those of Linux 5.9. */
                if (r < 0 && (r != -EINVAL || cap <= CAP_CHECKPOINT_RESTORE))
                        return err_set(e, r, "drop the supervisor's bounding capability %lu", cap);
        }
        data[0].permitted &= keep;
        data[0].effective = data[0].permitted;
        data[0].inheritable = 0;
        memset(&data[1], 0, sizeof(data[1]));
        if (syscall(SYS_capset, &head, data) < 0)
                return err_set(e, -errno, "drop the supervisor's capabilities");
        return 0;
}

int supervisor_narrow(enum narrow_to to, bool maps_ids, struct err *e)
{
        static const struct jail_policy *const policies[] = {[NARROW_ONCE] = &policy_supervisor,
                                                             [NARROW_RESTARTS] = &policy_supervisor_restart,
                                                             [NARROW_DEVICES] = &policy_supervisor_devices,
                                                             [NARROW_SOCKETS] = &policy_supervisor_sockets,
                                                             [NARROW_STORAGE] = &policy_supervisor_storage};
        int r = capabilities_keep(maps_ids ? (1U << CAP_SETUID) | (1U << CAP_SETGID) : 0, e);

        if (r < 0)
                return r;
        r = prctl3(PR_SET_NO_NEW_PRIVS, 1, 0);
        if (r < 0)
                return err_set(e, r, "set no_new_privs");
        return jail_seccomp_install(policies[to], e);
}
