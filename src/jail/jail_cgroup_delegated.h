/*
 * The cgroup of an ordinary user's guest: below the one that this process is in, when that was delegated to the user
 * (systemd.io/CGROUP_DELEGATION) in the unified hierarchy and nobody else is in it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "jail/jail_cgroup.h"

/* The scope that process pid asks systemd for, and by which it knows afterwards that it has it. */
#define CGROUP_SCOPE_FORMAT "bulkhead-%d.scope"

/* Is this process in the scope that it asked systemd for? */
bool jail_cgroup_in_own_scope(void);

/* Fills base with the path of this process's cgroup. Returns true when guests can be put below it: its directory and
 * the controllers memory, pids and cpu are the user's, and this process is the only one in it. */
bool jail_cgroup_delegated(char base[CGROUP_BASE_MAX]);

/* Moves this process into a leaf below base, because only leaves may have processes (cgroups(7), "no internal
 * processes"). Returns 0 or a negative errno. */
int jail_cgroup_enter_leaf(const char *base, struct err *e);

/* Moves back, and removes the leaf. Never fails: what cannot be removed goes with the scope. */
void jail_cgroup_leave_leaf(const char *base);
