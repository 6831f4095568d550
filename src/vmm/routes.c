#include "vmm/routes.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "spec/vmm_fds.h"
#include "vmm/machine.h"

struct table { /* struct kvm_irq_routing with room for its entries */
        uint32_t nr, flags;
        struct kvm_irq_routing_entry entries[ROUTES_MAX];
};

static void add(struct table *t, uint32_t gsi, uint64_t address, uint32_t data)
{
        t->entries[t->nr++] = (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_MSI,
                .u.msi = {.address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data},
        };
}

/* KVM reports the EOI of a level-triggered interrupt only for messages it finds here. */
static void add_pins(struct table *t, const struct ioapic *io)
{
        struct ioapic_msi msi;

        for (uint32_t pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++)
                if (ioapic_eoi_route(io, pin, &msi))
                        add(t, pin, msi.address, msi.data);
}

/* A line that is masked now keeps its route: nothing signals it, and the message is most often the same afterwards. */
static void add_device(struct table *t, const struct device *d)
{
        for (unsigned int q = 0; q < d->transport.queue_count; q++)
                if (d->lines[q].routed)
                        add(t, ROUTES_GSI(d->index, q), d->lines[q].message.address, d->lines[q].message.data);
}

void routes_set(struct machine *m)
{
        struct table t = {0};

        add_pins(&t, &m->ioapic);
        for (unsigned int i = 0; i < m->device_count; i++)
                add_device(&t, &m->devices[i]);
        if (ioctl(VMM_FD_VM, KVM_SET_GSI_ROUTING, &t) < 0) {
                struct err e = ERR_INIT;

                err_set(&e, -errno, "tell KVM the interrupt routes");
                machine_fail_locked(m, &e);
        }
}
