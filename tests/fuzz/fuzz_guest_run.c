/*
 * The supervisor under a hostile VMM: guest_run() with the real control channel, console and phases, and a VMM that
 * sends what the input says, when it says, and dies when it likes; at the other end are an operator who types and a
 * reader of the console who may stop reading. Only starting and reaping processes, asking KVM and
 * the time are made up (by -Wl,--wrap). Whenever the supervisor waits, the next step of the script happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "supervisor/guest_run.h"

#define VMM_PID   0x3ffffff /* above pid_max: nobody has it */
#define POLLS_MAX 4096      /* of one run: one that waits more often than the script has steps does not end */

const struct jail_policy policy_vmm_setup, policy_blk_setup, policy_rng_setup, policy_storage_setup;

static struct world {
        struct reader script;
        bool starts, maps; /* the fake calls succeed */
        uint64_t start_layers, required;
        int control, console, exited; /* the VMM's ends; exited is the pidfd, of which the supervisor closes a copy */
        int signals[2];               /* what the supervisor reads signals from */
        int keyboard, screen;         /* the operator's ends of the supervisor's standard input and output */
        bool escaped, leaves;         /* the operator has typed Ctrl-], and then q */
        bool alive, reaped;
        int wait_status;
        int64_t now_ms, cpu_ms; /* of the supervisor */
        unsigned int polls;
        unsigned int map_calls, configured_calls, ready_calls;
        /* What the VMM has said that is well-formed, and what an operator did. */
        bool said_rooted, said_jailed, said_ready, got_config;
        uint64_t said_layers;
        uint32_t said_end; /* a bit for each reason */
        uint32_t verdicts[8];
        size_t verdict_count;
        unsigned int ending_signals; /* sent */
        int first_signal;
        unsigned int polls_at_end; /* of something at whose end nothing more can come */
} world;

int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e);
int __wrap_jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
pid_t __real_waitpid(pid_t pid, int *status, int options);
int __wrap_poll(struct pollfd *p, nfds_t count, int timeout);
int __real_poll(struct pollfd *p, nfds_t count, int timeout);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);

/* ---- what the supervisor calls ---- */

int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e)
{
        if (!world.starts)
                return err_set(e, -EAGAIN, "create a process in new namespaces");
        MUST(req->fd_count >= 4 && req->fds[0].fd >= 0 && req->fds[1].fd >= 0);
        world.control = fcntl(req->fds[0].fd, F_DUPFD_CLOEXEC, 0);
        world.console = fcntl(req->fds[1].fd, F_DUPFD_CLOEXEC, 0);
        MUST(world.control >= 0 && world.console >= 0);
        MUST(fcntl(world.control, F_SETFL, O_NONBLOCK) == 0 && fcntl(world.console, F_SETFL, O_NONBLOCK) == 0);
        world.exited = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        *ret_pidfd = fcntl(world.exited, F_DUPFD_CLOEXEC, 0);
        MUST(*ret_pidfd >= 0);
        *ret_pid = VMM_PID;
        *ret_layers = world.start_layers;
        world.alive = true;
        return 0;
}

int __wrap_jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e)
{
        MUST(pid == VMM_PID && world.said_rooted && ids->uid == 0x70000000);
        world.map_calls++;
        return world.maps ? 0 : err_set(e, -EPERM, "map ids");
}

/* Not called: a supervisor without the right to map ids starts the same way otherwise. */
int id_mapper_map(const struct id_mapper *m, pid_t pid, struct err *e)
{
        MUST(false);
}

int resources_query_cpuid(struct resources *r, struct err *e)
{
        r->cpuid_count = 1;
        return 0;
}

static void vmm_dies(void)
{
        if (!world.alive)
                return;
        world.alive = false;
        fd_closep(&world.control);
        fd_closep(&world.console);
        MUST(eventfd_write(world.exited, 1) == 0);
}

/* vmm_process_end() has killed it: pidfd_send_signal() failed on what is none, which it takes for "dead already". */
pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
        if (!target_runs)
                return __real_waitpid(pid, status, options);
        MUST(pid == VMM_PID && !world.reaped && options == 0);
        world.reaped = true;
        vmm_dies();
        *status = world.wait_status;
        return pid;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
        const int64_t ms = clock == CLOCK_MONOTONIC ? world.now_ms : world.cpu_ms;

        if (!target_runs)
                return __real_clock_gettime(clock, ret);
        *ret = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        return 0;
}

static int configured(void *ctx, const struct vmm_process *p, struct err *e)
{
        MUST(ctx == &world && world.said_rooted && world.said_jailed && world.map_calls == 1);
        world.configured_calls++;
        return 0;
}

static int ready(void *ctx, const struct vmm_process *p, struct err *e)
{
        MUST(ctx == &world && world.configured_calls == 1 && world.said_ready);
        MUST((p->layers & ~LAYERS_ALL) == 0 && (world.required & ~p->layers) == 0);
        MUST((p->layers & ~world.start_layers & ~world.said_layers) == 0); /* nobody claimed more */
        world.ready_calls++;
        return 0;
}

/* ---- what the VMM and the operator do ---- */

static void vmm_sends(const void *bytes, size_t len)
{
        (void)!send(world.control, bytes, len, MSG_NOSIGNAL); /* full: the supervisor hears no more of it */
}

/* Notes what this message claims, if it is one at all. */
static void note(const union control_message *m, size_t len)
{
        switch (m->head.type) {
        case CONTROL_ROOTED:
                world.said_rooted |= len == sizeof(struct control_header);
                break;
        case CONTROL_JAILED:
                world.said_jailed |= len == sizeof(struct control_jailed);
                world.said_layers |= m->jailed.layers;
                break;
        case CONTROL_READY:
                world.said_ready |= len == sizeof(struct control_ready);
                world.said_layers |= m->ready.layers;
                break;
        case CONTROL_END:
                if (len != sizeof(struct control_end))
                        break;
                world.said_end |= m->end.reason < 32 ? 1U << m->end.reason : 0U;
                world.verdicts[world.verdict_count++ % ARRAY_LEN(world.verdicts)] = m->end.verdict;
                break;
        default:
                break;
        }
}

/* A message of the type the input says; its fields are any bytes, except where the script asks for sense. */
static void vmm_says(uint8_t how)
{
        static const size_t sizes[] = {
                0,
                sizeof(struct control_header),
                sizeof(struct control_header),
                sizeof(struct control_jailed),
                sizeof(struct control_config),
                sizeof(struct control_header),
                sizeof(struct control_ready),
                sizeof(struct control_end),
                sizeof(struct control_failed),
        };
        static union control_message m;
        const uint16_t type = (how & 0x7f) % ARRAY_LEN(sizes);
        size_t len = sizes[type];

        if (!world.alive)
                return;
        memset(&m, 'x', sizeof(m));
        m.head = CONTROL_HEADER(type, len);
        switch (type) {
        case CONTROL_JAILED:
                m.jailed.layers = how & 0x80 ? read_u64(&world.script) : UINT64_MAX;
                break;
        case CONTROL_READY:
                m.ready.layers = how & 0x80 ? read_u64(&world.script) : UINT64_MAX;
                break;
        case CONTROL_END:
                m.end.reason = how & 0x80 ? read_u32(&world.script) : 1U + read_u8(&world.script) % 4;
                m.end.verdict = read_u8(&world.script);
                break;
        case CONTROL_FAILED:
                m.failed.status = read_u8(&world.script);
                read_bytes(&world.script, m.failed.text, read_u8(&world.script));
                break;
        default:
                break;
        }
        note(&m, len);
        vmm_sends(&m, len);
}

static void vmm_says_nonsense(void)
{
        static uint8_t bytes[sizeof(union control_message) + 16];
        struct control_header head = CONTROL_HEADER(read_u8(&world.script) % 10, 0);
        size_t len = read_u16(&world.script) % sizeof(bytes);

        if (!world.alive)
                return;
        head.size = (uint32_t)len + read_u8(&world.script) % 2;
        memset(bytes, 'x', sizeof(bytes));
        memcpy(bytes, &head, sizeof(head));
        if (len >= sizeof(head) && head.size == len) {
                union control_message m;

                memcpy(&m, bytes, sizeof(m));
                note(&m, len);
        }
        vmm_sends(bytes, len);
}

/* The configuration is for the VMM alone to read: it must be whole, and come once. */
static void vmm_listens(void)
{
        static union control_message m;
        int r = world.control >= 0 ? control_receive(world.control, &m) : -EPIPE;

        if (r < 0) {
                MUST(r == -EAGAIN || r == -EPIPE);
                return;
        }
        if (m.head.type == CONTROL_CONFIG) {
                MUST(world.said_jailed && !world.got_config);
                world.got_config = true;
                MUST(m.config.memory_bytes == SPEC_DEFAULT_MEMORY && m.config.vcpus == 1 && m.config.cpuid_count == 1);
                MUST(strcmp(m.config.cmdline, SPEC_DEFAULT_CMDLINE) == 0);
                MUST((m.config.required_layers & ~world.required) == 0);
        } else {
                MUST(m.head.type == CONTROL_MAPPED ? world.map_calls == 1 : m.head.type == CONTROL_POWER_BUTTON);
                MUST(m.head.type != CONTROL_POWER_BUTTON || world.ready_calls == 1);
        }
}

static void operator_signals(uint8_t how)
{
        static const int signals[] = {SIGTERM, SIGUSR1, SIGINT, SIGUSR1};
        struct signalfd_siginfo info = {.ssi_signo = (uint32_t)signals[how & 3]};

        if (send(world.signals[1], &info, sizeof(info), MSG_DONTWAIT) < 0)
                return;
        if (info.ssi_signo != SIGUSR1 && world.ending_signals++ == 0)
                world.first_signal = (int)info.ssi_signo;
}

static void operator_types(uint8_t how)
{
        uint8_t keys[16];
        size_t len = how & 1 ? read_bytes(&world.script, keys, sizeof(keys)) : 0;

        if (len == 0)
                memcpy(keys, "\x1dq", len = 2);
        if (world.keyboard < 0 || write(world.keyboard, keys, len) < 0)
                return;
        for (size_t i = 0; i < len; i++) {
                world.leaves |= world.escaped && keys[i] == 'q';
                world.escaped = keys[i] == 0x1d && !world.escaped;
        }
}

static void reader_reads(uint8_t how)
{
        uint8_t bytes[4096];

        if (world.screen < 0)
                return;
        if (how == 15)
                fd_closep(&world.screen);
        else
                (void)!read(world.screen, bytes, sizeof(bytes));
}

static void vmm_console(uint8_t how)
{
        uint8_t bytes[4096] = {0};

        if (!world.alive)
                return;
        if (how & 1)
                (void)!send(world.console, bytes, 1 + read_u16(&world.script) % sizeof(bytes), MSG_NOSIGNAL);
        else
                (void)!recv(world.console, bytes, sizeof(bytes), 0);
}

static void script_step(void)
{
        uint8_t op = read_u8(&world.script);

        if (world.script.len == 0) {
                vmm_dies();
                return;
        }
        switch (op & 0x0f) {
        case 0 ... 4:
                vmm_says(read_u8(&world.script));
                break;
        case 5:
                operator_types(op >> 4);
                break;
        case 6:
                reader_reads(op >> 4);
                break;
        case 7:
                vmm_says_nonsense();
                break;
        case 8:
                vmm_listens();
                break;
        case 9:
                vmm_console(op >> 4);
                break;
        case 10:
                operator_signals(op >> 4);
                break;
        case 11:
                if (op & 0x80) /* the console costs what it is allowed to, or more */
                        world.cpu_ms += read_u8(&world.script);
                world.now_ms += read_u16(&world.script);
                break;
        case 12: /* the channel closes, the process lives on */
                fd_closep(&world.control);
                break;
        case 13:
                fd_closep(op & 0x80 ? &world.console : &world.keyboard);
                break;
        case 14: /* what a start sends, at once: most scripts get no further by themselves */
                vmm_says(CONTROL_ROOTED);
                vmm_says((uint8_t)(CONTROL_JAILED | (op & 0x40) << 1));
                vmm_says((uint8_t)(CONTROL_READY | (op & 0x80)));
                break;
        default:
                vmm_dies();
                break;
        }
}

/* Who goes on waiting for a peer that is gone waits no longer, and burns a CPU as long as the process lives. */
static void check_ends(const struct pollfd *p, nfds_t count)
{
        uint8_t byte;

        for (nfds_t i = 0; i < count; i++)
                if (p[i].fd >= 0 && p[i].revents && recv(p[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
                        MUST(++world.polls_at_end <= 4); /* one for each socket, and an empty packet */
}

/* The supervisor waits: something happens, or time passes. */
int __wrap_poll(struct pollfd *p, nfds_t count, int timeout)
{
        int n;

        if (!target_runs)
                return __real_poll(p, count, timeout);
        MUST(++world.polls < POLLS_MAX);
        script_step();
        n = __real_poll(p, count, 0);
        check_ends(p, count);
        if (n == 0 && timeout > 0)
                world.now_ms += world.script.len == 0 ? timeout : 1;
        return n;
}

/* ---- the run and its judgement ---- */

/* Has the supervisor read a signal that ends it? What it has not read is still there. */
static bool signal_was_read(void)
{
        unsigned int unread = 0;
        struct signalfd_siginfo info;

        while (recv(world.signals[0], &info, sizeof(info), MSG_DONTWAIT) > 0)
                unread += info.ssi_signo != SIGUSR1;
        return unread < world.ending_signals;
}

static void check(const struct run_result *result, int r, const struct err *e)
{
        if (signal_was_read()) /* nothing that the VMM does meanwhile undoes it */
                MUST(r == 0 && result->reason == RUN_SIGNAL);
        if (r < 0) {
                must_be_error(e, r,
                              STATUS_BIT(STATUS_FAILURE) | STATUS_BIT(STATUS_USAGE) | STATUS_BIT(STATUS_HOST) |
                                      STATUS_BIT(STATUS_IMAGE) | STATUS_BIT(STATUS_ISOLATION) |
                                      STATUS_BIT(STATUS_GUEST) | STATUS_BIT(STATUS_DIED));
                MUST(result->reason == RUN_FAILED);
                return;
        }
        switch (result->reason) {
        case RUN_POWEROFF:
                MUST(world.ready_calls == 1 && (world.said_end & 1U << END_POWEROFF));
                break;
        case RUN_RESET:
                MUST(world.ready_calls == 1);
                MUST(world.said_end & 1U << (result->triple_fault ? END_TRIPLE_FAULT : END_RESET));
                break;
        case RUN_VERDICT:
                MUST(world.ready_calls == 1 && (world.said_end & 1U << END_VERDICT));
                for (size_t i = 0; i < ARRAY_LEN(world.verdicts); i++)
                        if (world.verdicts[i] == result->verdict)
                                return;
                MUST(world.verdict_count > ARRAY_LEN(world.verdicts));
                break;
        case RUN_SIGNAL:
                MUST(world.ending_signals > 0 && result->signal == world.first_signal);
                break;
        case RUN_LEFT:
                MUST(world.leaves);
                break;
        case RUN_FAILED:
        default:
                MUST(false);
        }
}

/* Standard input and output are pipes; the terminal, when there is one, is raw already. */
static struct console *console_new(void)
{
        static struct console c;
        uint8_t how = read_u8(&world.script);
        int in[2], out[2];

        memset(&c, 0, sizeof(c));
        MUST(pipe2(in, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0);
        world.keyboard = in[1];
        world.screen = out[0];
        c.guest_fd = -1;
        c.in_fd = in[0];
        c.out_fd = out[1];
        c.own_out_fd = how & 1 ? out[1] : -1;
        c.terminal.fd = how & 2 ? in[0] : -1;
        c.terminal.raw = true;
        c.budget_us = CONSOLE_CPU_BURST_US;
        c.reckoned_us = world.now_ms * 1000;
        return &c;
}

static int lowest_fd(void)
{
        int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);

        close(fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static const struct jail_ids ids = {.uid = 0x70000000, .gid = 0x70000000, .count = JAIL_IDS_PER_GUEST};
        static struct resources resources;
        static struct requests requests; /* none */
        static struct devices devices;   /* none: their processes have a target of their own */
        struct guest_spec spec;
        struct guest_run run;
        struct run_result result = {0};
        struct err e = ERR_INIT;
        int free_fd = lowest_fd(), in_fd, out_fd, r;
        uint8_t how;

        guest_spec_init(&spec);
        resources = RESOURCES_INIT;
        devices_init(&devices);
        requests = REQUESTS_INIT;
        world = (struct world){.script = {data, len}, .control = -1, .console = -1, .exited = -1, .now_ms = 1000};
        how = read_u8(&world.script);
        world.starts = (how & 0x0f) != 0x0f;
        world.maps = (how & 0xf0) != 0xf0;
        world.start_layers = read_u8(&world.script);
        world.required = how & 1 ? read_u64(&world.script) & LAYERS_ALL : how & 2 ? LAYER_BIT(LAYER_DUMPABLE) : 0;
        world.wait_status = read_u16(&world.script);
        if (!WIFEXITED(world.wait_status) && !WIFSIGNALED(world.wait_status))
                world.wait_status = 0; /* what waitpid() without options does not report */
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, world.signals) == 0);
        run = (struct guest_run){
                .start = {.spec = &spec, .resources = &resources, .staging_dir = "/", .ids = &ids, .devices = &devices},
                .console = console_new(),
                .requests = &requests,
                .signal_fd = world.signals[0],
                .required_layers = world.required,
                .configured = configured,
                .ready = ready,
                .ctx = &world,
        };
        in_fd = run.console->in_fd;
        out_fd = run.console->out_fd;
        signal(SIGPIPE, SIG_IGN); /* as the supervisor does */
        target_runs = true;
        r = guest_run(&run, &result, &e);
        target_runs = false;
        check(&result, r, &e);
        MUST(world.ready_calls <= 1 && world.configured_calls <= 1 && world.map_calls <= 1);
        MUST(world.reaped == world.starts); /* nothing of it is left */
        MUST(run.console->guest_fd == -1 && run.console->budget_us <= CONSOLE_CPU_BURST_US);
        close(in_fd); /* the console forgets them at their end, and closes neither */
        close(out_fd);
        fd_closep(&world.keyboard);
        fd_closep(&world.screen);
        fd_closep(&world.control);
        fd_closep(&world.console);
        fd_closep(&world.exited);
        close(world.signals[0]);
        close(world.signals[1]);
        MUST(lowest_fd() == free_fd); /* nor a descriptor */
        return 0;
}
