#include "supervisor/device_alone.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "supervisor/device_process.h"
#include "supervisor/device_storage.h"
#include "supervisor/listener.h"
#include "supervisor/narrow.h"
#include "supervisor/place.h"
#include "supervisor/requests.h"

/* Kernel memory that the process causes beside what it maps. */
#define CGROUP_OVERHEAD (64ULL << 20)

#define CPU_PERCENT_DEFAULT 200 /* its thread, and what the kernel does for it */

struct alone {
        const struct guest_spec *spec;
        const char *path; /* of the socket */
        struct place place;
        struct devices devices; /* one */
        struct requests requests;
        struct listener listener;
        struct guest_state state;
        bool told;  /* what it does without */
        int signal; /* that ended it */
};

#define SAY(a, ...) place_say("device", (a)->spec->name, false, __VA_ARGS__)

/* ---- what its process does ---- */

static int map_ids(void *ctx, pid_t pid, struct err *e)
{
        const struct alone *a = ctx;

        return a->place.mapper.pid > 0 ? id_mapper_map(&a->place.mapper, pid, e) : jail_map_ids(pid, &a->place.ids, e);
}

static int state_tell(struct alone *a, struct err *e)
{
        devices_describe(&a->devices, &a->state);
        a->state.vmm = a->state.devices[0].process; /* the first of the jail: who sweeps ends it by that */
        a->state.layers = a->state.devices[0].layers;
        return state_rewrite(&a->place.guest, &a->state, e);
}

static void on_news(void *ctx, const struct device *dv, enum device_news news)
{
        struct alone *a = ctx;

        if (news == DEVICE_NEWS_UP && !a->told) {
                place_say_absent("device", a->spec->name, false, dv->layers | dv->role->without_layers);
                if (dv->role == &device_role_storage)
                        SAY(a, "is " DEVICE_STORAGE_TOLD);
                if (dv->disk && dv->disk->engine == DISK_ENGINE_AUTO && dv->engine == DISK_ENGINE_SYNC)
                        SAY(a, "does without io_uring, which cannot be had");
                a->told = true;
        }
        if (news == DEVICE_NEWS_DIED && dv->why[0])
                SAY(a, "died (%s)", dv->why);
        else if (news == DEVICE_NEWS_DIED)
                SAY(a, "is left by its front end");
        /* A state that cannot be written is an older one: a command finds a process in it that there is no more. */
        (void)state_tell(a, NULL);
}

static void on_resized(void *ctx, const struct device *dv, int result)
{
        struct alone *a = ctx;

        requests_answered(&a->requests, dv, result);
}

/* ---- start ---- */

static int state_init(struct alone *a, struct err *e)
{
        a->state.version = STATE_VERSION;
        a->state.size_bytes = sizeof(a->state);
        a->state.alone = 1;
        a->state.supervisor.pid = getpid();
        a->state.supervisor.start_time = process_start_time(getpid());
        if (a->state.supervisor.start_time == 0)
                return err_bad(e, STATUS_FAILURE, "its own start time cannot be read from /proc");
        a->state.slot = a->place.slot;
        a->state.ids = a->place.ids;
        a->state.started_unix = (int64_t)time(NULL);
        a->state.spec = *a->spec;
        return state_tell(a, e);
}

static int limit(struct alone *a, struct err *e)
{
        const struct guest_spec *spec = a->spec;
        const struct cgroup_limits limits = {
                .memory_bytes = spec->memory_bytes + CGROUP_OVERHEAD + devices_memory(&a->devices, spec->memory_bytes),
                .pids = devices_tasks(&a->devices),
                .cpu_percent = spec->cpu_limit_percent ? spec->cpu_limit_percent : CPU_PERCENT_DEFAULT,
                .io = spec->io_limits,
                .io_count = spec->io_limit_count,
        };

        return a->place.cgroup_made ? jail_cgroup_limit(&a->place.cgroup, &limits, e) : 0;
}

static int prepare(struct alone *a, struct err *e)
{
        int r = place_take(&a->place, e);

        if (r == 0)
                r = devices_open(&a->devices, a->spec, &a->place.dir, e);
        if (r == 0 && a->spec->disk_count > 0)
                r = requests_open(&a->requests, a->place.guest.dir_fd, e);
        if (r == 0)
                r = place_furnish(&a->place, a->spec->cpu_limit_percent > 0, e);
        if (r == 0)
                r = limit(a, e);
        if (r == 0)
                r = state_init(a, e);
        if (r == 0)
                r = listener_open(a->path, &a->listener, e);
        if (r < 0)
                return r;
        place_sweep(&a->place);
        a->devices.jail = (struct device_jail){
                .cgroup = a->place.cgroup_made ? &a->place.cgroup : NULL,
                .ids = &a->place.ids,
                .by_user = geteuid() != 0,
                .own_ids = a->place.own_ids,
                .tasks = devices_tasks(&a->devices),
                .required_layers = place_required_layers(a->spec->require_all_layers),
                .staging_dir = a->place.guest.path,
        };
        return supervisor_narrow(devices_have_storage(&a->devices) ? NARROW_STORAGE : NARROW_SOCKETS, true, e);
}

/* ---- front ends ---- */

static int serve_next(struct alone *a, struct err *e)
{
        struct device *dv = &a->devices.list[0];
        struct ucred peer;
        int fd = listener_accept(&a->listener, &peer);

        if (fd < 0)
                return fd == -EAGAIN || fd == -ECONNABORTED || fd == -EINTR ? 0 : err_set(e, fd, "take a front end in");
        device_process_end(dv); /* nothing of the one before is under way any more */
        dv->own_socket = fd;
        dv->was_up = false;
        SAY(a, "has a front end: pid %d, uid %u", (int)peer.pid, peer.uid);
        return device_process_start(&a->devices, dv, e);
}

/* Returns true when it is to end. */
static bool signal_take(struct alone *a)
{
        struct signalfd_siginfo info;

        if (read(a->place.signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info) || info.ssi_signo == SIGUSR1)
                return false; /* it has no power button */
        a->signal = (int)info.ssi_signo;
        return true;
}

/* Signals, the socket; requests; the device. */
#define OWN_POLLS   2
#define FIXED_POLLS (OWN_POLLS + REQUESTS_POLLS)

/* Returns 1 when it is to end, 0, or a negative errno. */
static int step(struct alone *a, struct err *e)
{
        const bool idle = a->devices.list[0].phase == DEVICE_OFF;
        struct pollfd p[FIXED_POLLS + DEVICE_POLLS] = {
                {.fd = a->place.signal_fd, .events = POLLIN},
                {.fd = idle ? a->listener.fd : -1, .events = POLLIN},
        };
        const size_t device_polls = devices_poll(&a->devices, p + FIXED_POLLS);
        int wait_ms = requests_prepare(&a->requests, p + OWN_POLLS, clock_now_ms());
        const int due_ms = devices_wait_ms(&a->devices, clock_now_ms());
        int r;

        if (wait_ms < 0 || (due_ms >= 0 && due_ms < wait_ms))
                wait_ms = due_ms;
        if (poll(p, FIXED_POLLS + device_polls, wait_ms) < 0)
                return errno == EINTR ? 0 : err_set(e, -errno, "wait for a front end");
        if (p[0].revents && signal_take(a))
                return 1;
        r = devices_handle(&a->devices, p + FIXED_POLLS, device_polls, -1, e);
        requests_handle(&a->requests, p + OWN_POLLS, &a->devices);
        if (r == 0 && p[1].revents)
                r = serve_next(a, e);
        return r;
}

static int release(struct alone *a, struct err *e)
{
        listener_close(&a->listener);
        requests_close(&a->requests);
        devices_close(&a->devices);
        return place_release(&a->place, e);
}

int device_serve(const struct guest_spec *spec, const char *path, struct err *e)
{
        static struct alone a;
        int r, status;

        a = (struct alone){.spec = spec,
                           .path = path,
                           .place = PLACE_INIT(spec->name),
                           .requests = REQUESTS_INIT,
                           .listener = LISTENER_INIT};
        devices_init(&a.devices);
        a.devices.news = on_news;
        a.devices.resized = on_resized;
        a.devices.map_ids = map_ids;
        a.devices.ctx = &a;
        r = prepare(&a, e);
        if (r == 0)
                SAY(&a, "waits for front ends at %s", path);
        while (r == 0)
                r = step(&a, e);
        status = r < 0 ? (int)e->status : STATUS_SIGNAL + a.signal;
        if (release(&a, r < 0 ? NULL : e) < 0 && r > 0)
                status = STATUS_FAILURE;
        return status;
}
