/*
 * What the transport asks of KVM, and what it notes for the main thread. Called with the machine's lock held, by the
 * thread whose guest touched a register, or by the main thread.
 *
 * A queue's interrupt is an eventfd that KVM turns into the message of its vector, through a route of its own. Without
 * a message, because the vector is masked or there is none, KVM does not read the eventfd: what the device signals
 * stays there, shows as the pending bit, and is delivered when there is a message again.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "spec/vmm_fds.h"
#include "vmm/device/device.h"
#include "vmm/machine.h"
#include "vmm/routes.h"

static int kick_fd(const struct device *d, unsigned int queue)
{
        return VMM_FD_KICK_FIRST + 16 * (int)d->index + (int)queue;
}

static int call_fd(const struct device *d, unsigned int queue)
{
        return VMM_FD_CALL_FIRST + 16 * (int)d->index + (int)queue;
}

static void fail(struct device *d, const char *what)
{
        struct err e = ERR_INIT;

        err_set(&e, -errno, "%s of device %u", what, d->index);
        machine_fail_locked(d->machine, &e);
}

/* The other end of an eventfd is a process that is not trusted, and could make it block: only what is sure not to is
 * done. */
static bool ready(int fd, short events)
{
        struct pollfd p = {.fd = fd, .events = events};

        return poll(&p, 1, 0) == 1 && (p.revents & events);
}

/* Full already: whoever waits for it is awake anyway. */
static void signal_fd(int fd)
{
        const uint64_t one = 1;

        if (ready(fd, POLLOUT))
                (void)!write(fd, &one, sizeof(one));
}

void device_signal_queues(unsigned int index, unsigned int count)
{
        const struct device d = {.index = index};

        for (unsigned int q = 0; q < count; q++) {
                signal_fd(kick_fd(&d, q));
                signal_fd(call_fd(&d, q));
        }
}

/* ---- interrupts ---- */

static bool irqfd_set(struct device *d, unsigned int queue, uint32_t gsi, bool assign)
{
        const struct kvm_irqfd irqfd = {
                .fd = (uint32_t)call_fd(d, queue),
                .gsi = gsi,
                .flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
        };

        if (ioctl(VMM_FD_VM, KVM_IRQFD, &irqfd) == 0)
                return true;
        fail(d, "tell KVM about an interrupt");
        return false;
}

static void line_assign(struct device *d, unsigned int queue, bool assign)
{
        struct device_line *l = &d->lines[queue];

        if (l->assigned != assign && irqfd_set(d, queue, ROUTES_GSI(d->index, queue), assign))
                l->assigned = assign;
}

/*
 * Without a vector, or with MSI-X off, what the device signals is for nobody, and must not come out later. KVM can take
 * it away without waiting: by way of a GSI that goes nowhere.
 */
static void line_keep(struct device *d, unsigned int queue, bool keep)
{
        struct device_line *l = &d->lines[queue];

        if (keep && !l->keeps && ready(call_fd(d, queue), POLLIN) && irqfd_set(d, queue, ROUTES_GSI_NOWHERE, true))
                (void)irqfd_set(d, queue, ROUTES_GSI_NOWHERE, false);
        l->keeps = keep;
}

static void line_update(struct device *d, unsigned int queue)
{
        const struct msix *x = &d->transport.msix;
        const uint16_t vector = d->transport.queues[queue].vector;
        struct device_line *l = &d->lines[queue];
        struct msix_message message;
        bool changed;

        line_keep(d, queue, x->enabled && vector < x->count);
        if (!msix_get(x, vector, &message)) {
                line_assign(d, queue, false);
                return;
        }
        changed = !l->routed || message.address != l->message.address || message.data != l->message.data;
        l->message = message;
        l->routed = true;
        if (changed)
                routes_set(d->machine);
        line_assign(d, queue, true);
}

static void vector_changed(void *ctx, unsigned int vector)
{
        struct device *d = ctx;

        for (unsigned int q = 0; q < d->transport.queue_count; q++)
                if (d->transport.queues[q].vector == vector)
                        line_update(d, q);
}

static void queue_vector_changed(void *ctx, unsigned int queue)
{
        line_update(ctx, queue);
}

static bool vector_pending(void *ctx, unsigned int vector)
{
        struct device *d = ctx;

        for (unsigned int q = 0; q < d->transport.queue_count; q++)
                if (d->transport.queues[q].vector == vector && d->lines[q].keeps && !d->lines[q].assigned &&
                    ready(call_fd(d, q), POLLIN))
                        return true;
        return false;
}

static void vector_send(void *ctx, unsigned int vector)
{
        struct device *d = ctx;
        struct msix_message message;

        if (!msix_get(&d->transport.msix, vector, &message))
                return;
        const struct kvm_msi msi = {
                .address_lo = (uint32_t)message.address,
                .address_hi = (uint32_t)(message.address >> 32),
                .data = message.data,
        };

        /* A message to a processor that does not exist or is not started is lost, as on hardware. */
        (void)ioctl(VMM_FD_VM, KVM_SIGNAL_MSI, &msi);
}

/* ---- notifications ---- */

static void window_register(struct device *d, bool add)
{
        for (unsigned int q = 0; q < d->transport.queue_count; q++) {
                const struct kvm_ioeventfd event = {
                        .addr = d->window + 4ULL * q,
                        .len = d->machine->ioeventfd_any_length ? 0 : 2,
                        .fd = kick_fd(d, q),
                        .flags = add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
                };

                if (ioctl(VMM_FD_VM, KVM_IOEVENTFD, &event) < 0)
                        fail(d, "tell KVM about the notifications");
        }
}

static void notify_window(void *ctx, uint64_t base, bool decoded)
{
        struct device *d = ctx;

        if (d->decoded == decoded && (!decoded || d->window == base))
                return;
        if (d->decoded)
                window_register(d, false);
        d->window = base;
        d->decoded = decoded;
        if (decoded)
                window_register(d, true);
}

static void notify(void *ctx, unsigned int queue)
{
        const struct device *d = ctx;

        if (queue < d->transport.queue_count)
                signal_fd(kick_fd(d, queue));
}

int device_kvm_probe(struct machine *m, struct err *e)
{
        int any = ioctl(VMM_FD_KVM, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH);

        if (any < 0)
                return err_set(e, -errno, "ask KVM about notifications");
        m->ioeventfd_any_length = any > 0;
        return 0;
}

/* ---- notes for the main thread ---- */

/* A queue that the driver does not use has size 0. Returns false when there is no other. */
static bool setup_note(struct device *d)
{
        const struct virtio_pci *t = &d->transport;

        d->setup = (struct device_setup){.features = t->negotiated};
        for (unsigned int q = 0; q < t->queue_count; q++) {
                if (!t->queues[q].enabled)
                        continue;
                d->setup.count = q + 1;
                d->setup.queues[q] = (struct vu_frontend_queue){
                        .size = t->queues[q].size,
                        .descriptors = t->queues[q].descriptors,
                        .driver = t->queues[q].driver,
                        .device = t->queues[q].device,
                        .kick_fd = kick_fd(d, q),
                        .call_fd = call_fd(d, q),
                };
        }
        return d->setup.count > 0;
}

static void start(void *ctx)
{
        struct device *d = ctx;

        d->run = setup_note(d); /* if not, the main thread answers that it cannot be */
        d->start_due = true;
        machine_wake_main();
}

static void stop(void *ctx)
{
        struct device *d = ctx;

        d->run = false;
        d->start_due = false;
        d->stop_due = true;
        machine_wake_main();
}

static void config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        struct device *d = ctx;

        if (!(d->transport.negotiated & d->type->writable_feature) || d->type->writable_off < off_bytes ||
            d->type->writable_off - off_bytes >= len_bytes || d->type->writable_off >= d->transport.config_bytes ||
            data[d->type->writable_off - off_bytes] > 1)
                return;
        d->written = data[d->type->writable_off - off_bytes];
        d->transport.config[d->type->writable_off] = d->written;
        d->has_written = true;
        d->write_due = true;
        machine_wake_main();
}

const struct virtio_pci_ops device_ops = {
        .start = start,
        .stop = stop,
        .config_write = config_write,
        .notify_window = notify_window,
        .notify = notify,
        .vector_changed = vector_changed,
        .queue_vector_changed = queue_vector_changed,
        .vector_pending = vector_pending,
        .vector_send = vector_send,
};
