#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/x86_64/cpuid.h"

#define B(n)     (UINT32_C(1) << (n))
#define ONES     UINT32_C(0xffffffff)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { EAX, EBX, ECX, EDX };

static uint32_t reg_of(const struct kvm_cpuid_entry2 *e, int reg)
{
        const uint32_t regs[] = {e->eax, e->ebx, e->ecx, e->edx};

        return regs[reg];
}

static void put(struct cpuid_table *t, uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
                uint32_t edx)
{
        assert_true(t->head.nent < CPUID_ENTRIES_MAX);
        t->entries[t->head.nent++] = (struct kvm_cpuid_entry2){.function = function,
                                                               .index = index,
                                                               .flags = index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                                               .eax = eax,
                                                               .ebx = ebx,
                                                               .ecx = ecx,
                                                               .edx = edx};
}

static struct kvm_cpuid_entry2 *get(struct cpuid_table *t, uint32_t function, uint32_t index)
{
        for (uint32_t i = 0; i < t->head.nent; i++)
                if (t->entries[i].function == function && t->entries[i].index == index)
                        return &t->entries[i];
        return NULL;
}

static struct kvm_cpuid_entry2 *must(struct cpuid_table *t, uint32_t function, uint32_t index)
{
        struct kvm_cpuid_entry2 *e = get(t, function, index);

        if (!e) {
                fail_msg("leaf %x.%u is missing", function, index);
                abort(); /* not reached, which the compiler cannot know */
        }
        return e;
}

static void put_kvm(struct cpuid_table *t)
{
        put(t, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
        put(t, 0x40000001, 0, ONES, ONES, ONES, ONES);
}

/* The shape of a server of 2021 with counters, nested virtualization and everything else left on. */
static void intel(struct cpuid_table *t)
{
        *t = (struct cpuid_table){.head.nent = 0};
        put(t, 0x0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69); /* GenuineIntel */
        put(t, 0x1, 0, 0x000606a6, 0x2a400800, ONES, ONES);
        put(t, 0x2, 0, 0x00feff01, 0xf0, 0, 0);
        put(t, 0x2, 0, 0x11111111, 0, 0, 0); /* stateful leaf of an old kernel */
        put(t, 0x4, 0, 0xfc1fc121, 0x02c0003f, 63, 0);
        put(t, 0x4, 1, 0xfc1fc122, 0x01c0003f, 63, 0);
        put(t, 0x4, 2, 0xfc1fc143, 0x04c0003f, 1023, 0);
        put(t, 0x4, 3, 0xfdffc163, 0x02c0003f, 0xbfff, 4);
        put(t, 0x4, 4, 0, 0, 0, 0);
        put(t, 0x6, 0, ONES, ONES, ONES, ONES);
        put(t, 0x7, 0, 2, ONES, ONES, ONES);
        put(t, 0x7, 1, ONES, ONES, ONES, ONES);
        put(t, 0x7, 2, ONES, ONES, ONES, ONES);
        put(t, 0xa, 0, ONES, ONES, ONES, ONES);
        put(t, 0xb, 0, 1, 2, 0x100, 42);
        put(t, 0xb, 1, 7, 128, 0x201, 42);
        put(t, 0xd, 0, ONES, 0x2b00, 0x2b00, ONES);
        put(t, 0xd, 1, ONES, 0x2b00, ONES, ONES);
        put(t, 0xd, 2, 0x100, 0x240, 0, 0);
        put(t, 0xd, 5, 0x40, 0x440, 0, 0);
        put(t, 0xd, 6, 0x200, 0x480, 0, 0);
        put(t, 0xd, 7, 0x400, 0x680, 0, 0);
        put(t, 0xd, 9, 8, 0xa80, 0, 0);
        put(t, 0xd, 11, 0x10, 0, 1, 0);
        put(t, 0xd, 17, 0x40, 0xac0, 2, 0);
        put(t, 0xd, 18, 0x2000, 0xb00, 6, 0);
        put(t, 0xd, 63, 0x40, 0x2b00, 0, 0);
        put(t, 0x1f, 0, 1, 2, 0x100, 42);
        put(t, 0x1f, 5, 1, 2, 0x100, 42);
        put(t, 0x80000000, 0, 0x80000008, 0, 0, 0);
        put(t, 0x80000001, 0, 0, 0, 0x121, 0x2c100800);
        put(t, 0x80000002, 0, 0x65746e49, 0x2952286c, 0x6f655820, 0x2952286e);
        put(t, 0x80000003, 0, 0, 0, 0, 0);
        put(t, 0x80000004, 0, 0, 0, 0, 0);
        put(t, 0x80000006, 0, 0, 0, 0x08007040, 0);
        put(t, 0x80000007, 0, ONES, ONES, ONES, ONES);
        put(t, 0x80000008, 0, 0x3934, 0, ONES, ONES);
        put_kvm(t);
}

static void amd(struct cpuid_table *t)
{
        *t = (struct cpuid_table){.head.nent = 0};
        put(t, 0x0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65); /* AuthenticAMD */
        put(t, 0x1, 0, 0x00a20f10, 0x07100800, ONES, ONES);
        put(t, 0x6, 0, ONES, ONES, ONES, ONES);
        put(t, 0x7, 0, 0, ONES, ONES, ONES);
        put(t, 0xd, 0, 0x207, 0x988, 0x988, 0);
        put(t, 0xd, 1, ONES, 0x988, ONES, 0);
        put(t, 0xd, 2, 0x100, 0x240, 0, 0);
        put(t, 0xd, 9, 8, 0x980, 0, 0);
        put(t, 0x80000000, 0, 0x80000023, 0x68747541, 0x444d4163, 0x69746e65);
        put(t, 0x80000001, 0, 0x00a20f10, 0x20000000, ONES, ONES);
        put(t, 0x80000002, 0, 0x20444d41, 0, 0, 0);
        put(t, 0x80000005, 0, 1, 2, 3, 4);
        put(t, 0x80000006, 0, 5, 6, 7, 8);
        put(t, 0x80000007, 0, ONES, ONES, ONES, ONES);
        put(t, 0x80000008, 0, 0x3030, ONES, 0x503f, 0x10001);
        put(t, 0x8000000a, 0, ONES, ONES, ONES, ONES);
        put(t, 0x8000001b, 0, ONES, ONES, ONES, ONES);
        put(t, 0x8000001d, 0, 0x00004121, 0x01c0003f, 0x3f, 0);
        put(t, 0x8000001d, 1, 0x00004122, 0x01c0003f, 0x3f, 0);
        put(t, 0x8000001d, 2, 0x00004143, 0x01c0003f, 0x3ff, 2);
        put(t, 0x8000001d, 3, 0x0003c163, 0x03c0003f, 0x7fff, 1);
        put(t, 0x8000001d, 4, 0, 0, 0, 0);
        put(t, 0x8000001e, 0, 42, 0x112, 0x303, 0);
        put(t, 0x8000001f, 0, ONES, ONES, ONES, ONES);
        put(t, 0x80000021, 0, ONES, ONES, ONES, ONES);
        put(t, 0x80000022, 0, ONES, ONES, ONES, ONES);
        put(t, 0x80000026, 0, ONES, ONES, ONES, ONES);
        put_kvm(t);
}

static void build(enum cpu_model model, const struct cpuid_table *supported, unsigned int vcpus,
                  struct cpuid_table *ret)
{
        struct err e = ERR_INIT;

        if (cpuid_build(model, supported, vcpus, ret, &e) < 0)
                fail_msg("cpuid_build: %s", e.text);
}

/* Runs check on what either vendor's table becomes, for both models and several sizes. */
static void for_all(void (*check)(struct cpuid_table *t, unsigned int vcpus))
{
        static const unsigned int sizes[] = {1, 2, 3, 6, 64};
        struct cpuid_table supported, t;

        for (int vendor = 0; vendor < 2; vendor++)
                for (int model = CPU_HOST; model <= CPU_BASELINE; model++)
                        for (size_t i = 0; i < COUNT(sizes); i++) {
                                if (vendor == 0)
                                        intel(&supported);
                                else
                                        amd(&supported);
                                build(model, &supported, sizes[i], &t);
                                check(&t, sizes[i]);
                        }
}

static void check_shape(struct cpuid_table *t, unsigned int vcpus)
{
        uint32_t highest[3] = {0, 0, 0};

        assert_in_range(t->head.nent, 10, CPUID_ENTRIES_MAX);
        for (uint32_t i = 0; i < t->head.nent; i++) {
                const struct kvm_cpuid_entry2 *e = &t->entries[i];
                bool sub_leaves = e->function == 4 || e->function == 7 || e->function == 0xb || e->function == 0xd ||
                                  e->function == 0x1f || e->function == 0x24 || e->function == 0x8000001d;

                if (i > 0)
                        assert_true(e->function > e[-1].function ||
                                    (e->function == e[-1].function && e->index > e[-1].index));
                assert_int_equal(e->flags, sub_leaves ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0);
                assert_true(sub_leaves || e->index == 0);
                highest[e->function >> 30] = e->function;
        }
        assert_int_equal(must(t, 0, 0)->eax, highest[0]);
        assert_int_equal(must(t, 0x40000000, 0)->eax, highest[1]);
        assert_int_equal(must(t, 0x80000000, 0)->eax, highest[2]);
        assert_true(highest[0] >= 0xb);
        assert_true(highest[2] >= 0x80000008);
        assert_int_equal(highest[1], 0x40000001);
        for (uint32_t index = 0; index <= must(t, 7, 0)->eax; index++)
                must(t, 7, index);
        assert_null(get(t, 7, must(t, 7, 0)->eax + 1));
}

static void shape(void **state)
{
        for_all(check_shape);
}

/* Written down again on purpose: the table under test must not be its own judge. */
static const struct {
        uint32_t function, index;
        int reg;
        uint32_t bits;
} denied[] = {
        {0x1, 0, ECX, B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(10) | B(11) | B(14) | B(15) | B(18) | B(27)},
        {0x1, 0, EDX, B(18) | B(21) | B(22) | B(29) | B(31)},
        {0x6, 0, EAX, 0xfffffffb},
        {0x6, 0, EBX, ONES},
        {0x6, 0, ECX, ONES},
        {0x6, 0, EDX, ONES},
        {0x7, 0, EBX, B(2) | B(12) | B(14) | B(15) | B(25)},
        {0x7, 0, ECX, B(4) | B(5) | B(13) | B(23) | B(24) | B(29) | B(30) | B(31)},
        {0x7, 0, EDX, B(1) | B(5) | B(9) | B(11) | B(13) | B(15) | B(18) | B(19) | B(22) | B(24) | B(25) | B(30)},
        {0x7, 1, EAX, B(8) | B(17) | B(21) | B(22) | B(27)},
        {0x7, 1, EBX, B(0) | B(1)},
        {0x7, 1, EDX, B(8) | B(13) | B(15) | B(21)},
        {0xd, 0, EAX, B(3) | B(4) | B(17) | B(18) | B(19)},
        {0xd, 0, EDX, ONES},
        {0xd, 1, EAX, B(4)},
        {0xd, 1, ECX, B(8) | B(10) | B(13) | B(14) | B(15) | B(16)},
        {0x80000001, 0, ECX, B(2) | B(3) | B(10) | B(12) | B(13) | B(15) | B(19) | B(23) | B(24)},
        {0x80000001, 0, ECX, B(26) | B(27) | B(28) | B(29) | B(30)},
        {0x80000007, 0, EAX, ONES},
        {0x80000007, 0, EBX, ONES},
        {0x80000007, 0, ECX, ONES},
        {0x80000007, 0, EDX, ~B(8)},
        {0x80000008, 0, EBX, B(3) | B(4) | B(6) | B(27) | B(31)},
        {0x80000008, 0, ECX, 0xffff0f00},
        {0x80000008, 0, EDX, ONES},
        {0x80000021, 0, EAX, B(31)},
        {0x40000001, 0, EAX, ~(B(1) | B(3) | B(5) | B(6) | B(7) | B(9) | B(11) | B(13) | B(24))},
        {0x40000001, 0, EDX, ONES},
};

static const uint32_t absent[] = {
        0x3,        0x5,        0x9,        0xa,        0xf,        0x10,       0x12,       0x14,
        0x15,       0x16,       0x17,       0x18,       0x19,       0x1a,       0x1b,       0x1c,
        0x1d,       0x1e,       0x20,       0x21,       0x23,       0x40000002, 0x40000003, 0x40000010,
        0x80000009, 0x8000000a, 0x8000001b, 0x8000001c, 0x8000001f, 0x80000020, 0x80000022, 0x80000023,
        0x80000025, 0x80000026, 0xc0000000, 0xc0000001, 0x27,       0x12345678,
};

static void check_denied(struct cpuid_table *t, unsigned int vcpus)
{
        for (size_t i = 0; i < COUNT(denied); i++) {
                const struct kvm_cpuid_entry2 *e = get(t, denied[i].function, denied[i].index);

                if (e && (reg_of(e, denied[i].reg) & denied[i].bits))
                        fail_msg("%x.%u register %d shows %08x", denied[i].function, denied[i].index, denied[i].reg,
                                 reg_of(e, denied[i].reg) & denied[i].bits);
        }
        for (size_t i = 0; i < COUNT(absent); i++)
                if (get(t, absent[i], 0))
                        fail_msg("leaf %x is there", absent[i]);
}

static void denied_bits_are_clear(void **state)
{
        struct cpuid_table supported, t;

        for_all(check_denied);

        /* Every leaf there is, every bit set. */
        for (int vendor = 0; vendor < 2; vendor++) {
                if (vendor == 0)
                        intel(&supported);
                else
                        amd(&supported);
                for (size_t i = 0; i < COUNT(absent); i++)
                        put(&supported, absent[i], 0, ONES, ONES, ONES, ONES);
                for (size_t i = 0; i < COUNT(denied); i++)
                        if (!get(&supported, denied[i].function, denied[i].index))
                                put(&supported, denied[i].function, denied[i].index, ONES, ONES, ONES, ONES);
                for (uint32_t i = 0; i < supported.head.nent; i++) {
                        struct kvm_cpuid_entry2 *e = &supported.entries[i];

                        if (e->function != 0)
                                e->eax = e->ebx = e->ecx = e->edx = ONES;
                }
                for (int model = CPU_HOST; model <= CPU_BASELINE; model++) {
                        build(model, &supported, 4, &t);
                        check_denied(&t, 4);
                        check_shape(&t, 4);
                }
        }
}

static void features_pass(void **state)
{
        struct cpuid_table supported, t;

        intel(&supported);
        build(CPU_HOST, &supported, 2, &t);
        assert_true(must(&t, 0x1, 0)->ecx & B(26));             /* XSAVE */
        assert_true(must(&t, 0x1, 0)->ecx & B(28));             /* AVX */
        assert_true(must(&t, 0x7, 0)->ebx & B(5));              /* AVX2 */
        assert_true(must(&t, 0x7, 0)->edx & B(29));             /* ARCH_CAPABILITIES */
        assert_int_equal(must(&t, 0x1, 0)->eax, 0x000606a6);    /* the host's model */
        assert_int_equal(must(&t, 0x80000007, 0)->edx, B(8));   /* invariant TSC */
        assert_int_equal(must(&t, 0x6, 0)->eax, B(2));          /* ARAT */
        assert_int_equal(must(&t, 0x80000008, 0)->eax, 0x3934); /* address widths */
        assert_int_equal(must(&t, 0x80000002, 0)->eax, 0x65746e49);
        assert_int_equal(must(&t, 0x2, 0)->eax, 0x00feff01); /* the first of two */
        assert_int_equal(must(&t, 0x7, 0)->eax, 2);
}

/* Features of the local APIC and of running under KVM do not depend on the host's processor. */
static void forced_features(void **state)
{
        struct cpuid_table supported, t;

        intel(&supported);
        must(&supported, 0x1, 0)->ecx &= ~(B(21) | B(24) | B(31));
        for (int model = CPU_HOST; model <= CPU_BASELINE; model++) {
                build(model, &supported, 2, &t);
                assert_int_equal(must(&t, 0x1, 0)->ecx & (B(21) | B(24) | B(31)), B(21) | B(24) | B(31));
        }
}

static void hypervisor_leaves(void **state)
{
        struct cpuid_table supported, t;

        intel(&supported);
        build(CPU_HOST, &supported, 2, &t);
        assert_memory_equal(&must(&t, 0x40000000, 0)->ebx, "KVMK", 4);
        assert_memory_equal(&must(&t, 0x40000000, 0)->ecx, "VMKV", 4);
        assert_memory_equal(&must(&t, 0x40000000, 0)->edx, "M\0\0\0", 4);
        assert_int_equal(must(&t, 0x40000001, 0)->eax, 0x01002aea);

        must(&supported, 0x40000001, 0)->eax = B(3) | B(4); /* never more than KVM has */
        build(CPU_HOST, &supported, 2, &t);
        assert_int_equal(must(&t, 0x40000001, 0)->eax, B(3));
}

static void check_topology(struct cpuid_table *t, unsigned int vcpus)
{
        unsigned int bits = vcpus == 1 ? 0 : vcpus == 2 ? 1 : vcpus == 3 ? 2 : vcpus == 6 ? 3 : 6;

        assert_int_equal(must(t, 1, 0)->ebx, vcpus << 16 | 0x0800);
        assert_int_equal(!!(must(t, 1, 0)->edx & B(28)), vcpus > 1);
        for (uint32_t function = 0xb; function <= 0x1f; function += 0x14) {
                if (!get(t, function, 0))
                        continue;
                assert_int_equal(must(t, function, 0)->eax, 0);
                assert_int_equal(must(t, function, 0)->ebx, 1);
                assert_int_equal(must(t, function, 0)->ecx, 0x100);
                assert_int_equal(must(t, function, 1)->eax, bits);
                assert_int_equal(must(t, function, 1)->ebx, vcpus);
                assert_int_equal(must(t, function, 1)->ecx, 0x201);
                assert_int_equal(must(t, function, 2)->eax, 0);
                assert_int_equal(must(t, function, 2)->ebx, 0);
                assert_int_equal(must(t, function, 2)->ecx, 2);
                assert_null(get(t, function, 3));
                assert_null(get(t, function, 5));
        }
        must(t, 0xb, 0);
        if (get(t, 4, 0)) { /* Intel */
                uint32_t ids = 1U << bits;

                assert_int_equal(must(t, 4, 0)->eax, 0x121 | (ids - 1) << 26);
                assert_int_equal(must(t, 4, 2)->eax, 0x143 | (ids - 1) << 26);
                assert_int_equal(must(t, 4, 3)->eax, 0x163 | (ids - 1) << 14 | (ids - 1) << 26);
                assert_int_equal(must(t, 4, 3)->ecx, 0xbfff);
                assert_int_equal(must(t, 4, 4)->eax, 0);
                assert_int_equal(must(t, 0x80000008, 0)->ecx, 0);
                assert_false(must(t, 0x80000001, 0)->ecx & (B(1) | B(22)));
                assert_null(get(t, 0x8000001e, 0));
        } else {
                assert_int_equal(must(t, 0x80000008, 0)->ecx, bits << 12 | (vcpus - 1));
                assert_int_equal(!!(must(t, 0x80000001, 0)->ecx & B(1)), vcpus > 1);
                assert_int_equal(must(t, 0x8000001d, 0)->eax, 0x121);
                assert_int_equal(must(t, 0x8000001d, 2)->eax, 0x143);
                assert_int_equal(must(t, 0x8000001d, 3)->eax, 0x163 | (vcpus - 1) << 14);
                assert_int_equal(must(t, 0x8000001d, 4)->eax, 0);
                assert_int_equal(must(t, 0x8000001e, 0)->eax, 0);
                assert_int_equal(must(t, 0x8000001e, 0)->ebx, 0);
                assert_int_equal(must(t, 0x8000001e, 0)->ecx, 0);
        }
}

static void topology(void **state)
{
        struct cpuid_table supported, t;

        for_all(check_topology);

        intel(&supported);
        build(CPU_HOST, &supported, 2, &t);
        must(&t, 0x1f, 0);
        build(CPU_BASELINE, &supported, 2, &t);
        assert_null(get(&t, 0x1f, 0));
        amd(&supported);
        build(CPU_HOST, &supported, 2, &t);
        assert_null(get(&t, 0x1f, 0));

        /* No cache leaves without TOPOEXT, no TOPOEXT without cache leaves. */
        must(&supported, 0x80000001, 0)->ecx &= ~B(22);
        build(CPU_HOST, &supported, 2, &t);
        assert_null(get(&t, 0x8000001d, 0));
        assert_null(get(&t, 0x8000001e, 0));
        must(&supported, 0x80000001, 0)->ecx |= B(22);
        for (uint32_t i = 0; i < 5; i++)
                must(&supported, 0x8000001d, i)->function = 0x80000099;
        build(CPU_HOST, &supported, 2, &t);
        assert_false(must(&t, 0x80000001, 0)->ecx & B(22));
        assert_null(get(&t, 0x8000001e, 0));
}

static void check_vcpu(struct cpuid_table *t, unsigned int vcpus)
{
        struct cpuid_table own = *t;

        cpuid_for_vcpu(&own, vcpus - 1);
        assert_int_equal(must(&own, 1, 0)->ebx >> 24, vcpus - 1);
        for (uint32_t level = 0; level < 3; level++)
                assert_int_equal(must(&own, 0xb, level)->edx, vcpus - 1);
        if (get(&own, 0x1f, 0))
                assert_int_equal(must(&own, 0x1f, 1)->edx, vcpus - 1);
        if (get(&own, 0x8000001e, 0)) {
                assert_int_equal(must(&own, 0x8000001e, 0)->eax, vcpus - 1);
                assert_int_equal(must(&own, 0x8000001e, 0)->ebx, vcpus - 1);
        }
        /* Nothing else differs, and one table serves all vCPUs one after the other. */
        cpuid_for_vcpu(&own, 0);
        assert_int_equal(own.head.nent, t->head.nent);
        assert_memory_equal(own.entries, t->entries, t->head.nent * sizeof(t->entries[0]));
}

static void per_vcpu_fields(void **state)
{
        for_all(check_vcpu);
}

static void xstate(void **state)
{
        struct cpuid_table supported, t;

        intel(&supported);
        build(CPU_HOST, &supported, 1, &t);
        assert_int_equal(must(&t, 0xd, 0)->eax, 0x2e7);
        assert_int_equal(must(&t, 0xd, 0)->ebx, 576);
        assert_int_equal(must(&t, 0xd, 0)->ecx, 0xa88); /* the end of PKRU: tiles are gone */
        assert_int_equal(must(&t, 0xd, 1)->ecx, B(11) | B(12));
        must(&t, 0xd, 2);
        must(&t, 0xd, 9);
        must(&t, 0xd, 11);
        assert_null(get(&t, 0xd, 17));
        assert_null(get(&t, 0xd, 18));
        assert_null(get(&t, 0xd, 63));

        must(&supported, 0xd, 0)->eax = 7; /* components come and go with the host's XCR0 */
        build(CPU_HOST, &supported, 1, &t);
        assert_int_equal(must(&t, 0xd, 0)->ecx, 0x340);
        assert_null(get(&t, 0xd, 9));

        must(&supported, 0xd, 0)->function = 0x99; /* half a leaf is none */
        build(CPU_HOST, &supported, 1, &t);
        assert_null(get(&t, 0xd, 1));
        assert_null(get(&t, 0xd, 2));
}

static void baseline_is_fixed(void **state)
{
        struct cpuid_table supported, rich, poor;

        intel(&supported);
        build(CPU_BASELINE, &supported, 2, &rich);
        must(&supported, 0x1, 0)->ecx = 0x00982201 | B(30); /* x86-64-v2 and RDRAND, no more */
        must(&supported, 0x80000001, 0)->ecx = 1;
        must(&supported, 0x80000001, 0)->edx = 0x28100800;
        must(&supported, 0x7, 1)->eax = 0;
        must(&supported, 0xd, 0)->eax = 0;
        must(&supported, 0x7, 0)->ebx = B(7) | B(18) | B(20);
        build(CPU_BASELINE, &supported, 2, &poor);
        assert_int_equal(rich.head.nent, poor.head.nent);
        assert_memory_equal(rich.entries, poor.entries, rich.head.nent * sizeof(rich.entries[0]));

        assert_int_equal(must(&rich, 0x1, 0)->ecx, 0xc1b82201); /* v2, RDRAND, X2APIC, deadline, hypervisor */
        assert_int_equal(must(&rich, 0x1, 0)->edx, 0x178bfbfd);
        assert_int_equal(must(&rich, 0x7, 0)->ebx, 0x00140080);
        assert_int_equal(must(&rich, 0x7, 0)->ecx, 0x00000004);
        assert_int_equal(must(&rich, 0x7, 0)->edx, 0xbc000400);
        assert_int_equal(must(&rich, 0x7, 1)->eax, 0);
        assert_int_equal(must(&rich, 0x7, 2)->edx, 0x3f);
        assert_int_equal(must(&rich, 0x80000001, 0)->edx, 0x28100800);
        assert_null(get(&rich, 0xd, 0));
        assert_null(get(&rich, 0x80000007, 0));
        assert_memory_equal(&must(&rich, 0x80000002, 0)->eax, "bulkhead", 4);
        assert_memory_equal(&must(&rich, 0x80000003, 0)->eax, "e\0\0\0", 4);
        assert_int_equal(must(&rich, 0x80000004, 0)->edx, 0);
        assert_int_equal(must(&rich, 0x1, 0)->eax, 0x000606a6);
}

static void baseline_on_amd(void **state)
{
        struct cpuid_table supported, t;

        amd(&supported);
        build(CPU_BASELINE, &supported, 2, &t);
        /* The aliases of leaf 1 EDX come with the vendor. */
        assert_int_equal(must(&t, 0x80000001, 0)->edx, 0x28100800 | (must(&t, 0x1, 0)->edx & 0x0183f3ff));
        assert_int_equal(must(&t, 0x80000001, 0)->ecx, B(0) | B(1) | B(9) | B(22));
        assert_int_equal(must(&t, 0x80000001, 0)->ebx, 0);
        assert_int_equal(must(&t, 0x80000008, 0)->ebx, 0x770fd000);
        assert_int_equal(must(&t, 0x80000021, 0)->eax, 0x78000165);
        assert_int_equal(must(&t, 0x80000021, 0)->ecx, 6);
        must(&t, 0x80000003, 0); /* named although the host's table had no such leaf */

        must(&supported, 0x80000008, 0)->ebx = 0; /* mitigations are the host's */
        build(CPU_BASELINE, &supported, 2, &t);
        assert_int_equal(must(&t, 0x80000008, 0)->ebx, 0);
}

static void baseline_names_what_is_missing(void **state)
{
        struct cpuid_table supported, t, untouched;
        struct err e = ERR_INIT;

        memset(&t, 0x5a, sizeof(t));
        memset(&untouched, 0x5a, sizeof(untouched));
        intel(&supported);
        must(&supported, 0x1, 0)->ecx &= ~(B(20) | B(23));
        must(&supported, 0x80000001, 0)->edx &= ~B(27);
        assert_int_equal(cpuid_build(CPU_BASELINE, &supported, 2, &t, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_HOST);
        assert_non_null(strstr(e.text, "not offer SSE4_2 POPCNT RDTSCP;"));
        assert_memory_equal(&t, &untouched, sizeof(t));
        build(CPU_HOST, &supported, 2, &t);

        for (uint32_t i = 0; i < supported.head.nent; i++) /* all of them fit into the message */
                if (supported.entries[i].function != 0)
                        supported.entries[i].ecx = supported.entries[i].edx = 0;
        assert_int_equal(cpuid_build(CPU_BASELINE, &supported, 2, &t, &e), -EINVAL);
        assert_non_null(strstr(e.text, " FPU DE "));
        assert_non_null(strstr(e.text, " RDTSCP LM;"));
}

static void bad_input(void **state)
{
        static const uint32_t required[] = {0x0, 0x1, 0x80000000, 0x80000001};
        struct cpuid_table supported, t, untouched;
        struct err e = ERR_INIT;

        memset(&t, 0x5a, sizeof(t));
        memset(&untouched, 0x5a, sizeof(untouched));
        intel(&supported);
        assert_int_equal(cpuid_build(CPU_HOST, &supported, 0, &t, &e), -EINVAL);
        assert_int_equal(cpuid_build(CPU_HOST, &supported, 65, &t, &e), -EINVAL);
        supported.head.nent = CPUID_ENTRIES_MAX + 1;
        assert_int_equal(cpuid_build(CPU_HOST, &supported, 1, &t, &e), -E2BIG);
        for (size_t i = 0; i < COUNT(required); i++) {
                intel(&supported);
                must(&supported, required[i], 0)->function = 0x77;
                assert_int_equal(cpuid_build(CPU_HOST, &supported, 1, &t, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_HOST);
                /* There, but only as a sub-leaf that it does not have. */
                intel(&supported);
                must(&supported, required[i], 0)->index = 1;
                assert_int_equal(cpuid_build(CPU_HOST, &supported, 1, &t, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_HOST);
        }
        assert_memory_equal(&t, &untouched, sizeof(t));

        /* A full table of sub-leaves nobody knows is no trouble. */
        intel(&supported);
        while (supported.head.nent < CPUID_ENTRIES_MAX)
                put(&supported, 0x7, 3 + supported.head.nent, ONES, ONES, ONES, ONES);
        build(CPU_HOST, &supported, 64, &t);
        check_shape(&t, 64);
        assert_int_equal(must(&t, 0x7, 0)->eax, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(shape),
                cmocka_unit_test(denied_bits_are_clear),
                cmocka_unit_test(features_pass),
                cmocka_unit_test(forced_features),
                cmocka_unit_test(hypervisor_leaves),
                cmocka_unit_test(topology),
                cmocka_unit_test(per_vcpu_fields),
                cmocka_unit_test(xstate),
                cmocka_unit_test(baseline_is_fixed),
                cmocka_unit_test(baseline_on_amd),
                cmocka_unit_test(baseline_names_what_is_missing),
                cmocka_unit_test(bad_input),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
