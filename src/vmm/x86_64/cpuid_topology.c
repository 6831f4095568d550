/*
 * The processors as the guest sees them: one socket, one thread per core, cores = vCPUs, APIC id = vCPU
 * number. Nothing here comes from the host but the geometry of its caches.
 */
#include <errno.h>

#include "vmm/x86_64/cpuid_parts.h"

#define LEAF1_EDX_HTT       CPUID_BIT(28) /* leaf 1 EBX tells the number of processors */
#define EXT1_ECX_CMP_LEGACY CPUID_BIT(1)  /* AMD: they are cores, not threads */
#define EXT1_ECX_TOPOEXT    CPUID_BIT(22) /* AMD: leaves 0x8000001d and 0x8000001e */

/* How many bits of the APIC id number the vCPUs. */
static uint32_t id_bits(unsigned int vcpus)
{
        uint32_t bits = 0;

        while ((1U << bits) < vcpus)
                bits++;
        return bits;
}

/*
 * EAX of a cache leaf (0x4, 0x8000001d): bits 0-9 kind and level of the cache, 14-25 how many processors
 * share it, less one. A kind of 0 ends the list.
 */
static uint32_t cache_eax(uint32_t eax, uint32_t sharing)
{
        uint32_t level = eax >> 5 & 7;

        if ((eax & 0x1f) == 0)
                return 0;
        return (eax & 0x3ff) | (level >= 3 ? sharing - 1 : 0) << 14;
}

static void set_caches(struct cpuid_table *t, unsigned int vcpus)
{
        uint32_t ids = UINT32_C(1) << id_bits(vcpus);

        for (uint32_t i = 0; i < t->head.nent; i++) {
                struct kvm_cpuid_entry2 *entry = &t->entries[i];

                if (entry->function == 0x4) { /* counts APIC ids; bits 26-31: core ids of the socket */
                        entry->eax = cache_eax(entry->eax, ids);
                        if (entry->eax)
                                entry->eax |= (ids - 1) << 26;
                } else if (entry->function == 0x8000001d) { /* counts processors */
                        entry->eax = cache_eax(entry->eax, vcpus);
                }
        }
}

/* Leaves 0xb and 0x1f: the thread level, the core level, the end. EDX is set for each vCPU. */
static int set_levels(struct cpuid_table *t, uint32_t function, unsigned int vcpus)
{
        for (uint32_t level = 0; level <= 2; level++) {
                struct kvm_cpuid_entry2 *entry = cpuid_add(t, function, level);

                if (!entry)
                        return -E2BIG;
                entry->eax = level == 1 ? id_bits(vcpus) : 0;          /* bits of the id below the next level */
                entry->ebx = level == 0 ? 1 : level == 1 ? vcpus : 0;  /* processors at this level */
                entry->ecx = level | (level < 2 ? level + 1 : 0) << 8; /* type: 1 thread, 2 core, 0 none */
                entry->edx = 0;
        }
        return 0;
}

static int set_amd(struct cpuid_table *t, unsigned int vcpus)
{
        struct kvm_cpuid_entry2 *features = cpuid_find(t, 0x80000001, 0);
        struct kvm_cpuid_entry2 *sizes = cpuid_find(t, 0x80000008, 0);

        if (vcpus > 1)
                features->ecx |= EXT1_ECX_CMP_LEGACY;
        if (sizes)
                sizes->ecx = (vcpus - 1) | id_bits(vcpus) << 12;
        /* Threads per core and nodes per socket, each less one, are 0; so is the node. */
        if ((features->ecx & EXT1_ECX_TOPOEXT) && !cpuid_add(t, 0x8000001e, 0))
                return -E2BIG;
        return 0;
}

int cpuid_set_topology(struct cpuid_table *t, unsigned int vcpus, bool with_v2)
{
        struct kvm_cpuid_entry2 *leaf1 = cpuid_find(t, 0x1, 0);
        struct kvm_cpuid_entry2 *ext1 = cpuid_find(t, 0x80000001, 0);
        int r;

        /* EBX: of the host only the CLFLUSH line size. */
        leaf1->ebx = (leaf1->ebx & 0x0000ff00) | vcpus << 16;
        leaf1->edx &= ~LEAF1_EDX_HTT;
        if (vcpus > 1)
                leaf1->edx |= LEAF1_EDX_HTT;

        if (!cpuid_vendor_is_amd(t) || !cpuid_find(t, 0x8000001d, 0))
                ext1->ecx &= ~EXT1_ECX_TOPOEXT;
        if (!(ext1->ecx & EXT1_ECX_TOPOEXT))
                cpuid_drop(t, 0x8000001d);
        set_caches(t, vcpus);
        if (cpuid_vendor_is_amd(t)) {
                r = set_amd(t, vcpus);
                if (r < 0)
                        return r;
        }
        r = set_levels(t, 0xb, vcpus);
        if (r == 0 && with_v2)
                r = set_levels(t, 0x1f, vcpus);
        return r;
}
