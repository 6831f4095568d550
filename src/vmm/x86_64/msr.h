/* The MSR filter: a guest may name exactly the MSRs of one table; every other access is #GP. See docs/cpu.md.
 */
#pragma once

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* One row: a run of MSRs and what the guest may do to them. */
struct msr_range {
        uint32_t first, last; /* inclusive */
        uint8_t access;       /* MSR_READ | MSR_WRITE */
        const char *name;     /* as the vendor manuals spell it */
};
#define MSR_READ  1
#define MSR_WRITE 2

extern const struct msr_range msr_template[];
extern const size_t msr_template_count;

/* Installs the filter on a VM: default deny, the template's rows allowed. Returns 0 or a negative errno. */
int msr_filter_install(int vm_fd, struct err *e);
