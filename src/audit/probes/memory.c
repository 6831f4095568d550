/* Memory: what two guests, or a guest and the host, have in common of it. */
#include "audit/probes/memory.h"
#include "audit/probes/tables.h"

#define MAPS_NEEDS "CAP_SYS_PTRACE or the guest's own user"

const struct check checks_memory[] = {
        {
                .id = "MEM-KSM",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The host does not merge equal pages of different guests.",
                .examined =
                        "/sys/kernel/mm/ksm/run, pages_shared, pages_sharing; VmFlags of every mapping of every guest",
                .rule = "merging, and a guest's memory is offered FAIL; merging, and none is WARN; stopped, but pages are still merged "
                        "FAIL; neither PASS",
                .source = "Documentation/admin-guide/mm/ksm.rst; Firecracker docs/prod-host-setup.md; CVE-2015-2877",
                .remedy =
                        "echo 2 > /sys/kernel/mm/ksm/run, which stops merging and undoes what was merged (0 only stops)",
                .needs = "",
                .host = memory_ksm_host,
        },
        {
                .id = "MEM-KSMG",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "None of a guest's pages are merged with others, and none are offered for it.",
                .examined =
                        "VmFlags (mg) and KSM: in /proc/PID/smaps of every process of the guest; /sys/kernel/mm/ksm/run",
                .rule = "pages are merged, or offered while the host merges FAIL; offered while it does not WARN",
                .source =
                        "Documentation/admin-guide/mm/ksm.rst; qemu(1), -machine mem-merge; madvise(2), MADV_MERGEABLE",
                .remedy =
                        "QEMU: -machine mem-merge=off (libvirt: <nosharepages/>), or RAM that is shared memory (memory-backend-memfd)",
                .needs = MAPS_NEEDS,
                .guest = memory_ksm_guest,
        },
        {
                .id = "MEM-PFN",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No page of the host's memory is in the RAM of two guests.",
                .examined =
                        "page frame numbers in /proc/PID/pagemap of the RAM of every guest, asked again where two have one in "
                        "common; /proc/kpageflags of those",
                .rule = "a page frame that two guests have at the same moment FAIL, the page of zeros aside",
                .source = "Documentation/admin-guide/mm/pagemap.rst",
                .remedy = "stop merging (MEM-KSM), or give each guest its own memory file, as the finding says",
                .needs = "root (CAP_SYS_ADMIN)",
                .pairs = memory_pfn_pairs,
        },
        {
                .id = "MEM-SHRW",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "Guests have no memory in common that one of them can write.",
                .examined = "device and inode of every shared mapping of every process of every guest",
                .rule = "the same file or memory object mapped shared by two guests, by one for writing FAIL; of a device WARN",
                .source = "mmap(2), MAP_SHARED; QEMU docs/system/devices/ivshmem.rst; Firecracker docs/pmem.md",
                .remedy = "remove ivshmem, shared pmem or share=on of one file from one of the guests",
                .needs = MAPS_NEEDS,
                .pairs = memory_writable_pairs,
        },
        {
                .id = "MEM-RAMFD",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No other guest can open a guest's RAM by a descriptor that its processes hold.",
                .examined =
                        "descriptors of the memory object that is RAM, in every process of the guest; whether that process is "
                        "dumpable (owner of /proc/PID/environ); uids, labels and PID namespaces of the others",
                .rule = "held by a dumpable process, and a process of another guest has its uid, or CAP_SYS_PTRACE, without a label or a PID namespace "
                        "between them FAIL; held by a dumpable process WARN; else PASS",
                .source = "proc(5): /proc/PID/fd is guarded by PTRACE_MODE_READ_FSCREDS, which Yama does not restrict",
                .remedy = "close the descriptor once RAM is mapped, prctl(PR_SET_DUMPABLE, 0), a uid for each guest",
                .needs = MAPS_NEEDS,
                .guest = memory_descriptor_guest,
        },
        {
                .id = "MEM-SHRO",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "Guests have no large file in common whose pages one could watch the other read.",
                .examined = "device and inode of mappings of 8 MiB and more, private or read-only, program files aside",
                .rule = "the same file mapped by two guests WARN",
                .source =
                        "Yarom and Falkner, Flush+Reload (eprint 2013/448); Firecracker docs/pmem.md and docs/snapshotting",
                .remedy = "a copy of the snapshot or image for each guest (cp --reflink=never)",
                .needs = MAPS_NEEDS,
                .pairs = memory_readable_pairs,
        },
        {
                .id = "MEM-FOREIGN",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No process but a guest's own has its RAM.",
                .examined = "mappings and descriptors of every process of the host but the first, by device and inode",
                .rule = "a process that is no child of the monitor, not in its jail and not connected with it by a socket FAIL; a device "
                        "process without a system-call filter or label WARN",
                .source = "vhost-user protocol (QEMU docs/interop/vhost-user.rst): a back end has all of RAM",
                .remedy = "end that process; start device processes with a sandbox",
                .needs = "root",
                .host = memory_foreign_host,
        },
        {
                .id = "MEM-BACKEND",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No device process has the RAM of two guests.",
                .examined = "mappings and descriptors of every process of the host but the first, by device and inode",
                .rule = "one that has a system-call filter or a label WARN, one that has neither FAIL",
                .source = "vhost-user protocol (QEMU docs/interop/vhost-user.rst): a back end has all of RAM",
                .remedy = "a back end for each guest, with a sandbox",
                .needs = "root",
                .pairs = memory_backend_pairs,
        },
        {
                .id = "MEM-SEALS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "Nobody can cut a guest's RAM short under it.",
                .examined =
                        "seals of the memory object that is RAM, by every descriptor of it that a process of the guest holds",
                .rule = "F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL set, or no descriptor held of memory without a name PASS; else WARN; anonymous memory NA",
                .source = "memfd_create(2), File sealing",
                .remedy = "seal the memory file (QEMU: -object memory-backend-memfd,seal=on)",
                .needs = "root",
                .guest = memory_seals_guest,
        },
        {
                .id = "MEM-SWAP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's RAM does not end up on a disk in the clear.",
                .examined =
                        "/proc/swaps and what each area lies on (dm-crypt, zram); Swap: and VmFlags (lo) of RAM in /proc/PID/smaps; "
                        "memory.swap.max",
                .rule = "no swap space, encrypted, in memory, or RAM that stays PASS; RAM swapped out elsewhere FAIL; that may be WARN",
                .source = "Firecracker docs/prod-host-setup.md, swap; swapon(8); cryptsetup(8)",
                .remedy = "swapoff -a, or swap on dm-crypt with a key of this boot (crypttab(5), option swap)",
                .needs = MAPS_NEEDS,
                .host = memory_swap_host,
        },
        {
                .id = "MEM-CORE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A crash of a guest's process does not write its RAM out.",
                .examined =
                        "VmFlags (dd) of RAM in every process of the guest, coredump_filter, dumpability, fs.suid_dumpable, RLIMIT_CORE, core_pattern",
                .rule = "RAM left out of dumps, or no dump PASS; a dump to the host's disk or handler WARN; to a file of a user that "
                        "another guest has, too FAIL",
                .source = "core(5); madvise(2), MADV_DONTDUMP; qemu(1), -machine dump-guest-core",
                .remedy =
                        "QEMU: -machine dump-guest-core=off; a monitor that is not dumpable; RLIMIT_CORE 0 (1 where core_pattern is a pipe)",
                .needs = MAPS_NEEDS,
                .guest = memory_core_guest,
        },
        {
                .id = "MEM-ECC",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The host's memory corrects flipped bits, and has seen none.",
                .examined = "/sys/devices/system/edac/mc/mc*: mode of every module, ce_count, ue_count",
                .rule = "errors counted, or modules without correction WARN; no driver, no mode, or a host that is a virtual machine UNKNOWN",
                .source = "Documentation/driver-api/edac.rst; Firecracker docs/prod-host-setup.md, Rowhammer",
                .remedy = "ECC memory with an EDAC driver; replace modules that err; look for guests that hammer",
                .needs = "",
                .host = memory_ecc_host,
        },
        {
                .id = "MEM-TEXT",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_PASS,
                .claim = "Which guests' monitors share their program's pages is known.",
                .examined = "device and inode of /proc/PID/exe of every monitor",
                .rule = "PASS in any case, and it says which share",
                .source =
                        "Yarom and Falkner, Flush+Reload (eprint 2013/448); Firecracker docs/jailer.md copies the program for each jail",
                .remedy = "a copy of the program for each guest, where monitors' timing is a secret",
                .needs = MAPS_NEEDS,
                .pairs = memory_text_pairs,
        },
        {
                .id = "MEM-INITFREE",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_PASS,
                .claim = "Whether the kernel wipes memory already when it is freed is known.",
                .examined = "init_on_free= in /proc/cmdline, CONFIG_INIT_ON_FREE_DEFAULT_ON in /boot/config-RELEASE",
                .rule = "PASS in any case, and it says which",
                .source = "Documentation/admin-guide/kernel-parameters.txt, init_on_free",
                .remedy = "init_on_free=1 on the kernel's command line",
                .needs = "",
                .host = memory_init_host,
        },
        {
                .id = "MEM-CC",
                .severity = SEVERITY_INFO,
                .worst = VERDICT_PASS,
                .claim = "Whether a guest's RAM is kept from the host itself is known.",
                .examined = "descriptors of the monitor: guest_memfd, /dev/sev, /dev/tdx",
                .rule = "PASS in any case, and it says which",
                .source =
                        "Documentation/virt/kvm/api.rst, KVM_CREATE_GUEST_MEMFD; Documentation/virt/kvm/x86/amd-memory-encryption.rst",
                .remedy = "a confidential guest (SEV-SNP, TDX), where the host is not trusted",
                .needs = MAPS_NEEDS,
                .guest = memory_confidential_guest,
        },
        {.id = NULL},
};
