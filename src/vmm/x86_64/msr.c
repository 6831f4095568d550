#include "vmm/x86_64/msr.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

/* KVM never filters these (Documentation/virt/kvm/api.rst, KVM_X86_SET_MSR_FILTER); a row would mislead. */
#define X2APIC_FIRST 0x800
#define X2APIC_LAST  0x8ff

#define RANGE_MSRS_MAX (KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8U)

_Static_assert(MSR_READ == KVM_MSR_FILTER_READ && MSR_WRITE == KVM_MSR_FILTER_WRITE, "passed on as they are");

static bool rows_valid(const struct msr_range *rows, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                if (rows[i].first > rows[i].last || (i > 0 && rows[i].first <= rows[i - 1].last))
                        return false;
                if (rows[i].access == 0 || (rows[i].access & ~(MSR_READ | MSR_WRITE)))
                        return false;
                if (rows[i].first <= X2APIC_LAST && rows[i].last >= X2APIC_FIRST)
                        return false;
        }
        return true;
}

/*
 * Appends the ranges of one kind of access. KVM lets the first range that covers an MSR decide, so reading
 * and writing have ranges of their own. A range starts at a row and takes in all later rows that its bitmap
 * can reach.
 */
static int plan_ranges(const struct msr_range *rows, size_t count, uint8_t access, struct kvm_msr_filter_range *ranges,
                       size_t *range_count)
{
        struct kvm_msr_filter_range *current = NULL;

        for (size_t i = 0; i < count; i++) {
                if (!(rows[i].access & access))
                        continue;
                if (rows[i].last - rows[i].first >= RANGE_MSRS_MAX)
                        return -E2BIG;
                if (!current || rows[i].last - current->base >= RANGE_MSRS_MAX) {
                        if (*range_count >= KVM_MSR_FILTER_MAX_RANGES)
                                return -E2BIG;
                        current = &ranges[(*range_count)++];
                        *current = (struct kvm_msr_filter_range){.flags = access, .base = rows[i].first};
                }
                current->nmsrs = rows[i].last - current->base + 1;
        }
        return 0;
}

static void set_bits(const struct msr_range *rows, size_t count, const struct kvm_msr_filter_range *range,
                     uint8_t *bits)
{
        for (size_t i = 0; i < count; i++) {
                if (!(rows[i].access & range->flags) || rows[i].first < range->base ||
                    rows[i].first - range->base >= range->nmsrs)
                        continue;
                for (uint32_t bit = rows[i].first - range->base; bit <= rows[i].last - range->base; bit++)
                        bits[bit / 8] |= (uint8_t)(1U << bit % 8);
        }
}

int msr_filter_build(const struct msr_range *rows, size_t count, struct msr_filter *ret)
{
        struct kvm_msr_filter plan = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
        size_t range_count = 0;
        int r;

        if (!rows_valid(rows, count))
                return -EINVAL;
        r = plan_ranges(rows, count, MSR_READ, plan.ranges, &range_count);
        if (r == 0)
                r = plan_ranges(rows, count, MSR_WRITE, plan.ranges, &range_count);
        if (r < 0)
                return r;

        memset(ret, 0, sizeof(*ret));
        ret->kvm = plan;
        for (size_t i = 0; i < range_count; i++) {
                ret->kvm.ranges[i].bitmap = ret->bits[i];
                set_bits(rows, count, &plan.ranges[i], ret->bits[i]);
        }
        return 0;
}

int msr_filter_install(int vm_fd, struct err *e)
{
        struct msr_filter filter;
        int r = msr_filter_build(msr_template, msr_template_count, &filter);

        if (r < 0)
                return err_set(e, r, "build the MSR filter");
        if (ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, &filter.kvm) < 0)
                return err_set(e, -errno, "KVM_X86_SET_MSR_FILTER");
        return 0;
}
