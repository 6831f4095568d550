#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static const char version_help[] = "Usage: bulkhead version\n\nPrints the version.\n";

int cmd_version(int argc, char *argv[], struct err *e)
{
        if (argc == 2 && strcmp(argv[1], "--help") == 0) {
                fputs(version_help, stdout);
                return STATUS_OK;
        }
        if (argc > 1) {
                err_bad(e, STATUS_USAGE, "bulkhead version takes no arguments");
                return STATUS_USAGE;
        }
        puts("bulkhead " BULKHEAD_VERSION);
        return STATUS_OK;
}
