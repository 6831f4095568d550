/* What the kernel says about the host as a whole, and about this auditor. */
#pragma once

#include "audit/model/process.h"

struct host {
        char *kernel;  /* uname -r, from /proc/sys/kernel/osrelease */
        char *cmdline; /* of the kernel */
        char *lsm;     /* /sys/kernel/security/lsm, NULL: cannot be read */
        bool nested;   /* CPUID.1:ECX[31]: this host is itself a virtual machine */
        bool nested_known;
        unsigned int cpus_online;
        uint64_t memory_bytes;
        uint64_t boot_time; /* seconds since 1970, of /proc/stat */

        /* The host's own namespaces: of pid 1, or where that cannot be read of this auditor. */
        uint64_t ns[NS_COUNT];
        bool ns_of_init;
        int root_error;
        struct observed_stat root; /* /proc/1/root, or where that cannot be read this auditor's */

        /* This auditor. */
        uint32_t euid;
        uint64_t caps; /* effective */
        bool deep;     /* --deep was given */
};

#define HOST_CAP(h, cap) (((h)->caps >> (cap)) & 1)

int host_read(struct observer *o, bool deep, struct host *ret, struct err *e);
