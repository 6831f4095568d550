/*
 * After exec: what exec resets, or what would have stood in its way.
 *
 * Should:  die with the supervisor (a second way beside the control channel closing); not be dumpable, so that /proc of
 *          this process belongs to root; never again make memory executable; deny all that Landlock can deny.
 * Mustn't: run after the program has started a thread: Landlock holds per thread before its ABI 8.
 * Fails closed: the program exits when this returns an error. Landlock and MDWE may be absent, never broken.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail.h"
#include "jail/jail_landlock.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65 /* linux/prctl.h, 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static int prctl2(int op, unsigned long arg)
{
        return (int)syscall(SYS_prctl, op, arg, 0, 0, 0) < 0 ? -errno : 0;
}

int jail_seal(uint64_t *ret_layers, unsigned int *ret_landlock_abi, struct err *e)
{
        uint64_t layers = 0;
        unsigned int abi;
        int r = prctl2(PR_SET_PDEATHSIG, SIGKILL);

        if (r < 0)
                return err_set(e, r, "set the parent-death signal");
        r = prctl2(PR_SET_DUMPABLE, 0);
        if (r < 0)
                return err_set(e, r, "become undumpable");
        layers |= LAYER_BIT(LAYER_DUMPABLE);

        r = prctl2(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN);
        if (r == 0)
                layers |= LAYER_BIT(LAYER_MDWE);
        else if (r != -EINVAL)
                return err_set(e, r, "refuse executable memory");

        r = jail_landlock_seal(&abi, e);
        if (r < 0)
                return r;
        if (abi > 0)
                layers |= LAYER_BIT(LAYER_LANDLOCK);
        *ret_layers = layers;
        *ret_landlock_abi = abi;
        return 0;
}
