/*
 * Should: take away, with one ruleset that has no rule in it, each right that the running kernel's Landlock
 * knows, so that a process that finds a name, a port or a pid has no use for it.
 *
 * Mustn't: handle a right that the kernel does not know (it refuses the whole ruleset) or skip one that it
 * does; add an exception; touch what the role works with. It does not: files, sockets and devices already
 * open keep their rights (IOCTL_DEV too is decided when a device is opened, so ioctls on inherited KVM
 * descriptors go on working), and signals between the threads of the process stay inside its domain.
 *
 * How it fails closed: a kernel without Landlock gives ABI 0, which the caller shows as a missing layer or,
 * with
 * --require-all-layers, refuses. Any other failure, an unexpected errno of the first probe too, is an error.
 *
 * Numbers: include/uapi/linux/landlock.h; which ABI brought what: Documentation/userspace-api/landlock.rst.
 */
#include "jail/jail_landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* What include/uapi/linux/landlock.h of Linux 6.1 does not have yet. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* Linux 6.2 */
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP    (1ULL << 0) /* Linux 6.7 */
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* Linux 6.10 */
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) /* Linux 6.12 */
#define LANDLOCK_SCOPE_SIGNAL               (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_RESOLVE_UNIX
#define LANDLOCK_ACCESS_FS_RESOLVE_UNIX (1ULL << 16) /* Linux 7.1 */
#endif

/* LANDLOCK_ACCESS_FS_EXECUTE (bit 0) to LANDLOCK_ACCESS_FS_MAKE_SYM (bit 12). */
#define ACCESS_FS_ABI_1 (2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1)

/*
 * struct landlock_ruleset_attr as of ABI 6; the headers' may be shorter. A kernel that knows less of it
 * accepts the rest as long as it is zero.
 */
struct ruleset_attr {
        uint64_t handled_access_fs;
        uint64_t handled_access_net;
        uint64_t scoped;
};

/* What each ABI version added; 7 and 8 brought flags of landlock_restrict_self(2) only. */
static const struct {
        unsigned int abi;
        struct ruleset_attr added;
} levels[] = {
        {1, {.handled_access_fs = ACCESS_FS_ABI_1}},
        {2, {.handled_access_fs = LANDLOCK_ACCESS_FS_REFER}},
        {3, {.handled_access_fs = LANDLOCK_ACCESS_FS_TRUNCATE}},
        {4, {.handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP}},
        {5, {.handled_access_fs = LANDLOCK_ACCESS_FS_IOCTL_DEV}},
        {6, {.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL}},
        {9, {.handled_access_fs = LANDLOCK_ACCESS_FS_RESOLVE_UNIX}},
};

static struct ruleset_attr everything_known(unsigned int abi)
{
        struct ruleset_attr all = {0};

        for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
                if (levels[i].abi > abi)
                        continue;
                all.handled_access_fs |= levels[i].added.handled_access_fs;
                all.handled_access_net |= levels[i].added.handled_access_net;
                all.scoped |= levels[i].added.scoped;
        }
        return all;
}

/* The kernel's ABI version, 0 without Landlock, or a negative errno. */
static int abi_probe(void)
{
        long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

        if (abi >= 0)
                return (int)abi;
        /* Not built in, or built in and switched off at boot. */
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
}

int jail_landlock_seal(unsigned int *ret_abi, struct err *e)
{
        _cleanup_fd_ int fd = -1;
        struct ruleset_attr attr;
        int abi = abi_probe();

        if (abi < 0)
                return err_set(e, abi, "ask for the Landlock version");
        if (abi > 0) {
                attr = everything_known((unsigned int)abi);
                fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
                if (fd < 0)
                        return err_set(e, -errno, "create Landlock ruleset (ABI %d)", abi);
                if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
                        return err_set(e, -errno, "apply Landlock ruleset (ABI %d)", abi);
        }
        *ret_abi = (unsigned int)abi;
        return 0;
}
