/* The host that doctor runs on. */
#pragma once

#include "cli/doctor/checks.h"

struct real_host {
        int kvm_fd; /* a negative errno when /dev/kvm cannot be opened */
};

/* Opens /dev/kvm, if it can be. The host is valid until real_host_close(). */
void real_host_open(struct real_host *ctx, struct doctor_host *ret);
void real_host_close(struct real_host *ctx);

/* Tries a layer of the jail in the calling process, which should be a child of its own: it cannot be undone.
 * Returns as struct doctor_host's feature() does. LAYER_CGROUP_LIMITS is asked controller by controller
 * instead. */
int host_layer_try(int layer);
