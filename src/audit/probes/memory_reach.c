/* What decides whether a neighbour can reach a process's memory. */
#include "audit/probes/memory.h"

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

bool memory_neighbour(const struct audit *a, const struct guest *g, uint32_t uid, unsigned int layers)
{
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *other = a->inv.guests.items[i];

                if (other == g || (pair_layers(a, g->index, i) & layers))
                        continue;
                for (size_t k = 0; k < other->members.count; k++)
                        if (memory_uid(other->members.items[k].process) == uid)
                                return true;
        }
        return false;
}
