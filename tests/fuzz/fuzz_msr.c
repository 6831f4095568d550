/* The MSR filter, made from any table of rows: the filter must decide as the rows say, the way KVM reads it. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "vmm/x86_64/msr.h"

#define ROWS_MAX 64
#define RUN_MAX  (KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8U)

/* KVM's own decision: the first range that covers the MSR and the kind of access. */
static bool allowed(const struct msr_filter *f, uint32_t msr, uint32_t access)
{
        for (size_t i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
                const struct kvm_msr_filter_range *r = &f->kvm.ranges[i];

                if (msr >= r->base && msr - r->base < r->nmsrs && (r->flags & access))
                        return r->bitmap[(msr - r->base) / 8] >> (msr - r->base) % 8 & 1;
        }
        return !(f->kvm.flags & KVM_MSR_FILTER_DEFAULT_DENY);
}

static bool listed(const struct msr_range *rows, size_t count, uint32_t msr, uint32_t access)
{
        for (size_t i = 0; i < count; i++)
                if (msr >= rows[i].first && msr <= rows[i].last && (rows[i].access & access))
                        return true;
        return false;
}

static bool rows_good(const struct msr_range *rows, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                if (rows[i].last < rows[i].first || rows[i].access < 1 || rows[i].access > 3)
                        return false;
                for (size_t j = 0; j < i; j++)
                        if (rows[j].last >= rows[i].first)
                                return false;
                for (uint32_t msr = 0x800; msr <= 0x8ff; msr++)
                        if (msr >= rows[i].first && msr <= rows[i].last)
                                return false;
        }
        return true;
}

/* Around every edge of a row, and of what a bitmap can hold from there. */
static void check(const struct msr_filter *f, const struct msr_range *rows, size_t count)
{
        static const uint32_t steps[] = {0, 1, UINT32_MAX, RUN_MAX, RUN_MAX - 1, 0x800};

        for (size_t i = 0; i < count; i++)
                for (size_t j = 0; j < ARRAY_LEN(steps); j++)
                        for (uint32_t access = MSR_READ; access <= MSR_WRITE; access++) {
                                uint32_t a = rows[i].first + steps[j], b = rows[i].last + steps[j];

                                MUST(allowed(f, a, access) == listed(rows, count, a, access));
                                MUST(allowed(f, b, access) == listed(rows, count, b, access));
                        }
        MUST(f->kvm.flags == KVM_MSR_FILTER_DEFAULT_DENY);
        for (size_t i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
                MUST(f->kvm.ranges[i].nmsrs <= RUN_MAX &&
                     (f->kvm.ranges[i].nmsrs == 0 || f->kvm.ranges[i].bitmap == f->bits[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct msr_filter filter, untouched;
        struct msr_range rows[ROWS_MAX];
        struct reader r = {data, len};
        bool ascending = read_u8(&r) & 1;
        uint32_t next = 0;
        size_t count = 0;
        int result;

        while (r.len > 0 && count < ROWS_MAX) {
                uint32_t first = ascending ? next + (read_u8(&r) & 1 ? read_u16(&r) : read_u8(&r)) : read_u32(&r);
                uint32_t run = read_u8(&r) & 1 ? read_u16(&r) : read_u8(&r) & 7;

                if (ascending && first <= 0x8ff && first + run >= 0x800)
                        first = 0x900;
                rows[count++] =
                        (struct msr_range){first, first + run, ascending ? 1 + read_u8(&r) % 3 : read_u8(&r), "X"};
                next = first + run + 1;
        }
        memset(&filter, 0x5a, sizeof(filter));
        memset(&untouched, 0x5a, sizeof(filter));
        result = msr_filter_build(rows, count, &filter);
        MUST((result == -EINVAL) == !rows_good(rows, count));
        if (result < 0) {
                MUST(result == -EINVAL || result == -E2BIG);
                MUST(memcmp(&filter, &untouched, sizeof(filter)) == 0);
                return 0;
        }
        check(&filter, rows, count);
        return 0;
}
