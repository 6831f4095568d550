#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "cli/beside.h"
#include "cli/commands.h"
#include "cli/json_helper.h"
#include "cli/spec_flags.h"
#include "cli/user_session.h"
#include "spec/supervisor_fds.h"

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

/* All that the supervisor gets of the environment: where an ordinary user's runtime directory is. NULL for root. */
static char *runtime_dir_variable(char *buf, size_t size)
{
        const char *value = getenv("XDG_RUNTIME_DIR");
        int n = geteuid() == 0 || !value ? 0 : snprintf(buf, size, "XDG_RUNTIME_DIR=%s", value);

        return n > 0 && (size_t)n < size ? buf : NULL;
}

/* Becomes the supervisor: this process is the guest's from here on. Returns only on failure. */
static int supervisor_exec(const struct guest_spec *s, struct err *e)
{
        char *const argv[] = {(char *)(uintptr_t) "bulkhead-supervisor", (char *)(uintptr_t)s->name, NULL};
        char runtime_dir[SPEC_PATH_MAX];
        char *const envp[] = {runtime_dir_variable(runtime_dir, sizeof(runtime_dir)), NULL};
        _cleanup_fd_ int program = beside_open("bulkhead-supervisor", e);
        int spec_fd, r;

        if (program < 0)
                return program;
        if (program == SUPERVISOR_FD_SPEC) { /* that number is taken by agreement */
                int moved = fcntl(program, F_DUPFD_CLOEXEC, SUPERVISOR_FD_SPEC + 1);

                if (moved < 0)
                        return err_set(e, -errno, "move a descriptor");
                close(program);
                program = moved;
        }
        spec_fd = memfd_create("guest_spec", MFD_CLOEXEC);
        r = spec_fd < 0 ? -errno : io_write_all(spec_fd, s, sizeof(*s));
        /* dup2() leaves close-on-exec off, unless it has nothing to do. */
        if (r == 0 && spec_fd == SUPERVISOR_FD_SPEC)
                r = fcntl(spec_fd, F_SETFD, 0) < 0 ? -errno : 0;
        else if (r == 0)
                r = dup2(spec_fd, SUPERVISOR_FD_SPEC) < 0 ? -errno : 0;
        if (r < 0)
                return err_set(e, r, "hand the guest's specification to the supervisor");
        sys_execveat(program, "", argv, envp, AT_EMPTY_PATH);
        return err_set(e, -errno, "execute bulkhead-supervisor");
}

int cmd_run(int argc, char *argv[], struct err *e)
{
        static struct guest_spec spec;
        struct run_options o;

        if (run_options_parse(argc, argv, &o, e) < 0)
                return (int)e->status;
        if (o.help) {
                fputs(run_help, stdout);
                return STATUS_OK;
        }
        if (!o.print_config)
                user_session_enter_scope(argc, argv);
        if (spec_build(argc, argv, &o, &spec, e) < 0)
                return (int)e->status;
        if (o.print_config)
                return json_spec_print(&spec, e) < 0 ? (int)e->status : STATUS_OK;
        (void)supervisor_exec(&spec, e);
        return (int)e->status;
}
