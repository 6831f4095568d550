/*
 * Each layer of the jail, tried. Not by the jail's own stages: those need one another, while doctor wants to
 * know of each layer alone. Everything here runs in a child that ends right after.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "cli/doctor/host.h"
#include "jail/jail_landlock.h"

/* What the headers of Linux 6.1 do not have yet. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65 /* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* Linux 6.4 */
#endif

static int try_prctl(int op, unsigned long a, unsigned long b, unsigned long c)
{
        return syscall(SYS_prctl, op, a, b, c, 0) < 0 ? -errno : 0;
}

/* Root asks for the one namespace; an ordinary user can have it only in a user namespace of his own. */
static int try_namespace(unsigned long flag)
{
        unsigned long with = geteuid() == 0 ? 0 : CLONE_NEWUSER;

        return syscall(SYS_unshare, flag | with) < 0 ? -errno : 0;
}

static int try_fsopen(void)
{
        _cleanup_fd_ int fd = -1;
        int r = try_namespace(CLONE_NEWNS);

        if (r < 0)
                return r;
        fd = sys_fsopen("tmpfs", 0);
        return fd < 0 ? -errno : 0;
}

static int try_empty_network(void)
{
        struct ifreq lo = {.ifr_name = "lo"};
        _cleanup_fd_ int fd = -1;
        int r = try_namespace(CLONE_NEWNET);

        if (r < 0)
                return r;
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0)
                return errno == EAFNOSUPPORT || errno == ENODEV ? 0 : -errno; /* no IPv4, or no loopback: as empty */
        return lo.ifr_flags & IFF_UP ? -ENOTEMPTY : 0;
}

static int try_limits(void)
{
        const struct rlimit none = {0, 0};

        return setrlimit(RLIMIT_CORE, &none) < 0 ? -errno : 0;
}

static int try_file(const char *path, int mode)
{
        return access(path, mode) < 0 ? -errno : 0;
}

static int try_ids(void)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
        const uint32_t need = 1U << CAP_SETUID | 1U << CAP_SETGID;

        if (geteuid() != 0) /* one who has no right to lose can map the one id */
                return 0;
        if (syscall(SYS_capget, &head, data) < 0)
                return -errno;
        return (data[0].effective & need) == need ? 0 : -EPERM;
}

static int try_seccomp(void)
{
        struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        struct sock_fprog program = {.len = 1, .filter = &allow};
        int r = try_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0);

        if (r == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
                r = -errno;
        return r;
}

static int try_landlock(void)
{
        unsigned int abi = 0;
        int r = try_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0);

        if (r == 0)
                r = jail_landlock_seal(&abi, NULL);
        if (r < 0)
                return r;
        return abi > 0 ? (int)abi : -EOPNOTSUPP;
}

int host_layer_try(int layer)
{
        switch ((enum jail_layer)layer) {
        case LAYER_USER_NS:
                return try_namespace(CLONE_NEWUSER);
        case LAYER_PID_NS:
                return try_namespace(CLONE_NEWPID);
        case LAYER_MOUNT_NS:
                return try_namespace(CLONE_NEWNS);
        case LAYER_NET_NS:
                return try_namespace(CLONE_NEWNET);
        case LAYER_IPC_NS:
                return try_namespace(CLONE_NEWIPC);
        case LAYER_UTS_NS:
                return try_namespace(CLONE_NEWUTS);
        case LAYER_CGROUP_NS:
                return try_namespace(CLONE_NEWCGROUP);
        case LAYER_TIME_NS:
                return try_namespace(CLONE_NEWTIME);
        case LAYER_FDS:
                return sys_close_range(~0U, ~0U) < 0 ? -errno : 0;
        case LAYER_ROOT:
                return try_fsopen();
        case LAYER_NET_EMPTY:
                return try_empty_network();
        case LAYER_LIMITS:
                return try_limits();
        case LAYER_NO_NEW_NS:
                return try_file("/proc/sys/user/max_user_namespaces", F_OK);
        case LAYER_MEMFD_NOEXEC:
                return try_file("/proc/sys/vm/memfd_noexec", W_OK);
        case LAYER_STORE_BYPASS:
                return try_prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0);
        case LAYER_INDIRECT_BRANCH:
                return try_prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0);
        case LAYER_CORE_SCHED:
                return try_prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP);
        case LAYER_NO_MERGE:
                return try_prctl(PR_SET_MEMORY_MERGE, 0, 0, 0);
        case LAYER_IDS:
                return try_ids();
        case LAYER_NO_NEW_PRIVS:
                return try_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0);
        case LAYER_SECCOMP:
                return try_seccomp();
        case LAYER_DUMPABLE:
                return try_prctl(PR_SET_DUMPABLE, 0, 0, 0);
        case LAYER_MDWE:
                return try_prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0);
        case LAYER_LANDLOCK:
                return try_landlock();
        case LAYER_OWN_IDS:
        case LAYER_CGROUP_LIMITS:
        case LAYER_COUNT:
                break;
        }
        return -EINVAL;
}
