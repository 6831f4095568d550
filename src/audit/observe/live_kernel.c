/*
 * What the kernel says about itself by system call.
 *
 *   landlock   the Landlock ABI, decimal; -EOPNOTSUPP: not enabled, -ENOSYS: not built
 */
#include <errno.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "audit/observe/live.h"

static int answer_landlock(struct live *l, const char *subject, struct answer *ret)
{
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

        (void)subject;
        return abi < 0 ? -errno : live_answer(l, ret, "%ld", abi);
}

const struct live_verb live_kernel_verbs[] = {{"landlock", answer_landlock}, {NULL, NULL}};
