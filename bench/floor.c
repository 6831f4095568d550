/*
 * floor: the least that any jailed monitor has to do, and nothing else. It opens /dev/kvm and the guest,
 * clones a child into eight new namespaces, and the child builds a virtual machine with one slot and one
 * vCPU, loads the guest, runs it and copies what it writes to a port to standard output. `bulkhead run` is
 * measured against this.
 *
 * It isolates nothing: no root, no ids, no filter, no limits. The guest is trusted: its ELF header is
 * believed, and its entry point must be its PVH entry (32-bit protected mode, paging off), as it is in
 * guests/lib/guest.lds.
 *
 * It is compiled and linked like bulkhead-vmm, so that the C library and the relocations cost both the same.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

#define RAM_BYTES  (128ULL << 20)
#define RFLAGS_ONE 2 /* Intel SDM vol. 1, 3.4.3: bit 1 is always set */
#define CR0_PE_ET  0x11

/* Prints what failed and ends the process: there is nothing to clean up that the kernel does not. */
static void check(long r, const char *what)
{
        if (r >= 0)
                return;
        perror(what);
        _exit(1);
}

static uint64_t guest_load(int fd, uint8_t *ram)
{
        Elf64_Ehdr eh;
        Elf64_Phdr ph;

        check(pread(fd, &eh, sizeof(eh), 0) == sizeof(eh) ? 0 : -1, "read the guest's ELF header");
        for (unsigned int i = 0; i < eh.e_phnum; i++) {
                check(pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))) == sizeof(ph) ? 0 : -1,
                      "read a program header");
                if (ph.p_type != PT_LOAD || ph.p_filesz == 0)
                        continue;
                check(pread(fd, ram + ph.p_paddr, ph.p_filesz, (off_t)ph.p_offset), "read a segment");
        }
        return eh.e_entry;
}

/* The PVH entry state: flat 32-bit segments, no paging (Xen docs/misc/pvh.pandoc). */
static void registers_set(int vcpu, uint64_t entry)
{
        const struct kvm_segment code = {
                .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1};
        const struct kvm_segment data = {
                .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
        const struct kvm_segment task = {.limit = 0x67, .type = 11, .present = 1};
        struct kvm_regs regs = {.rflags = RFLAGS_ONE, .rip = entry};
        struct kvm_sregs s;

        check(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
        s.cs = code;
        s.ds = s.es = s.fs = s.gs = s.ss = data;
        s.tr = task;
        s.cr0 = CR0_PE_ET;
        check(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
        check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* Copies the guest's output until it halts; then sleeps for good, so that its memory can be measured. */
static _Noreturn void guest_run(int vcpu, const struct kvm_run *run)
{
        for (;;) {
                check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
                if (run->exit_reason == KVM_EXIT_HLT)
                        break;
                check(run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT ? 0 : -1,
                      "unexpected exit");
                check(write(STDOUT_FILENO, (const uint8_t *)run + run->io.data_offset, run->io.size), "write");
        }
        for (;;)
                pause();
}

static _Noreturn void child_main(int kvm, int guest)
{
        struct kvm_userspace_memory_region slot = {.memory_size = RAM_BYTES};
        uint8_t *ram =
                mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        struct kvm_run *run;
        int vm, vcpu, size;

        check(ram == MAP_FAILED ? -1 : 0, "map guest memory");
        vm = ioctl(kvm, KVM_CREATE_VM, 0);
        check(vm, "KVM_CREATE_VM");
        slot.userspace_addr = (uintptr_t)ram;
        check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
        vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
        check(vcpu, "KVM_CREATE_VCPU");
        size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
        check(size, "KVM_GET_VCPU_MMAP_SIZE");
        run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
        check(run == MAP_FAILED ? -1 : 0, "map the vCPU");
        registers_set(vcpu, guest_load(guest, ram));
        guest_run(vcpu, run);
}

int main(int argc, char *argv[])
{
        struct clone_args args = {
                .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                         CLONE_NEWCGROUP | CLONE_NEWTIME,
                .exit_signal = SIGCHLD,
        };
        int kvm, guest, status;
        pid_t pid;

        if (argc != 2) {
                fputs("usage: floor GUEST.elf\n", stderr);
                return 2;
        }
        kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        check(kvm, "open /dev/kvm");
        guest = open(argv[1], O_RDONLY | O_CLOEXEC);
        check(guest, argv[1]);
        pid = sys_clone3(&args);
        check(pid, "clone3");
        if (pid == 0)
                child_main(kvm, guest);
        check(waitpid(pid, &status, 0), "wait for the child");
        return 1; /* the child only ends when something failed */
}
