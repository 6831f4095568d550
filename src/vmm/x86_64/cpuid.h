/* The CPUID template: what a guest is told about its processor. See docs/cpu.md. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define CPUID_ENTRIES_MAX 256 /* KVM_MAX_CPUID_ENTRIES */

struct cpuid_table {
        struct kvm_cpuid2
                head; /* head.nent entries are valid; head.entries is entries[] (KVM's own layout) */
        struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/*
 * Builds the table all vCPUs share from what KVM supports (KVM_GET_SUPPORTED_CPUID).
 * CPU_HOST: what KVM supports less what is always denied (PMU, nested virtualization, host topology, …).
 * CPU_BASELINE: the one fixed set of docs/cpu.md; fails with STATUS_HOST when this host lacks a part of it.
 * Fields that depend on the vCPU are zero. vcpus: 1..64.
 */
int cpuid_build(enum cpu_model model, const struct cpuid_table *supported, unsigned int vcpus,
                struct cpuid_table *ret, struct err *e);

/* Fills the fields that depend on the vCPU (APIC id in leaves 1, 0xb, 0x1f, 0x8000001e). */
void cpuid_for_vcpu(struct cpuid_table *table, unsigned int vcpu);
