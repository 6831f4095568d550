#include "supervisor/device_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "spec/device_fds.h"
#include "supervisor/device_storage.h"
#include "supervisor/peer.h"

/* Compiled from the policy files beside the programs. */
extern const struct jail_policy policy_blk_setup, policy_rng_setup;

#define ERRNO_MAX 4096

#define LOST "it hung or broke the protocol"

/* How long the end of what a dead process left under way is waited for: at the guest's end; between two looks, else. */
#define CHANNEL_END_TRIES  50
#define CHANNEL_END_TRY_MS 100
#define CHANNEL_LOOK_MS    10

#define DEVICE_INSIDE_ID(index) (2 + (index)) /* 1 is the VMM's */

const struct device_role device_role_blk = {
        .number = 0,
        .virtio_id = VIRTIO_ID_BLOCK,
        .program = "bulkhead-blk",
        .policy = &policy_blk_setup,
        .tasks = 1 + 32, /* io_uring's workers */
        .file_size_bytes = RLIM_INFINITY,
        .locked_bytes = DEVICE_BLK_LOCKED_BYTES,
};

const struct device_role device_role_rng = {
        .number = 1,
        .virtio_id = VIRTIO_ID_RNG,
        .program = "bulkhead-rng",
        .policy = &policy_rng_setup,
        .tasks = 1,
        .file_size_bytes = 1ULL << 20, /* its in-flight region */
};

/* The first that is said of its end counts. */
__attribute__((format(printf, 2, 3))) static void say(struct device *dv, const char *fmt, ...)
{
        va_list ap;

        if (dv->said[0])
                return;
        va_start(ap, fmt);
        vsnprintf(dv->said, sizeof(dv->said), fmt, ap);
        va_end(ap);
}

/* ---- start ---- */

int device_process_connect(struct device *dv, struct err *e)
{
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return err_set(e, -errno, "create a socket pair");
        dv->vmm_socket = pair[0];
        dv->own_socket = pair[1];
        return 0;
}

/* It is in the guest's user namespace, whose ids are mapped. */
static int mapped_tell(const struct device *dv, struct err *e)
{
        const struct control_header mapped = CONTROL_HEADER(CONTROL_MAPPED, sizeof(mapped));
        int r = control_send(dv->control_fd, &mapped);

        return r < 0 ? err_set(e, r, "tell the jailed process that its ids are mapped") : 0;
}

int device_process_start(struct devices *d, struct device *dv, struct err *e)
{
        const struct device_jail *jail = &d->jail;
        int control[2];
        struct jail_fd fds[] = {
                {-1, DEVICE_FD_CONTROL},
                {dv->own_socket, DEVICE_FD_FRONTEND},
                {dv->resource_fd, DEVICE_FD_RESOURCE},
        };
        struct jail_request req = {
                .join = d->map_ids ? NULL : &d->namespaces,
                .staging_dir = jail->staging_dir,
                .fds = fds,
                .fd_count = ARRAY_LEN(fds) - (dv->resource_fd < 0 ? 1 : 0),
                .control_target = DEVICE_FD_CONTROL,
                .program_fd = d->program_fds[dv->role->number],
                .program_name = dv->role->program,
                .cgroup = jail->cgroup,
                .inside_id = jail->own_ids ? DEVICE_INSIDE_ID(dv->index) : 1,
                .by_user = jail->by_user,
                .own_ids = jail->own_ids,
                .limits = {.open_files = DEVICE_FD_LIMIT,
                           /* It is per id: who has but one shares it with the VMM. */
                           .processes = jail->own_ids ? dv->role->tasks : jail->tasks,
                           .file_size_bytes = dv->role->file_size_bytes,
                           .locked_bytes = dv->role->locked_bytes},
                .policy = dv->role->policy,
        };
        int r;

        if (dv->role == &device_role_storage)
                device_storage_request(&d->storage, dv, &req);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
                return err_set(e, -errno, "create a socket pair");
        fds[0].fd = control[1];
        dv->control_fd = control[0];
        r = fcntl(control[0], F_SETFL, O_NONBLOCK) < 0 ? err_set(e, -errno, "make a socket non-blocking") : 0;
        if (r == 0)
                r = jail_start(&req, &dv->pid, &dv->pidfd, &dv->layers, e);
        close(control[1]);
        fd_closep(&dv->own_socket);
        if (r < 0)
                return r;
        dv->start_time = process_start_time(dv->pid);
        dv->phase = DEVICE_BUILDING;
        dv->deadline_ms = clock_now_ms() + DEVICE_START_TIMEOUT_MS;
        dv->is_up = dv->lost = false;
        dv->said[0] = '\0';
        return d->map_ids ? 0 : mapped_tell(dv, e);
}

/* ---- end ---- */

void device_process_kill(const struct device *dv)
{
        if (dv->pidfd >= 0)
                (void)sys_pidfd_send_signal(dv->pidfd, SIGKILL); /* dead already: that is what we want */
}

/*
 * What a dead process had asked of the kernel may still be under way, on its disk and into the guest's RAM: until it is
 * not, its io_uring holds the channel (devices/blk/README.md), and the disk's lock. Has the last one's channel ended?
 */
static bool channel_ended(struct device *dv)
{
        union control_message m;
        int r = -EPIPE;

        while (dv->ending_fd >= 0) {
                r = control_receive(dv->ending_fd, &m);
                if (r == -EAGAIN)
                        return false;
                if (r < 0 && r != -EPROTO)
                        fd_closep(&dv->ending_fd);
        }
        return true;
}

/* A disk that does not answer any more is given up on. */
static void channel_wait(struct device *dv)
{
        for (int i = 0; i < CHANNEL_END_TRIES && !channel_ended(dv); i++) {
                struct pollfd p = {.fd = dv->ending_fd, .events = POLLIN};

                (void)poll(&p, 1, CHANNEL_END_TRY_MS);
        }
        fd_closep(&dv->ending_fd);
}

/* Returns the wait status, 0 when there was no process. */
static int process_reap(struct device *dv)
{
        int status = 0;

        device_process_kill(dv);
        if (dv->control_fd >= 0) {
                fd_closep(&dv->ending_fd);
                dv->ending_fd = TAKE_FD(dv->control_fd);
        }
        if (dv->pid > 0)
                while (waitpid(dv->pid, &status, 0) < 0 && errno == EINTR)
                        ;
        dv->pid = -1;
        fd_closep(&dv->pidfd);
        fd_closep(&dv->vmm_socket);
        fd_closep(&dv->own_socket);
        return status;
}

/* As the VMM's own end kills it. */
static bool killed(int status)
{
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

int device_process_blame(struct device *dv, int timeout_ms, struct err *e)
{
        struct pollfd p = {.fd = dv->pidfd, .events = POLLIN};
        int status;

        if (dv->pidfd < 0 || poll(&p, 1, timeout_ms) != 1)
                return 0;
        status = process_reap(dv);
        if (killed(status))
                return 0;
        (void)peer_died(dv->role->program, status, e);
        return -ECHILD;
}

void device_process_end(struct device *dv)
{
        (void)process_reap(dv);
        channel_wait(dv);
        if (dv->phase != DEVICE_GIVEN_UP)
                dv->phase = DEVICE_OFF;
}

void device_tell_given_up(const struct device *dv, int vmm_fd)
{
        const struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(m)),
                                         .index = dv->index,
                                         .failed = 1};

        if (vmm_fd >= 0)
                (void)control_send(vmm_fd, &m); /* one that does not read has lost its device all the same */
}

static void give_up(struct devices *d, struct device *dv)
{
        (void)process_reap(dv);
        dv->phase = DEVICE_GIVEN_UP;
        d->news(d->ctx, dv, DEVICE_NEWS_GIVEN_UP);
}

/* Milliseconds until it is started again. */
static int64_t delay_ms(struct device *dv, int64_t now_ms)
{
        int64_t delay = 0;

        if (dv->deaths == 0 || now_ms - dv->window_ms > DEVICE_DEATHS_WINDOW_MS) {
                dv->window_ms = now_ms;
                dv->deaths = 0;
        }
        dv->deaths++;
        if (dv->deaths > DEVICE_DEATHS_FREE)
                delay = DEVICE_DELAY_MIN_MS;
        for (unsigned int i = DEVICE_DEATHS_FREE + 1; i < dv->deaths && delay < DEVICE_DELAY_MAX_MS; i++)
                delay *= 2;
        return delay < DEVICE_DELAY_MAX_MS ? delay : DEVICE_DELAY_MAX_MS;
}

/* The VMM's end closes all it has before the kernel ends its devices: then nothing is started again. */
bool device_run_is_ending(int vmm_fd)
{
        struct pollfd p = {.fd = vmm_fd};

        return vmm_fd < 0 || (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)));
}

static void next_try(struct devices *d, struct device *dv, int vmm_fd)
{
        const int64_t now = clock_now_ms();

        if (dv->tries >= DEVICE_TRIES_MAX) {
                give_up(d, dv);
                device_tell_given_up(dv, vmm_fd);
                return;
        }
        dv->phase = DEVICE_WAITING;
        dv->deadline_ms = now + delay_ms(dv, now);
}

/* The process of a device alone; first: what to say when it never got ready. */
static int alone_over(struct devices *d, struct device *dv, int status, const struct err *first, struct err *e)
{
        dv->phase = DEVICE_OFF;
        if (!dv->is_up) {
                if (!first)
                        return peer_died(dv->role->program, status, e);
                *e = *first;
                return -ECHILD;
        }
        if (WIFSIGNALED(status))
                say(dv, "signal %d", WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
                say(dv, "status %d", WEXITSTATUS(status));
        memcpy(dv->why, dv->said, sizeof(dv->why));
        d->news(d->ctx, dv, DEVICE_NEWS_DIED);
        return 0;
}

/* It has ended, or is to: reaps it, and sees to the next one. first: what to say when it was needed for the start. */
static int process_over(struct devices *d, struct device *dv, int vmm_fd, const struct err *first, struct err *e)
{
        const bool was_up = dv->was_up, up = dv->is_up;
        int status = process_reap(dv);

        if (dv->resizing) {
                dv->resizing = false;
                d->resized(d->ctx, dv, -ECHILD);
        }
        if (d->map_ids)
                return alone_over(d, dv, status, first, e);
        /* The VMM may be ending because of this one: then the reason is here. */
        if (device_run_is_ending(vmm_fd) && (was_up || (!first && killed(status)))) {
                dv->phase = DEVICE_OFF;
                return 0;
        }
        if (!was_up) {
                dv->phase = DEVICE_OFF;
                if (!first)
                        return peer_died(dv->role->program, status, e);
                *e = *first;
                return -ECHILD;
        }
        if (dv->lost && WIFEXITED(status))
                say(dv, LOST);
        else if (WIFSIGNALED(status))
                say(dv, "signal %d", WTERMSIG(status));
        else
                say(dv, "status %d", WEXITSTATUS(status));
        memcpy(dv->why, dv->said, sizeof(dv->why));
        dv->tries = up ? 0 : dv->tries + 1;
        d->news(d->ctx, dv, DEVICE_NEWS_DIED);
        next_try(d, dv, vmm_fd);
        return 0;
}

/* It has closed a channel, or lost one, and has reason to end: how it does tells more than that. */
static void end_soon(struct device *dv)
{
        if (dv->phase == DEVICE_ENDING)
                return;
        dv->phase = DEVICE_ENDING;
        dv->deadline_ms = clock_now_ms() + DEVICE_END_TIMEOUT_MS;
}

/* ---- messages ---- */

static uint64_t required(const struct devices *d, const struct device *dv)
{
        return d->jail.required_layers & ~dv->role->without_layers;
}

/* Of a device alone. */
static int on_rooted(struct devices *d, struct device *dv, struct err *e)
{
        int r;

        if (dv->phase != DEVICE_BUILDING || !d->map_ids)
                return err_set(e, -EPROTO, "it reports its root at the wrong time");
        r = d->map_ids(d->ctx, dv->pid, e);
        return r < 0 ? r : mapped_tell(dv, e);
}

static int on_jailed(struct devices *d, struct device *dv, const struct control_jailed *m, struct err *e)
{
        struct control_device_config c = {
                .head = CONTROL_HEADER(CONTROL_DEVICE_CONFIG, sizeof(c)),
                .required_layers = d->jail.required_layers & PEER_SEAL_LAYERS,
                .queues = dv->queues,
                .rng_bytes_per_s = SPEC_RNG_BYTES_PER_S,
        };
        int r;

        if (dv->phase != DEVICE_BUILDING)
                return err_set(e, -EPROTO, "it reports its jail twice");
        dv->layers |= m->layers & LAYERS_ALL;
        r = peer_judge_layers(dv->layers, required(d, dv) & ~PEER_SEAL_LAYERS, e);
        if (r < 0)
                return r;
        if (dv->disk) {
                c.disk = *dv->disk;
                memset(c.disk.path, 0, sizeof(c.disk.path)); /* it knows no names */
        }
        dv->phase = DEVICE_LOADING;
        r = control_send(dv->control_fd, &c);
        return r < 0 ? err_set(e, r, "send it its configuration") : 0;
}

/* The VMM gets the socket when it has asked and there is one. */
static void vmm_answer(struct device *dv, int vmm_fd)
{
        const struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(m)), .index = dv->index};

        if (!dv->asked || dv->phase != DEVICE_UP || dv->vmm_socket < 0 || vmm_fd < 0)
                return;
        if (control_send_fd(vmm_fd, &m, dv->vmm_socket) < 0) /* full, or gone: it is not served */
                return;
        dv->asked = false;
        fd_closep(&dv->vmm_socket);
}

static int on_ready(struct devices *d, struct device *dv, const struct control_ready *m, int vmm_fd, struct err *e)
{
        int r;

        if (dv->phase != DEVICE_LOADING)
                return err_set(e, -EPROTO, "it is ready at the wrong time");
        dv->layers |= m->layers & PEER_SEAL_LAYERS;
        dv->landlock_abi = m->landlock_abi;
        dv->engine = m->engine;
        r = peer_judge_layers(dv->layers, required(d, dv), e);
        if (r < 0)
                return r;
        dv->phase = DEVICE_UP;
        dv->is_up = true;
        if (dv->was_up) {
                dv->restarts++;
                vmm_answer(dv, vmm_fd);
        }
        d->news(d->ctx, dv, dv->was_up ? DEVICE_NEWS_RESTARTED : DEVICE_NEWS_UP);
        dv->was_up = true;
        return 0;
}

int device_process_resize(struct device *dv, uint64_t bytes, struct err *e)
{
        const struct control_resize m = {.head = CONTROL_HEADER(CONTROL_RESIZE, sizeof(m)), .bytes = bytes};
        int r = control_send(dv->control_fd, &m);

        dv->resizing = r == 0;
        return r < 0 ? err_set(e, r, "tell the process of the disk %s", dv->id) : 0;
}

static void resized(struct devices *d, struct device *dv, int result)
{
        dv->resizing = false;
        d->resized(d->ctx, dv, result);
}

static int on_resized(struct devices *d, struct device *dv, const struct control_resize *m, struct err *e)
{
        if (!dv->resizing)
                return err_set(e, -EPROTO, "it answers what it was not asked");
        /* Any other number means nothing. */
        resized(d, dv, m->result == 0 ? 0 : m->result < 0 && m->result > -ERRNO_MAX ? m->result : -EPROTO);
        return 0;
}

/* One message. Returns 1 when there was one, 0 when there is none now, or a negative errno: its end. */
static int message_handle(struct devices *d, struct device *dv, int vmm_fd, struct err *e)
{
        union control_message m;
        int r = control_receive(dv->control_fd, &m);

        if (r == -EAGAIN)
                return 0;
        if (r < 0)
                return err_set(e, r, "receive from it");
        switch (m.head.type) {
        case CONTROL_ROOTED:
                r = on_rooted(d, dv, e);
                break;
        case CONTROL_JAILED:
                r = on_jailed(d, dv, &m.jailed, e);
                break;
        case CONTROL_READY:
                r = on_ready(d, dv, &m.ready, vmm_fd, e);
                break;
        case CONTROL_RESIZED:
                r = on_resized(d, dv, &m.resize, e);
                break;
        case CONTROL_FAILED:
                r = peer_failed(dv->role->program, &m.failed, e);
                break;
        default:
                r = err_set(e, -EPROTO, "it sends message type %u", m.head.type);
                break;
        }
        return r < 0 ? r : 1;
}

/* Starts the next process of a device that has been up before. */
static void start_again(struct devices *d, struct device *dv, int vmm_fd)
{
        struct err e = ERR_INIT;
        int r;

        if (device_run_is_ending(vmm_fd)) {
                dv->phase = DEVICE_OFF;
                return;
        }
        if (!channel_ended(dv)) {
                dv->deadline_ms = clock_now_ms() + CHANNEL_LOOK_MS;
                return;
        }
        r = device_process_connect(dv, &e);
        if (r == 0)
                r = device_process_start(d, dv, &e);
        if (r < 0) {
                (void)process_reap(dv);
                snprintf(dv->why, sizeof(dv->why), "%.255s", e.text);
                dv->tries++;
                next_try(d, dv, vmm_fd);
        }
}

bool device_process_is_due(const struct device *dv, int64_t now_ms)
{
        const bool has_deadline = dv->phase == DEVICE_WAITING || dv->phase == DEVICE_BUILDING ||
                                  dv->phase == DEVICE_LOADING || dv->phase == DEVICE_ENDING;

        return has_deadline && dv->deadline_ms <= now_ms;
}

static int due(struct devices *d, struct device *dv, int vmm_fd, struct err *e)
{
        struct err late = ERR_INIT;

        if (dv->phase == DEVICE_WAITING) {
                start_again(d, dv, vmm_fd);
                return 0;
        }
        if (dv->lost)
                say(dv, LOST);
        else if (dv->phase == DEVICE_ENDING)
                err_set(&late, -ETIMEDOUT, "end after closing its channel");
        else
                err_set(&late, -ETIMEDOUT, "get ready within %d seconds", DEVICE_START_TIMEOUT_MS / 1000);
        say(dv, "%s", late.text);
        return process_over(d, dv, vmm_fd, &late, e);
}

int device_process_handle(struct devices *d, struct device *dv, bool told, bool died, int vmm_fd, struct err *e)
{
        int r = told ? 1 : 0;

        /* Everything that a dead one has said before is still to come. */
        while (r > 0 && dv->control_fd >= 0) {
                struct err why = ERR_INIT;

                r = message_handle(d, dv, vmm_fd, &why);
                if (r == -EPIPE) { /* how it ends tells more */
                        fd_closep(&dv->control_fd);
                        end_soon(dv);
                } else if (r < 0) {
                        say(dv, "%s", why.text);
                        return process_over(d, dv, vmm_fd, &why, e);
                }
        }
        if (died)
                return process_over(d, dv, vmm_fd, NULL, e);
        return device_process_is_due(dv, clock_now_ms()) ? due(d, dv, vmm_fd, e) : 0;
}

void device_process_lost(struct devices *d, struct device *dv, bool for_good, int vmm_fd)
{
        if (dv->phase == DEVICE_GIVEN_UP || dv->phase == DEVICE_OFF)
                return;
        if (for_good) {
                snprintf(dv->why, sizeof(dv->why), "it gets nothing done");
                give_up(d, dv);
                return;
        }
        dv->asked = true;
        vmm_answer(dv, vmm_fd);
        /* Its socket is the VMM's no more, and there is no other: only a new process can serve it. */
        if (dv->asked && dv->phase == DEVICE_UP && dv->vmm_socket < 0) {
                dv->lost = true;
                end_soon(dv);
        }
}
