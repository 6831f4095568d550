#include "supervisor/processor.h"

#include <errno.h>

void processor_leave(struct processor *p)
{
        cpu_set_t others;
        int here = sched_getcpu();

        if (here < 0 || sched_getaffinity(0, sizeof(p->allowed), &p->allowed) < 0)
                return;
        others = p->allowed;
        CPU_CLR((unsigned int)here, &others);
        p->left = CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0;
}

int processor_return(struct processor *p, struct err *e)
{
        if (p->left && sched_setaffinity(0, sizeof(p->allowed), &p->allowed) < 0)
                return err_set(e, -errno, "use every processor again");
        p->left = false;
        return 0;
}
