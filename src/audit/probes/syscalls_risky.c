#include "audit/probes/syscalls_risky.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

#define POINTER    0x7f0000001000ULL
#define HERE       ((uint64_t)AT_FDCWD)
#define NAME(call) SYS_##call, #call

const struct risky_call risky_calls[] = {
        {NAME(execve), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, POINTER, POINTER}}},
        {NAME(execveat), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER, POINTER, POINTER, AT_EMPTY_PATH}}},
        {NAME(ptrace), RISK_TAKEOVER, .typical_count = 2, .typical = {{PTRACE_ATTACH, 1}, {PTRACE_SEIZE, 1}}},
        {NAME(process_vm_readv), RISK_TAKEOVER, .typical_count = 1, .typical = {{1, POINTER, 1, POINTER, 1}}},
        {NAME(process_vm_writev), RISK_TAKEOVER, .typical_count = 1, .typical = {{1, POINTER, 1, POINTER, 1}}},
        {NAME(pidfd_getfd), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, 3}}},
        {NAME(process_madvise), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER, 1, MADV_DONTNEED}}},
        {NAME(kcmp), RISK_TAKEOVER, .typical_count = 1, .typical = {{1, 2}}},
        {NAME(mount), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, POINTER, POINTER, MS_BIND}}},
        {NAME(umount2), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, MNT_DETACH}}},
        {NAME(pivot_root), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, POINTER}}},
        {NAME(chroot), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(move_mount), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER, HERE, POINTER}}},
        {NAME(open_tree), RISK_TAKEOVER, .typical_count = 1, .typical = {{HERE, POINTER, 1}}},
        {NAME(fsopen), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(fsconfig), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, 1, POINTER, POINTER}}},
        {NAME(fsmount), RISK_TAKEOVER, .typical_count = 1, .typical = {{3}}},
        {NAME(fspick), RISK_TAKEOVER, .typical_count = 1, .typical = {{HERE, POINTER}}},
        {NAME(mount_setattr), RISK_TAKEOVER, .typical_count = 1, .typical = {{HERE, POINTER, 0, POINTER, 32}}},
        {NAME(setns), RISK_TAKEOVER, .typical_count = 2, .typical = {{3, 0}, {3, CLONE_NEWNS}}},
        {NAME(unshare), RISK_TAKEOVER, .typical_count = 2, .typical = {{CLONE_NEWUSER}, {CLONE_NEWUSER | CLONE_NEWNS}}},
        {NAME(bpf), RISK_TAKEOVER, .typical_count = 1, .typical = {{5, POINTER, 120}}},
        {NAME(perf_event_open), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, 0, UINT64_MAX, UINT64_MAX}}},
        {NAME(kexec_load), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, 1, POINTER}}},
        {NAME(kexec_file_load), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, 4, 1, POINTER}}},
        {NAME(init_module), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, 4096, POINTER}}},
        {NAME(finit_module), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER}}},
        {NAME(delete_module), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(keyctl), RISK_TAKEOVER, .typical_count = 1, .typical = {{11, 1, POINTER, 64}}},
        {NAME(add_key), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, POINTER, POINTER, 8, 1}}},
        {NAME(request_key), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER, POINTER, POINTER}}},
        {NAME(open_by_handle_at), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER, O_RDWR}}},
        {NAME(userfaultfd), RISK_TAKEOVER, .typical_count = 2, .typical = {{O_CLOEXEC}, {O_CLOEXEC | 1}}},
        {NAME(iopl), RISK_TAKEOVER, .typical_count = 1, .typical = {{3}}},
        {NAME(ioperm), RISK_TAKEOVER, .typical_count = 1, .typical = {{0x70, 2, 1}}},
        {NAME(reboot), RISK_TAKEOVER, .typical_count = 1, .typical = {{0xfee1dead, 0x28121969, 0x1234567}}},
        {NAME(swapon), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(acct), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(settimeofday), RISK_TAKEOVER, .typical_count = 1, .typical = {{POINTER}}},
        {NAME(syslog), RISK_TAKEOVER, .typical_count = 1, .typical = {{3, POINTER, 4096}}},
        {NAME(modify_ldt), RISK_TAKEOVER, .typical_count = 1, .typical = {{1, POINTER, 16}}},

        /* Without CLONE_THREAD: another process. clone3 has its flags in memory, where no filter can look. */
        {NAME(clone), RISK_REACH, .only_typical = true, .typical_count = 2,
         .typical = {{SIGCHLD}, {CLONE_NEWUSER | SIGCHLD}}},
        {NAME(clone3), RISK_REACH, .typical_count = 1, .typical = {{POINTER, 88}}},
        {NAME(fork), RISK_REACH},
        {NAME(vfork), RISK_REACH},
        {NAME(socket), RISK_REACH, .typical_count = 4,
         .typical = {{AF_INET, SOCK_STREAM}, {AF_UNIX, SOCK_STREAM}, {AF_NETLINK, SOCK_RAW}, {AF_VSOCK, SOCK_STREAM}}},
        {NAME(connect), RISK_REACH, .typical_count = 1, .typical = {{3, POINTER, 16}}},
        {NAME(bind), RISK_REACH, .typical_count = 1, .typical = {{3, POINTER, 16}}},
        {NAME(open), RISK_REACH, .typical_count = 2, .typical = {{POINTER, O_RDONLY}, {POINTER, O_RDWR}}},
        {NAME(openat), RISK_REACH, .typical_count = 2, .typical = {{HERE, POINTER, O_RDONLY}, {HERE, POINTER, O_RDWR}}},
        {NAME(openat2), RISK_REACH, .typical_count = 1, .typical = {{HERE, POINTER, POINTER, 24}}},
        {NAME(creat), RISK_REACH, .typical_count = 1, .typical = {{POINTER, 0600}}},
        {NAME(mknodat), RISK_REACH, .typical_count = 1, .typical = {{HERE, POINTER, 060600, 0x800}}},
        {NAME(linkat), RISK_REACH, .typical_count = 1, .typical = {{HERE, POINTER, HERE, POINTER}}},
        {NAME(symlinkat), RISK_REACH, .typical_count = 1, .typical = {{POINTER, HERE, POINTER}}},
        {NAME(fchmodat), RISK_REACH, .typical_count = 1, .typical = {{HERE, POINTER, 04755}}},
        {NAME(io_uring_setup), RISK_REACH, .typical_count = 1, .typical = {{64, POINTER}}},
        {NAME(io_uring_enter), RISK_REACH, .typical_count = 1, .typical = {{3, 1, 1, 1}}},
        {NAME(io_uring_register), RISK_REACH, .typical_count = 1, .typical = {{3, 0, POINTER, 1}}},
        {NAME(kill), RISK_REACH, .only_typical = true, .typical_count = 2,
         .typical = {{1, SIGKILL}, {UINT64_MAX, SIGKILL}}},
        {NAME(shmget), RISK_REACH, .typical_count = 1, .typical = {{0x1234, 4096, 01600}}},
        {NAME(mq_open), RISK_REACH, .typical_count = 1, .typical = {{POINTER, O_RDWR}}},
        {NAME(mmap), RISK_REACH, .only_typical = true, .typical_count = 2,
         .typical = {{0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX},
                     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, 3}}},
        {NAME(mprotect), RISK_REACH, .only_typical = true, .typical_count = 2,
         .typical = {{POINTER, 4096, PROT_READ | PROT_EXEC}, {POINTER, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}}},
        {NAME(pkey_mprotect), RISK_REACH, .only_typical = true, .typical_count = 2,
         .typical = {{POINTER, 4096, PROT_READ | PROT_EXEC}, {POINTER, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}}},
};

const size_t risky_calls_count = ARRAY_LEN(risky_calls);
