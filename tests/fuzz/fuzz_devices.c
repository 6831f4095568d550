/*
 * The supervisor under hostile devices' processes, and a VMM that says at any time that it has lost one:
 * devices_handle() with real control channels, and processes that send what the input says, when it says, and die when
 * they like. Only starting and reaping processes and the time are made up (by -Wl,--wrap).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "spec/device_fds.h"
#include "supervisor/device_process.h"
#include "supervisor/device_storage.h"

#define COUNT     3
#define FIRST_PID 0x3ffff00 /* above pid_max: nobody has them */
#define STEPS_MAX 512

const struct jail_policy policy_blk_setup, policy_rng_setup, policy_storage_setup;

/* The process that a device has now. */
struct process {
        bool alive;
        pid_t pid;
        int control, exited; /* its end; exited is the pidfd, of which the supervisor has a copy */
        int status;
        bool said_jailed, said_ready, got_config;
        uint64_t said_layers;
};

static struct world {
        struct reader script;
        struct process processes[COUNT];
        int vmm; /* the VMM's end of its channel; -1: it has gone */
        unsigned int starts[COUNT], asked[COUNT], answered[COUNT], resizes, resized;
        bool given_up[COUNT];
        uint64_t start_layers, required;
        int64_t now_ms, begun_ms;
        unsigned int started, reaped;
} world;

static struct devices devices;

int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
pid_t __real_waitpid(pid_t pid, int *status, int options);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);

/* ---- what the supervisor calls ---- */

static void process_dies(struct process *p)
{
        if (!p->alive)
                return;
        p->alive = false;
        fd_closep(&p->control);
        MUST(eventfd_write(p->exited, 1) == 0);
}

int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e)
{
        const size_t i = req->inside_id - 2; /* device i has id 2 + i */
        struct process *p = &world.processes[i];

        MUST(i < COUNT && req->join == &devices.namespaces && !p->alive && p->exited < 0);
        MUST(req->fd_count == (devices.list[i].disk ? 3U : 2U) && req->fds[0].target == DEVICE_FD_CONTROL);
        MUST(req->fds[1].fd >= 0 && req->fds[1].target == DEVICE_FD_FRONTEND);
        if (read_u8(&world.script) == 0xff)
                return err_set(e, -EAGAIN, "create a process in the guest's namespaces");
        *p = (struct process){.alive = true, .pid = FIRST_PID + (pid_t)world.started++};
        p->control = fcntl(req->fds[0].fd, F_DUPFD_CLOEXEC, 0);
        p->exited = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        MUST(p->control >= 0 && p->exited >= 0 && fcntl(p->control, F_SETFL, O_NONBLOCK) == 0);
        *ret_pid = p->pid;
        *ret_pidfd = fcntl(p->exited, F_DUPFD_CLOEXEC, 0);
        MUST(*ret_pidfd >= 0);
        *ret_layers = world.start_layers;
        world.starts[i]++;
        return 0;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
        if (!target_runs)
                return __real_waitpid(pid, status, options);
        for (size_t i = 0; i < COUNT; i++) {
                struct process *p = &world.processes[i];

                if (p->pid != pid || p->exited < 0)
                        continue;
                MUST(options == 0);
                if (p->alive) /* it has been killed: pidfd_send_signal() failed on what is none */
                        p->status = SIGKILL;
                process_dies(p);
                fd_closep(&p->exited);
                *status = p->status;
                world.reaped++;
                return pid;
        }
        MUST(false);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
        if (!target_runs)
                return __real_clock_gettime(clock, ret);
        *ret = (struct timespec){.tv_sec = world.now_ms / 1000, .tv_nsec = world.now_ms % 1000 * 1000000};
        return 0;
}

static void process_listens(struct process *p)
{
        static union control_message m;

        while (p->control >= 0 && control_receive(p->control, &m) == 0) {
                if (m.head.type == CONTROL_DEVICE_CONFIG) {
                        MUST(p->said_jailed && !p->got_config);
                        MUST((m.device_config.required_layers & ~world.required) == 0);
                        for (size_t i = 0; i < sizeof(m.device_config.disk.path); i++)
                                MUST(m.device_config.disk.path[i] == '\0');
                        p->got_config = true;
                } else
                        MUST(m.head.type == CONTROL_MAPPED || (m.head.type == CONTROL_RESIZE && p->said_ready));
        }
}

static void on_news(void *ctx, const struct device *d, enum device_news news)
{
        struct process *p = &world.processes[d->index];

        process_listens(p);
        MUST(ctx == &world && !world.given_up[d->index]);
        if (news == DEVICE_NEWS_UP || news == DEVICE_NEWS_RESTARTED) {
                MUST(p->said_jailed && p->said_ready && p->got_config);
                MUST((world.required & ~d->layers & ~d->role->without_layers) == 0);
                MUST((d->layers & ~world.start_layers & ~p->said_layers) == 0); /* nobody claimed more */
                MUST((news == DEVICE_NEWS_UP) == (world.starts[d->index] == 1));
        }
        world.given_up[d->index] = news == DEVICE_NEWS_GIVEN_UP;
        MUST(memchr(d->why, '\0', sizeof(d->why)));
}

static void on_resized(void *ctx, const struct device *d, int result)
{
        MUST(ctx == &world && d->disk && result <= 0 && result > -4096);
        MUST(++world.resized <= world.resizes);
}

/* ---- what the processes and the VMM do ---- */

static void process_says(struct process *p, uint8_t how)
{
        static union control_message m;
        size_t len = sizeof(struct control_header);

        if (!p->alive || p->control < 0)
                return;
        process_listens(p);
        memset(&m, 'x', sizeof(m));
        switch (how & 7) {
        case 0:
        case 1:
                m.head.type = CONTROL_JAILED;
                len = sizeof(m.jailed);
                m.jailed.layers = how & 0x80 ? read_u64(&world.script) : UINT64_MAX;
                p->said_jailed = true;
                p->said_layers |= m.jailed.layers;
                break;
        case 2:
        case 3:
                m.head.type = CONTROL_READY;
                len = sizeof(m.ready);
                m.ready.layers = how & 0x80 ? read_u64(&world.script) : UINT64_MAX;
                p->said_ready = true;
                p->said_layers |= m.ready.layers;
                break;
        case 4:
                m.head.type = CONTROL_FAILED;
                len = sizeof(m.failed);
                m.failed.status = read_u8(&world.script);
                break;
        case 5:
                m.head.type = CONTROL_RESIZED;
                len = sizeof(m.resize);
                m.resize.result = (int32_t)read_u32(&world.script);
                break;
        default:
                m.head.type = read_u8(&world.script);
                len = read_u16(&world.script) % sizeof(m);
                break;
        }
        m.head = (struct control_header)CONTROL_HEADER(m.head.type, len);
        (void)!send(p->control, &m, len, MSG_NOSIGNAL);
}

/* The VMM reads what it was sent: a socket for each device that it asked for, once. */
static void vmm_listens(void)
{
        static union control_message m;
        int fd = -1;

        while (world.vmm >= 0 && control_receive_fd(world.vmm, &m, &fd) == 0) {
                MUST(m.head.type == CONTROL_DEVICE && m.device.index < COUNT);
                MUST((m.device.failed != 0) == (fd < 0));
                if (fd >= 0)
                        MUST(++world.answered[m.device.index] <= world.asked[m.device.index]);
                fd_closep(&fd);
        }
}

static void vmm_loses(int vmm_fd, uint8_t how)
{
        const struct control_device m = {.index = how & 3, .failed = how & 0x80 ? read_u8(&world.script) : 0};
        int r;

        if (world.vmm < 0)
                return;
        if (m.index < COUNT && !m.failed)
                world.asked[m.index]++;
        r = devices_lost(&devices, &m, vmm_fd, NULL);
        MUST(r == (m.index < COUNT ? 0 : -EPROTO));
}

static void operator_resizes(uint8_t how)
{
        const struct device *dv = NULL;
        struct err e = ERR_INIT;
        int r = devices_resize(&devices, devices.list[how % COUNT].id, (uint64_t)read_u16(&world.script) << 9, &dv, &e);

        if (r == 0) {
                MUST(dv == &devices.list[how % COUNT] && dv->disk && dv->phase == DEVICE_UP);
                world.resizes++;
        } else
                must_be_error(&e, r, STATUS_BIT(STATUS_USAGE) | STATUS_BIT(STATUS_FAILURE));
}

static void step(int vmm_fd)
{
        uint8_t op = read_u8(&world.script), how = op >> 4;
        struct process *p = &world.processes[how % COUNT];

        switch (op & 15) {
        case 0 ... 4:
                process_says(p, read_u8(&world.script));
                break;
        case 5: /* what a start sends, at once */
                process_says(p, 0);
                process_says(p, 2);
                break;
        case 6:
                p->status = read_u8(&world.script) & 0x7f;
                p->status = p->status == 0x7f ? 0 : p->status; /* not "stopped" */
                process_dies(p);
                break;
        case 7:
                fd_closep(&p->control);
                break;
        case 8:
        case 9:
                vmm_loses(vmm_fd, read_u8(&world.script));
                break;
        case 10:
                vmm_listens();
                break;
        case 11:
                operator_resizes(how);
                break;
        case 12:
                if (how == 15)
                        fd_closep(&world.vmm);
                break;
        default:
                world.now_ms += read_u16(&world.script);
                break;
        }
        for (size_t i = 0; i < COUNT; i++)
                process_listens(&world.processes[i]);
}

/* ---- the run ---- */

static int lowest_fd(void)
{
        int fd = eventfd(0, 0);

        MUST(fd >= 0);
        close(fd);
        return fd;
}

static int image_open(void)
{
        int fd = memfd_create("image", MFD_CLOEXEC);

        MUST(fd >= 0 && ftruncate(fd, 512) == 0);
        return fd;
}

static void devices_make(const struct disk_spec *disks)
{
        static const char *const ids[COUNT] = {"disk0", "disk1", "rng"};

        devices_init(&devices);
        devices.news = on_news;
        devices.resized = on_resized;
        devices.ctx = &world;
        devices.count = COUNT;
        for (uint32_t i = 0; i < COUNT; i++) {
                bool is_disk = i < 2;

                world.processes[i] = (struct process){.control = -1, .exited = -1};
                devices.list[i] = (struct device){.role = i == 0   ? &device_role_blk
                                                          : i == 1 ? &device_role_storage
                                                                   : &device_role_rng,
                                                  .id = ids[i],
                                                  .disk = is_disk ? &disks[i] : NULL,
                                                  .index = i,
                                                  .queues = 1,
                                                  .resource_fd = is_disk ? image_open() : -1,
                                                  .pid = -1,
                                                  .pidfd = -1,
                                                  .control_fd = -1,
                                                  .ending_fd = -1,
                                                  .vmm_socket = -1,
                                                  .own_socket = -1};
        }
}

/* Returns what made the run end, 0 when the script did. */
static int run(int vmm_fd, struct err *e)
{
        const struct device_jail jail = {.own_ids = true, .required_layers = world.required};
        const struct jail_namespaces none = JAIL_NAMESPACES_INIT;
        struct pollfd p[DEVICE_POLLS];
        int r = devices_connect(&devices, &jail, e);

        if (r == 0)
                r = devices_start(&devices, &none, e);
        for (size_t i = 0; i < COUNT; i++)
                fd_closep(&devices.list[i].vmm_socket); /* the VMM has it */
        for (unsigned int steps = 0; r == 0 && world.script.len > 0 && steps < STEPS_MAX; steps++) {
                size_t count;

                step(vmm_fd);
                count = devices_poll(&devices, p);
                MUST(poll(p, count, 0) >= 0);
                r = devices_handle(&devices, p, count, vmm_fd, e);
                MUST(devices_wait_ms(&devices, world.now_ms) >= -1);
        }
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        const struct disk_spec disks[2] = {{.path = "/a", .id = "disk0"},
                                           {.path = "/b", .id = "disk1", .read_only = 1, .format = DISK_FORMAT_QCOW2}};
        static struct guest_state state;
        int free_fd = lowest_fd(), channel[2], r;
        struct err e = ERR_INIT;

        world = (struct world){.script = {data, len}, .now_ms = 1000, .begun_ms = 1000};
        world.start_layers = read_u16(&world.script);
        world.required = read_u8(&world.script) & 1 ? read_u64(&world.script) & LAYERS_ALL : 0;
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, channel) == 0);
        world.vmm = channel[1];
        devices_make(disks);
        signal(SIGPIPE, SIG_IGN);
        target_runs = true;
        r = run(channel[0], &e);
        devices_describe(&devices, &state);
        vmm_listens();
        devices_close(&devices);
        target_runs = false;
        if (r < 0)
                must_be_error(&e, r, ~0U);
        /* No device is started again faster than it may be. */
        for (size_t i = 0; i < COUNT; i++)
                MUST(world.starts[i] <= 1 + DEVICE_DEATHS_FREE +
                                                (uint64_t)(world.now_ms - world.begun_ms) * (1 + DEVICE_DEATHS_FREE) /
                                                        DEVICE_DELAY_MIN_MS);
        MUST(world.started == world.reaped); /* nothing of them is left */
        fd_closep(&world.vmm);
        close(channel[0]);
        MUST(lowest_fd() == free_fd); /* nor a descriptor */
        return 0;
}
