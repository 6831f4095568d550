#include "call.h"

#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Calls that do different things by one of their arguments. */
static const struct {
        uint64_t number;
        unsigned int argument;
} multiplexers[] = {
        {SYS_ioctl, 1},   {SYS_prctl, 0}, {SYS_fcntl, 1},      {SYS_prlimit64, 1},
        {SYS_seccomp, 0}, {SYS_futex, 1}, {SYS_arch_prctl, 0}, {SYS_fsconfig, 1},
};

/* Calls with a text among their arguments. */
static const struct {
        uint64_t number;
        unsigned int argument;
} texts[] = {
        {SYS_open, 0},       {SYS_openat, 1},       {SYS_mkdir, 0},  {SYS_mkdirat, 1},  {SYS_rmdir, 0},
        {SYS_unlink, 0},     {SYS_unlinkat, 1},     {SYS_rename, 0}, {SYS_renameat, 1}, {SYS_readlink, 0},
        {SYS_readlinkat, 1}, {SYS_statfs, 0},       {SYS_stat, 0},   {SYS_lstat, 0},    {SYS_newfstatat, 1},
        {SYS_symlinkat, 0},  {SYS_memfd_create, 0}, {SYS_fsopen, 0}, {SYS_fsconfig, 2}, {SYS_write, 1},
        {SYS_access, 0},     {SYS_faccessat, 1},
};

/* Calls of which it matters what their first argument is a descriptor of. */
static const uint64_t of_files[] = {SYS_read, SYS_fstat, SYS_getdents64, SYS_ioctl};

void call_key(char key[CALL_KEY_MAX], uint64_t number, const uint64_t args[6])
{
        _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)number);

        snprintf(key, CALL_KEY_MAX, "%s", name ? name : "unknown");
        for (size_t i = 0; i < ARRAY_LEN(multiplexers); i++)
                if (multiplexers[i].number == number)
                        snprintf(key, CALL_KEY_MAX, "%s:0x%llx", name ? name : "unknown",
                                 (unsigned long long)(args[multiplexers[i].argument] & UINT32_MAX));
}

void call_detail(char detail[CALL_DETAIL_MAX], pid_t tid, uint64_t number, const uint64_t args[6])
{
        char link[64];
        ssize_t len = 0;

        for (size_t i = 0; i < ARRAY_LEN(of_files); i++)
                if (of_files[i] == number) {
                        snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)tid, (int)args[0]);
                        len = readlink(link, detail, CALL_DETAIL_MAX - 1);
                        detail[len < 0 ? 0 : len] = '\0';
                        return;
                }
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
                while (texts[i].number == number && len < CALL_DETAIL_MAX - 1 &&
                       (number != SYS_write || (uint64_t)len < args[2]) &&
                       tracee_read(tid, args[texts[i].argument] + (uint64_t)len, detail + len, 1) == 0 && detail[len]) {
                        if (!isprint((unsigned char)detail[len]) || detail[len] == ' ')
                                detail[len] = '?';
                        len++;
                }
        detail[len] = '\0';
}

int tracee_read(pid_t tid, uint64_t address, void *buf, size_t len)
{
        for (size_t done = 0; done < len; done++) {
                uint64_t word, at = (address + done) & ~7ULL;

                errno = 0;
                word = (uint64_t)ptrace(PTRACE_PEEKDATA, tid, at, 0);
                if (errno)
                        return -errno;
                ((uint8_t *)buf)[done] = (uint8_t)(word >> (8 * ((address + done) & 7)));
        }
        return 0;
}
