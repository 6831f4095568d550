/* A compiled system-call policy, as policy-compiler writes it and jail_seccomp_install() takes it. */
#pragma once

#include <linux/filter.h>

/*
 * A classic BPF program on struct seccomp_data (linux/seccomp.h) whose every path ends in SECCOMP_RET_ALLOW
 * or SECCOMP_RET_KILL_PROCESS. Made from <role>.policy as `const struct jail_policy policy_<role>`; who
 * installs it declares `extern const struct jail_policy policy_<role>;`. Constant data: nobody owns or frees
 * it.
 */
struct jail_policy {
        const struct sock_filter *filter;
        unsigned short len; /* instructions, 1..BPF_MAXINSNS (4096) */
};
