#include "audit/tier.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534 /* the kernel's overflow id, nobody's on every distribution */

/* All of them are in the first of the two words of a set. */
#define BIT(cap) (1U << (cap))

/* The second because /proc/PID/fd can be listed only by its owner or with it (fs/proc/fd.c, proc_fd_permission()). */
#define OWNER_CAPS (BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH))

struct caps {
        struct __user_cap_header_struct head;
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static int caps_read(struct caps *c, struct err *e)
{
        *c = (struct caps){.head = {.version = _LINUX_CAPABILITY_VERSION_3}};
        return syscall(SYS_capget, &c->head, c->data) < 0 ? err_set(e, -errno, "read this auditor's capabilities") : 0;
}

static int caps_keep(struct caps *c, uint32_t keep, struct err *e)
{
        c->data[0].permitted &= keep;
        c->data[0].effective = c->data[0].permitted;
        c->data[0].inheritable = 0;
        c->data[1] = (struct __user_cap_data_struct){0};
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &c->head, c->data) < 0)
                return err_set(e, -errno, "give up this auditor's capabilities");
        return 0;
}

static int nobody_become(struct err *e)
{
        /* The change of ids would take the capabilities that are to be kept. */
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
                return err_set(e, -errno, "become user %d, to ask without privileges", NOBODY);
        return 0;
}

int tier_enter(enum tier tier, struct err *e)
{
        struct caps caps;
        int r;

        if (tier == TIER_ALL)
                return 0;
        r = caps_read(&caps, e);
        if (r < 0)
                return r;
        if (tier == TIER_OWNER && !(caps.data[0].permitted & BIT(CAP_SYS_PTRACE))) {
                err_bad(e, STATUS_HOST, "audit --owner: CAP_SYS_PTRACE is needed to look at other users' processes");
                err_hint(e, "run it as root, or without --owner to see what this user may");
                return -EPERM;
        }
        if (geteuid() == 0 || (caps.data[0].effective & BIT(CAP_SETUID)))
                r = nobody_become(e);
        if (r == 0)
                r = caps_keep(&caps, tier == TIER_OWNER ? OWNER_CAPS : 0, e);
        /* What others may not look into while it has capabilities, and what gains none by any file. */
        if (r == 0 && (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
                r = err_set(e, -errno, "close this auditor to others");
        return r;
}
