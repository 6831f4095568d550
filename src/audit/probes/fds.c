#include "audit/probes/fds.h"

#include <errno.h>

bool fds_unread(struct audit *a, const struct guest *g)
{
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->fds_error < 0 && (p->fds_error != -ESRCH || p == g->vmm)) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return true;
                }
                for (size_t i = 0; i < p->fds.count; i++) {
                        const struct fd *fd = &p->fds.items[i];

                        /* What it is can only be told by what it is a link to. One that is closed by now is none. */
                        if (fd->kind == FD_OTHER && fd->stat_error < 0 && fd->stat_error != -ENOENT &&
                            (fd->stat_error != -ESRCH || p == g->vmm)) {
                                finding_unknown(a, g, fd->stat_error,
                                                arena_printf(a->arena, "stat /proc/%d/fd/%d", p->pid, fd->number));
                                return true;
                        }
                }
        }
        return false;
}
