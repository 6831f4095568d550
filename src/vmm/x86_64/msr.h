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

/* Rows in ascending order, none overlapping. */
extern const struct msr_range msr_template[];
extern const size_t msr_template_count;

/* What KVM_X86_SET_MSR_FILTER takes. kvm.ranges[].bitmap points into bits[]: do not copy it. */
struct msr_filter {
        struct kvm_msr_filter kvm;
        uint8_t bits[KVM_MSR_FILTER_MAX_RANGES][KVM_MSR_FILTER_MAX_BITMAP_SIZE];
};

/*
 * Turns rows into a filter that denies everything else. Returns 0, -EINVAL (rows not ascending, overlapping,
 * without access, or naming the x2APIC's MSRs, which KVM never filters) or -E2BIG (more ranges or longer runs
 * than KVM takes: KVM_MSR_FILTER_MAX_RANGES, KVM_MSR_FILTER_MAX_BITMAP_SIZE).
 */
int msr_filter_build(const struct msr_range *rows, size_t count, struct msr_filter *ret);

/*
 * Installs the filter on a VM: default deny, the template's rows allowed. A denied access is #GP inside the
 * kernel as long as KVM_CAP_X86_USER_SPACE_MSR stays off. Returns 0 or a negative errno.
 */
int msr_filter_install(int vm_fd, struct err *e);
