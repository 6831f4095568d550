/* The CPUID template: what a guest is told about its processor. See docs/cpu.md. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define CPUID_ENTRIES_MAX 256 /* KVM_MAX_CPUID_ENTRIES */

/* struct kvm_cpuid2 with room for its entries: what KVM_GET_SUPPORTED_CPUID and KVM_SET_CPUID2 take. */
struct cpuid_table {
        struct {
                uint32_t nent; /* how many entries are valid */
                uint32_t padding;
        } head;
        struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};
_Static_assert(offsetof(struct cpuid_table, entries) == sizeof(struct kvm_cpuid2), "KVM's own layout");

/*
 * Builds the table all vCPUs share from what KVM supports (KVM_GET_SUPPORTED_CPUID).
 * CPU_HOST: what KVM supports less what is always denied (PMU, nested virtualization, host topology, …).
 * CPU_BASELINE: the one fixed set of docs/cpu.md; fails with STATUS_HOST when this host lacks a part of it.
 * Fields that depend on the vCPU are zero. vcpus: 1..SPEC_VCPUS_MAX. The TSC-deadline timer is always
 * announced: the caller makes sure that KVM_CAP_TSC_DEADLINE_TIMER is there.
 * Returns 0, -EINVAL (vcpus; STATUS_HOST: a leaf or feature is missing) or -E2BIG (table too long).
 */
int cpuid_build(enum cpu_model model, const struct cpuid_table *supported, unsigned int vcpus, struct cpuid_table *ret,
                struct err *e);

/* Fills the fields that depend on the vCPU (APIC id in leaves 1, 0xb, 0x1f, 0x8000001e). */
void cpuid_for_vcpu(struct cpuid_table *table, unsigned int vcpu);
