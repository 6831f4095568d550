/*
 * Sources: Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol" (selectors 0x10 and 0x18, identity map, rsi);
 * Xen docs/misc/pvh.pandoc, "x86/HVM direct boot ABI" (32-bit flat segments, TR, ebx); Intel SDM vol. 3, 3.4.5 for
 * descriptors, 4.5 for paging, 11.11 for MTRRs.
 */
#include "vmm/x86_64/boot_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "vmm/x86_64/layout.h"

#define CR0_PE          (1UL << 0)
#define CR0_ET          (1UL << 4)
#define CR0_NE          (1UL << 5)
#define CR0_WP          (1UL << 16)
#define CR0_PG          (1UL << 31)
#define CR4_PAE         (1UL << 5)
#define EFER_LME        (1UL << 8)
#define EFER_LMA        (1UL << 10)
#define RFLAGS_RESERVED 2UL

#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18

#define MSR_IA32_MISC_ENABLE    0x1a0
#define MISC_ENABLE_FAST_STRING 1U
#define MSR_MTRR_DEF_TYPE       0x2ff
#define MTRR_ENABLE             (1U << 11)
#define MTRR_WRITE_BACK         6U

#define PTE_PRESENT_WRITE 3ULL
#define PDE_LARGE         (1ULL << 7)
#define LARGE_PAGE        (2ULL << 20)
#define DIRECTORIES       4 /* 1 GiB each */

static const struct kvm_segment code64 = {
        .limit = 0xffffffff, .selector = SELECTOR_CODE, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
static const struct kvm_segment code32 = {
        .limit = 0xffffffff, .selector = SELECTOR_CODE, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1};
static const struct kvm_segment data32 = {
        .limit = 0xffffffff, .selector = SELECTOR_DATA, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
static const struct kvm_segment task = {.limit = 0x67, .type = 11, .present = 1};

/* A segment as the GDT holds it (base is always 0 here). */
static uint64_t descriptor(const struct kvm_segment *s)
{
        uint64_t limit = s->g ? s->limit >> 12 : s->limit;
        uint64_t access = s->type | (uint64_t)s->s << 4 | (uint64_t)s->dpl << 5 | (uint64_t)s->present << 7;
        uint64_t flags = (uint64_t)s->avl | (uint64_t)s->l << 1 | (uint64_t)s->db << 2 | (uint64_t)s->g << 3;

        return (limit & 0xffff) | access << 40 | (limit >> 16 & 0xf) << 48 | flags << 52;
}

static int gdt_write(const struct guest_ram *ram, const struct kvm_segment *code)
{
        const uint64_t gdt[] = {0, 0, descriptor(code), descriptor(&data32)};

        return guest_ram_write(ram, LAYOUT_GDT, gdt, sizeof(gdt));
}

/* Identity map of the first 4 GiB with 2 MiB pages: one PML4, one PDPT, four page directories. */
static int page_tables_write(const struct guest_ram *ram)
{
        const gpa_t pdpt = LAYOUT_PAGE_TABLES + 0x1000, pd = LAYOUT_PAGE_TABLES + 0x2000;
        uint64_t *tables = guest_ram_at(ram, LAYOUT_PAGE_TABLES, (2 + DIRECTORIES) * 0x1000ULL);

        if (!tables)
                return -EFAULT;
        memset(tables, 0, 2 * 0x1000UL);
        tables[0] = pdpt | PTE_PRESENT_WRITE;
        for (uint64_t i = 0; i < DIRECTORIES; i++)
                tables[512 + i] = (pd + i * 0x1000) | PTE_PRESENT_WRITE;
        for (uint64_t i = 0; i < DIRECTORIES * 512ULL; i++)
                tables[1024 + i] = i * LARGE_PAGE | PTE_PRESENT_WRITE | PDE_LARGE;
        return 0;
}

/*
 * Linux never restarts a hardware-reduced ACPI machine by the ACPI reset register: it asks EFI and, as there is none,
 * jumps to the BIOS in real mode (arch/x86/kernel/reboot.c: reboot_init(), machine_real_restart()). This is all there
 * is of a BIOS: it writes the reset register.
 */
static int reset_code_write(const struct guest_ram *ram)
{
        static const uint8_t code[] = {
                0xb0,
                LAYOUT_PM_RESET_VALUE, /* mov $value, %al */
                0xba,
                (LAYOUT_PM_PORT + LAYOUT_PM_RESET) & 0xff,
                (LAYOUT_PM_PORT + LAYOUT_PM_RESET) >> 8, /* mov $port, %dx */
                0xee,                                    /* out %al, (%dx) */
                0xf4,                                    /* hlt */
                0xeb,
                0xfd, /* jmp to the hlt */
        };

        _Static_assert(LAYOUT_RESET + sizeof(code) <= LAYOUT_HIGH_RAM, "it fits below 1 MiB");
        return guest_ram_write(ram, LAYOUT_RESET, code, sizeof(code));
}

static void sregs_for(enum boot_protocol protocol, struct kvm_sregs *s)
{
        const struct kvm_segment *code = protocol == BOOT_LINUX64 ? &code64 : &code32;

        s->cs = *code;
        s->ds = s->es = s->fs = s->gs = s->ss = data32;
        s->tr = task;
        s->gdt = (struct kvm_dtable){.base = LAYOUT_GDT, .limit = 4 * sizeof(uint64_t) - 1};
        s->idt = (struct kvm_dtable){.base = 0, .limit = 0};
        if (protocol == BOOT_LINUX64) {
                s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
                s->cr3 = LAYOUT_PAGE_TABLES;
                s->cr4 = CR4_PAE;
                s->efer = EFER_LME | EFER_LMA;
        } else {
                s->cr0 = CR0_PE | CR0_ET;
                s->cr3 = 0;
                s->cr4 = 0;
                s->efer = 0;
        }
}

int boot_state_set(int vcpu_fd, const struct guest_ram *ram, const struct boot_entry *entry, struct err *e)
{
        struct kvm_regs regs = {.rflags = RFLAGS_RESERVED, .rip = entry->entry};
        struct kvm_sregs sregs;
        int r = gdt_write(ram, entry->protocol == BOOT_LINUX64 ? &code64 : &code32);

        if (r == 0 && entry->protocol == BOOT_LINUX64)
                r = page_tables_write(ram);
        if (r == 0)
                r = reset_code_write(ram);
        if (r < 0)
                return err_set(e, r, "write the boot-time tables into guest memory");

        if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
                return err_set(e, -errno, "read the boot processor's segments");
        sregs_for(entry->protocol, &sregs);
        if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
                return err_set(e, -errno, "set the boot processor's segments");

        if (entry->protocol == BOOT_LINUX64) {
                regs.rsi = entry->info;
                regs.rsp = LAYOUT_BOOT_STACK;
        } else {
                regs.rbx = entry->info;
        }
        if (ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
                return err_set(e, -errno, "set the boot processor's registers");
        return 0;
}

int boot_msrs_set(int vcpu_fd, struct err *e)
{
        struct { /* struct kvm_msrs with room for its entries */
                uint32_t nmsrs, pad;
                struct kvm_msr_entry entries[2];
        } msrs = {
                .nmsrs = ARRAY_LEN(msrs.entries),
                .entries = {{.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
                            {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK}},
        };
        int n;

        n = ioctl(vcpu_fd, KVM_SET_MSRS, &msrs);
        if (n < 0)
                return err_set(e, -errno, "set a processor's MSRs");
        if ((uint32_t)n != msrs.nmsrs)
                return err_set(e, -EINVAL, "set MSR %#x", msrs.entries[n].index);
        return 0;
}
