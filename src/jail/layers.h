/*
 * The layers of a jail, one bit each: what is reported, shown by inspect and, for some, may be missing on a kernel that
 * lacks them. The table in jail_layers.c says which.
 */
#pragma once

#include <stdint.h>

enum jail_layer {
        LAYER_USER_NS,
        LAYER_PID_NS,
        LAYER_MOUNT_NS,
        LAYER_NET_NS,
        LAYER_IPC_NS,
        LAYER_UTS_NS,
        LAYER_CGROUP_NS,
        LAYER_TIME_NS,
        LAYER_CGROUP_LIMITS,
        LAYER_FDS,
        LAYER_ROOT,
        LAYER_NET_EMPTY,
        LAYER_LIMITS,
        LAYER_NO_NEW_NS,
        LAYER_MEMFD_NOEXEC,
        LAYER_STORE_BYPASS,
        LAYER_INDIRECT_BRANCH,
        LAYER_CORE_SCHED,
        LAYER_NO_MERGE,
        LAYER_IDS,
        LAYER_OWN_IDS,
        LAYER_NO_NEW_PRIVS,
        LAYER_SECCOMP,
        LAYER_DUMPABLE,
        LAYER_MDWE,
        LAYER_LANDLOCK,
        LAYER_COUNT,
};

enum jail_requirement {
        REQUIRED,          /* a start without it is refused, always */
        REQUIRED_FOR_ROOT, /* refused when root starts the guest; an ordinary user may be unable to have it */
        BY_KERNEL,         /* as the kernel has it; shown wherever the guest is shown */
};

struct jail_layer_info {
        const char *name;
        enum jail_requirement requirement;
        const char *remedy; /* what would put it in force */
};

extern const struct jail_layer_info jail_layers[LAYER_COUNT];

#define LAYER_BIT(l) (UINT64_C(1) << (l))
#define LAYERS_ALL   (LAYER_BIT(LAYER_COUNT) - 1)
