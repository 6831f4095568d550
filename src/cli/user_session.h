/*
 * The systemd of an ordinary user's session, which can delegate a cgroup to a guest
 * (systemd.io/CGROUP_DELEGATION).
 */
#pragma once

#include <stdbool.h>

/* Is there one that answers, on a host with unified cgroups, and a systemd-run to ask it by? */
bool user_session_exists(void);

/*
 * Has this process put into a scope with a delegated cgroup, when a guest of an ordinary user is to start and there is
 * none yet: systemd-run asks for the scope and executes this same command again, under the same pid. Returns when there
 * is nothing to ask for, or nobody to ask: the guest then has no cgroup of its own.
 */
void user_session_enter_scope(int argc, char *argv[]);
