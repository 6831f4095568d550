#include <stdio.h>

#include "cli/commands.h"
#include "cli/inherited.h"
#include "cli/json_helper.h"
#include "cli/spec_flags.h"
#include "cli/user_session.h"
#include "supervisor/supervisor.h"

static int spec_build(int argc, char *argv[], const struct run_options *o, struct guest_spec *s, struct err *e)
{
        int r = 0;

        guest_spec_init(s);
        if (o->config)
                r = json_spec_read(o->config, s, e);
        if (r == 0)
                r = spec_flags_apply(argc, argv, s, e);
        return r < 0 ? r : guest_spec_validate(s, e);
}

/* Everything that needs no guest. Returns the exit status, or -1 when s is to be run. */
static int without_guest(int argc, char *argv[], struct guest_spec *s, struct err *e)
{
        struct run_options o;

        if (run_options_parse(argc, argv, &o, e) < 0)
                return (int)e->status;
        if (o.help) {
                fputs(run_help, stdout);
                return STATUS_OK;
        }
        if (!o.print_config)
                user_session_enter_scope(argc, argv);
        if (standard_fds_fill(e) < 0 || spec_build(argc, argv, &o, s, e) < 0)
                return (int)e->status;
        if (o.print_config)
                return json_spec_print(s, e) < 0 ? (int)e->status : STATUS_OK;
        return -1;
}

int cmd_run(int argc, char *argv[], struct err *e)
{
        static struct guest_spec spec;
        int status = without_guest(argc, argv, &spec, e);

        if (status >= 0) {
                sweep_dead_guests();
                return status;
        }
        environment_wipe();
        return supervise(&spec, e);
}
