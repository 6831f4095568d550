#include "vmm/event_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spec/control.h"
#include "spec/vmm_fds.h"

/* How long vCPUs may take to leave the guest, and the supervisor to take the last output. */
#define STOP_TIMEOUT_MS 300

static int console_receive(struct machine *m, struct err *e)
{
        uint8_t data[UART_FIFO_BYTES];
        size_t room = machine_console_room(m);
        ssize_t n;

        if (room == 0)
                return 0;
        n = recv(VMM_FD_CONSOLE, data, room < sizeof(data) ? room : sizeof(data), MSG_DONTWAIT);
        if (n > 0)
                machine_console_input(m, data, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                return err_set(e, n == 0 ? -EPIPE : -errno, "receive console input");
        return 0;
}

static int control_handle(struct machine *m, struct err *e)
{
        union control_message message;
        _cleanup_fd_ int socket = -1;
        /* Without devices, the filter does not let a descriptor in. */
        int r = m->with_devices ? control_receive_fd(VMM_FD_CONTROL, &message, &socket)
                                : control_receive(VMM_FD_CONTROL, &message);

        if (r < 0)
                return err_set(e, r, "receive from the supervisor");
        if (message.head.type == CONTROL_DEVICE)
                return devices_replace(m, &message.device, TAKE_FD(socket), e);
        if (message.head.type != CONTROL_POWER_BUTTON)
                return err_set(e, -EPROTO, "receive from the supervisor: message type %u", message.head.type);
        machine_power_button(m);
        return 0;
}

static int console_attend(struct machine *m, short revents, struct err *e)
{
        if (revents & POLLOUT)
                machine_console_flush(m);
        return revents & (POLLIN | POLLHUP | POLLERR) ? console_receive(m, e) : 0;
}

static int step(struct machine *m, struct err *e)
{
        struct pollfd p[3 + DEVICES_POLL_MAX] = {
                {.fd = VMM_FD_WAKE, .events = POLLIN},
                {.fd = VMM_FD_CONTROL, .events = POLLIN},
                {.fd = VMM_FD_CONSOLE},
        };
        const unsigned int count = 3 + devices_poll(m, p + 3);
        uint64_t wakes;
        int r = 0;

        p[2].events =
                (short)((machine_console_wants_input(m) ? POLLIN : 0) | (machine_console_has_output(m) ? POLLOUT : 0));
        if (poll(p, count, -1) < 0)
                return errno == EINTR ? 0 : err_set(e, -errno, "wait for events");
        if (p[0].revents)
                (void)!read(VMM_FD_WAKE, &wakes, sizeof(wakes)); /* only resets it; what happened is in m */
        r = console_attend(m, p[2].revents, e);
        if (r == 0) /* before the supervisor is heard: it may replace what poll(2) has seen */
                r = devices_attend(m, p + 3, e);
        return r == 0 && p[1].revents ? control_handle(m, e) : r;
}

/* The guest has stopped; what its UART still holds goes out as far as the supervisor takes it. */
static void console_drain(struct machine *m)
{
        struct pollfd p = {.fd = VMM_FD_CONSOLE, .events = POLLOUT};

        while (machine_console_has_output(m) && poll(&p, 1, STOP_TIMEOUT_MS) == 1 && !(p.revents & POLLHUP))
                machine_console_flush(m);
}

int event_loop(struct machine *m, struct vcpu *vcpus, struct err *e)
{
        struct control_end end = {.head = CONTROL_HEADER(CONTROL_END, sizeof(end))};
        int r = 0;

        while (r == 0 && !machine_stopping(m))
                r = step(m, e);
        if (r < 0)
                return r;
        vcpus_stop(vcpus, m->vcpus, STOP_TIMEOUT_MS);
        console_drain(m);
        if (m->stop == STOP_FAILED) {
                *e = m->failure;
                return -EIO;
        }
        end.reason = m->reason;
        end.verdict = m->verdict;
        r = control_send(VMM_FD_CONTROL, &end);
        return r < 0 ? err_set(e, r, "tell the supervisor that the guest has ended") : 0;
}
