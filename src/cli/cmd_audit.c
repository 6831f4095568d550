#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "cli/commands.h"

#define PROGRAM "bulkhead-audit"

/* What an account for people may depend on; the auditor reads no other variable. */
static const char *const variables[] = {"TERM", "NO_COLOR", "COLUMNS", "LANG"};

/* Becomes bulkhead-audit, which shares nothing with this program but the errors. */
int cmd_audit(int argc, char *argv[], struct err *e)
{
        _cleanup_fd_ int program = beside_open(PROGRAM, e);
        char text[ARRAY_LEN(variables)][256], *env[ARRAY_LEN(variables) + 1] = {NULL};
        size_t used = 0;

        if (program < 0)
                return (int)e->status;
        for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
                const char *value = getenv(variables[i]);
                int n = value ? snprintf(text[used], sizeof(text[used]), "%s=%s", variables[i], value) : -1;

                if (n > 0 && (size_t)n < sizeof(text[used])) { /* none is meant to be longer */
                        env[used] = text[used];
                        used++;
                }
        }
        argv[0] = (char *)(uintptr_t)PROGRAM;
        argv[argc] = NULL;
        sys_execveat(program, "", argv, env, AT_EMPTY_PATH);
        err_set(e, -errno, "execute " PROGRAM);
        return (int)e->status;
}
