/* The checks of each boundary: one file each, ended by an entry without id. */
#pragma once

#include "audit/audit.h"

extern const struct check checks_inventory[], checks_namespaces[], checks_privileges[], checks_syscalls[],
        checks_files[], checks_memory[], checks_cpu[], checks_kvm[], checks_storage[], checks_network[],
        checks_devices[], checks_resources[], checks_lifecycle[], checks_kernel[];
