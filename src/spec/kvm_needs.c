#include "spec/kvm_needs.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#define NEED(cap, why)         \
        {                      \
                cap, #cap, why \
        }

const struct kvm_need kvm_needs[] = {
        NEED(KVM_CAP_USER_MEMORY, "guest RAM in user memory"),
        NEED(KVM_CAP_SPLIT_IRQCHIP, "local APIC in the kernel, I/O APIC in bulkhead-vmm"),
        NEED(KVM_CAP_SIGNAL_MSI, "interrupts from the I/O APIC"),
        NEED(KVM_CAP_EXT_CPUID, "the CPUID template"),
        NEED(KVM_CAP_X86_MSR_FILTER, "the MSR filter"),
        NEED(KVM_CAP_ENFORCE_PV_FEATURE_CPUID, "no paravirtual features but those of the CPUID template"),
        NEED(KVM_CAP_IMMEDIATE_EXIT, "stopping a vCPU without a race"),
        NEED(KVM_CAP_MP_STATE, "starting further processors"),
        NEED(KVM_CAP_TSC_DEADLINE_TIMER, "the guest's timer"),
        NEED(KVM_CAP_ADJUST_CLOCK, "kvmclock"),
        NEED(KVM_CAP_SET_TSS_ADDR, "real mode on older Intel processors"),
        NEED(KVM_CAP_SET_IDENTITY_MAP_ADDR, "real mode on older Intel processors"),
};
const size_t kvm_needs_count = sizeof(kvm_needs) / sizeof(kvm_needs[0]);

int kvm_need_met(int kvm_fd, const struct kvm_need *need)
{
        return ioctl(kvm_fd, KVM_CHECK_EXTENSION, need->cap) > 0;
}
