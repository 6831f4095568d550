/* The arguments of the commands that report: --json, --help and, for some, the name of a guest. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct report_options {
        bool json, help;
        const char *name; /* in argv; NULL when the command takes none */
};

/* Reads argv (argv[0] is the verb). --help ends the reading. Errors have STATUS_USAGE. Returns 0 or -EINVAL.
 */
int report_options_parse(int argc, char *argv[], bool takes_name, struct report_options *ret, struct err *e);
