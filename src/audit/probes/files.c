/* Files and descriptors: what a guest's processes hold, see and offer. */
#include "audit/probes/files.h"

#include "audit/audit.h"
#include "audit/probes/tables.h"

const struct check checks_files[] = {
        {
                .id = "FS-FDS",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "Every open descriptor of a guest has a known purpose, and none leads to another guest.",
                .examined =
                        "link, flags and file of every descriptor of every process of the guest, its unix sockets' other "
                        "ends, and the same of every other guest",
                .rule = "FAIL: a file, pipe, socket or process handle that connects it to another guest (disk images have checks of "
                        "their own); WARN: a file or block device of unknown purpose, a handle of the host's namespaces or "
                        "processes, a control file of the kernel open for writing",
                .source =
                        "proc(5), /proc/PID/fd and fdinfo; Firecracker docs/jailer.md, which closes all other descriptors",
                .remedy = "open with O_CLOEXEC, and close_range(2) before the monitor is executed",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = fds_host,
        },
        {
                .id = "FS-CTLSOCK",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "Nobody but those who run a guest can connect to the sockets by which it is managed.",
                .examined =
                        "unix sockets with a name that the guest's processes and its supervisor hold (sock_diag), and the mode, "
                        "owner and access list of each directory up to them",
                .rule = "FAIL: everybody, or another guest's ids, may connect, or the name is abstract and the network "
                        "namespace shared; WARN: another guest's ids may, and a mount namespace or MAC label keeps it from there",
                .source =
                        "unix(7), \"Pathname socket ownership and permissions\"; Cloud Hypervisor docs/threat-model.md, "
                        "management is trusted; Firecracker docs/prod-host-setup.md",
                .remedy =
                        "put the socket into a directory of mode 0700 that belongs to who manages the guest; use no abstract name",
                .needs = "root",
                .host = ctlsock_host,
        },
        {
                .id = "FS-ROOT",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes see a tree of files of their own, not the host's.",
                .examined = "device and inode of /proc/PID/root of every process of the guest, against the host's",
                .rule = "other PASS; the host's FAIL (WARN while at least three other layers separate every pair)",
                .source = "pivot_root(2); Firecracker docs/jailer.md",
                .remedy = "start the monitor through a jail that calls pivot_root",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .softened = LAYER_BIT(LAYER_MNTNS),
                .guest = root_guest,
        },
        {
                .id = "FS-JAIL",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's own tree of files holds nothing but what its monitor needs.",
                .examined =
                        "mode, owner and device of every entry below /proc/PID/root, 2000 entries and 8 levels at most, no link "
                        "followed; not where the root is the host's",
                .rule = "FAIL: a device other than null, zero, full, random, tty, kvm, tun and those it holds open, a file that another "
                        "guest has open or whose user owns it; WARN: a setuid program, or more entries than are looked at",
                .source = "Firecracker docs/jailer.md, what the jail contains",
                .remedy = "build the jail from an empty directory",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = jail_host,
        },
        {
                .id = "FS-MOUNTS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim =
                        "A guest's file systems are private, without devices and setuid programs, and none is the host's root or /sys.",
                .examined = "every line of /proc/PID/mountinfo of every process with a mount namespace of its own",
                .rule = "FAIL: the host's root file system as a whole, or sysfs, writable; WARN: shared propagation, no nosuid, no nodev",
                .source = "mount_namespaces(7), shared subtrees; Firecracker docs/jailer.md, MS_PRIVATE",
                .remedy = "make mounts private, and mount with nosuid and nodev, read-only where nothing is written",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = mounts_guest,
        },
        {
                .id = "FS-DIRFD",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest holds no open directory through which it could leave its tree of files.",
                .examined =
                        "directories among the descriptors of every process of the guest: mnt_id in fdinfo, against its mountinfo",
                .rule = "FAIL: a directory on a mount that the process cannot name",
                .source = "chroot(2), notes: an open directory is a way out; proc(5), mnt_id",
                .remedy = "open with O_CLOEXEC, and close_range(2) before the monitor is executed",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = dirfd_guest,
        },
        {
                .id = "FS-PARENTS",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "Only root can replace the program that a guest was started from, and its root directory.",
                .examined =
                        "owner and mode of each directory up to the program and the root directory of every process of the guest",
                .rule = "FAIL: one that root does not own (the root directory itself may be the guest's user's), or that its group or others can write to (a sticky directory aside)",
                .source = "Firecracker docs/prod-host-setup.md, jailer: owners of the jail's parent directories",
                .remedy = "chown root and chmod go-w each directory on the way",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = parents_host,
        },
        {
                .id = "FS-TTY",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes have no terminal through which they could type for somebody else.",
                .examined = "descriptors 0 to 2 of every process of the guest, and dev.tty.legacy_tiocsti",
                .rule = "FAIL: a terminal that another guest has, too, or any while TIOCSTI works; WARN: another terminal",
                .source = "TIOCSTI(2const); Documentation/admin-guide/sysctl, dev.tty.legacy_tiocsti",
                .remedy = "start the monitor with /dev/null or a pipe; set dev.tty.legacy_tiocsti to 0",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = tty_host,
        },
        {.id = NULL},
};
