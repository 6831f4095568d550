/*
 * Which namespaces the VMM is in, and what only a process inside can see. For the latter a child of this
 * process enters the guest's network and user namespaces for a moment. It enters neither the PID namespace,
 * so that nothing inside can name it, nor the mount namespace, and runs nothing of the guest's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "cli/child.h"
#include "cli/inspect/parse.h"

/* The inode of a namespace, 0 when it cannot be seen. */
static uint64_t ns_inode(int dirfd, const char *dir, const char *name)
{
        char path[64];
        struct stat st;

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        return fstatat(dirfd, path, &st, 0) < 0 ? 0 : st.st_ino;
}

static int enter(int proc_fd, const char *ns, int flag)
{
        _cleanup_fd_ int fd = openat(proc_fd, ns, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return syscall(SYS_setns, fd, flag) < 0 ? -errno : 0;
}

static int enter_user(int proc_fd)
{
        /* Whoever is inside must not be able to look into this process. */
        if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        return enter(proc_fd, "ns/user", CLONE_NEWUSER);
}

/* Returns 1 when the loopback of the guest's network namespace is up, 0 when it is down or there is none. */
static int loopback_ask(int proc_fd)
{
        struct ifreq lo = {.ifr_name = "lo"};
        _cleanup_fd_ int fd = -1;
        /* Only inside does an ordinary user have the right to enter the others (setns(2)). */
        int r = geteuid() == 0 ? 0 : enter_user(proc_fd);

        if (r == 0)
                r = enter(proc_fd, "ns/net", CLONE_NEWNET);
        if (r < 0)
                return r;
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (ioctl(fd, SIOCGIFFLAGS, &lo) < 0)
                return errno == ENODEV ? 0 : -errno;
        return lo.ifr_flags & IFF_UP ? 1 : 0;
}

/* Returns how many kinds of namespaces can still be created in the guest's user namespace (namespaces(7)). */
static int namespaces_ask(int proc_fd)
{
        /* Opened before going inside; the files show the user namespace of who opens them. */
        _cleanup_fd_ int sysctls = open("/proc/sys/user", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = sysctls < 0 ? -errno : 0, allowed = 0;

        if (r == 0)
                r = enter_user(proc_fd);
        for (int i = 0; r >= 0 && i < NS_COUNT; i++) {
                char file[48], value[16];

                snprintf(file, sizeof(file), "max_%s_namespaces", ns_names[i]);
                r = (int)io_read_file_at(sysctls, file, value, sizeof(value));
                if (r >= 0)
                        allowed += strcmp(value, "0") != 0;
                else if (r == -ENOENT) /* a kind this kernel does not have */
                        r = 0;
        }
        return r < 0 ? r : allowed;
}

int inspect_namespaces(int proc_fd, struct inspect_facts *ret)
{
        char text[16384];
        ssize_t n;
        int r;

        for (int i = 0; i < NS_COUNT; i++) {
                ret->ns[i].guest = ns_inode(proc_fd, "ns", ns_names[i]);
                ret->ns[i].own = ns_inode(AT_FDCWD, "/proc/self/ns", ns_names[i]);
                ret->ns[i].init = ns_inode(AT_FDCWD, "/proc/1/ns", ns_names[i]);
        }
        n = io_read_file_at(proc_fd, "net/dev", text, sizeof(text));
        if (n < 0)
                return (int)n;
        ret->inside = (struct inside_facts){.interfaces = parse_net_dev(text)};
        r = child_call(loopback_ask, proc_fd);
        ret->inside.net_known = r >= 0;
        ret->inside.loopback_up = r > 0;
        r = child_call(namespaces_ask, proc_fd);
        ret->inside.sysctls_known = r >= 0;
        ret->inside.namespaces_allowed = r >= 0 ? (unsigned int)r : 0;
        return 0;
}
