/* All checks, by boundary. */
#include "audit/probes/tables.h"
#include "audit/audit.h"

const struct check *const check_tables[BOUNDARY_COUNT] = {
        [BOUNDARY_INVENTORY] = checks_inventory,
        [BOUNDARY_NAMESPACES] = checks_namespaces,
        [BOUNDARY_PRIVILEGES] = checks_privileges,
        [BOUNDARY_SYSCALLS] = checks_syscalls,
        [BOUNDARY_FILES] = checks_files,
        [BOUNDARY_MEMORY] = checks_memory,
        [BOUNDARY_CPU] = checks_cpu,
        [BOUNDARY_KVM] = checks_kvm,
        [BOUNDARY_STORAGE] = checks_storage,
        [BOUNDARY_NETWORK] = checks_network,
        [BOUNDARY_DEVICES] = checks_devices,
        [BOUNDARY_RESOURCES] = checks_resources,
        [BOUNDARY_LIFECYCLE] = checks_lifecycle,
        [BOUNDARY_KERNEL] = checks_kernel,
};
