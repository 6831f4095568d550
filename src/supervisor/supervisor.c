#include "supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "jail/jail.h"
#include "state/state.h"
#include "supervisor/console.h"
#include "supervisor/device_storage.h"
#include "supervisor/guest_run.h"
#include "supervisor/narrow.h"
#include "supervisor/place.h"

/* A guest that resets again within RESET_QUICK_MS waits before its next start: 100 ms, doubled each time, up to 10 s.
 */
#define RESET_QUICK_MS     1000
#define RESET_DELAY_MIN_MS 100
#define RESET_DELAY_MAX_MS 10000

struct supervisor {
        const struct guest_spec *spec;
        struct place place;
        struct resources resources;
        struct devices devices;
        struct requests requests;
        struct console console;
        bool narrowed, told;
        bool state_written; /* in this run */
        struct guest_state state;
        struct state_new state_new; /* between CONFIG and READY: where it will be written */
};

#define SAY(s, ...) place_say("guest", (s)->spec->name, (s)->console.terminal.raw, __VA_ARGS__)

static int prepare(struct supervisor *s, struct err *e)
{
        const bool limits_asked = s->spec->cpu_limit_percent > 0 || s->spec->io_limit_count > 0;
        int r = place_take(&s->place, e);

        if (r == 0)
                r = resources_open(s->spec, &s->resources, e);
        if (r == 0)
                r = devices_open(&s->devices, s->spec, &s->place.dir, e);
        if (r == 0 && s->spec->disk_count > 0)
                r = requests_open(&s->requests, s->place.guest.dir_fd, e);
        if (r == 0)
                r = place_furnish(&s->place, limits_asked, e);
        s->state.slot = s->place.slot;
        s->state.ids = s->place.ids;
        return r;
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
        return state_new_open(&s->place.guest, &s->state_new, e);
}

static enum narrow_to narrow_to(const struct supervisor *s)
{
        if (devices_have_storage(&s->devices))
                return NARROW_STORAGE;
        if (s->spec->backend_count > 0)
                return NARROW_SOCKETS;
        if (s->devices.count > 0)
                return NARROW_DEVICES;
        return s->spec->on_reset == ON_RESET_RESTART ? NARROW_RESTARTS : NARROW_ONCE;
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
        place_sweep(&s->place);
        if (s->narrowed)
                return 0;
        if (s->spec->on_reset != ON_RESET_RESTART)
                id_mapper_stop(&s->place.mapper);
        r = supervisor_narrow(narrow_to(s), s->spec->on_reset == ON_RESET_RESTART, e);
        s->narrowed = r == 0;
        return r;
}

/* A device is up, has died, is up again, or will not come back. */
static void on_device(void *ctx, const struct device *d, enum device_news news)
{
        struct supervisor *s = ctx;

        if (news == DEVICE_NEWS_UP && d->disk && d->disk->engine == DISK_ENGINE_AUTO && d->engine == DISK_ENGINE_SYNC)
                SAY(s, "device %s does without io_uring, which cannot be had", d->id);
        if (news == DEVICE_NEWS_UP && d->role == &device_role_storage)
                SAY(s, "device %s is " DEVICE_STORAGE_TOLD, d->id);
        if (news == DEVICE_NEWS_UP && d->outside)
                SAY(s, "device %s is outside of the jail and maps all guest RAM: pid %d, uid %u", d->id,
                    (int)d->peer_pid, d->peer_uid);
        if (news == DEVICE_NEWS_RESTARTED && d->outside)
                SAY(s, "device %s was lost (%s) and is there again: pid %d, uid %u", d->id, d->why, (int)d->peer_pid,
                    d->peer_uid);
        else if (news == DEVICE_NEWS_RESTARTED)
                SAY(s, "device %s died (%s) and was started again", d->id, d->why);
        if (news == DEVICE_NEWS_GIVEN_UP && d->outside)
                SAY(s, "device %s was lost (%s) and is not connected to again", d->id, d->why);
        else if (news == DEVICE_NEWS_GIVEN_UP)
                SAY(s, "device %s died (%s) and is not started again", d->id, d->why);
        devices_describe(&s->devices, &s->state);
        /* A state that cannot be written is an older one: a command finds a process in it that there is no more. */
        if (s->state_written)
                (void)state_rewrite(&s->place.guest, &s->state, NULL);
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
        r = state_attest(&s->place.guest, &s->state_new, &s->state, e);
        if (r == 0)
                r = state_write(&s->place.guest, &s->state_new, &s->state, e);
        s->state_written = r == 0;
        state_new_close(&s->state_new);
        if (r == 0 && !s->told)
                place_say_absent("guest", s->spec->name, s->console.terminal.raw, p->layers);
        s->told = true;
        return r;
}

/* Waits before a restart; a signal ends the wait. Returns the signal, or 0. */
static int restart_delay(struct supervisor *s, int delay_ms)
{
        struct pollfd p = {.fd = s->place.signal_fd, .events = POLLIN};
        struct signalfd_siginfo info;

        if (delay_ms == 0 || poll(&p, 1, delay_ms) <= 0 ||
            read(s->place.signal_fd, &info, sizeof(info)) != sizeof(info))
                return 0;
        return info.ssi_signo == SIGUSR1 ? 0 : (int)info.ssi_signo;
}

static int run_until_end(struct supervisor *s, struct run_result *result, struct err *e)
{
        const struct guest_run run = {
                .start = {.spec = s->spec,
                          .resources = &s->resources,
                          .cgroup = s->place.cgroup_made ? &s->place.cgroup : NULL,
                          .staging_dir = s->place.guest.path,
                          .ids = &s->place.ids,
                          .by_user = geteuid() != 0,
                          .own_ids = s->place.own_ids,
                          .devices = &s->devices,
                          .mapper = s->place.mapper.pid > 0 ? &s->place.mapper : NULL},
                .console = &s->console,
                .requests = &s->requests,
                .signal_fd = s->place.signal_fd,
                .required_layers = place_required_layers(s->spec->require_all_layers),
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
                SAY(s, "%s; it starts again in %d ms",
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

/* Nothing of the guest lives any more. */
static int release(struct supervisor *s, struct err *e)
{
        state_new_close(&s->state_new);
        console_fini(&s->console);
        requests_close(&s->requests);
        devices_close(&s->devices);
        resources_close(&s->resources);
        return place_release(&s->place, e);
}

int supervise(const struct guest_spec *spec, struct err *e)
{
        struct supervisor s = {
                .spec = spec,
                .place = PLACE_INIT(spec->name),
                .state_new = STATE_NEW_INIT,
                .resources = RESOURCES_INIT,
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
