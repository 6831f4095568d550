/* System calls that a monitor has no use for, or that lead out of a jail with a little help. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RISKY_ARGUMENTS 4 /* argument sets of one call at most */

enum risk {
        RISK_TAKEOVER, /* takes over a process, the host or its kernel, or makes new namespaces and mounts */
        RISK_REACH,    /* reaches for files, networks or new processes */
};

struct risky_call {
        uint32_t nr;
        const char *name;
        enum risk risk;
        bool only_typical; /* with zeros or ones it does no harm: those are not tried */
        size_t typical_count;
        uint64_t typical[RISKY_ARGUMENTS][6];
};

extern const struct risky_call risky_calls[];
extern const size_t risky_calls_count;
