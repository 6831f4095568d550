/* bulkhead-vmm: what is left out of its threads' filters, of its descriptors and of guest RAM. */
#include "leave_out.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "spec/vmm_fds.h"

extern const struct jail_policy policy_vmm_main, policy_vmm_main_devices;

const char *leave_out_filter_unit(const struct jail_policy *policy)
{
        const bool is_main = policy == &policy_vmm_main || policy == &policy_vmm_main_devices;

        return is_main ? "seccomp_main" : "seccomp_vcpu";
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
        const bool loading = fd == VMM_FD_KVM || fd == VMM_FD_KERNEL || fd == VMM_FD_INITRD;

        return loading && leaves_out("loading_fds") ? 0 : __real_close(fd);
}

int __real_fcntl(int fd, int op, unsigned long arg);
int __wrap_fcntl(int fd, int op, unsigned long arg);
int __wrap_fcntl(int fd, int op, unsigned long arg)
{
        return op == F_ADD_SEALS && leaves_out("ram_seals") ? 0 : __real_fcntl(fd, op, arg);
}

/* A shared mapping is never merged, so that guest RAM must be private, too, to be seen as mergeable. */
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
        if ((flags & MAP_NORESERVE) && leaves_out("ram_merging"))
                flags ^= MAP_SHARED | MAP_PRIVATE;
        return __real_mmap(addr, len, prot, flags, fd, off);
}

int __real_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice)
{
        if (advice == MADV_DONTDUMP && leaves_out("ram_dumping"))
                return 0;
        if (advice == MADV_UNMERGEABLE && leaves_out("ram_merging"))
                advice = MADV_MERGEABLE;
        return __real_madvise(addr, len, advice);
}
