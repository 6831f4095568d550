/*
 * The CPUID template, made from any table that KVM could report. What no guest may see is listed here once more, from
 * docs/cpu.md, so that the product's own table is not its only judge.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "vmm/x86_64/cpuid.h"

#define B(n) (UINT32_C(1) << (n))
#define ALL  UINT32_C(0xffffffff)

static const uint32_t functions[] = {
        0x0,        0x1,        0x2,        0x3,        0x4,        0x5,        0x6,        0x7,        0xa,
        0xb,        0xd,        0xf,        0x10,       0x12,       0x14,       0x15,       0x16,       0x19,
        0x1c,       0x1d,       0x1f,       0x23,       0x24,       0x40000000, 0x40000001, 0x80000000, 0x80000001,
        0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008, 0x8000000a, 0x80000019,
        0x8000001a, 0x8000001b, 0x8000001d, 0x8000001e, 0x8000001f, 0x80000020, 0x80000021, 0x80000022, 0x80000026,
};

static const struct {
        uint32_t function, index;
        uint32_t eax, ebx, ecx, edx; /* bits that no guest sees */
} denied[] = {
        {0x1, 0, 0, 0, B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(10) | B(11) | B(14) | B(15) | B(18) | B(27),
         B(18) | B(21) | B(22) | B(29) | B(31)},
        {0x6, 0, ~B(2), ALL, ALL, ALL},
        {0x7, 0, 0, B(2) | B(12) | B(14) | B(15) | B(25), B(4) | B(5) | B(13) | B(23) | B(24) | B(29) | B(30) | B(31),
         B(1) | B(5) | B(9) | B(11) | B(13) | B(15) | B(18) | B(19) | B(22) | B(24) | B(25) | B(30)},
        {0x7, 1, B(8) | B(17) | B(21) | B(22) | B(27), B(0) | B(1), 0, B(8) | B(13) | B(15) | B(21)},
        {0xd, 0, ~(B(0) | B(1) | B(2) | B(5) | B(6) | B(7) | B(9)), 0, 0, ALL},
        {0xd, 1, B(4), 0, ~(B(11) | B(12)), ALL},
        {0x40000001, 0, B(0) | B(4) | B(10) | B(12) | B(14) | B(15) | B(16) | B(17), ALL, ALL, ALL},
        {0x80000001, 0, 0, 0,
         B(2) | B(3) | B(10) | B(12) | B(13) | B(15) | B(19) | B(23) | B(24) | B(26) | B(27) | B(28) | B(29) | B(30),
         0},
        {0x80000007, 0, ALL, ALL, ALL, ~B(8)},
        {0x80000008, 0, 0, B(3) | B(4) | B(6) | B(27) | B(31), 0, ALL},
        {0x80000021, 0, B(31), ~UINT32_C(0x00ff0000), 0, 0},
};

static const uint32_t leaves_of_host[] = {
        0x0,        0x1,        0x2,        0x4,        0x6,        0x7,        0xb,        0xd,        0x1f,
        0x24,       0x40000000, 0x40000001, 0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80000004, 0x80000005,
        0x80000006, 0x80000007, 0x80000008, 0x80000019, 0x8000001a, 0x8000001d, 0x8000001e, 0x80000021,
};
static const uint32_t leaves_not_baseline[] = {0xd, 0x1f, 0x24, 0x80000007, 0x80000019, 0x8000001a};

static bool listed(const uint32_t *list, size_t count, uint32_t v)
{
        for (size_t i = 0; i < count; i++)
                if (list[i] == v)
                        return true;
        return false;
}

static const struct kvm_cpuid_entry2 *find(const struct cpuid_table *t, uint32_t function, uint32_t index)
{
        for (uint32_t i = 0; i < t->head.nent; i++)
                if (t->entries[i].function == function && t->entries[i].index == index)
                        return &t->entries[i];
        return NULL;
}

static uint32_t word(struct reader *r)
{
        uint8_t how = read_u8(r);

        return how < 0x60 ? 0 : how < 0xc0 ? ALL : read_u32(r);
}

static void table_read(struct reader *r, struct cpuid_table *t)
{
        static const char vendors[][13] = {"GenuineIntel", "AuthenticAMD", "HygonGenuine"};
        uint8_t start = read_u8(r);

        *t = (struct cpuid_table){.head.nent = 0};
        if (start & 1) { /* what every table has; otherwise it may be missing */
                const char *vendor = vendors[(start >> 1) % ARRAY_LEN(vendors)];

                for (size_t i = 0; i < 4; i++)
                        t->entries[i].function = (const uint32_t[]){0x0, 0x1, 0x80000000, 0x80000001}[i];
                memcpy(&t->entries[0].ebx, vendor, 4);
                memcpy(&t->entries[0].edx, vendor + 4, 4);
                memcpy(&t->entries[0].ecx, vendor + 8, 4);
                t->entries[1].ecx = t->entries[1].edx = t->entries[3].ecx = t->entries[3].edx = start & 8 ? ALL : 0;
                t->head.nent = 4;
        }
        while (r->len > 0 && t->head.nent < CPUID_ENTRIES_MAX) {
                uint8_t which = read_u8(r), index = read_u8(r);
                unsigned int repeat = index & 0x80 ? read_u8(r) : 0; /* a leaf of many sub-leaves: two bytes each */

                do {
                        struct kvm_cpuid_entry2 *entry = &t->entries[t->head.nent++];

                        entry->function = which < 0xf8 ? functions[which % ARRAY_LEN(functions)] : read_u32(r);
                        entry->index = index++ & 0x7f;
                        entry->eax = word(r);
                        entry->ebx = word(r);
                        entry->ecx = word(r);
                        entry->edx = word(r);
                } while (repeat-- > 0 && t->head.nent < CPUID_ENTRIES_MAX);
        }
}

static void check_denied(const struct cpuid_table *t)
{
        for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
                const struct kvm_cpuid_entry2 *e = find(t, denied[i].function, denied[i].index);

                MUST(!e || !((e->eax & denied[i].eax) | (e->ebx & denied[i].ebx) | (e->ecx & denied[i].ecx) |
                             (e->edx & denied[i].edx)));
        }
}

static void check_leaves(const struct cpuid_table *t, enum cpu_model model)
{
        for (uint32_t i = 0; i < t->head.nent; i++) {
                const struct kvm_cpuid_entry2 *e = &t->entries[i], *before = e - 1;

                MUST(listed(leaves_of_host, ARRAY_LEN(leaves_of_host), e->function));
                if (model == CPU_BASELINE)
                        MUST(!listed(leaves_not_baseline, ARRAY_LEN(leaves_not_baseline), e->function));
                if (i > 0) /* sorted, none twice */
                        MUST(before->function < e->function ||
                             (before->function == e->function && before->index < e->index));
                if ((e->function & 0x0fffffff) == 0) { /* names the highest leaf of its range */
                        bool there = false;

                        for (uint32_t j = 0; j < t->head.nent; j++) {
                                there |= t->entries[j].function == e->eax;
                                if (t->entries[j].function >> 28 == e->function >> 28)
                                        MUST(t->entries[j].function <= e->eax);
                        }
                        MUST(there);
                }
        }
}

/* Of the features only what docs/cpu.md names. */
static void check_baseline(const struct cpuid_table *t)
{
        const struct kvm_cpuid_entry2 *leaf1 = find(t, 0x1, 0), *ext1 = find(t, 0x80000001, 0),
                                      *leaf7 = find(t, 0x7, 0);

        MUST((leaf1->ecx & ~UINT32_C(0xc1b82201)) == 0 && (leaf1->edx & ~UINT32_C(0x178bfbfd)) == 0);
        MUST((ext1->ecx & ~(B(0) | B(1) | B(9) | B(22))) == 0 && ext1->ebx == 0);
        MUST((ext1->edx & ~(B(11) | B(20) | B(27) | B(29) | UINT32_C(0x0183f3ff))) == 0);
        MUST(!leaf7 || ((leaf7->ebx & ~(B(7) | B(18) | B(20))) == 0 && (leaf7->ecx & ~B(2)) == 0));
        MUST(memcmp(&find(t, 0x80000002, 0)->eax, "bulkhead baselin", 16) == 0);
}

static void check_topology(const struct cpuid_table *t, unsigned int vcpus)
{
        const struct kvm_cpuid_entry2 *leaf1 = find(t, 0x1, 0), *cores = find(t, 0xb, 1), *v2 = find(t, 0x1f, 1);

        MUST(leaf1 && (leaf1->ebx >> 16 & 0xff) == vcpus && (leaf1->ebx & 0xff) == 0 && leaf1->ebx >> 24 == 0);
        MUST(((leaf1->edx >> 28 & 1) != 0) == (vcpus > 1));
        MUST((leaf1->ecx & (B(21) | B(24) | B(31))) == (B(21) | B(24) | B(31)));
        MUST(cores && cores->ebx == vcpus && (1U << cores->eax) >= vcpus);
        MUST(!v2 || (v2->ebx == vcpus && v2->eax == cores->eax));
        MUST(find(t, 0x40000000, 0) && memcmp(&find(t, 0x40000000, 0)->ebx, "KVMKVMKVM\0\0\0", 12) == 0);
}

/* The area that holds every kept component. */
static void check_xstate(const struct cpuid_table *t)
{
        const struct kvm_cpuid_entry2 *user = find(t, 0xd, 0);

        for (uint32_t i = 0; i < t->head.nent; i++) {
                const struct kvm_cpuid_entry2 *e = &t->entries[i];

                if (e->function != 0xd || e->index < 2)
                        continue;
                MUST(user && find(t, 0xd, 1));
                MUST(e->index < 32 && ((user->eax | find(t, 0xd, 1)->ecx) & B(e->index)));
                if ((user->eax & B(e->index)) && e->eax + e->ebx >= e->eax) /* no processor has 4 GiB of it */
                        MUST(user->ecx >= e->eax + e->ebx);
        }
}

static void check_vcpus(const struct cpuid_table *t, unsigned int vcpus)
{
        struct cpuid_table of_vcpu = *t, again;

        for (unsigned int id = 0; id < vcpus; id += 1 + vcpus / 3) {
                cpuid_for_vcpu(&of_vcpu, id);
                MUST(find(&of_vcpu, 0x1, 0)->ebx >> 24 == id && find(&of_vcpu, 0xb, 0)->edx == id);
        }
        again = of_vcpu;
        cpuid_for_vcpu(&again, 0);
        of_vcpu = *t;
        cpuid_for_vcpu(&of_vcpu, 0);
        MUST(memcmp(&again, &of_vcpu, sizeof(again)) == 0); /* nothing of another vCPU stays */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct cpuid_table supported, t, untouched;
        struct reader r = {data, len};
        unsigned int vcpus = (unsigned int)read_in(&r, 0, SPEC_VCPUS_MAX + 1);
        enum cpu_model model = read_u8(&r) & 1 ? CPU_BASELINE : CPU_HOST;
        struct err e = ERR_INIT;
        int result;

        table_read(&r, &supported);
        memset(&t, 0x5a, sizeof(t));
        memset(&untouched, 0x5a, sizeof(t));
        result = cpuid_build(model, &supported, vcpus, &t, &e);
        if (result < 0) {
                must_be_error(&e, result, STATUS_BIT(STATUS_HOST) | STATUS_BIT(STATUS_FAILURE));
                MUST(memcmp(&t, &untouched, sizeof(t)) == 0);
                return 0;
        }
        MUST(vcpus >= 1 && vcpus <= SPEC_VCPUS_MAX && t.head.nent <= CPUID_ENTRIES_MAX);
        check_denied(&t);
        check_leaves(&t, model);
        check_topology(&t, vcpus);
        check_xstate(&t);
        if (model == CPU_BASELINE)
                check_baseline(&t);
        check_vcpus(&t, vcpus);
        return 0;
}
