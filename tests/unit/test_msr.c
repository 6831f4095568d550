#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/x86_64/msr.h"

#define RUN_MAX (KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8U)

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

static bool listed(uint32_t msr, uint8_t access)
{
        for (size_t i = 0; i < msr_template_count; i++)
                if (msr >= msr_template[i].first && msr <= msr_template[i].last)
                        return msr_template[i].access & access;
        return false;
}

static struct msr_filter *build(const struct msr_range *rows, size_t count, int expected)
{
        struct msr_filter *f = calloc(1, sizeof(*f)), *untouched = calloc(1, sizeof(*f));

        assert_non_null(f);
        assert_non_null(untouched);
        memset(f, 0x5a, sizeof(*f));
        memset(untouched, 0x5a, sizeof(*f));
        assert_int_equal(msr_filter_build(rows, count, f), expected);
        if (expected < 0)
                assert_memory_equal(f, untouched, sizeof(*f));
        free(untouched);
        return f;
}

static void refuses(const struct msr_range *rows, size_t count, int expected)
{
        free(build(rows, count, expected));
}

static void template_is_what_the_filter_allows(void **state)
{
        static const uint32_t windows[][2] = {
                {0x0, 0x4000},
                {0x40000000, 0x40000400},
                {0x4b564c00, 0x4b564e00},
                {0xbfffff00, 0xc0002000},
                {0xc000ff00, 0xc0013000},
                {0xffffff00, 0xffffffff},
        };
        struct msr_filter *f = build(msr_template, msr_template_count, 0);
        size_t allowed_count = 0;

        assert_int_equal(f->kvm.flags, KVM_MSR_FILTER_DEFAULT_DENY);
        for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
                for (uint32_t msr = windows[i][0]; msr < windows[i][1]; msr++)
                        for (uint8_t access = MSR_READ; access <= MSR_WRITE; access++) {
                                assert_int_equal(allowed(f, msr, access), listed(msr, access));
                                allowed_count += listed(msr, access);
                        }
        /* No row lies outside the windows. */
        for (size_t i = 0; i < msr_template_count; i++)
                allowed_count -= (msr_template[i].last - msr_template[i].first + 1) *
                                 (msr_template[i].access == (MSR_READ | MSR_WRITE) ? 2 : 1);
        assert_int_equal(allowed_count, 0);
        free(f);
}

static void template_fits_kvm(void **state)
{
        struct msr_filter *f = build(msr_template, msr_template_count, 0);

        for (size_t i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
                const struct kvm_msr_filter_range *r = &f->kvm.ranges[i];

                assert_true(r->nmsrs <= RUN_MAX);
                assert_true(r->nmsrs == 0 || r->flags == MSR_READ || r->flags == MSR_WRITE);
                assert_true(r->nmsrs == 0 || r->bitmap == f->bits[i]);
        }
        for (size_t i = 0; i < msr_template_count; i++) {
                assert_non_null(msr_template[i].name);
                assert_true(strlen(msr_template[i].name) > 0);
        }
        free(f);
}

/* What guests read or write without expecting a fault. */
static void guests_can_boot(void **state)
{
        static const uint32_t read[] = {
                0xce,       0x140, 0x1b,       0x8b,       0xfe,       0x179,      0x1a0,      0x277,      0x2ff,
                0x10a,      0x17,  0xc0000080, 0xc0000101, 0xc0010010, 0xc0010015, 0xc001001f, 0xc0010055, 0xc0010140,
                0xc0010141, 0x48,  0x122,      0x3b,       0x17a,      0x400,      0x47f,      0xda0,
        };
        static const uint32_t written[] = {
                0x48,       0x49,       0x8b,       0x10b,      0x122,      0x174,      0x176,      0x1a0,
                0x200,      0x20f,      0x277,      0x400,      0x47f,      0x6e0,      0xda0,      0xc0000080,
                0xc0000084, 0xc0000100, 0xc0000103, 0xc0010015, 0xc001001f, 0x4b564d00, 0x4b564d01, 0x4b564d04,
        };
        struct msr_filter *f = build(msr_template, msr_template_count, 0);

        for (size_t i = 0; i < sizeof(read) / sizeof(read[0]); i++)
                assert_true(allowed(f, read[i], MSR_READ));
        for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
                assert_true(allowed(f, written[i], MSR_WRITE));
        free(f);
}

static void always_denied(void **state)
{
        static const uint32_t denied[] = {
                /* the neighbours of what is allowed */
                0xf,        0x1a,       0x1c,       0xcd,       0xcf,       0x173,      0x178,
                0x17b,      0x210,      0x276,      0x3ff,      0x480,      0x6a1,      0x6a9,
                0x4b564cff, 0xc000007f, 0xc0000085, 0xc00000ff, 0xc0010142, 0x11,       0x12, /* KVM's first clock */
                0x34,       0xe7,       0xe8,       0x198,      0x1aa,      /* SMI count, APERF, MPERF, power */
                0x3a,       0x480,      0x492,      0xc0010114, 0xc0010117, /* VMX, SVM */
                0x79,       0xc0010020,                                     /* microcode loader */
                0xc1,       0x186,      0x309,      0x345,      0x38d,      0x38f,      0x390, /* counters */
                0xc0010000, 0xc0010004, 0xc0010200, 0xc0000300, 0xc0011030,                    /* AMD counters, IBS */
                0x1c8,      0x1d9,      0x1db,      0x680,      0x6c0,      0x14ce,            /* branch records */
                0x570,      0x600,      0x606,      0x611,      0xc0010299, 0xc001029a,        /* trace, DS, energy
                                                                                                */
                0x8c,       0xc80,      0xc90,      0xd90,      0x1c4,      /* SGX, debug, RDT, MPX, XFD */
                0x4b564d02, 0x4b564d05, 0x4b564d06, 0x4b564d07, 0x4b564d08, /* paging, polling, migration */
                0x40000000, 0x40000001, 0x40000100,                         /* Hyper-V */
                0xc0010130, 0xc0010131, 0xc0010058, 0xc001001a, 0xc0000104, /* SEV, memory map, TSC ratio */
        };
        struct msr_filter *f = build(msr_template, msr_template_count, 0);

        for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
                assert_false(allowed(f, denied[i], MSR_READ));
                assert_false(allowed(f, denied[i], MSR_WRITE));
        }
        /* One direction only. */
        assert_false(allowed(f, 0x49, MSR_READ));
        assert_false(allowed(f, 0x10a, MSR_WRITE));
        assert_false(allowed(f, 0xc0010010, MSR_WRITE));
        free(f);
}

static void bad_rows(void **state)
{
        refuses((struct msr_range[]){{2, 1, MSR_READ, "backwards"}}, 1, -EINVAL);
        refuses((struct msr_range[]){{1, 1, 0, "no access"}}, 1, -EINVAL);
        refuses((struct msr_range[]){{1, 1, 4, "unknown access"}}, 1, -EINVAL);
        refuses((struct msr_range[]){{2, 2, MSR_READ, "b"}, {1, 1, MSR_READ, "a"}}, 2, -EINVAL);
        refuses((struct msr_range[]){{1, 3, MSR_READ, "a"}, {3, 4, MSR_WRITE, "b"}}, 2, -EINVAL);
        refuses((struct msr_range[]){{0x7ff, 0x800, MSR_READ, "x2APIC"}}, 1, -EINVAL);
        refuses((struct msr_range[]){{0x8ff, 0x8ff, MSR_READ, "x2APIC"}}, 1, -EINVAL);
}

static void limits(void **state)
{
        struct msr_range rows[KVM_MSR_FILTER_MAX_RANGES + 1];
        struct msr_filter *f;

        /* A run as long as a bitmap, and one past it. */
        rows[0] = (struct msr_range){0x10000, 0x10000 + RUN_MAX - 1, MSR_READ, "run"};
        f = build(rows, 1, 0);
        assert_int_equal(f->kvm.ranges[0].nmsrs, RUN_MAX);
        assert_int_equal(f->kvm.ranges[1].nmsrs, 0);
        assert_true(allowed(f, 0x10000, MSR_READ));
        assert_true(allowed(f, rows[0].last, MSR_READ));
        assert_false(allowed(f, rows[0].last + 1, MSR_READ));
        assert_false(allowed(f, 0x10000, MSR_WRITE));
        free(f);
        rows[0].last++;
        refuses(rows, 1, -E2BIG);

        /* A row that would end one past the bitmap gets a range of its own. */
        rows[0] = (struct msr_range){0x10000, 0x10000, MSR_READ, "first"};
        rows[1] = (struct msr_range){0x10000 + RUN_MAX - 1, 0x10000 + RUN_MAX, MSR_READ, "straddles"};
        f = build(rows, 2, 0);
        assert_int_equal(f->kvm.ranges[0].nmsrs, 1);
        assert_int_equal(f->kvm.ranges[1].nmsrs, 2);
        assert_true(allowed(f, 0x10000 + RUN_MAX, MSR_READ));
        free(f);

        /* As many far apart rows as there are ranges, and one more; at the top of the number space. */
        for (uint32_t i = 0; i <= KVM_MSR_FILTER_MAX_RANGES; i++)
                rows[i] = (struct msr_range){0xff000000 + i * 0xf0000, 0xff000000 + i * 0xf0000, MSR_WRITE, "far"};
        rows[KVM_MSR_FILTER_MAX_RANGES - 1].last = rows[KVM_MSR_FILTER_MAX_RANGES - 1].first = 0xfffffffe;
        rows[KVM_MSR_FILTER_MAX_RANGES].last = rows[KVM_MSR_FILTER_MAX_RANGES].first = 0xffffffff;
        f = build(rows, KVM_MSR_FILTER_MAX_RANGES, 0);
        assert_true(allowed(f, 0xfffffffe, MSR_WRITE));
        assert_false(allowed(f, 0xffffffff, MSR_WRITE));
        free(f);
        free(build(rows, KVM_MSR_FILTER_MAX_RANGES + 1, 0)); /* neighbours share a range */
        rows[KVM_MSR_FILTER_MAX_RANGES - 1].last = rows[KVM_MSR_FILTER_MAX_RANGES - 1].first = 0xfff00000;
        refuses(rows, KVM_MSR_FILTER_MAX_RANGES + 1, -E2BIG);

        /* Reading and writing count separately. */
        for (uint32_t i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
                rows[i].access = MSR_READ | MSR_WRITE;
        free(build(rows, KVM_MSR_FILTER_MAX_RANGES / 2, 0));
        refuses(rows, KVM_MSR_FILTER_MAX_RANGES / 2 + 1, -E2BIG);
}

static void no_rows_deny_everything(void **state)
{
        struct msr_filter *f = build(NULL, 0, 0);

        assert_false(allowed(f, 0x10, MSR_READ));
        assert_false(allowed(f, 0, MSR_WRITE));
        free(f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(template_is_what_the_filter_allows),
                cmocka_unit_test(template_fits_kvm),
                cmocka_unit_test(guests_can_boot),
                cmocka_unit_test(always_denied),
                cmocka_unit_test(bad_rows),
                cmocka_unit_test(limits),
                cmocka_unit_test(no_rows_deny_everything),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
