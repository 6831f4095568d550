/* What decides whether a neighbour can reach a process's memory. */
#include <errno.h>

#include "audit/probes/memory.h"
#include "base/cleanup.h"

/*
 * The owner of its files below /proc tells (fs/proc/base.c, task_dump_owner()): of a process that is not dumpable it is
 * the root of its user namespace. A process with that very id gives nothing away.
 */
enum dumpable memory_dumpable(const struct process *p)
{
        uint32_t uid = memory_uid(p), root;

        if (p->environ_error < 0 || uid == UINT32_MAX)
                return DUMPABLE_UNKNOWN;
        if (p->environ_stat.uid != uid)
                return DUMPABLE_NO;
        root = p->uid_map_error == 0 ? id_map_to_host(&p->uid_map, 0) : 0;
        return uid == 0 || uid == root ? DUMPABLE_UNKNOWN : DUMPABLE_YES;
}

uint32_t memory_uid(const struct process *p)
{
        return p->threads.count ? p->threads.items[0].uid[1] : UINT32_MAX;
}

static bool thread_reaches(const struct audit *a, const struct process *p, const struct thread *t, uint32_t uid,
                           uint64_t caps)
{
        bool over_host = p->ns_error[NS_USER] < 0 || p->ns[NS_USER] == a->host.ns[NS_USER];

        for (size_t i = 0; i < ARRAY_LEN(t->uid); i++)
                if (t->uid[i] == uid)
                        return true;
        return over_host && ((t->caps[CAP_SET_EFF] | t->caps[CAP_SET_PRM]) & caps);
}

/* 1, 0, or the error of a process whose threads are not known; a helper may have ended. */
static int guest_reaches(const struct audit *a, const struct guest *g, uint32_t uid, uint64_t caps)
{
        int error = 0;

        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->threads_error < 0 && p->threads_error != -ESRCH)
                        error = p->threads_error;
                for (size_t k = 0; k < p->threads.count; k++)
                        if (thread_reaches(a, p, &p->threads.items[k], uid, caps))
                                return 1;
        }
        return error;
}

int memory_neighbour(const struct audit *a, const struct guest *g, uint32_t uid, uint64_t caps, unsigned int layers)
{
        int error = 0;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *other = a->inv.guests.items[i];
                int r = other == g ? 0 : guest_reaches(a, other, uid, caps);

                if (r == 0 || (pair_layers(a, g->index, i) & layers))
                        continue;
                if (r > 0)
                        return 1;
                error = r;
        }
        return error;
}
