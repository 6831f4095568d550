/*
 * CPU model `baseline`: one fixed set of features, so that a guest behaves alike on every host that can run
 * it. The set is x86-64-v2 with NX and RDTSCP: Intel since Nehalem, AMD since Bulldozer. What the host adds
 * is only what a guest needs to protect itself; vendor, family, model and stepping stay the host's, because
 * they decide which bugs of the processor a guest has to work around.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/x86_64/cpuid_parts.h"

struct feature {
        uint32_t function;
        uint8_t index, reg, bit; /* reg: enum cpuid_reg */
        const char *name;        /* as the vendor manuals spell it */
};

/* Every guest has these; a host without one of them cannot run the model. */
static const struct feature fixed[] = {
        {0x1, 0, CPUID_EDX, 0, "FPU"},
        {0x1, 0, CPUID_EDX, 2, "DE"},
        {0x1, 0, CPUID_EDX, 3, "PSE"},
        {0x1, 0, CPUID_EDX, 4, "TSC"},
        {0x1, 0, CPUID_EDX, 5, "MSR"},
        {0x1, 0, CPUID_EDX, 6, "PAE"},
        {0x1, 0, CPUID_EDX, 7, "MCE"},
        {0x1, 0, CPUID_EDX, 8, "CX8"},
        {0x1, 0, CPUID_EDX, 9, "APIC"},
        {0x1, 0, CPUID_EDX, 11, "SEP"},
        {0x1, 0, CPUID_EDX, 12, "MTRR"},
        {0x1, 0, CPUID_EDX, 13, "PGE"},
        {0x1, 0, CPUID_EDX, 14, "MCA"},
        {0x1, 0, CPUID_EDX, 15, "CMOV"},
        {0x1, 0, CPUID_EDX, 16, "PAT"},
        {0x1, 0, CPUID_EDX, 17, "PSE36"},
        {0x1, 0, CPUID_EDX, 19, "CLFLUSH"},
        {0x1, 0, CPUID_EDX, 23, "MMX"},
        {0x1, 0, CPUID_EDX, 24, "FXSR"},
        {0x1, 0, CPUID_EDX, 25, "SSE"},
        {0x1, 0, CPUID_EDX, 26, "SSE2"},
        {0x1, 0, CPUID_ECX, 0, "SSE3"},
        {0x1, 0, CPUID_ECX, 9, "SSSE3"},
        {0x1, 0, CPUID_ECX, 13, "CMPXCHG16B"},
        {0x1, 0, CPUID_ECX, 19, "SSE4_1"},
        {0x1, 0, CPUID_ECX, 20, "SSE4_2"},
        {0x1, 0, CPUID_ECX, 23, "POPCNT"},
        {0x80000001, 0, CPUID_ECX, 0, "LAHF64"},
        {0x80000001, 0, CPUID_EDX, 11, "SYSCALL"},
        {0x80000001, 0, CPUID_EDX, 20, "NX"},
        {0x80000001, 0, CPUID_EDX, 27, "RDTSCP"},
        {0x80000001, 0, CPUID_EDX, 29, "LM"},
};

/* As the host has them: needed by a guest to mitigate bugs of the processor and to protect its kernel from
 * its own programs. */
static const struct feature host[] = {
        {0x1, 0, CPUID_ECX, 30, "RDRAND"},
        {0x7, 0, CPUID_EBX, 7, "SMEP"},
        {0x7, 0, CPUID_EBX, 18, "RDSEED"},
        {0x7, 0, CPUID_EBX, 20, "SMAP"},
        {0x7, 0, CPUID_ECX, 2, "UMIP"},
        {0x7, 0, CPUID_EDX, 10, "MD_CLEAR"},
        {0x7, 0, CPUID_EDX, 26, "SPEC_CTRL"}, /* IBRS and IBPB */
        {0x7, 0, CPUID_EDX, 27, "STIBP"},
        {0x7, 0, CPUID_EDX, 28, "FLUSH_L1D"},
        {0x7, 0, CPUID_EDX, 29, "ARCH_CAPABILITIES"},
        {0x7, 0, CPUID_EDX, 31, "SSBD"},
        {0x7, 2, CPUID_EDX, 0, "PSFD"},
        {0x7, 2, CPUID_EDX, 1, "IPRED_CTRL"},
        {0x7, 2, CPUID_EDX, 2, "RRSBA_CTRL"},
        {0x7, 2, CPUID_EDX, 3, "DDPD_U"},
        {0x7, 2, CPUID_EDX, 4, "BHI_CTRL"},
        {0x7, 2, CPUID_EDX, 5, "MCDT_NO"},
        {0x80000001, 0, CPUID_ECX, 9, "OSVW"}, /* which errata the system software must work around */
        {0x80000008, 0, CPUID_EBX, 12, "IBPB"},
        {0x80000008, 0, CPUID_EBX, 14, "IBRS"},
        {0x80000008, 0, CPUID_EBX, 15, "AMD_STIBP"},
        {0x80000008, 0, CPUID_EBX, 16, "IBRS_ALWAYS_ON"},
        {0x80000008, 0, CPUID_EBX, 17, "STIBP_ALWAYS_ON"},
        {0x80000008, 0, CPUID_EBX, 18, "IBRS_PREFERRED"},
        {0x80000008, 0, CPUID_EBX, 19, "IBRS_SAME_MODE"},
        {0x80000008, 0, CPUID_EBX, 24, "AMD_SSBD"},
        {0x80000008, 0, CPUID_EBX, 25, "VIRT_SSBD"},
        {0x80000008, 0, CPUID_EBX, 26, "SSB_NO"},
        {0x80000008, 0, CPUID_EBX, 28, "AMD_PSFD"},
        {0x80000008, 0, CPUID_EBX, 29, "BTC_NO"},
        {0x80000008, 0, CPUID_EBX, 30, "IBPB_RET"},
        {0x80000021, 0, CPUID_EAX, 0, "NO_NESTED_DATA_BP"},
        {0x80000021, 0, CPUID_EAX, 2, "LFENCE_SERIALIZING"},
        {0x80000021, 0, CPUID_EAX, 5, "VERW_CLEAR"},
        {0x80000021, 0, CPUID_EAX, 6, "NULL_SEL_CLR_BASE"},
        {0x80000021, 0, CPUID_EAX, 8, "AUTOMATIC_IBRS"},
        {0x80000021, 0, CPUID_EAX, 27, "SBPB"},
        {0x80000021, 0, CPUID_EAX, 28, "IBPB_BRTYPE"},
        {0x80000021, 0, CPUID_EAX, 29, "SRSO_NO"},
        {0x80000021, 0, CPUID_EAX, 30, "SRSO_USER_KERNEL_NO"},
        {0x80000021, 0, CPUID_ECX, 1, "TSA_SQ_NO"},
        {0x80000021, 0, CPUID_ECX, 2, "TSA_L1_NO"},
        /* Not for protection: how AMD numbers cores and caches. */
        {0x80000001, 0, CPUID_ECX, 22, "TOPOEXT"},
};

/* Leaves of the model. They say what is in them: names, address widths, caches, the APIC timer; or they are
 * feature registers, cut down to the two lists above. */
static const uint32_t leaves[] = {
        0x0,        0x1,        0x2,        0x4,        0x6,        0x7,        0x80000000, 0x80000001,
        0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006, 0x80000008, 0x8000001d, 0x80000021,
};

/* The registers that hold features; every bit that no list names is cleared. */
static const struct {
        uint32_t function, index;
        enum cpuid_reg reg;
} feature_registers[] = {
        {0x1, 0, CPUID_ECX},        {0x1, 0, CPUID_EDX},        {0x7, 0, CPUID_EBX},        {0x7, 0, CPUID_ECX},
        {0x7, 0, CPUID_EDX},        {0x7, 1, CPUID_EAX},        {0x7, 1, CPUID_EBX},        {0x7, 1, CPUID_ECX},
        {0x7, 1, CPUID_EDX},        {0x7, 2, CPUID_EAX},        {0x7, 2, CPUID_EBX},        {0x7, 2, CPUID_ECX},
        {0x7, 2, CPUID_EDX},        {0x80000001, 0, CPUID_EBX}, {0x80000001, 0, CPUID_ECX}, {0x80000001, 0, CPUID_EDX},
        {0x80000008, 0, CPUID_EBX}, {0x80000021, 0, CPUID_EAX}, {0x80000021, 0, CPUID_EBX}, {0x80000021, 0, CPUID_ECX},
        {0x80000021, 0, CPUID_EDX},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* AMD repeats these bits of leaf 1 EDX in leaf 0x80000001 EDX (APM volume 3, E.4.2). */
#define EXT1_EDX_ALIASES UINT32_C(0x0183f3ff)

static const char brand[48] = "bulkhead baseline"; /* leaves 0x80000002 to 4, padded with zeros */

static uint32_t listed_bits(const struct feature *list, size_t count, uint32_t function, uint32_t index,
                            enum cpuid_reg reg)
{
        uint32_t bits = 0;

        for (size_t i = 0; i < count; i++)
                if (list[i].function == function && list[i].index == index && list[i].reg == reg)
                        bits |= CPUID_BIT(list[i].bit);
        return bits;
}

static int require_fixed(struct cpuid_table *t, struct err *e)
{
        char missing[400] = ""; /* room for every name of the list */

        for (size_t i = 0; i < COUNT(fixed); i++) {
                struct kvm_cpuid_entry2 *entry = cpuid_find(t, fixed[i].function, fixed[i].index);
                size_t used = strlen(missing);

                if (!entry || !(*cpuid_reg(entry, fixed[i].reg) & CPUID_BIT(fixed[i].bit)))
                        snprintf(missing + used, sizeof(missing) - used, " %s", fixed[i].name);
        }
        if (missing[0] == '\0')
                return 0;
        (void)err_bad(e, STATUS_HOST, "this host's KVM does not offer%s", missing);
        err_hint(e, "the CPU model host asks for no feature");
        return -EINVAL;
}

static void drop_other_leaves(struct cpuid_table *t)
{
        for (uint32_t i = 0; i < t->head.nent;) {
                bool kept = false;

                for (size_t j = 0; j < COUNT(leaves); j++)
                        kept |= leaves[j] == t->entries[i].function;
                if (kept)
                        i++;
                else
                        cpuid_remove(t, i);
        }
}

static void clear_other_features(struct cpuid_table *t)
{
        for (size_t i = 0; i < COUNT(feature_registers); i++) {
                uint32_t function = feature_registers[i].function, index = feature_registers[i].index;
                enum cpuid_reg reg = feature_registers[i].reg;
                struct kvm_cpuid_entry2 *entry = cpuid_find(t, function, index);

                if (entry)
                        *cpuid_reg(entry, reg) &= listed_bits(fixed, COUNT(fixed), function, index, reg) |
                                                  listed_bits(host, COUNT(host), function, index, reg);
        }
}

static int set_brand(struct cpuid_table *t)
{
        for (uint32_t i = 0; i < 3; i++) {
                struct kvm_cpuid_entry2 *entry = cpuid_add(t, 0x80000002 + i, 0);

                if (!entry)
                        return -E2BIG;
                for (uint32_t reg = CPUID_EAX; reg <= CPUID_EDX; reg++)
                        memcpy(cpuid_reg(entry, reg), brand + i * 16UL + reg * 4UL, 4);
        }
        return 0;
}

int cpuid_limit_to_baseline(struct cpuid_table *t, struct err *e)
{
        int r = require_fixed(t, e);

        if (r < 0)
                return r;
        drop_other_leaves(t);
        clear_other_features(t);
        if (cpuid_vendor_is_amd(t))
                cpuid_find(t, 0x80000001, 0)->edx |= cpuid_find(t, 0x1, 0)->edx & EXT1_EDX_ALIASES;
        r = set_brand(t);
        return r < 0 ? err_set(e, r, "add the brand string") : 0;
}
