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
#include "base/sys.h"

enum phase { CLONED, BUILDING, LOADING, RUNNING, ENDING };

struct loop {
        const struct guest_run *run;
        struct vmm_process p;
        enum phase phase;
        int64_t deadline_ms; /* of the phase; INT64_MAX: none */
        bool done;
        bool button_pressed; /* before READY */
        struct run_result result;
};

static int layers_judge(uint64_t have, uint64_t required, struct err *e)
{
        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if ((required & LAYER_BIT(i)) && !(have & LAYER_BIT(i)))
                        return err_bad(e, STATUS_ISOLATION, "the layer \"%s\" cannot be had; it needs %s",
                                       jail_layers[i].name, jail_layers[i].remedy);
        return 0;
}

/* The layers that the VMM puts in force itself, after exec. */
#define SEAL_LAYERS (LAYER_BIT(LAYER_DUMPABLE) | LAYER_BIT(LAYER_MDWE) | LAYER_BIT(LAYER_LANDLOCK))

static int on_rooted(struct loop *l, struct err *e)
{
        if (l->phase != CLONED)
                return err_set(e, -EPROTO, "the child reports its root twice");
        l->phase = BUILDING;
        return vmm_process_map(&l->run->start, &l->p, e);
}

static int on_jailed(struct loop *l, const struct control_jailed *m, struct err *e)
{
        uint64_t required = l->run->required_layers;
        int r;

        if (l->phase != BUILDING)
                return err_set(e, -EPROTO, "the VMM reports its jail twice");
        l->p.layers |= m->layers & LAYERS_ALL;
        r = layers_judge(l->p.layers, required & ~SEAL_LAYERS, e);
        if (r < 0)
                return r;
        l->phase = LOADING;
        r = vmm_process_configure(&l->run->start, &l->p, required & SEAL_LAYERS, e);
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
        l->p.layers |= m->layers & SEAL_LAYERS;
        l->p.landlock_abi = m->landlock_abi;
        r = layers_judge(l->p.layers, l->run->required_layers, e);
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

/* The text comes from a process that may be compromised: it is bounded, and main() prints it on one printable line. */
static int on_failed(const struct loop *l, const struct control_failed *m, struct err *e)
{
        static const enum exit_status believable[] = {STATUS_FAILURE, STATUS_USAGE,     STATUS_HOST,
                                                      STATUS_IMAGE,   STATUS_ISOLATION, STATUS_GUEST};
        enum exit_status status = STATUS_FAILURE;

        for (size_t i = 0; i < ARRAY_LEN(believable); i++)
                if (m->status == believable[i])
                        status = believable[i];
        err_bad(e, status, "%s", m->text[0] ? m->text : "bulkhead-vmm failed without saying why");
        /* The VMM knows no paths. */
        return status == STATUS_IMAGE ? err_wrap(e, -EINVAL, "load %s", l->run->start.spec->kernel) : -EINVAL;
}

/* One message. Returns 1 when there was one, 0 when there is none now, or a negative errno. */
static int control_handle(struct loop *l, struct err *e)
{
        union control_message m;
        int r = control_receive(l->p.control_fd, &m);

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

static int died(int status, struct err *e)
{
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
                err_bad(e, STATUS_DIED, "bulkhead-vmm made a system call that its filter forbids and was killed");
                err_hint(
                        e,
                        "the kernel log names the call (type=1326 ... syscall=N); report it, this is never the guest's right");
                return -EPERM;
        }
        if (WIFSIGNALED(status)) {
                err_bad(e, STATUS_DIED, "bulkhead-vmm was killed by signal %d", WTERMSIG(status));
                if (WTERMSIG(status) == SIGKILL)
                        err_hint(
                                e,
                                "by an operator, or because the guest's cgroup ran out of memory (see the kernel log)");
                return -ECHILD;
        }
        return err_bad(e, STATUS_DIED, "bulkhead-vmm exited with status %d without saying why", WEXITSTATUS(status));
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
        status = vmm_process_end(&l->p);
        return l->phase == ENDING ? 0 : died(status, e);
}

static int loop_step(struct loop *l, struct err *e)
{
        struct pollfd p[3 + CONSOLE_POLLS] = {
                {.fd = l->p.pidfd, .events = POLLIN},
                {.fd = l->p.control_fd, .events = POLLIN},
                {.fd = l->run->signal_fd, .events = POLLIN},
        };
        int64_t left = l->deadline_ms == INT64_MAX ? -1 : l->deadline_ms - clock_now_ms();
        int r, wait_ms;

        if (l->deadline_ms != INT64_MAX && left <= 0) {
                l->done = true;
                return l->phase == ENDING ? 0
                                          : err_set(e, -ETIMEDOUT, "start the guest within %d seconds",
                                                    RUN_START_TIMEOUT_MS / 1000);
        }
        wait_ms = console_prepare(l->run->console, p + 3);
        if (wait_ms < 0 || (left >= 0 && left < wait_ms))
                wait_ms = (int)left;
        if (poll(p, ARRAY_LEN(p), wait_ms) < 0)
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
        if (r == 0 && p[0].revents)
                return on_exit_of_vmm(l, e);
        if (r == 0 && p[1].revents) {
                r = control_handle(l, e);
                if (r > 0)
                        r = 0;
        }
        return r;
}

int guest_run(const struct guest_run *run, struct run_result *ret, struct err *e)
{
        struct loop l = {
                .run = run,
                .p = VMM_PROCESS_INIT,
                .deadline_ms = clock_now_ms() + RUN_START_TIMEOUT_MS,
        };
        int r = vmm_process_start(&run->start, &l.p, e);

        if (r == 0)
                r = console_attach(run->console, TAKE_FD(l.p.console_fd), e);
        while (r == 0 && !l.done)
                r = loop_step(&l, e);
        (void)vmm_process_end(&l.p); /* its status matters only where on_exit_of_vmm() looked at it */
        console_detach(run->console, RUN_END_TIMEOUT_MS);
        if (r < 0)
                l.result.reason = RUN_FAILED;
        *ret = l.result;
        return r;
}
