/* See fake_vmm.h. */
#include "fake_vmm.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spec/vmm_fds.h"
#include "vmm/x86_64/layout.h"

struct fake_vmm fake_vmm;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

void fake_vmm_start(struct machine *m, struct reader *script, bool test_device)
{
        fake_vmm = (struct fake_vmm){.script = script, .machine = m};
        machine_init(m, 1, test_device);
        target_runs = true;
}

void fake_vmm_stop(void)
{
        target_runs = false;
}

/* Only what the I/O APIC may send: to a local APIC, and neither SMI nor ExtINT. */
static int signal_msi(const struct kvm_msi *msi)
{
        MUST(msi->address_hi == 0 && (msi->address_lo & 0xfff00000) == 0xfee00000 && msi->flags == 0);
        MUST((msi->data >> 8 & 7) != 2 && (msi->data >> 8 & 7) != 7);
        fake_vmm.messages++;
        if (read_u8(fake_vmm.script) & 1)
                return 1;
        errno = EINVAL; /* no such processor */
        return -1;
}

/* Each pin once, each a message. The table must be readable as far as it says. */
static int set_routing(const struct kvm_irq_routing *table)
{
        uint32_t seen = 0;

        MUST(table->nr <= LAYOUT_IOAPIC_PINS && table->flags == 0);
        for (uint32_t i = 0; i < table->nr; i++) {
                const struct kvm_irq_routing_entry *e = &table->entries[i];

                MUST(e->gsi < LAYOUT_IOAPIC_PINS && !(seen >> e->gsi & 1));
                MUST(e->type == KVM_IRQ_ROUTING_MSI && e->flags == 0);
                MUST(e->u.msi.address_hi == 0 && (e->u.msi.address_lo & 0xfff00000) == 0xfee00000);
                MUST(e->u.msi.data & 1U << 15);
                seen |= 1U << e->gsi;
        }
        if (!fake_vmm.routing_fails)
                return 0;
        errno = ENOMEM;
        return -1;
}

static int translate(struct kvm_translation *at)
{
        MUST(at->linear_address == fake_vmm.rip);
        if (fake_vmm.translate_fails) {
                errno = EFAULT;
                return -1;
        }
        at->physical_address = fake_vmm.rip_physical;
        at->valid = fake_vmm.rip_physical != UINT64_MAX;
        return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
        void *arg;
        va_list ap;

        va_start(ap, request);
        arg = va_arg(ap, void *);
        va_end(ap);
        if (!target_runs)
                return __real_ioctl(fd, request, arg);
        if (fd == VMM_FD_VM && request == KVM_SIGNAL_MSI)
                return signal_msi(arg);
        if (fd == VMM_FD_VM && request == KVM_SET_GSI_ROUTING)
                return set_routing(arg);
        MUST(fd == VMM_FD_VCPU_FIRST);
        if (request == KVM_TRANSLATE)
                return translate(arg);
        MUST(request == KVM_GET_REGS);
        if (fake_vmm.registers_fail) {
                errno = EIO;
                return -1;
        }
        *(struct kvm_regs *)arg = (struct kvm_regs){.rip = fake_vmm.rip};
        return 0;
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
        size_t taken;

        if (!target_runs)
                return __real_send(fd, buf, len, flags);
        MUST(fd == VMM_FD_CONSOLE && (flags & MSG_DONTWAIT) && (flags & MSG_NOSIGNAL));
        MUST(len >= 1 && len <= UART_FIFO_BYTES);
        if (fake_vmm.console_gone || fake_vmm.console_full) {
                errno = fake_vmm.console_gone ? EPIPE : EAGAIN;
                return -1;
        }
        taken = 1 + read_u8(fake_vmm.script) % len;
        fake_vmm.console_bytes += taken;
        return (ssize_t)taken;
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
        if (!target_runs || fd != VMM_FD_WAKE)
                return __real_write(fd, buf, len);
        MUST(len == sizeof(uint64_t) && memcmp(buf, &(uint64_t){1}, len) == 0);
        fake_vmm.wakes++;
        return (ssize_t)len;
}
