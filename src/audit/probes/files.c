/* Files and descriptors: what a guest's processes hold, see and offer. */
#include "audit/probes/files.h"

#include "audit/audit.h"
#include "audit/probes/tables.h"

const struct check checks_files[] = {
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
