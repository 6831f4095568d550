/*
 * Stage ids: the role's own uid and gid, no group, no key, no capability, no way to get one.
 *
 * Should:  wait until the parent has mapped the ids; leave all groups, where the ids are the guest's own (who has only
 *          the user's one id may not); become inside_id in every id; leave the session keyring, whose keys whoever is
 *          in it may read, in whatever user namespace; empty all five capability sets; lock the securebits, so that no
 *          id means privilege any more; set no_new_privs.
 * Mustn't: trust that changing ids drops capabilities: id 0 is not mapped here, so the kernel's rule for leaving root
 *          does not apply and they are dropped by name.
 * Fails closed: any step that fails ends the child.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail_stages.h"
#include "spec/control.h"

static int prctl4(int op, unsigned long a, unsigned long b, unsigned long c)
{
        return (int)syscall(SYS_prctl, op, a, b, c, 0) < 0 ? -errno : 0;
}

static int maps_wait(int control_fd, struct err *e)
{
        union control_message m;
        int r = control_receive(control_fd, &m);

        if (r == 0 && m.head.type != CONTROL_MAPPED)
                r = -EPROTO;
        return r < 0 ? err_set(e, r, "wait for the id maps") : 0;
}

static int capabilities_drop(struct err *e)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
        int r;

        memset(none, 0, sizeof(none));
        /* EINVAL ends the walk: the first number this kernel does not know. A kernel that has what the jail requires
         * knows those up to that of Linux 5.9. */
        for (unsigned long cap = 0; cap < 64; cap++) {
                r = prctl4(PR_CAPBSET_DROP, cap, 0, 0);
                if (r == -EINVAL && cap > CAP_CHECKPOINT_RESTORE)
                        break;
                if (r < 0)
                        return err_set(e, r, "drop capability %lu from the bounding set", cap);
        }
        r = prctl4(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0);
        if (r < 0)
                return err_set(e, r, "clear the ambient capabilities");
        r = prctl4(PR_SET_SECUREBITS, SECURE_ALL_BITS | SECURE_ALL_LOCKS, 0, 0);
        if (r < 0)
                return err_set(e, r, "lock the securebits");
        if (syscall(SYS_capset, &head, none) < 0)
                return err_set(e, -errno, "drop every capability");
        return 0;
}

int jail_stage_ids(struct jail *j, struct err *e)
{
        const uint32_t id = j->req->inside_id;
        int r = maps_wait(j->control_fd, e);

        if (r < 0)
                return r;
        /* Raw calls: the C library would signal threads that do not exist. */
        if (j->req->own_ids && syscall(SYS_setgroups, 0, NULL) < 0)
                return err_set(e, -errno, "leave all groups");
        if (syscall(SYS_setresgid, id, id, id) < 0 || syscall(SYS_setresuid, id, id, id) < 0)
                return err_set(e, -errno, "become id %u of the guest", id);
        /* A new, empty one. A kernel without keys (ENOSYS) has none to leave. */
        if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
                return err_set(e, -errno, "leave the session keyring");
        r = capabilities_drop(e);
        if (r < 0)
                return r;
        j->layers |= LAYER_BIT(LAYER_IDS);
        if (j->req->own_ids)
                j->layers |= LAYER_BIT(LAYER_OWN_IDS);

        r = prctl4(PR_SET_NO_NEW_PRIVS, 1, 0, 0);
        if (r < 0)
                return err_set(e, r, "set no_new_privs");
        j->layers |= LAYER_BIT(LAYER_NO_NEW_PRIVS);
        return 0;
}
