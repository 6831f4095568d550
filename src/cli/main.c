/* bulkhead: the command line. Sweeps what dead supervisors left, unless the verb only looks, and does what it says. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "state/state.h"

static const struct {
        const char *verb;
        int (*run)(int argc, char *argv[], struct err *e);
        const char *summary;
        bool sweeps; /* before; run does while it waits for its guest, and audit is to find what was left */
} commands[] = {
        {"run", cmd_run, "start a guest in its own jail, in the foreground", false},
        {"ps", cmd_ps, "list the guests of this host", true},
        {"inspect", cmd_inspect, "show what is in force around a guest, read back from the kernel", true},
        {"audit", cmd_audit, "examine every KVM guest of this host, whoever started it", false},
        {"doctor", cmd_doctor, "tell whether this host can run guests", true},
        {"kill", cmd_kill, "end a guest, or press its power button", true},
        {"resize", cmd_resize, "make a disk of a running guest larger", true},
        {"device", cmd_device, "serve a disk or entropy to another virtual machine monitor", false},
        {"version", cmd_version, "print the version", true},
};

static void usage(FILE *to)
{
        fprintf(to, "Usage: bulkhead COMMAND [ARGUMENTS]\n\nRuns every virtual machine in its own sealed process.\n\n");
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
                fprintf(to, "  %-9s %s\n", commands[i].verb, commands[i].summary);
        fprintf(to, "\nbulkhead COMMAND --help tells more; so does man bulkhead.\n");
}

void sweep_dead_guests(void)
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
                if (commands[i].sweeps)
                        sweep_dead_guests();
                status = commands[i].run(argc - 1, argv + 1, &e);
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
