/* What the files that make up the CPUID template share. Outside of them, include cpuid.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/x86_64/cpuid.h"

#define CPUID_BIT(n) (UINT32_C(1) << (n))

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* One register of an entry. */
uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg);

/* The entry of a leaf, or NULL. index is 0 for leaves without sub-leaves. */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function, uint32_t index);

/*
 * The entry of a leaf, appended with zero registers when there is none. NULL when the table is full.
 * KVM_CPUID_FLAG_SIGNIFCANT_INDEX is set for the leaves that have sub-leaves.
 */
struct kvm_cpuid_entry2 *cpuid_add(struct cpuid_table *t, uint32_t function, uint32_t index);

/* Removes the entry at position i; those behind it move up. */
void cpuid_remove(struct cpuid_table *t, uint32_t i);

/* Removes every sub-leaf of a leaf. */
void cpuid_drop(struct cpuid_table *t, uint32_t function);

/* AMD and Hygon: they number caches and cores in other leaves than Intel. */
bool cpuid_vendor_is_amd(struct cpuid_table *t);

/* Is this a leaf that a guest of any model may see, and is the sub-leaf within its bounds? Topology leaves,
 * which are never taken from the host, are not among them. */
bool cpuid_leaf_kept(uint32_t function, uint32_t index);

/* Clears every bit that no guest may see, in the entries the table has. */
void cpuid_deny(struct cpuid_table *t);

/* Cuts leaf 0xd down to the state components of docs/cpu.md; none is left when leaf 0xd is incomplete. */
void cpuid_limit_xstate(struct cpuid_table *t);

/* One socket, one thread per core, as many cores as vCPUs; each core has its own L1 and L2, all share L3.
 * with_v2: leaf 0x1f as well. Returns 0 or -E2BIG. */
int cpuid_set_topology(struct cpuid_table *t, unsigned int vcpus, bool with_v2);

/* Reduces the table to the baseline model. Returns 0, -EINVAL (STATUS_HOST, the missing features named) or
 * -E2BIG. */
int cpuid_limit_to_baseline(struct cpuid_table *t, struct err *e);
