/* Jail stage: the system-call filter of one thread. */
#pragma once

#include "base/err.h"
#include "jail/policy.h"

/*
 * Installs a compiled policy on the calling thread; threads and processes it creates later inherit it.
 * Filters add up: with several, a call must be allowed by each, so a second call can only narrow. Call it
 * last: whatever the caller still has to do, the policy must allow, munmap and exit included. no_new_privs
 * must be set. Returns 0, -EPERM when it is not, -EINVAL for an empty policy or a program that the kernel
 * refuses, or another negative errno; on failure no filter was installed.
 */
int jail_seccomp_install(const struct jail_policy *p, struct err *e);
