#include "vmm/exits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/number.h"

#define INSTRUCTION_MAX 15 /* bytes: Intel SDM vol. 2, 2.3.11 */

#define HINT_BACKEND                                                                                             \
        "this host's KVM cannot run that instruction: use a host with hardware virtualization (bulkhead doctor " \
        "tells), or another guest"
#define HINT_REPORT "report this with the guest's kernel version"

/* "at rip 0x… (bytes …)" for the error message; says what it could not find out. */
static void where(const struct vcpu *v, char *buf, size_t size)
{
        struct kvm_regs regs;
        struct kvm_translation at;
        const uint8_t *code = NULL;
        size_t used, len = 0;

        if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0) {
                snprintf(buf, size, "at an unknown rip");
                return;
        }
        used = (size_t)snprintf(buf, size, "at rip %#" PRIx64 " (bytes", (uint64_t)regs.rip);
        at = (struct kvm_translation){.linear_address = regs.rip};
        if (ioctl(v->fd, KVM_TRANSLATE, &at) == 0 && at.valid)
                /* Near the end of RAM there may be fewer. */
                for (len = INSTRUCTION_MAX; len > 0; len--) {
                        code = guest_ram_at(&v->machine->ram, at.physical_address, len);
                        if (code)
                                break;
                }
        for (size_t i = 0; i < len && used < size; i++)
                used += (size_t)snprintf(buf + used, size - used, " %02x", code[i]);
        if (used < size)
                snprintf(buf + used, size - used, "%s)", len ? "" : " unreadable");
}

static void fail(struct vcpu *v, const char *what, const char *hint)
{
        struct err e = ERR_INIT;
        char place[128];

        where(v, place, sizeof(place));
        err_bad(&e, STATUS_GUEST, "%s on vCPU %u %s", what, v->id, place);
        err_hint(&e, "%s", hint);
        machine_fail(v->machine, &e);
}

static void handle_io(struct vcpu *v)
{
        const struct kvm_run *run = v->run;
        uint8_t *data = (uint8_t *)v->run + run->io.data_offset;
        const unsigned int width = run->io.size;

        for (uint32_t i = 0; i < run->io.count; i++, data += width) {
                uint32_t value = 0;

                if (run->io.direction == KVM_EXIT_IO_IN) {
                        value = machine_port_read(v->machine, run->io.port, width);
                        memcpy(data, &value, width);
                } else {
                        memcpy(&value, data, width);
                        machine_port_write(v->machine, run->io.port, width, value);
                }
        }
}

static void handle_mmio(struct vcpu *v)
{
        struct kvm_run *run = v->run;

        if (run->mmio.is_write)
                machine_mmio_write(v->machine, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
        else
                machine_mmio_read(v->machine, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void handle_internal_error(struct vcpu *v)
{
        char what[64];

        if (v->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
                fail(v, "KVM cannot emulate an instruction (internal error 1)", HINT_BACKEND);
                return;
        }
        snprintf(what, sizeof(what), "KVM internal error %u", v->run->internal.suberror);
        fail(v, what, HINT_REPORT);
}

static void handle_fail_entry(struct vcpu *v)
{
        char what[96];

        snprintf(what, sizeof(what), "the processor refused to enter the guest (reason %#" PRIx64 ")",
                 (uint64_t)v->run->fail_entry.hardware_entry_failure_reason);
        fail(v, what, HINT_REPORT);
}

static void handle_system_event(struct vcpu *v)
{
        switch (v->run->system_event.type) {
        case KVM_SYSTEM_EVENT_SHUTDOWN:
                machine_end(v->machine, END_POWEROFF, 0);
                return;
        case KVM_SYSTEM_EVENT_RESET:
                machine_end(v->machine, END_RESET, 0);
                return;
        default:
                fail(v, "the guest crashed (KVM system event)", HINT_REPORT);
        }
}

static void handle_run_error(struct vcpu *v, int error)
{
        char what[96];

        snprintf(what, sizeof(what), "KVM_RUN failed: %s", strerror(-error));
        fail(v, what,
             error == -EFAULT   ? "guest memory could not be read: was its file system full?"
             : error == -ENOMEM ? "the guest's cgroup or the host is out of memory"
                                : HINT_REPORT);
}

void vcpu_handle_exit(struct vcpu *v, int error)
{
        char what[64];

        if (error < 0) {
                handle_run_error(v, error);
                return;
        }
        switch (v->run->exit_reason) {
        case KVM_EXIT_IO:
                handle_io(v);
                return;
        case KVM_EXIT_MMIO:
                handle_mmio(v);
                return;
        case KVM_EXIT_IOAPIC_EOI:
                machine_eoi(v->machine, v->run->eoi.vector);
                return;
        case KVM_EXIT_INTR:
        case KVM_EXIT_IRQ_WINDOW_OPEN:
        case KVM_EXIT_SET_TPR:
        case KVM_EXIT_TPR_ACCESS:
                return; /* only for whoever asked for them; harmless */
        case KVM_EXIT_SHUTDOWN:
                machine_end(v->machine, END_TRIPLE_FAULT, 0);
                return;
        case KVM_EXIT_SYSTEM_EVENT:
                handle_system_event(v);
                return;
        case KVM_EXIT_INTERNAL_ERROR:
                handle_internal_error(v);
                return;
        case KVM_EXIT_FAIL_ENTRY:
                handle_fail_entry(v);
                return;
        case KVM_EXIT_HLT:
                fail(v, "KVM reports HLT although it has the local APIC", HINT_REPORT);
                return;
        case KVM_EXIT_HYPERCALL:
        case KVM_EXIT_X86_RDMSR:
        case KVM_EXIT_X86_WRMSR:
        case KVM_EXIT_DEBUG:
        case KVM_EXIT_EXCEPTION:
        case KVM_EXIT_NMI:
        default:
                snprintf(what, sizeof(what), "KVM exit %u, which was not asked for,", v->run->exit_reason);
                fail(v, what, HINT_REPORT);
        }
}
