/* The subcommands of bulkhead(1): each gets its own argv (argv[0] is the verb) and returns the exit status; when that
 * tells of an error, e says it. */
#pragma once

#include "base/err.h"

int cmd_run(int argc, char *argv[], struct err *e);
int cmd_ps(int argc, char *argv[], struct err *e);
int cmd_inspect(int argc, char *argv[], struct err *e);
int cmd_audit(int argc, char *argv[], struct err *e);
int cmd_kill(int argc, char *argv[], struct err *e);
int cmd_resize(int argc, char *argv[], struct err *e);
int cmd_device(int argc, char *argv[], struct err *e);
int cmd_doctor(int argc, char *argv[], struct err *e);
int cmd_version(int argc, char *argv[], struct err *e);

/* Removes what dead supervisors left: an ordinary user without a runtime directory has nothing to sweep. */
void sweep_dead_guests(void);
