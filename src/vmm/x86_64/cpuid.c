#include "vmm/x86_64/cpuid.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/x86_64/cpuid_parts.h"

/* Features of leaf 1 ECX that KVM itself provides with its local APIC, whatever the processor has. */
#define LEAF1_ECX_X2APIC       CPUID_BIT(21)
#define LEAF1_ECX_TSC_DEADLINE CPUID_BIT(24)
#define LEAF1_ECX_HYPERVISOR   CPUID_BIT(31)

/*
 * Paravirtual features of leaf 0x40000001 EAX (Documentation/virt/kvm/x86/cpuid.rst). Left out: the clock of
 * the MSRs 0x11 and 0x12 and the old MMU calls (both superseded), asynchronous page faults (they tell the
 * guest when the host swaps), poll control, extended MSI destinations (the I/O APIC here has 8-bit ones) and
 * everything about migration and encrypted memory.
 */
#define KVM_FEATURES_KEPT                                                                                       \
        (CPUID_BIT(KVM_FEATURE_NOP_IO_DELAY) | CPUID_BIT(KVM_FEATURE_CLOCKSOURCE2) |                            \
         CPUID_BIT(KVM_FEATURE_STEAL_TIME) | CPUID_BIT(KVM_FEATURE_PV_EOI) | CPUID_BIT(KVM_FEATURE_PV_UNHALT) | \
         CPUID_BIT(KVM_FEATURE_PV_TLB_FLUSH) | CPUID_BIT(KVM_FEATURE_PV_SEND_IPI) |                             \
         CPUID_BIT(KVM_FEATURE_PV_SCHED_YIELD) | CPUID_BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
        switch (reg) {
        case CPUID_EAX:
                return &entry->eax;
        case CPUID_EBX:
                return &entry->ebx;
        case CPUID_ECX:
                return &entry->ecx;
        case CPUID_EDX:
                break;
        }
        return &entry->edx;
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function, uint32_t index)
{
        for (uint32_t i = 0; i < t->head.nent; i++)
                if (t->entries[i].function == function && t->entries[i].index == index)
                        return &t->entries[i];
        return NULL;
}

/* Leaves whose answer depends on ECX (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E). */
static bool has_sub_leaves(uint32_t function)
{
        return function == 0x4 || function == 0x7 || function == 0xb || function == 0xd || function == 0x1f ||
               function == 0x24 || function == 0x8000001d;
}

struct kvm_cpuid_entry2 *cpuid_add(struct cpuid_table *t, uint32_t function, uint32_t index)
{
        struct kvm_cpuid_entry2 *entry = cpuid_find(t, function, index);

        if (entry)
                return entry;
        if (t->head.nent >= CPUID_ENTRIES_MAX)
                return NULL;
        entry = &t->entries[t->head.nent++];
        *entry = (struct kvm_cpuid_entry2){
                .function = function,
                .index = index,
                .flags = has_sub_leaves(function) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        };
        return entry;
}

void cpuid_remove(struct cpuid_table *t, uint32_t i)
{
        memmove(&t->entries[i], &t->entries[i + 1], (t->head.nent - i - 1) * sizeof(t->entries[0]));
        t->head.nent--;
}

void cpuid_drop(struct cpuid_table *t, uint32_t function)
{
        for (uint32_t i = 0; i < t->head.nent;) {
                if (t->entries[i].function == function)
                        cpuid_remove(t, i);
                else
                        i++;
        }
}

bool cpuid_vendor_is_amd(struct cpuid_table *t)
{
        const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(t, 0, 0);
        uint32_t vendor[3];

        if (!leaf0)
                return false;
        vendor[0] = leaf0->ebx;
        vendor[1] = leaf0->edx;
        vendor[2] = leaf0->ecx;
        return !memcmp(vendor, "AuthenticAMD", 12) || !memcmp(vendor, "HygonGenuine", 12);
}

/* Copies the leaves a guest may see. Where KVM lists a leaf twice (leaf 2 of old kernels), the first counts.
 */
static int copy_kept_leaves(struct cpuid_table *t, const struct cpuid_table *supported)
{
        for (uint32_t i = 0; i < supported->head.nent; i++) {
                const struct kvm_cpuid_entry2 *from = &supported->entries[i];
                struct kvm_cpuid_entry2 *to;

                if (!cpuid_leaf_kept(from->function, from->index) || cpuid_find(t, from->function, from->index))
                        continue;
                to = cpuid_add(t, from->function, from->index);
                if (!to)
                        return -E2BIG;
                to->eax = from->eax;
                to->ebx = from->ebx;
                to->ecx = from->ecx;
                to->edx = from->edx;
        }
        return 0;
}

static int set_hypervisor_leaves(struct cpuid_table *t, const struct cpuid_table *supported)
{
        struct kvm_cpuid_entry2 *signature = cpuid_add(t, KVM_CPUID_SIGNATURE, 0);
        struct kvm_cpuid_entry2 *features = cpuid_add(t, KVM_CPUID_FEATURES, 0);

        if (!signature || !features)
                return -E2BIG;
        memcpy(&signature->ebx, &KVM_SIGNATURE[0], 4);
        memcpy(&signature->ecx, &KVM_SIGNATURE[4], 4);
        memcpy(&signature->edx, &KVM_SIGNATURE[8], 4);
        for (uint32_t i = 0; i < supported->head.nent; i++)
                if (supported->entries[i].function == KVM_CPUID_FEATURES)
                        features->eax = supported->entries[i].eax & KVM_FEATURES_KEPT;
        return 0;
}

/* The highest leaf of the range that starts at base: 0, 0x40000000 or 0x80000000. */
static uint32_t highest_leaf(const struct cpuid_table *t, uint32_t base)
{
        uint32_t highest = base;

        for (uint32_t i = 0; i < t->head.nent; i++) {
                uint32_t function = t->entries[i].function;

                if ((function & 0xf0000000) == base && function > highest)
                        highest = function;
        }
        return highest;
}

/* The registers that tell how far leaves and sub-leaves go. */
static void set_maxima(struct cpuid_table *t)
{
        for (uint32_t i = 0; i < t->head.nent; i++) {
                struct kvm_cpuid_entry2 *entry = &t->entries[i];

                if ((entry->function & 0x0fffffff) == 0)
                        entry->eax = highest_leaf(t, entry->function);
                if ((entry->function == 0x7 || entry->function == 0x24) && entry->index == 0) {
                        entry->eax = 0;
                        while (cpuid_find(t, entry->function, entry->eax + 1))
                                entry->eax++;
                }
        }
}

static int compare_entries(const void *a, const void *b)
{
        const struct kvm_cpuid_entry2 *x = a, *y = b;

        if (x->function != y->function)
                return x->function < y->function ? -1 : 1;
        return (x->index > y->index) - (x->index < y->index);
}

static bool offers(const struct cpuid_table *supported, uint32_t function)
{
        for (uint32_t i = 0; i < supported->head.nent; i++)
                if (supported->entries[i].function == function && supported->entries[i].index == 0)
                        return true;
        return false;
}

static int check_input(const struct cpuid_table *supported, unsigned int vcpus, struct err *e)
{
        static const uint32_t required[] = {0x0, 0x1, 0x80000000, 0x80000001};

        if (vcpus < 1 || vcpus > SPEC_VCPUS_MAX)
                return err_set(e, -EINVAL, "CPUID for %u vCPUs", vcpus);
        if (supported->head.nent > CPUID_ENTRIES_MAX)
                return err_set(e, -E2BIG, "KVM_GET_SUPPORTED_CPUID with %u entries", supported->head.nent);
        for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
                if (!offers(supported, required[i]))
                        return err_bad(e, STATUS_HOST, "this host's KVM offers no CPUID leaf 0x%x", required[i]);
        return 0;
}

int cpuid_build(enum cpu_model model, const struct cpuid_table *supported, unsigned int vcpus, struct cpuid_table *ret,
                struct err *e)
{
        struct cpuid_table t = {.head.nent = 0};
        int r = check_input(supported, vcpus, e);

        if (r < 0)
                return r;
        r = copy_kept_leaves(&t, supported);
        if (r < 0)
                return err_set(e, r, "copy CPUID");
        cpuid_deny(&t);
        cpuid_limit_xstate(&t);
        if (model == CPU_BASELINE) {
                r = cpuid_limit_to_baseline(&t, e);
                if (r < 0)
                        return err_wrap(e, r, "CPU model baseline");
        }
        r = cpuid_set_topology(&t, vcpus, model == CPU_HOST && offers(supported, 0x1f));
        if (r < 0)
                return err_set(e, r, "add CPUID topology");
        r = set_hypervisor_leaves(&t, supported);
        if (r < 0)
                return err_set(e, r, "add CPUID hypervisor leaves");
        cpuid_find(&t, 0x1, 0)->ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE | LEAF1_ECX_HYPERVISOR;
        set_maxima(&t);
        qsort(t.entries, t.head.nent, sizeof(t.entries[0]), compare_entries);
        *ret = t;
        return 0;
}

void cpuid_for_vcpu(struct cpuid_table *table, unsigned int vcpu)
{
        for (uint32_t i = 0; i < table->head.nent && i < CPUID_ENTRIES_MAX; i++) {
                struct kvm_cpuid_entry2 *entry = &table->entries[i];

                switch (entry->function) {
                case 0x1: /* initial local APIC id */
                        entry->ebx = (entry->ebx & 0x00ffffff) | vcpu << 24;
                        break;
                case 0xb:
                case 0x1f: /* x2APIC id, the same in every sub-leaf */
                        entry->edx = vcpu;
                        break;
                case 0x8000001e: /* extended APIC id; core id, one thread each */
                        entry->eax = vcpu;
                        entry->ebx = (entry->ebx & ~UINT32_C(0xff)) | vcpu;
                        break;
                default:
                        break;
                }
        }
}
