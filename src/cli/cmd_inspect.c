#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/inspect/show.h"
#include "cli/report_options.h"
#include "state/state.h"

static const char inspect_help[] =
        "Usage: bulkhead inspect [--json] NAME\n\n"
        "Shows what is in force around a guest, read back from the kernel. What the kernel does not show is "
        "marked as\n"
        "attested. Ends with status 6 when a layer that is claimed is not found.\n\n"
        "  --json  print JSON\n";

/* The state of a guest that lives and runs. */
static int running_state(const struct state_dir *d, const char *name, struct guest_state *ret, struct err *e)
{
        int r;

        if (!guest_name_valid(name) || state_lock_owner(d, name) == 0) {
                r = err_bad(e, STATUS_NAME, "there is no guest named \"%s\"", name);
                err_hint(e, geteuid() == 0 ? "bulkhead ps lists the guests" : "root's guests are shown to root");
                return r;
        }
        r = state_read(d, name, ret);
        if (r == -ENOENT)
                return err_bad(e, STATUS_NAME, "guest \"%s\" is still starting", name);
        return r < 0 ? err_set(e, r, "read the state of guest \"%s\"", name) : 0;
}

static int ended(struct err *e, const char *name)
{
        return err_bad(e, STATUS_NAME, "guest \"%s\" has ended, or starts again", name);
}

/* A directory in /proc: of that process and no later one with its pid. Returns -ENOENT, without an error, when it has
 * ended. */
static int process_open(const struct process_id *process, struct err *e)
{
        _cleanup_fd_ int fd = -1;
        char path[32];

        if (process->pid <= 0)
                return -ENOENT;
        snprintf(path, sizeof(path), "/proc/%d", process->pid);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
                return err_set(e, -errno, "open %s", path);
        if (fd < 0 || process_start_time(process->pid) != process->start_time)
                return -ENOENT;
        return TAKE_FD(fd);
}

/* A process that ends loses its memory, and with it the link to its program, before it loses descriptors,
 * namespaces and control groups (do_exit() in kernel/exit.c): while the link can be read, all the others were
 * whole. */
static bool is_ending(int proc_fd)
{
        char program[8];

        return readlinkat(proc_fd, "exe", program, sizeof(program)) < 0 && (errno == ENOENT || errno == ESRCH);
}

/* Returns 0, -ENOENT when the process is ending, or another negative errno; e is filled for the latter. */
static int facts_read(const struct state_dir *d, const struct guest_spec *spec, int proc_fd, pid_t pid,
                      struct inspect_facts *f, struct err *e)
{
        char base[CGROUP_BASE_MAX];
        int r = state_cgroup_base(d, spec->name, base);

        if (r < 0 && r != -ENOENT)
                return err_set(e, r, "read where the cgroup of guest \"%s\" is", spec->name);
        f->pid = pid;
        r = inspect_threads(proc_fd, f);
        if (r == 0)
                r = inspect_fds(proc_fd, f);
        if (r == 0)
                r = inspect_process(proc_fd, f);
        if (r == 0)
                r = inspect_namespaces(proc_fd, f);
        if (r == 0)
                r = inspect_memory(proc_fd, f);
        if (r == 0)
                r = inspect_cgroup(proc_fd, spec, base, f);
        /* What is read of a process that is ending means nothing, an error as little as an answer. */
        if (is_ending(proc_fd))
                return -ENOENT;
        if (r < 0)
                err_set(e, r, "read what the kernel says of guest \"%s\"", spec->name);
        return r;
}

static bool layers_read(const struct layer_claim *claim, const struct inspect_facts *f,
                        struct layer_view layers[LAYER_COUNT])
{
        bool contradicted = false;

        for (int i = 0; i < LAYER_COUNT; i++) {
                layer_judge((enum jail_layer)i, claim, f, &layers[i]);
                contradicted |= layers[i].verdict == LAYER_CONTRADICTED;
        }
        return contradicted;
}

static int process_inspect(const struct state_dir *d, const struct guest_spec *spec, const struct process_id *process,
                           struct inspect_facts *f, struct err *e)
{
        _cleanup_fd_ int proc_fd = process_open(process, e);

        return proc_fd < 0 ? proc_fd : facts_read(d, spec, proc_fd, process->pid, f, e);
}

/* One that is just being started again is no error. */
static int device_inspect(const struct state_dir *d, struct inspection *x, uint32_t i, bool *contradicted,
                          struct err *e)
{
        struct device_inspection *di = &x->devices[i];
        const struct layer_claim claim = layer_claim_device(&x->state, i, x->state.alone ? NULL : &x->facts);
        int r = process_inspect(d, &x->state.spec, &x->state.devices[i].process, &di->facts, e);

        di->running = r == 0;
        if (r == 0)
                *contradicted |= layers_read(&claim, &di->facts, di->layers);
        return r == -ENOENT ? 0 : r;
}

static int show(const struct inspection *x, const struct report_options *o, struct err *e)
{
        if (o->json)
                return inspection_print_json(x, e);
        inspection_print(x);
        return 0;
}

static int inspect(const struct state_dir *d, const struct report_options *o, bool *ret_contradicted, struct err *e)
{
        static struct inspection x;
        struct layer_claim claim;
        int r = running_state(d, o->name, &x.state, e);

        if (r < 0)
                return r;
        if (x.state.alone) {
                r = device_inspect(d, &x, 0, ret_contradicted, e);
                return r < 0 ? r : show(&x, o, e);
        }
        r = process_inspect(d, &x.state.spec, &x.state.vmm, &x.facts, e);
        if (r < 0)
                return r == -ENOENT ? ended(e, o->name) : r;
        claim = layer_claim_vmm(&x.state);
        *ret_contradicted = layers_read(&claim, &x.facts, x.layers);
        for (uint32_t i = 0; i < x.state.device_count; i++) {
                r = device_inspect(d, &x, i, ret_contradicted, e);
                if (r < 0)
                        return r;
        }
        return show(&x, o, e);
}

int cmd_inspect(int argc, char *argv[], struct err *e)
{
        struct state_dir d = {.fd = -1, .guests_fd = -1, .ids_fd = -1};
        struct report_options o;
        bool contradicted = false;
        int r = report_options_parse(argc, argv, true, &o, e);

        if (r == 0 && o.help) {
                fputs(inspect_help, stdout);
                return STATUS_OK;
        }
        if (r == 0)
                r = state_dir_open(&d, e);
        if (r == 0)
                r = inspect(&d, &o, &contradicted, e);
        state_dir_close(&d);
        if (r < 0)
                return (int)e->status;
        if (contradicted)
                err_bad(e, STATUS_ISOLATION, "guest \"%s\": a layer is claimed and not found", o.name);
        return contradicted ? STATUS_ISOLATION : STATUS_OK;
}
