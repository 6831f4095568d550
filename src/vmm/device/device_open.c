/* Furnishes the machine with its devices, while the vCPUs' threads make their vCPUs and before the filters close. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "spec/vmm_fds.h"
#include "vmm/device/device.h"
#include "vmm/machine.h"

static int eventfd_at(int target, struct err *e)
{
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        if (fd < 0 || dup2(fd, target) < 0)
                return err_set(e, -errno, "create an event descriptor");
        close(fd);
        return 0;
}

static int eventfds_open(const struct device *d, struct err *e)
{
        int r = 0;

        for (unsigned int q = 0; r == 0 && q < d->front.queues; q++) {
                r = eventfd_at(VMM_FD_KICK_FIRST + 16 * (int)d->index + (int)q, e);
                if (r == 0)
                        r = eventfd_at(VMM_FD_CALL_FIRST + 16 * (int)d->index + (int)q, e);
        }
        return r;
}

static int refuse(const struct device *d, const char *why, struct err *e)
{
        return err_bad(e, STATUS_HOST, "device %u (%s) %s", d->index, d->type->name, why);
}

static int introduce(struct device *d, unsigned int queues, struct err *e)
{
        int r = device_connect(d, VMM_FD_DEVICE_FIRST + (int)d->index, queues, e);

        if (r < 0) {
                if (e)
                        e->status = STATUS_HOST;
                return err_wrap(e, r, "device %u (%s)", d->index, d->type->name);
        }
        if (!(d->front.features & 1ULL << VIRTIO_F_VERSION_1))
                return refuse(d, "is no device of virtio 1", e);
        return d->front.queues == 0 ? refuse(d, "has no queue", e) : eventfds_open(d, e);
}

static int device_open(struct device *d, uint16_t queues, struct err *e)
{
        struct virtio_pci *t = &d->transport;
        int r;

        vu_frontend_init(&d->front, VMM_FD_INFLIGHT_FIRST + (int)d->index);
        if (queues < 1 || queues > VIRTIO_PCI_QUEUES_MAX)
                return err_set(e, -EPROTO, "receive the configuration of device %u", d->index);
        r = introduce(d, queues, e);
        if (r < 0)
                return r;
        virtio_pci_init(t, d->type->virtio_id, d->front.features, d->front.queues, d->type->queue_size_max,
                        d->front.config, d->front.config_bytes, &device_ops, d);
        pthread_mutex_lock(&d->machine->lock);
        r = pci_add(&d->machine->pci, &t->pci, d->index + 1);
        pthread_mutex_unlock(&d->machine->lock);
        return r < 0 ? err_set(e, r, "put device %u on the bus", d->index) : 0;
}

int devices_open(struct machine *m, struct device *array, const struct control_config *c, struct err *e)
{
        int r = device_kvm_probe(m, e);

        m->devices = array;
        for (unsigned int i = 0; r == 0 && i < c->device_count; i++) {
                struct device *d = &array[i];

                *d = (struct device){.machine = m, .index = i, .type = device_type_find(c->devices[i].type)};
                r = d->type ? device_open(d, c->devices[i].queues, e)
                            : err_set(e, -EPROTO, "receive the configuration of device %u", i);
                if (r == 0)
                        m->device_count = i + 1;
        }
        return r;
}
