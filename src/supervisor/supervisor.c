#include "supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "jail/jail.h"
#include "jail/jail_cgroup_delegated.h"
#include "state/state.h"
#include "supervisor/console.h"
#include "supervisor/guest_run.h"
#include "supervisor/narrow.h"

/* A guest that resets again within RESET_QUICK_MS waits before its next start: 100 ms, doubled each time, up to 10 s.
 */
#define RESET_QUICK_MS     1000
#define RESET_DELAY_MIN_MS 100
#define RESET_DELAY_MAX_MS 10000

struct supervisor {
        const struct guest_spec *spec;
        struct state_dir dir;
        struct state_guest guest;
        struct jail_cgroup cgroup;
        struct resources resources;
        struct devices devices;
        struct requests requests;
        struct console console;
        int signal_fd;
        bool slot_taken, cgroup_made, swept, narrowed, told;
        bool state_written; /* in this run */
        struct guest_state state;
        struct state_new state_new; /* between CONFIG and READY: where it will be written */
        /* Of an ordinary user: */
        bool own_ids;            /* else the guest runs as the user */
        bool delegated;          /* it has a cgroup, below cgroup_base */
        struct id_mapper mapper; /* with ids of its own */
        char cgroup_base[CGROUP_BASE_MAX];
};

static bool is_root(void)
{
        return geteuid() == 0;
}

/* One line about the guest, on a terminal that may be raw. */
__attribute__((format(printf, 2, 3))) static void say(const struct supervisor *s, const char *fmt, ...)
{
        char text[4096], line[sizeof(text) + SPEC_NAME_MAX + 32];
        va_list ap;
        int n;

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        for (char *c = text; *c; c++) /* some of it may have been said by a jailed process */
                if (*c < ' ' || *c > '~')
                        *c = '?';
        n = snprintf(line, sizeof(line), "bulkhead: guest \"%s\" %s%s\n", s->spec->name, text,
                     s->console.terminal.raw ? "\r" : "");
        if (n > 0)
                (void)io_write_all(STDERR_FILENO, line, (size_t)n); /* nobody to tell */
}

static uint64_t required_layers(const struct guest_spec *spec)
{
        uint64_t bits = 0;

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (spec->require_all_layers || jail_layers[i].requirement == REQUIRED ||
                    (jail_layers[i].requirement == REQUIRED_FOR_ROOT && is_root()))
                        bits |= LAYER_BIT(i);
        return bits;
}

static int signals_open(int *ret_fd, struct err *e)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR1);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return err_set(e, -errno, "block signals");
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return err_set(e, -errno, "ignore SIGPIPE");
        *ret_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        return *ret_fd < 0 ? err_set(e, -errno, "open a signal descriptor") : 0;
}

static int cgroup_make(struct supervisor *s, struct err *e)
{
        int r = jail_cgroup_create(s->cgroup_base, s->spec->name, &s->cgroup, e);

        s->cgroup_made = r == 0;
        return r;
}

/* What an ordinary user can have of what root always has: a cgroup, where one was delegated. */
static int user_cgroup_make(struct supervisor *s, struct err *e)
{
        int r;

        if (!state_guest_end(&s->dir, s->spec->name))
                return err_set(e, -EBUSY, "end what is left of an earlier guest \"%s\"", s->spec->name);
        s->delegated = jail_cgroup_delegated(s->cgroup_base);
        if (!s->delegated) {
                s->cgroup_base[0] = '\0';
                if (s->spec->cpu_limit_percent == 0 && s->spec->io_limit_count == 0)
                        return 0;
                err_bad(e, STATUS_ISOLATION, "limits of CPU time and I/O were asked for, and no cgroup can be had");
                err_hint(e, "they need %s", jail_layers[LAYER_CGROUP_LIMITS].remedy);
                return -EPERM;
        }
        r = state_cgroup_note(&s->guest, s->cgroup_base, e);
        if (r == 0)
                r = jail_cgroup_enter_leaf(s->cgroup_base, e);
        return r < 0 ? r : cgroup_make(s, e);
}

static int ids_take(struct supervisor *s, struct err *e)
{
        struct state_ids_range range;
        int r = state_ids_range(&range);

        if (r < 0 && r != -ENOENT)
                return err_set(e, r, "read /etc/subuid and /etc/subgid");
        s->own_ids = r == 0 && (is_root() || id_mapper_available());
        if (!s->own_ids) {
                s->state.slot = STATE_SLOT_NONE;
                s->state.ids = (struct jail_ids){.uid = geteuid(), .gid = getegid(), .count = 1};
                return 0;
        }
        r = state_ids_take(&s->dir, &range, s->spec->name, &s->state.slot, &s->state.ids, e);
        s->slot_taken = r == 0;
        if (r == 0 && !is_root())
                r = id_mapper_start(&s->mapper, &s->state.ids, e);
        return r;
}

static int prepare(struct supervisor *s, struct err *e)
{
        int r;

        (void)prctl(PR_SET_NAME, "bulkhead-supervisor"); /* of which the kernel keeps 15 characters */
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return err_set(e, -errno, "become undumpable");
        r = signals_open(&s->signal_fd, e);
        if (r == 0)
                r = state_dir_open(&s->dir, e);
        if (r == 0)
                r = state_guest_take(&s->dir, s->spec->name, &s->guest, e);
        if (r == 0)
                r = resources_open(s->spec, &s->resources, e);
        if (r == 0)
                r = devices_open(&s->devices, s->spec, &s->dir, e);
        if (r == 0 && s->spec->disk_count > 0)
                r = requests_open(&s->requests, s->guest.dir_fd, e);
        /* The cgroup first: making it proves that nothing is left of a dead guest of this name, whose ids it may get.
         */
        if (r == 0)
                r = is_root() ? cgroup_make(s, e) : user_cgroup_make(s, e);
        return r == 0 ? ids_take(s, e) : r;
}

static void sweep(struct supervisor *s)
{
        if (!s->swept && s->dir.fd >= 0)
                state_sweep(&s->dir, s->guest.lock_fd >= 0 ? s->spec->name : NULL);
        s->swept = true;
}

/* What of the files in the guest's directory does not depend on READY: the guest's first output comes right behind
 * that. */
static int state_prepare(struct supervisor *s, const struct vmm_process *p, struct err *e)
{
        s->state.version = STATE_VERSION;
        s->state.size_bytes = sizeof(s->state);
        s->state.supervisor.pid = getpid();
        s->state.supervisor.start_time = process_start_time(getpid());
        s->state.vmm.pid = p->pid;
        s->state.vmm.start_time = process_start_time(p->pid);
        /* Without them a dead guest's pid could not be told from somebody else's. */
        if (s->state.supervisor.start_time == 0 || s->state.vmm.start_time == 0)
                return err_bad(e, STATUS_FAILURE, "the start times of the guest's processes cannot be read from /proc");
        s->state.spec = *s->spec;
        return state_new_open(&s->guest, &s->state_new, e);
}

/* The VMM loads the guest meanwhile: time to prepare its files, to sweep, as every command does, and then to give
 * up what only that and starting the guest needed. */
static int on_configured(void *ctx, const struct vmm_process *p, struct err *e)
{
        struct supervisor *s = ctx;
        int r = state_prepare(s, p, e);

        if (r < 0)
                return r;
        s->state_written = false;
        sweep(s);
        if (s->narrowed)
                return 0;
        if (s->spec->on_reset != ON_RESET_RESTART)
                id_mapper_stop(&s->mapper);
        r = supervisor_narrow(s->spec->on_reset == ON_RESET_RESTART, s->devices.count > 0, e);
        s->narrowed = r == 0;
        return r;
}

/* The layers that the guest does without, and what each would need, in one line. */
static void say_absent(struct supervisor *s, uint64_t layers)
{
        char line[4096];
        size_t used = 0;

        for (unsigned int i = 0; i < LAYER_COUNT && used < sizeof(line); i++)
                if (!(layers & LAYER_BIT(i)))
                        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s (needs %s)", used ? ", " : "",
                                                 jail_layers[i].name, jail_layers[i].remedy);
        if (used > 0)
                say(s, "runs without: %s", line);
}

/* A device is up, has died, is up again, or will not come back. */
static void on_device(void *ctx, const struct device *d, enum device_news news)
{
        struct supervisor *s = ctx;

        if (news == DEVICE_NEWS_UP && d->disk && d->disk->engine == DISK_ENGINE_AUTO && d->engine == DISK_ENGINE_SYNC)
                say(s, "device %s does without io_uring, which cannot be had", d->id);
        if (news == DEVICE_NEWS_RESTARTED)
                say(s, "device %s died (%s) and was started again", d->id, d->why);
        if (news == DEVICE_NEWS_GIVEN_UP)
                say(s, "device %s died (%s) and is not started again", d->id, d->why);
        devices_describe(&s->devices, &s->state);
        /* A state that cannot be written is an older one: a command finds a process in it that there is no more. */
        if (s->state_written)
                (void)state_rewrite(&s->guest, &s->state, NULL);
}

static void on_resized(void *ctx, const struct device *d, int result)
{
        struct supervisor *s = ctx;

        requests_answered(&s->requests, d, result);
}

/* The guest is up: tell the world about it. */
static int on_ready(void *ctx, const struct vmm_process *p, struct err *e)
{
        struct supervisor *s = ctx;
        int r;

        s->state.layers = p->layers;
        s->state.landlock_abi = p->landlock_abi;
        s->state.started_unix = (int64_t)time(NULL);
        devices_describe(&s->devices, &s->state);
        r = state_attest(&s->guest, &s->state_new, &s->state, e);
        if (r == 0)
                r = state_write(&s->guest, &s->state_new, &s->state, e);
        s->state_written = r == 0;
        state_new_close(&s->state_new);
        if (r == 0 && !s->told)
                say_absent(s, p->layers);
        s->told = true;
        return r;
}

/* Waits before a restart; a signal ends the wait. Returns the signal, or 0. */
static int restart_delay(struct supervisor *s, int delay_ms)
{
        struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
        struct signalfd_siginfo info;

        if (delay_ms == 0 || poll(&p, 1, delay_ms) <= 0 || read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
                return 0;
        return info.ssi_signo == SIGUSR1 ? 0 : (int)info.ssi_signo;
}

static int run_until_end(struct supervisor *s, struct run_result *result, struct err *e)
{
        const struct guest_run run = {
                .start = {.spec = s->spec,
                          .resources = &s->resources,
                          .cgroup = s->cgroup_made ? &s->cgroup : NULL,
                          .staging_dir = s->guest.path,
                          .ids = &s->state.ids,
                          .by_user = !is_root(),
                          .own_ids = s->own_ids,
                          .devices = &s->devices,
                          .mapper = s->mapper.pid > 0 ? &s->mapper : NULL},
                .console = &s->console,
                .requests = &s->requests,
                .signal_fd = s->signal_fd,
                .required_layers = required_layers(s->spec),
                .configured = on_configured,
                .ready = on_ready,
                .ctx = s,
        };
        int delay_ms = 0;

        for (;;) {
                int64_t start = clock_now_ms();
                int r = guest_run(&run, result, e);

                if (r < 0 || result->reason != RUN_RESET || s->spec->on_reset == ON_RESET_EXIT)
                        return r;
                if (clock_now_ms() - start >= RESET_QUICK_MS)
                        delay_ms = 0;
                else if (delay_ms == 0)
                        delay_ms = RESET_DELAY_MIN_MS;
                else
                        delay_ms = delay_ms * 2 > RESET_DELAY_MAX_MS ? RESET_DELAY_MAX_MS : delay_ms * 2;
                s->state.resets++;
                say(s, "%s; it starts again in %d ms",
                    result->triple_fault ? "ended in a triple fault" : "reset itself", delay_ms);
                result->signal = restart_delay(s, delay_ms);
                if (result->signal) {
                        result->reason = RUN_SIGNAL;
                        return 0;
                }
        }
}

static int exit_status(const struct run_result *result)
{
        switch (result->reason) {
        case RUN_POWEROFF:
        case RUN_LEFT:
                return STATUS_OK;
        case RUN_RESET:
                return STATUS_RESET;
        case RUN_VERDICT:
                return result->verdict == 0 ? STATUS_OK : STATUS_VERDICT + (int)(result->verdict & 63U);
        case RUN_SIGNAL:
                return STATUS_SIGNAL + result->signal;
        case RUN_FAILED:
                break;
        }
        return STATUS_FAILURE;
}

/* Gives back everything, in the order that never frees an id or a name while something of the guest lives. */
static int release(struct supervisor *s, struct err *e)
{
        int r = 0;

        sweep(s); /* where the start failed before it came to that */
        state_new_close(&s->state_new);
        console_fini(&s->console);
        requests_close(&s->requests);
        devices_close(&s->devices);
        resources_close(&s->resources);
        id_mapper_stop(&s->mapper);
        jail_cgroup_close(&s->cgroup);
        if (s->cgroup_made)
                r = jail_cgroup_remove(s->cgroup_base, s->spec->name, e);
        if (s->delegated)
                jail_cgroup_leave_leaf(s->cgroup_base);
        if (r == 0 && s->slot_taken)
                state_ids_drop(&s->dir, s->state.slot);
        if (r == 0 && s->guest.lock_fd >= 0)
                state_guest_drop(&s->dir, s->spec->name, &s->guest);
        state_dir_close(&s->dir);
        fd_closep(&s->signal_fd);
        return r;
}

int supervise(const struct guest_spec *spec, struct err *e)
{
        struct supervisor s = {
                .spec = spec,
                .dir = {.fd = -1, .guests_fd = -1, .ids_fd = -1},
                .guest = {.dir_fd = -1, .lock_fd = -1},
                .state_new = STATE_NEW_INIT,
                .cgroup = {.unified_fd = -1},
                .resources = RESOURCES_INIT,
                .mapper = ID_MAPPER_INIT,
                .signal_fd = -1,
                .requests = REQUESTS_INIT,
        };
        struct run_result result = {.reason = RUN_FAILED};
        int r, status;

        console_init(&s.console);
        devices_init(&s.devices);
        s.devices.news = on_device;
        s.devices.resized = on_resized;
        s.devices.ctx = &s;
        r = prepare(&s, e);
        if (r == 0)
                r = run_until_end(&s, &result, e);
        status = r < 0 ? (int)e->status : exit_status(&result);
        if (release(&s, r < 0 ? NULL : e) < 0 && r == 0)
                status = STATUS_FAILURE;
        return status;
}
