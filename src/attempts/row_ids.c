/* E3: regain root. */
#include <linux/capability.h>
#include <linux/prctl.h>

#include "attempts/call.h"
#include "attempts/rows.h"

static struct attempt_result set_id(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(a->number, 0, 0, 0));
}

static struct attempt_result setuid_sibling(const struct attempt_target *t, const struct attempt *a)
{
        const long other = a->number;

        return reached(CALL(SYS_setuid, CALL(SYS_getuid) == other ? other - 1 : other));
}

static struct attempt_result setgroups_root(const struct attempt_target *t, const struct attempt *a)
{
        const uint32_t group = 0;

        return reached(CALL(SYS_setgroups, 1, &group));
}

static struct attempt_result capset_all(const struct attempt_target *t, const struct attempt *a)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        const struct __user_cap_data_struct all[_LINUX_CAPABILITY_U32S_3] = {
                {.effective = ~0U, .permitted = ~0U},
                {.effective = ~0U, .permitted = ~0U},
        };

        return reached(CALL(SYS_capset, &head, all));
}

/* What it makes readable is of use to a process with the same id; there is none. */
static struct attempt_result become_dumpable(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_prctl, PR_SET_DUMPABLE, 1);

        if (r < 0)
                return refused(r);
        r = signals_another();
        return r <= 0 ? contained("no other process has its id") : succeeded("another process can look inside");
}

static struct attempt_result prctl_zero(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_prctl, a->number, 0, 0, 0, 0));
}

static struct attempt_result ambient_raise(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
}

const struct attempt row_ids[] = {
        {"E3.1", "setuid(0)", set_id, SYS_setuid, NULL},
        {"E3.2", "setresuid(0, 0, 0)", set_id, SYS_setresuid, NULL},
        {"E3.3", "setgid(0)", set_id, SYS_setgid, NULL},
        {"E3.4", "setresgid(0, 0, 0)", set_id, SYS_setresgid, NULL},
        {"E3.5", "setuid to another id of the guest", setuid_sibling, 2, NULL},
        {"E3.6", "setgroups with group 0", setgroups_root, 0, NULL},
        {"E3.7", "capset with every capability", capset_all, 0, NULL},
        {"E3.8", "raise an ambient capability", ambient_raise, 0, NULL},
        {"E3.9", "become dumpable", become_dumpable, 0, NULL},
        {"E3.10", "clear the securebits", prctl_zero, PR_SET_SECUREBITS, NULL},
        {"E3.11", "clear no_new_privs", prctl_zero, PR_SET_NO_NEW_PRIVS, NULL},
        {0},
};
