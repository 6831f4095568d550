#include "attempts/attempts.h"

#include <string.h>

#include "attempts/rows.h"

const struct attempt *const attempts[] = {
        row_program, row_ids,    row_files,  row_devices, row_processes, row_ipc, row_network,
        row_kernel,  row_memory, row_limits, row_fds,     row_traces,    NULL,
};

const struct attempt *attempt_find(const char *id)
{
        for (size_t i = 0; attempts[i]; i++)
                for (const struct attempt *a = attempts[i]; a->id; a++)
                        if (strcmp(a->id, id) == 0)
                                return a;
        return NULL;
}
