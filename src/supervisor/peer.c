#include "supervisor/peer.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "jail/jail.h"

int peer_judge_layers(uint64_t have, uint64_t required, struct err *e)
{
        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if ((required & LAYER_BIT(i)) && !(have & LAYER_BIT(i)))
                        return err_bad(e, STATUS_ISOLATION, "the layer \"%s\" cannot be had; it needs %s",
                                       jail_layers[i].name, jail_layers[i].remedy);
        return 0;
}

/* The text comes from a process that may be compromised: it is bounded, and main() prints it on one printable line. */
int peer_failed(const char *program, const struct control_failed *m, struct err *e)
{
        static const enum exit_status believable[] = {STATUS_FAILURE, STATUS_USAGE,     STATUS_HOST,
                                                      STATUS_IMAGE,   STATUS_ISOLATION, STATUS_GUEST};
        enum exit_status status = STATUS_FAILURE;

        for (size_t i = 0; i < ARRAY_LEN(believable); i++)
                if (m->status == believable[i])
                        status = believable[i];
        if (m->text[0])
                return err_bad(e, status, "%s", m->text);
        return err_bad(e, status, "%s failed without saying why", program);
}

int peer_died(const char *program, int status, struct err *e)
{
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
                err_bad(e, STATUS_DIED, "%s made a system call that its filter forbids and was killed", program);
                err_hint(
                        e,
                        "the kernel log names the call (type=1326 ... syscall=N); report it, this is never the guest's right");
                return -EPERM;
        }
        if (WIFSIGNALED(status)) {
                err_bad(e, STATUS_DIED, "%s was killed by signal %d", program, WTERMSIG(status));
                if (WTERMSIG(status) == SIGKILL)
                        err_hint(
                                e,
                                "by an operator, or because the guest's cgroup ran out of memory (see the kernel log)");
                return -ECHILD;
        }
        return err_bad(e, STATUS_DIED, "%s exited with status %d without saying why", program, WEXITSTATUS(status));
}
