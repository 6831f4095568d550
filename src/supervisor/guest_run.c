#include "supervisor/guest_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "supervisor/device_process.h"
#include "supervisor/peer.h"

enum phase { CLONED, BUILDING, LOADING, RUNNING, ENDING };

struct loop {
        const struct guest_run *run;
        struct vmm_process p;
        enum phase phase;
        int64_t deadline_ms; /* of the phase; INT64_MAX: none */
        bool done;
        bool button_pressed;               /* before READY */
        struct jail_namespaces namespaces; /* from ROOTED to the devices' start */
        struct run_result result;
};

static int on_rooted(struct loop *l, struct err *e)
{
        if (l->phase != CLONED)
                return err_set(e, -EPROTO, "the child reports its root twice");
        l->phase = BUILDING;
        return vmm_process_map(&l->run->start, &l->p, e);
}

/*
 * Nothing that a jail forbids in its namespaces is still allowed when another process enters them. The VMM, which has
 * its configuration, builds the machine beside this. What is started here inherits where the supervisor may run, so
 * that has been put right before.
 */
static int devices_begin(struct loop *l, struct err *e)
{
        const struct jail_namespaces namespaces = l->namespaces;
        struct err why = ERR_INIT;

        if (l->run->start.devices->count == 0)
                return 0;
        l->namespaces = JAIL_NAMESPACES_INIT;
        if (devices_start(l->run->start.devices, &namespaces, &why) == 0)
                return 0;
        if (device_run_is_ending(l->p.control_fd)) /* there is nothing to enter any more: the VMM tells why */
                return 0;
        *e = why;
        return -ECHILD;
}

static int on_jailed(struct loop *l, const struct control_jailed *m, struct err *e)
{
        uint64_t required = l->run->required_layers;
        int r;

        if (l->phase != BUILDING)
                return err_set(e, -EPROTO, "the VMM reports its jail twice");
        l->p.layers |= m->layers & LAYERS_ALL;
        r = peer_judge_layers(l->p.layers, required & ~PEER_SEAL_LAYERS, e);
        if (r < 0)
                return r;
        l->phase = LOADING;
        r = vmm_process_configure(&l->run->start, &l->p, required & PEER_SEAL_LAYERS, e);
        if (r == 0)
                r = devices_begin(l, e);
        return r < 0 ? r : l->run->configured(l->run->ctx, &l->p, e);
}

/* A guest that does not read its channel ignores it. */
static void button_press(const struct loop *l)
{
        const struct control_header button = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(button));

        if (l->p.control_fd >= 0)
                (void)control_send(l->p.control_fd, &button);
}

static int on_ready(struct loop *l, const struct control_ready *m, struct err *e)
{
        int r;

        if (l->phase != LOADING)
                return err_set(e, -EPROTO, "the VMM is ready at the wrong time");
        l->p.layers |= m->layers & PEER_SEAL_LAYERS;
        l->p.landlock_abi = m->landlock_abi;
        r = peer_judge_layers(l->p.layers, l->run->required_layers, e);
        if (r < 0)
                return r;
        l->phase = RUNNING;
        l->deadline_ms = INT64_MAX;
        if (l->button_pressed)
                button_press(l);
        return l->run->ready(l->run->ctx, &l->p, e);
}

static int on_end(struct loop *l, const struct control_end *m, struct err *e)
{
        if (l->phase != RUNNING)
                return err_set(e, -EPROTO, "the VMM ends before it runs");
        switch (m->reason) {
        case END_POWEROFF:
                l->result.reason = RUN_POWEROFF;
                break;
        case END_RESET:
        case END_TRIPLE_FAULT:
                l->result.reason = RUN_RESET;
                l->result.triple_fault = m->reason == END_TRIPLE_FAULT;
                break;
        case END_VERDICT:
                l->result.reason = RUN_VERDICT;
                l->result.verdict = m->verdict;
                break;
        default:
                return err_set(e, -EPROTO, "the VMM ends for reason %u", m->reason);
        }
        l->phase = ENDING;
        l->deadline_ms = clock_now_ms() + RUN_END_TIMEOUT_MS;
        return 0;
}

static int on_failed(const struct loop *l, const struct control_failed *m, struct err *e)
{
        int r = l->phase == LOADING ? devices_blame(l->run->start.devices, e) : 0;

        if (r < 0)
                return r;
        r = peer_failed("bulkhead-vmm", m, e);
        /* The VMM knows no paths. */
        return e && e->status == STATUS_IMAGE ? err_wrap(e, r, "load %s", l->run->start.spec->kernel) : r;
}

/* One message. Returns 1 when there was one, 0 when there is none now, or a negative errno. */
static int control_handle(struct loop *l, struct err *e)
{
        const bool rooted_is_due = l->phase == CLONED && l->run->start.devices->count > 0;
        union control_message m;
        int r = rooted_is_due ? jail_receive_rooted(l->p.control_fd, l->p.layers, &m, &l->namespaces)
                              : control_receive(l->p.control_fd, &m);

        if (r == -EAGAIN)
                return 0;
        if (r == -EPIPE) {
                fd_closep(&l->p.control_fd); /* the pidfd tells the rest */
                return 0;
        }
        if (r < 0)
                return err_set(e, r, "receive from the VMM");
        switch (m.head.type) {
        case CONTROL_ROOTED:
                r = on_rooted(l, e);
                break;
        case CONTROL_JAILED:
                r = on_jailed(l, &m.jailed, e);
                break;
        case CONTROL_READY:
                r = on_ready(l, &m.ready, e);
                break;
        case CONTROL_END:
                r = on_end(l, &m.end, e);
                break;
        case CONTROL_DEVICE_DOWN:
                r = l->phase == RUNNING ? devices_lost(l->run->start.devices, &m.device, l->p.control_fd, e) : 0;
                break;
        case CONTROL_FAILED:
                r = on_failed(l, &m.failed, e);
                break;
        default:
                r = err_set(e, -EPROTO, "the VMM sends message type %u", m.head.type);
                break;
        }
        return r < 0 ? r : 1;
}

static int signal_handle(struct loop *l, struct err *e)
{
        struct signalfd_siginfo info;
        ssize_t n = read(l->run->signal_fd, &info, sizeof(info));

        if (n != (ssize_t)sizeof(info))
                return n < 0 && errno != EAGAIN && errno != EINTR ? err_set(e, -errno, "read a signal") : 0;
        if (info.ssi_signo == SIGUSR1) {
                if (l->phase == RUNNING)
                        button_press(l);
                else
                        l->button_pressed = true; /* not up yet, or not known to be */
                return 0;
        }
        l->result.reason = RUN_SIGNAL;
        l->result.signal = (int)info.ssi_signo;
        l->done = true;
        return 0;
}

/* The process is gone: everything it had sent before is still in the channel. */
static int on_exit_of_vmm(struct loop *l, struct err *e)
{
        int r = 1, status;

        while (r > 0 && l->p.control_fd >= 0)
                r = control_handle(l, e);
        l->done = true;
        if (r < 0)
                return r;
        status = vmm_process_end(&l->run->start, &l->p);
        return l->phase == ENDING ? 0 : peer_died("bulkhead-vmm", status, e);
}

/* The VMM, its channel, signals; the console; requests. */
#define FIXED_POLLS (3 + CONSOLE_POLLS + REQUESTS_POLLS)

static int loop_step(struct loop *l, struct err *e)
{
        struct devices *d = l->run->start.devices;
        struct pollfd p[FIXED_POLLS + DEVICE_POLLS] = {
                {.fd = l->p.pidfd, .events = POLLIN},
                {.fd = l->p.control_fd, .events = POLLIN},
                {.fd = l->run->signal_fd, .events = POLLIN},
        };
        int64_t left = l->deadline_ms == INT64_MAX ? -1 : l->deadline_ms - clock_now_ms();
        const size_t device_polls = devices_poll(d, p + FIXED_POLLS);
        int r, wait_ms, due_ms;

        if (l->deadline_ms != INT64_MAX && left <= 0) {
                l->done = true;
                return l->phase == ENDING ? 0
                                          : err_set(e, -ETIMEDOUT, "start the guest within %d seconds",
                                                    RUN_START_TIMEOUT_MS / 1000);
        }
        wait_ms = console_prepare(l->run->console, p + 3);
        if (wait_ms < 0 || (left >= 0 && left < wait_ms))
                wait_ms = (int)left;
        due_ms = requests_prepare(l->run->requests, p + 3 + CONSOLE_POLLS, clock_now_ms());
        if (due_ms >= 0 && (wait_ms < 0 || due_ms < wait_ms))
                wait_ms = due_ms;
        due_ms = d->count > 0 ? devices_wait_ms(d, clock_now_ms()) : -1;
        if (due_ms >= 0 && (wait_ms < 0 || due_ms < wait_ms))
                wait_ms = due_ms;
        if (poll(p, FIXED_POLLS + device_polls, wait_ms) < 0)
                return errno == EINTR ? 0 : err_set(e, -errno, "wait for the guest");
        console_handle(l->run->console, p + 3);
        if (l->run->console->leave) {
                l->result.reason = RUN_LEFT;
                l->done = true;
                return 0;
        }
        r = p[2].revents ? signal_handle(l, e) : 0;
        if (l->done) /* whatever the guest did meanwhile: a reset must not undo the operator's signal */
                return r;
        /* Before the VMM, which may fail because of one of them: that one has told before why. */
        if (r == 0 && d->count > 0)
                r = devices_handle(d, p + FIXED_POLLS, device_polls, l->phase == ENDING ? -1 : l->p.control_fd, e);
        requests_handle(l->run->requests, p + 3 + CONSOLE_POLLS, d);
        if (r == 0 && p[0].revents)
                return on_exit_of_vmm(l, e);
        if (r == 0 && p[1].revents) {
                r = control_handle(l, e);
                if (r > 0)
                        r = 0;
        }
        return r;
}

static int devices_prepare(const struct guest_run *run, struct err *e)
{
        const struct device_jail jail = {
                .cgroup = run->start.cgroup,
                .ids = run->start.ids,
                .by_user = run->start.by_user,
                .own_ids = run->start.own_ids,
                .tasks = vmm_process_tasks(&run->start),
                .required_layers = run->required_layers,
        };

        return devices_connect(run->start.devices, &jail, e);
}

int guest_run(const struct guest_run *run, struct run_result *ret, struct err *e)
{
        struct loop l = {
                .run = run,
                .p = VMM_PROCESS_INIT,
                .deadline_ms = clock_now_ms() + RUN_START_TIMEOUT_MS,
                .namespaces = JAIL_NAMESPACES_INIT,
        };
        int r = devices_prepare(run, e);

        if (r == 0)
                r = vmm_process_start(&run->start, &l.p, e);
        if (r == 0)
                r = console_attach(run->console, TAKE_FD(l.p.console_fd), e);
        while (r == 0 && !l.done)
                r = loop_step(&l, e);
        (void)vmm_process_end(&run->start, &l.p); /* its status matters only where on_exit_of_vmm() looked at it */
        jail_namespaces_close(&l.namespaces);
        console_detach(run->console, RUN_END_TIMEOUT_MS);
        if (r < 0)
                l.result.reason = RUN_FAILED;
        *ret = l.result;
        return r;
}
