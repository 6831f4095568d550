/*
 * Every MSR that a guest may name, and why. Reads are of state that KVM keeps for the guest, never of the
 * host's; writes change only the guest's own processor. docs/cpu.md has the same table for readers, and says
 * what is missing here on purpose.
 */
#include "vmm/x86_64/msr.h"

#define R  MSR_READ
#define W  MSR_WRITE
#define RW (MSR_READ | MSR_WRITE)

const struct msr_range msr_template[] = {
        /* Time, identity, local APIC. */
        {0x10, 0x10, RW, "IA32_TIME_STAMP_COUNTER"},
        {0x17, 0x17, R, "IA32_PLATFORM_ID"}, /* 0 from KVM; read early by new Linux, which cannot take a #GP */
        {0x1b, 0x1b, RW, "IA32_APIC_BASE"},
        {0x3b, 0x3b, RW, "IA32_TSC_ADJUST"},
        /* What a guest needs to mitigate the processor's bugs. */
        {0x48, 0x48, RW, "IA32_SPEC_CTRL"},
        {0x49, 0x49, W, "IA32_PRED_CMD"},
        {0x8b, 0x8b, RW, "IA32_BIOS_SIGN_ID"}, /* microcode revision; Intel: write 0, CPUID, read */
        {0xce, 0xce, R, "MSR_PLATFORM_INFO"},  /* from KVM: only that CPUID can fault in user mode */
        {0xfe, 0xfe, R, "IA32_MTRRCAP"},
        {0x10a, 0x10a, R, "IA32_ARCH_CAPABILITIES"},
        {0x10b, 0x10b, W, "IA32_FLUSH_CMD"},
        {0x122, 0x122, RW, "IA32_TSX_CTRL"},
        {0x140, 0x140, RW, "MISC_FEATURE_ENABLES"}, /* CPUID faulting, done by KVM */
        /* Fast system calls of 32-bit programs. */
        {0x174, 0x176, RW, "IA32_SYSENTER_CS, ESP, EIP"},
        /* Machine checks: KVM's emulation, 32 banks without errors. No MCG_CTL: MCG_CAP does not have it. */
        {0x179, 0x179, R, "IA32_MCG_CAP"},
        {0x17a, 0x17a, RW, "IA32_MCG_STATUS"},
        {0x1a0, 0x1a0, RW, "IA32_MISC_ENABLE"}, /* Linux's boot code reads it before it can take a #GP */
        /* Memory types; KVM has eight variable ranges. */
        {0x200, 0x20f, RW, "IA32_MTRR_PHYSBASE0 to PHYSMASK7"},
        {0x250, 0x250, RW, "IA32_MTRR_FIX64K_00000"},
        {0x258, 0x259, RW, "IA32_MTRR_FIX16K_80000, A0000"},
        {0x268, 0x26f, RW, "IA32_MTRR_FIX4K_C0000 to F8000"},
        {0x277, 0x277, RW, "IA32_PAT"},
        {0x2ff, 0x2ff, RW, "IA32_MTRR_DEF_TYPE"},
        {0x400, 0x47f, RW, "IA32_MC0_CTL to MC31_MISC"},
        /* Control-flow enforcement, where CPUID has it. */
        {0x6a0, 0x6a0, RW, "IA32_U_CET"},
        {0x6a2, 0x6a2, RW, "IA32_S_CET"},
        {0x6a4, 0x6a7, RW, "IA32_PL0_SSP to PL3_SSP"},
        {0x6a8, 0x6a8, RW, "IA32_INTERRUPT_SSP_TABLE_ADDR"},
        {0x6e0, 0x6e0, RW, "IA32_TSC_DEADLINE"},
        {0xda0, 0xda0, RW, "IA32_XSS"},
        /* KVM's own: clock, steal time, end of interrupt without an exit. */
        {0x4b564d00, 0x4b564d00, RW, "MSR_KVM_WALL_CLOCK_NEW"},
        {0x4b564d01, 0x4b564d01, RW, "MSR_KVM_SYSTEM_TIME_NEW"},
        {0x4b564d03, 0x4b564d03, RW, "MSR_KVM_STEAL_TIME"},
        {0x4b564d04, 0x4b564d04, RW, "MSR_KVM_PV_EOI_EN"},
        /* 64-bit mode. */
        {0xc0000080, 0xc0000080, RW, "IA32_EFER"},
        {0xc0000081, 0xc0000084, RW, "IA32_STAR, LSTAR, CSTAR, FMASK"},
        {0xc0000100, 0xc0000102, RW, "IA32_FS_BASE, GS_BASE, KERNEL_GS_BASE"},
        {0xc0000103, 0xc0000103, RW, "IA32_TSC_AUX"},
        /* AMD. Linux reads the first four without expecting a #GP; KVM answers with constants. */
        {0xc0010010, 0xc0010010, R, "SYSCFG"},
        {0xc0010015, 0xc0010015, RW, "HWCR"},
        {0xc001001f, 0xc001001f, RW, "NB_CFG1"},
        {0xc0010055, 0xc0010055, R, "Interrupt Pending"},
        {0xc001011f, 0xc001011f, RW, "VIRT_SPEC_CTRL"},
        {0xc0010140, 0xc0010141, R, "OSVW_ID_LENGTH, OSVW_STATUS"},
        {0xc0011029, 0xc0011029, RW, "DE_CFG"}, /* is LFENCE serialising? */
};

const size_t msr_template_count = sizeof(msr_template) / sizeof(msr_template[0]);
