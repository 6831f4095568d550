/*
 * The guest's cgroup: one directory per guest below "bulkhead" in the unified hierarchy, or in each of the v1
 * hierarchies on a host that still mounts those. The supervisor creates and removes it and stays outside; the jailed
 * child enters.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define CGROUP_ROOT      "/sys/fs/cgroup" /* where distributions mount it (systemd.io/CGROUP_DELEGATION) */
#define CGROUP_PARENT    "bulkhead"
#define CGROUP_V1_MAX    4   /* memory, pids, cpu, blkio */
#define CGROUP_BASE_MAX  256 /* bytes of the path of a delegated cgroup, with the terminating zero */
#define CGROUP_REMOVE_MS 900 /* how long the processes of a killed guest may take to be gone */

struct cgroup_limits {
        uint64_t memory_bytes; /* RAM and everything the guest's processes and the kernel need for it; swap is always 0
                                */
        uint64_t pids;
        uint64_t cpu_percent; /* of one CPU */
        const struct io_limit *io;
        size_t io_count;
};

struct jail_cgroup {
        int unified_fd;               /* directory, for CLONE_INTO_CGROUP; -1 on v1 */
        int tasks_fds[CGROUP_V1_MAX]; /* v1: each hierarchy's tasks file, for the child to enter */
        int limit_fds[CGROUP_V1_MAX]; /* v1: each hierarchy's directory, until it has its limits */
        size_t tasks_count;
        bool limited;
};

/*
 * base, here and below: the cgroup under which bulkhead has its own, as a path from the root of the hierarchy: "" for
 * root, and for an ordinary user the cgroup that was delegated (jail_cgroup_delegated.h).
 */

/* Creates the cgroup of guest name (whatever an earlier one left behind is removed), without limits. Returns 0 or a
 * negative errno with STATUS_ISOLATION. */
int jail_cgroup_create(const char *base, const char *name, struct jail_cgroup *ret, struct err *e);

/* Sets every limit, which all must take; the next time it is called it has nothing to do. The caller sees to it that
 * nothing of the guest's runs before. Returns 0 or a negative errno with STATUS_ISOLATION. */
int jail_cgroup_limit(struct jail_cgroup *cg, const struct cgroup_limits *limits, struct err *e);

/* Closes the descriptors; the directories stay. */
void jail_cgroup_close(struct jail_cgroup *cg);

/* Kills what is still inside, waits until it is gone, removes the directories of guest name in every hierarchy. Root's
 * parent stays for the next guest; a delegated cgroup's goes, too. Returns 0 also when there was nothing, or a negative
 * errno. */
int jail_cgroup_remove(const char *base, const char *name, struct err *e);

/* Removes the parent in every hierarchy where it is empty. */
void jail_cgroup_remove_parent(const char *base);

/* True on a host whose cgroups are unified (v2). */
bool jail_cgroup_is_unified(void);

/* True when list, what a file like cgroup.controllers has, names the controller. */
bool jail_cgroup_has_controller(const char *list, const char *controller);
