/* bulkhead-vmm: what is left out of its sealing after exec, of its threads' filters and of guest RAM. */
#include "leave_out.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "spec/control.h"
#include "spec/vmm_fds.h"

extern const struct jail_policy policy_vmm_main, policy_vmm_main_devices;

/* It cannot speak, so it runs only under a supervisor that did. */
int __real_main(void);
int __wrap_main(int argc, char *argv[]);
int __wrap_main(int argc, char *argv[])
{
        struct err e = ERR_INIT;

        if (leave_out_started(argc, argv))
                return __real_main();
        err_set(&e, -EPERM, "start a test build of bulkhead-vmm, which leaves out: %s", LEAVE_OUT);
        (void)control_send_failed(VMM_FD_CONTROL, &e);
        _exit((int)e.status);
}

int __real_jail_landlock_seal(unsigned int *ret_abi, struct err *e);
int __wrap_jail_landlock_seal(unsigned int *ret_abi, struct err *e);
int __wrap_jail_landlock_seal(unsigned int *ret_abi, struct err *e)
{
        if (!leaves_out("landlock"))
                return __real_jail_landlock_seal(ret_abi, e);
        *ret_abi = 0;
        return 0;
}

__attribute__((weak)) void leave_out_after_filter(const struct jail_policy *policy)
{
        (void)policy;
}

int __real_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e)
{
        const bool is_main = p == &policy_vmm_main || p == &policy_vmm_main_devices;
        int r = leaves_out(is_main ? "seccomp_main" : "seccomp_vcpu") ? 0 : __real_jail_seccomp_install(p, e);

        if (r == 0)
                leave_out_after_filter(p);
        return r;
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
