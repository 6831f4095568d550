/*
 * Stage cpu: what this process shares with others through the processor.
 *
 * Should:  switch the speculation controls a task may switch, for good; take a core-scheduling cookie of its own, so
 * that no other guest runs on the sibling thread of its core; refuse page merging. Mustn't: assume the processor, the
 * kernel or SMT is there: each control is asked for and its answer believed. Fails closed: a control that exists but
 * cannot be set ends the child; one that does not exist leaves its layer's bit clear, which inspect and the start
 * message show.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail_stages.h"

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* linux/prctl.h, 6.4 */
#endif

static int prctl5(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
        return (int)syscall(SYS_prctl, op, a, b, c, d) < 0 ? -errno : 0;
}

/* Returns 1 when the mitigation is in force, 0 when this host cannot switch it. */
static int speculation_disable(unsigned long which, const char *name, struct err *e)
{
        int r = prctl5(PR_SET_SPECULATION_CTRL, which, PR_SPEC_FORCE_DISABLE, 0, 0);

        if (r == 0)
                return 1;
        /* ENODEV: the kernel does not know it; ENXIO: no control per task; EPERM: already forced, by somebody above. */
        if (r == -ENODEV || r == -ENXIO || r == -EINVAL || r == -ENOSYS)
                return 0;
        if (r == -EPERM) {
                long state = syscall(SYS_prctl, PR_GET_SPECULATION_CTRL, which, 0, 0, 0);

                return state >= 0 && (state & (PR_SPEC_FORCE_DISABLE | PR_SPEC_DISABLE)) ? 1 : 0;
        }
        return err_set(e, r, "disable %s speculation", name);
}

int jail_stage_cpu(struct jail *j, struct err *e)
{
        int r = speculation_disable(PR_SPEC_STORE_BYPASS, "store-bypass", e);

        if (r < 0)
                return r;
        if (r > 0)
                j->layers |= LAYER_BIT(LAYER_STORE_BYPASS);
        r = speculation_disable(PR_SPEC_INDIRECT_BRANCH, "indirect-branch", e);
        if (r < 0)
                return r;
        if (r > 0)
                j->layers |= LAYER_BIT(LAYER_INDIRECT_BRANCH);

        /* EINVAL: no CONFIG_SCHED_CORE; ENODEV: no SMT, so no sibling to share a core with. */
        r = prctl5(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 1 /* PIDTYPE_TGID */, 0);
        if (r == 0)
                j->layers |= LAYER_BIT(LAYER_CORE_SCHED);
        else if (r != -EINVAL && r != -ENODEV)
                return err_set(e, r, "take a core-scheduling cookie");

        r = prctl5(PR_SET_MEMORY_MERGE, 0, 0, 0, 0);
        if (r == 0)
                j->layers |= LAYER_BIT(LAYER_NO_MERGE);
        else if (r != -EINVAL)
                return err_set(e, r, "refuse page merging");
        return 0;
}
