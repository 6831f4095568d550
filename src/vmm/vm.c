#include "vmm/vm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "spec/kvm_needs.h"
#include "spec/vmm_fds.h"
#include "vmm/x86_64/layout.h"
#include "vmm/x86_64/msr.h"

static int needs_check(struct err *e)
{
        for (size_t i = 0; i < kvm_needs_count; i++)
                if (!kvm_need_met(VMM_FD_KVM, &kvm_needs[i])) {
                        err_bad(e, STATUS_HOST, "this host's KVM lacks %s (%s)", kvm_needs[i].name, kvm_needs[i].why);
                        err_hint(e, "use a newer kernel; see bulkhead doctor");
                        return -EOPNOTSUPP;
                }
        return 0;
}

/*
 * Without a PMU in the VM, RDPMC is #GP too, which no MSR filter reaches, and KVM's counter code cannot be
 * entered. A KVM that does not offer this (before Linux 5.18; a host without counters) leaves it at the
 * filter and the CPUID template.
 */
static int pmu_disable(struct err *e)
{
        const struct kvm_enable_cap pmu = {.cap = KVM_CAP_PMU_CAPABILITY, .args = {KVM_PMU_CAP_DISABLE}};
        int offered = ioctl(VMM_FD_KVM, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY);

        if (offered < 0)
                return err_set(e, -errno, "ask KVM whether performance counters can be left out");
        if (!(offered & KVM_PMU_CAP_DISABLE))
                return 0;
        if (ioctl(VMM_FD_VM, KVM_ENABLE_CAP, &pmu) < 0)
                return err_set(e, -errno, "leave out the performance counters");
        return 0;
}

int vm_create(struct err *e)
{
        struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {LAYOUT_IOAPIC_PINS}};
        uint64_t identity_map = LAYOUT_IDENTITY_MAP;
        int fd, r = needs_check(e);

        if (r < 0)
                return r;
        fd = ioctl(VMM_FD_KVM, KVM_CREATE_VM, 0);
        if (fd < 0 || (fd != VMM_FD_VM && dup2(fd, VMM_FD_VM) < 0))
                return err_set(e, -errno, "create a virtual machine");
        if (fd != VMM_FD_VM)
                close(fd);
        if (ioctl(VMM_FD_VM, KVM_ENABLE_CAP, &split) < 0)
                return err_set(e, -errno, "split the interrupt controller");
        if (ioctl(VMM_FD_VM, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
            ioctl(VMM_FD_VM, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0)
                return err_set(e, -errno, "place KVM's own pages");
        r = pmu_disable(e);
        return r < 0 ? r : msr_filter_install(VMM_FD_VM, e);
}

int vm_register_ram(const struct guest_ram *ram, struct err *e)
{
        for (unsigned int i = 0; i < ram->region_count; i++) {
                struct kvm_userspace_memory_region slot = {
                        .slot = i,
                        .guest_phys_addr = ram->regions[i].base,
                        .memory_size = ram->regions[i].len_bytes,
                        .userspace_addr = (uintptr_t)ram->regions[i].host,
                };

                if (ioctl(VMM_FD_VM, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
                        return err_set(e, -errno, "register guest memory slot %u", i);
        }
        return 0;
}
