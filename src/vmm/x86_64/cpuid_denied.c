/*
 * What is kept from every guest, whatever the host's KVM offers. Two rules decide: a guest sees nothing of
 * the host beyond its processor model (no counters, no power or topology data, no neighbours), and no feature
 * is announced whose MSRs the filter denies (msr_template.c). docs/cpu.md is the list for readers.
 *
 * Numbers: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
 */
#include <stddef.h>

#include "vmm/x86_64/cpuid_parts.h"

/* A leaf that is not here does not reach a guest: counters (0xa, 0x1c, 0x23, 0x80000022), SGX (0x12), tracing
 * (0x14), cache and bandwidth monitoring and allocation (0xf, 0x10, 0x80000020), MONITOR (5), frequencies
 * (0x15, 0x16), tiles (0x1d, 0x1e), SVM (0x8000000a), IBS (0x8000001b), memory encryption (0x8000001f) … */
static const struct {
        uint32_t function, last_index;
} kept_leaves[] = {
        {0x00000000, 0},                                    /* highest leaf, vendor */
        {0x00000001, 0},                                    /* family, model, stepping; features */
        {0x00000002, 0},                                    /* cache and TLB descriptors */
        {0x00000004, 7},                                    /* caches (Intel) */
        {0x00000006, 0},                                    /* of power management only: the APIC timer never stops */
        {0x00000007, 2},                                    /* features */
        {0x0000000d, 63},                                   /* XSAVE state components */
        {0x00000024, 1},                                    /* AVX10 */
        {0x80000000, 0},                                    /* highest extended leaf */
        {0x80000001, 0},                                    /* features */
        {0x80000002, 0},  {0x80000003, 0}, {0x80000004, 0}, /* brand string */
        {0x80000005, 0},  {0x80000006, 0},                  /* L1; L2, L3 */
        {0x80000007, 0},                                    /* of power management only: invariant TSC */
        {0x80000008, 0},                                    /* address widths; features */
        {0x80000019, 0},                                    /* TLB of 1 GiB pages */
        {0x8000001a, 0},                                    /* performance optimisation identifiers */
        {0x8000001d, 7},                                    /* caches (AMD) */
        {0x80000021, 0},                                    /* features */
};

#define ALL  UINT32_C(0xffffffff)
#define B(n) CPUID_BIT(n)

static const struct {
        uint32_t function, index;
        enum cpuid_reg reg;
        uint32_t bits;
} denied[] = {
        /* Performance counters, branch records, tracing, sampling: they see through isolation in time. */
        {0x1, 0, CPUID_ECX, B(2) | B(4) | B(15)},          /* DTES64, DS_CPL, PDCM */
        {0x1, 0, CPUID_EDX, B(21) | B(31)},                /* DS, PBE */
        {0x7, 0, CPUID_EBX, B(25)},                        /* INTEL_PT */
        {0x7, 0, CPUID_EDX, B(19)},                        /* ARCH_LBR */
        {0x7, 1, CPUID_EAX, B(8)},                         /* ARCH_PERFMON_EXT */
        {0x80000001, 0, CPUID_ECX, B(10) | B(23) | B(24)}, /* IBS, PERFCTR_CORE, PERFCTR_NB */
        {0x80000001, 0, CPUID_ECX, B(15) | B(27) | B(28)}, /* LWP, PERFTSC, PERFCTR_LLC */
        {0x80000008, 0, CPUID_EBX, B(31)},                 /* BRS */

        /* Nested virtualization, enclaves, memory encryption: each a second machine inside KVM. */
        {0x1, 0, CPUID_ECX, B(5) | B(6)},           /* VMX, SMX */
        {0x7, 0, CPUID_EBX, B(2)},                  /* SGX */
        {0x7, 0, CPUID_ECX, B(13) | B(23) | B(30)}, /* TME, KL, SGX_LC */
        {0x7, 0, CPUID_EDX, B(1) | B(18)},          /* SGX_KEYS, PCONFIG */
        {0x7, 1, CPUID_EBX, B(1)},                  /* PBNDKB */
        {0x80000001, 0, CPUID_ECX, B(2) | B(12)},   /* SVM, SKINIT */

        /* Holding, watching or steering the physical core, its power and its caches. */
        {0x1, 0, CPUID_ECX, B(3) | B(7) | B(8)}, /* MONITOR, EIST, TM2 */
        {0x1, 0, CPUID_EDX, B(22) | B(29)},      /* ACPI (thermal control), TM */
        {0x6, 0, CPUID_EAX, ~B(2)},              /* all but ARAT */
        {0x6, 0, CPUID_EBX, ALL},
        {0x6, 0, CPUID_ECX, ALL},                  /* APERFMPERF, EPB, feedback classes */
        {0x6, 0, CPUID_EDX, ALL},                  /* hardware feedback */
        {0x7, 0, CPUID_EBX, B(12) | B(15)},        /* RDT_M, RDT_A */
        {0x7, 0, CPUID_ECX, B(5) | B(24)},         /* WAITPKG, BUS_LOCK_DETECT */
        {0x7, 0, CPUID_EDX, B(15) | B(30)},        /* HYBRID, CORE_CAPABILITIES */
        {0x7, 1, CPUID_EAX, B(22)},                /* HRESET */
        {0x80000001, 0, CPUID_ECX, B(13) | B(29)}, /* WDT, MONITORX */
        {0x80000007, 0, CPUID_EAX, ALL},
        {0x80000007, 0, CPUID_EBX, ALL}, /* RAS: SUCCOR, SMCA */
        {0x80000007, 0, CPUID_ECX, ALL},
        {0x80000007, 0, CPUID_EDX, ~B(8)},                      /* all but the invariant TSC */
        {0x80000008, 0, CPUID_EBX, B(3) | B(4) | B(6) | B(27)}, /* INVLPGB, RDPRU, MBE, CPPC */

        /* Which host this is: serial number, NUMA node, core counts (set afresh), protected inventory. */
        {0x1, 0, CPUID_ECX, B(10) | B(14) | B(18)},        /* CNXT_ID, XTPR, DCA */
        {0x1, 0, CPUID_EDX, B(18) | B(28)},                /* PSN, HTT */
        {0x7, 1, CPUID_EBX, B(0)},                         /* PPIN */
        {0x80000001, 0, CPUID_ECX, B(1) | B(3) | B(19)},   /* CMP_LEGACY, EXTAPIC, NODEID_MSR */
        {0x80000008, 0, CPUID_ECX, ALL},                   /* core count, APIC id size, TSC counter */
        {0x80000008, 0, CPUID_EDX, ALL},                   /* RDPRU and INVLPGB limits */
        {0x80000021, 0, CPUID_EBX, ~UINT32_C(0x00ff0000)}, /* microcode patch size */

        /* Features that need MSRs a guest does not get, or state components it does not get. */
        {0x1, 0, CPUID_ECX, B(11)},                        /* SDBG */
        {0x7, 0, CPUID_EBX, B(14)},                        /* MPX */
        {0x7, 0, CPUID_ECX, B(29) | B(31)},                /* ENQCMD, PKS */
        {0x7, 0, CPUID_EDX, B(5) | B(9) | B(11) | B(13)},  /* UINTR, SRBDS_CTRL, RTM_ALWAYS_ABORT,
                                                              TSX_FORCE_ABORT */
        {0x7, 0, CPUID_EDX, B(22) | B(24) | B(25)},        /* AMX_BF16, AMX_TILE, AMX_INT8 */
        {0x7, 1, CPUID_EAX, B(17) | B(21) | B(27)},        /* FRED, AMX_FP16, MSRLIST */
        {0x7, 1, CPUID_EDX, B(8) | B(13) | B(15) | B(21)}, /* AMX_COMPLEX, UTMR, USER_MSR, APX_F */
        {0xd, 1, CPUID_EAX, B(4)},                         /* XFD */
        {0x80000001, 0, CPUID_ECX, B(26) | B(30)},         /* DBEXT, ADMSKEXTN */
        {0x80000021, 0, CPUID_EAX, B(31)},                 /* SRSO_MSR_FIX */

        /* Copies of CR4 bits: KVM keeps them up to date while the guest runs. */
        {0x1, 0, CPUID_ECX, B(27)}, /* OSXSAVE */
        {0x7, 0, CPUID_ECX, B(4)},  /* OSPKE */
};

bool cpuid_leaf_kept(uint32_t function, uint32_t index)
{
        for (size_t i = 0; i < sizeof(kept_leaves) / sizeof(kept_leaves[0]); i++)
                if (kept_leaves[i].function == function)
                        return index <= kept_leaves[i].last_index;
        return false;
}

void cpuid_deny(struct cpuid_table *t)
{
        for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
                struct kvm_cpuid_entry2 *entry = cpuid_find(t, denied[i].function, denied[i].index);

                if (entry)
                        *cpuid_reg(entry, denied[i].reg) &= ~denied[i].bits;
        }
}

/* XCR0: x87, SSE, AVX, the three of AVX-512, PKRU. Not MPX (3, 4), not tiles (17, 18: need a permission of
 * the host process), not APX (19). IA32_XSS: the two of CET. */
#define XCR0_KEPT (B(0) | B(1) | B(2) | B(5) | B(6) | B(7) | B(9))
#define XSS_KEPT  (B(11) | B(12))

#define XSAVE_LEGACY_BYTES 576U /* legacy region and XSAVE header: what XCR0 = 1 needs */

void cpuid_limit_xstate(struct cpuid_table *t)
{
        struct kvm_cpuid_entry2 *user = cpuid_find(t, 0xd, 0), *features = cpuid_find(t, 0xd, 1);
        uint32_t xcr0, kept, size_bytes = XSAVE_LEGACY_BYTES;

        if (!user || !features) {
                cpuid_drop(t, 0xd);
                return;
        }
        user->eax &= XCR0_KEPT;
        user->edx = 0;
        features->ecx &= XSS_KEPT;
        features->edx = 0;
        xcr0 = user->eax;
        kept = user->eax | features->ecx;

        for (uint32_t i = 0; i < t->head.nent;) {
                const struct kvm_cpuid_entry2 *entry = &t->entries[i];

                if (entry->function != 0xd || entry->index < 2) {
                        i++;
                } else if (entry->index >= 32 || !(kept & B(entry->index))) {
                        cpuid_remove(t, i);
                } else {
                        /* A component that XCR0 enables takes EAX bytes at offset EBX. */
                        if ((xcr0 & B(entry->index)) && entry->ebx + entry->eax > size_bytes)
                                size_bytes = entry->ebx + entry->eax;
                        i++;
                }
        }
        user = cpuid_find(t, 0xd, 0);
        user->ebx = XSAVE_LEGACY_BYTES; /* for the XCR0 of the moment: KVM updates it */
        user->ecx = size_bytes;         /* for all components enabled */
}
