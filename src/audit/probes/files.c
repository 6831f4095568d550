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
        {.id = NULL},
};
