#include "cli/doctor/guest.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "cli/child.h"

static const uint8_t guest_code[] = {
#include "doctor_guest.inc" /* guest.S, assembled */
};
_Static_assert(sizeof(guest_code) <= GUEST_BYTES - GUEST_CODE, "the guest's code fits its memory");

/* Page-table bits: Intel SDM vol. 3A, 4.5. */
#define PTE_PRESENT 1ULL
#define PTE_WRITE   2ULL
#define PTE_USER    4ULL
#define PTE_LARGE   0x80ULL

/* Control registers and EFER: Intel SDM vol. 3A, 2.5 and 2.2.1. */
#define CR0_PE         (1ULL << 0)
#define CR0_MP         (1ULL << 1)
#define CR0_ET         (1ULL << 4)
#define CR0_NE         (1ULL << 5)
#define CR0_WP         (1ULL << 16)
#define CR0_PG         (1ULL << 31)
#define CR4_PAE        (1ULL << 5)
#define CR4_OSFXSR     (1ULL << 9)
#define CR4_OSXMMEXCPT (1ULL << 10)
#define CR4_OSXSAVE    (1ULL << 18)
#define CR4_SMAP       (1ULL << 21)
#define EFER_SCE       (1ULL << 0)
#define EFER_LME       (1ULL << 8)
#define EFER_LMA       (1ULL << 10)

/* Where KVM keeps pages of its own on older Intel processors: below the 4 GiB boundary, far from the guest's
 * memory (Documentation/virt/kvm/api.rst, KVM_SET_TSS_ADDR). */
#define KVM_IDENTITY_MAP 0xfffbc000ULL
#define KVM_TSS          0xfffbd000UL

#define CPUID_MAX   256 /* entries: KVM_MAX_CPUID_ENTRIES */
#define EXITS_MAX   64  /* interruptions of KVM_RUN that are no exit of the guest's doing */
#define IDT_VECTORS 32
#define BREAKPOINT  3

/* The kernel's struct ends in an array without a size; the bytes give it one. */
union cpuid {
        struct kvm_cpuid2 table;
        uint8_t bytes[sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
};

struct machine {
        int vm_fd, vcpu_fd;
        uint8_t *ram;
        struct kvm_run *run;
        union cpuid cpuid;
};

/* The CPUID bit without which a kernel does not use the instruction: Intel SDM vol. 2A, CPUID. */
static const struct {
        uint32_t function;
        enum { EBX, ECX, EDX } reg;
        unsigned int bit;
} offered_by[PROBE_COUNT] = {
        [PROBE_POPCNT] = {1, ECX, 23}, [PROBE_CMPXCHG16B] = {1, ECX, 13}, [PROBE_XGETBV] = {1, ECX, 26},
        [PROBE_XSAVE] = {1, ECX, 26},  [PROBE_SMAP] = {7, EBX, 20},       [PROBE_RDTSCP] = {0x80000001, EDX, 27},
};

static bool offered(const union cpuid *c, unsigned int probe)
{
        if (offered_by[probe].function == 0)
                return true;
        for (uint32_t i = 0; i < c->table.nent; i++) {
                const struct kvm_cpuid_entry2 *e = &c->table.entries[i];
                uint32_t value = offered_by[probe].reg == EBX ? e->ebx : offered_by[probe].reg == ECX ? e->ecx : e->edx;

                if (e->function == offered_by[probe].function && e->index == 0)
                        return value >> offered_by[probe].bit & 1;
        }
        return false;
}

static void put64(struct machine *m, uint32_t gpa, uint64_t value)
{
        memcpy(m->ram + gpa, &value, sizeof(value));
}

static uint64_t entry_address(unsigned int entry)
{
        uint64_t offset;

        memcpy(&offset, guest_code + entry * sizeof(offset), sizeof(offset));
        return GUEST_CODE + offset;
}

static void gate_put(struct machine *m, unsigned int vector, uint64_t handler)
{
        /* A present 64-bit interrupt gate for ring 3 and below: Intel SDM vol. 3A, 6.14.1. */
        put64(m, GUEST_IDT + vector * 16,
              (handler & 0xffff) | (uint64_t)SEL_CODE << 16 | 0xee00ULL << 32 | (handler >> 16 & 0xffff) << 48);
        put64(m, GUEST_IDT + vector * 16 + 8, handler >> 32);
}

static void memory_fill(struct machine *m)
{
        /* Segment descriptors: Intel SDM vol. 3A, 3.4.5. */
        put64(m, GUEST_GDT + SEL_CODE, 0x00af9b000000ffff);
        put64(m, GUEST_GDT + SEL_DATA, 0x00cf93000000ffff);
        put64(m, GUEST_GDT + SEL_USER_DATA, 0x00cff3000000ffff);
        put64(m, GUEST_GDT + SEL_USER_CODE, 0x00affb000000ffff);

        put64(m, GUEST_PML4, GUEST_PDPT | PTE_PRESENT | PTE_WRITE | PTE_USER);
        put64(m, GUEST_PDPT, GUEST_PD | PTE_PRESENT | PTE_WRITE | PTE_USER);
        put64(m, GUEST_PD, PTE_PRESENT | PTE_WRITE | PTE_LARGE);
        put64(m, GUEST_PD + 8, PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_USER);

        for (unsigned int v = 0; v < IDT_VECTORS; v++)
                gate_put(m, v, entry_address(v == BREAKPOINT ? ENTRY_BREAKPOINT : ENTRY_UNEXPECTED));
        put64(m, GUEST_TSS + 4, GUEST_STACK); /* RSP0: Intel SDM vol. 3A, 7.7 */
        memcpy(m->ram + GUEST_CODE, guest_code, sizeof(guest_code));
}

static int vm_make(int kvm_fd, struct machine *m)
{
        struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}}; /* pins of the I/O APIC */
        uint64_t identity_map = KVM_IDENTITY_MAP;
        struct kvm_userspace_memory_region slot = {.memory_size = GUEST_BYTES};

        m->cpuid.table.nent = CPUID_MAX;
        m->ram = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m->ram == MAP_FAILED || ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &m->cpuid) < 0)
                return -errno;
        slot.userspace_addr = (uintptr_t)m->ram;
        m->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
        /* As bulkhead-vmm sets its machines up. */
        if (m->vm_fd < 0 || ioctl(m->vm_fd, KVM_ENABLE_CAP, &split) < 0 ||
            ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
            ioctl(m->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS) < 0 || ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
                return -errno;
        return 0;
}

static int vcpu_make(int kvm_fd, struct machine *m)
{
        int size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

        m->vcpu_fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, 0);
        if (size < 0 || m->vcpu_fd < 0 || ioctl(m->vcpu_fd, KVM_SET_CPUID2, &m->cpuid) < 0)
                return -errno;
        m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu_fd, 0);
        return m->run == MAP_FAILED ? -errno : 0;
}

static int registers_set(struct machine *m, unsigned int probe)
{
        const struct kvm_segment code = {
                .limit = UINT32_MAX, .selector = SEL_CODE, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
        const struct kvm_segment data = {
                .limit = UINT32_MAX, .selector = SEL_DATA, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
        struct kvm_regs regs = {.rip = entry_address(probe), .rsp = GUEST_STACK, .rflags = 2};
        struct kvm_sregs s;

        if (ioctl(m->vcpu_fd, KVM_GET_SREGS, &s) < 0)
                return -errno;
        s.cs = code;
        s.ds = s.es = s.fs = s.gs = s.ss = data;
        s.tr = (struct kvm_segment){.base = GUEST_TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1};
        s.gdt = (struct kvm_dtable){.base = GUEST_GDT, .limit = SEL_TSS + 16 - 1};
        s.idt = (struct kvm_dtable){.base = GUEST_IDT, .limit = IDT_VECTORS * 16 - 1};
        s.cr3 = GUEST_PML4;
        s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
        s.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
        if (offered(&m->cpuid, PROBE_XSAVE))
                s.cr4 |= CR4_OSXSAVE;
        if (probe == PROBE_SMAP)
                s.cr4 |= CR4_SMAP;
        s.efer = EFER_SCE | EFER_LME | EFER_LMA;
        if (ioctl(m->vcpu_fd, KVM_SET_SREGS, &s) < 0 || ioctl(m->vcpu_fd, KVM_SET_REGS, &regs) < 0)
                return -errno;
        return 0;
}

static enum guest_result output_judge(const struct machine *m)
{
        const struct kvm_run *run = m->run;
        uint8_t said;

        if (run->io.direction != KVM_EXIT_IO_OUT || run->io.port != GUEST_PORT || run->io.size != 1)
                return GUEST_OTHER_EXIT;
        said = *((const uint8_t *)run + run->io.data_offset);
        return said == GUEST_SAYS_DONE        ? GUEST_RAN
               : said == GUEST_SAYS_WRONG     ? GUEST_WRONG
               : said == GUEST_SAYS_EXCEPTION ? GUEST_EXCEPTION
                                              : GUEST_OTHER_EXIT;
}

static enum guest_result run_until_exit(const struct machine *m)
{
        for (int i = 0; i < EXITS_MAX; i++) {
                if (ioctl(m->vcpu_fd, KVM_RUN, 0) < 0) {
                        if (errno == EINTR || errno == EAGAIN)
                                continue;
                        return GUEST_OTHER_EXIT;
                }
                switch (m->run->exit_reason) {
                case KVM_EXIT_IO:
                        return output_judge(m);
                case KVM_EXIT_INTR:
                        continue;
                case KVM_EXIT_INTERNAL_ERROR:
                        return GUEST_INTERNAL_ERROR;
                case KVM_EXIT_SHUTDOWN:
                        return GUEST_SHUTDOWN;
                default:
                        return GUEST_OTHER_EXIT;
                }
        }
        return GUEST_OTHER_EXIT;
}

/* In the child, whose end frees all of it. */
static enum guest_result child_run(int kvm_fd, unsigned int probe)
{
        struct machine m = {.vm_fd = -1, .vcpu_fd = -1};

        if (vm_make(kvm_fd, &m) < 0)
                return GUEST_NO_VM;
        if (!offered(&m.cpuid, probe))
                return GUEST_NOT_OFFERED;
        memory_fill(&m);
        if (vcpu_make(kvm_fd, &m) < 0 || registers_set(&m, probe) < 0)
                return GUEST_NO_VM;
        return run_until_exit(&m);
}

enum guest_result probe_guest_run(int kvm_fd, unsigned int probe)
{
        int status = 0, ended;
        pid_t pid = fork();

        if (pid < 0)
                return GUEST_NO_VM;
        if (pid == 0)
                _exit((int)child_run(kvm_fd, probe));
        ended = child_wait(pid, GUEST_TIMEOUT_MS, &status);
        if (ended == -ETIMEDOUT)
                return GUEST_HUNG;
        if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) >= GUEST_RESULT_COUNT)
                return GUEST_DIED;
        return (enum guest_result)WEXITSTATUS(status);
}

const char *guest_result_text(enum guest_result result)
{
        static const char *const texts[GUEST_RESULT_COUNT] = {
                [GUEST_RAN] = "runs",
                [GUEST_NOT_OFFERED] = "not offered to guests, so not used by them",
                [GUEST_WRONG] = "gave a wrong result",
                [GUEST_EXCEPTION] = "raised an exception",
                [GUEST_INTERNAL_ERROR] = "KVM reported an internal error",
                [GUEST_SHUTDOWN] = "ended in a triple fault",
                [GUEST_OTHER_EXIT] = "ended in an exit that it did not ask for",
                [GUEST_NO_VM] = "KVM refused to set the virtual machine up",
                [GUEST_HUNG] = "did not end",
                [GUEST_DIED] = "the process running it died",
        };

        return texts[result];
}
