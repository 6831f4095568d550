#include <stdio.h>

#include "cli/commands.h"

int cmd_version(int argc, char *argv[], struct err *e)
{
        (void)argv;
        if (argc > 1) {
                err_bad(e, STATUS_USAGE, "bulkhead version takes no arguments");
                return STATUS_USAGE;
        }
        puts("bulkhead " BULKHEAD_VERSION);
        return STATUS_OK;
}
