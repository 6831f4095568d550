/* bulkhead: the command line. Sweeps what dead supervisors left, unless the verb only looks, and does what it says. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "state/state.h"

enum sweep_time {
        SWEEP_BEFORE,
        SWEEP_AFTER, /* run becomes a supervisor, which sweeps while it waits for its guest; when it comes back, it did
                      * not */
        SWEEP_NEVER, /* audit is to find what was left */
};

static const struct {
        const char *verb;
        int (*run)(int argc, char *argv[], struct err *e);
        const char *summary;
        enum sweep_time sweep;
} commands[] = {
        {"run", cmd_run, "start a guest in its own jail, in the foreground", SWEEP_AFTER},
        {"ps", cmd_ps, "list the guests of this host", SWEEP_BEFORE},
        {"inspect", cmd_inspect, "show what is in force around a guest, read back from the kernel", SWEEP_BEFORE},
        {"audit", cmd_audit, "examine every KVM guest of this host, whoever started it", SWEEP_NEVER},
        {"doctor", cmd_doctor, "tell whether this host can run guests", SWEEP_BEFORE},
        {"kill", cmd_kill, "end a guest, or press its power button", SWEEP_BEFORE},
        {"version", cmd_version, "print the version", SWEEP_BEFORE},
};

static void usage(FILE *to)
{
        fprintf(to, "Usage: bulkhead COMMAND [ARGUMENTS]\n\nRuns every virtual machine in its own sealed process.\n\n");
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
                fprintf(to, "  %-9s %s\n", commands[i].verb, commands[i].summary);
        fprintf(to, "\nbulkhead COMMAND --help tells more; so does man bulkhead.\n");
}

/* Removes what dead supervisors left: an ordinary user without a runtime directory has nothing
 * to sweep. */
static void sweep(void)
{
        struct state_dir d;

        if (state_dir_open(&d, NULL) < 0)
                return;
        state_sweep(&d, NULL);
        state_dir_close(&d);
}

int main(int argc, char *argv[])
{
        struct err e = ERR_INIT;
        int status;

        if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
                usage(stdout);
                return STATUS_OK;
        }
        if (argc < 2) {
                usage(stderr);
                return STATUS_USAGE;
        }
        if (strcmp(argv[1], "--version") == 0)
                argv[1] = (char *)(uintptr_t) "version";
        for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
                if (strcmp(argv[1], commands[i].verb) != 0)
                        continue;
                if (commands[i].sweep == SWEEP_BEFORE)
                        sweep();
                status = commands[i].run(argc - 1, argv + 1, &e);
                if (commands[i].sweep == SWEEP_AFTER)
                        sweep();
                if ((fflush(stdout) == EOF || ferror(stdout)) && status == STATUS_OK) {
                        err_set(&e, -EIO, "write the output");
                        status = STATUS_FAILURE;
                }
                if (e.text[0])
                        err_print(&e, STDERR_FILENO, "bulkhead");
                return status;
        }
        err_bad(&e, STATUS_USAGE, "there is no command \"%s\"", argv[1]);
        err_hint(&e, "see bulkhead --help");
        err_print(&e, STDERR_FILENO, "bulkhead");
        return STATUS_USAGE;
}
