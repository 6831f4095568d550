/*
 * cpuid: prints what the processor says it is and which MSRs answer, for the host to compare with what it
 * promised.
 *
 * CPUID leaves from 0, 0x40000000 and 0x80000000 up to the highest each range reports; where a leaf has
 * subleaves, all that are not empty.
 *
 * Options:  msr=RANGES  MSRs to read, in hexadecimal: msr=10-1f,1b,c0000080 (default: a broad scan)
 *           wrmsr       also write each MSR that could be read with the value it had
 * Prints:   cpuid LEAF SUBLEAF EAX EBX ECX EDX         eight hexadecimal digits each
 *           msr INDEX ok VALUE | msr INDEX gp          eight and sixteen digits
 *           wrmsr INDEX ok | wrmsr INDEX gp
 *           cpuid done
 * Verdicts: 0, 3 (msr= cannot be understood), 4 (an access ended in another exception than #GP)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/verdict.h"

#define VERDICT_BAD_OPTION 3
#define VERDICT_NOT_GP     4

#define LEAVES_MAX    0x40 /* in each range, whatever the processor claims */
#define SUBLEAVES_MAX 0x40

static bool leaf_has_subleaves(uint32_t leaf)
{
        static const uint32_t leaves[] = {0x4,  0x7,  0xb,  0xd,  0xf,        0x10,       0x12,
                                          0x14, 0x17, 0x18, 0x1a, 0x1b,       0x1d,       0x1e,
                                          0x1f, 0x20, 0x23, 0x24, 0x8000001d, 0x80000020, 0x80000026};

        for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
                if (leaves[i] == leaf)
                        return true;
        }
        return false;
}

static void print_leaf(uint32_t leaf)
{
        uint32_t subleaves = leaf_has_subleaves(leaf) ? SUBLEAVES_MAX : 1;

        for (uint32_t subleaf = 0; subleaf < subleaves; subleaf++) {
                struct cpuid_regs r = cpuid(leaf, subleaf);

                /* Topology leaves repeat the subleaf in ecx, and have the APIC id in edx, on levels that do
                 * not exist. */
                if (subleaf > 0 && !r.eax && !r.ebx && (r.ecx & 0xff) == (subleaf & 0xff))
                        continue;
                if (subleaf > 0 && !r.eax && !r.ebx && !r.ecx && !r.edx)
                        continue;
                print("cpuid %08x %08x %08x %08x %08x %08x\n", leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
        }
}

static void print_cpuid(void)
{
        static const uint32_t bases[] = {0, 0x40000000, 0x80000000};

        for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
                uint32_t last = cpuid(bases[i], 0).eax;

                if (last < bases[i] || last - bases[i] >= LEAVES_MAX)
                        last = last < bases[i] ? bases[i] : bases[i] + LEAVES_MAX - 1;
                for (uint32_t leaf = bases[i]; leaf <= last; leaf++)
                        print_leaf(leaf);
        }
}

struct msr_access {
        uint32_t index;
        uint64_t value;
};

static void do_read(void *arg)
{
        struct msr_access *a = arg;

        a->value = rdmsr(a->index);
}

static void do_write(void *arg)
{
        const struct msr_access *a = arg;

        wrmsr(a->index, a->value);
}

/* Tries fn; true when there was no exception. Any but #GP ends the guest. */
static bool try_access(void (*fn)(void *), struct msr_access *a)
{
        int vector = guest_try(fn, a);

        if (vector >= 0 && vector != TRAP_GP) {
                print("msr %08x: exception %d\n", a->index, vector);
                verdict(VERDICT_NOT_GP);
        }
        return vector < 0;
}

static void print_msrs(uint32_t first, uint32_t last, bool write)
{
        for (uint64_t index = first; index <= last; index++) {
                struct msr_access a = {.index = (uint32_t)index};

                if (!try_access(do_read, &a)) {
                        print("msr %08x gp\n", a.index);
                        continue;
                }
                print("msr %08x ok %016lx\n", a.index, a.value);
                if (write)
                        print("wrmsr %08x %s\n", a.index, try_access(do_write, &a) ? "ok" : "gp");
        }
}

/* Reads up to eight hexadecimal digits. Returns what follows, or NULL. */
static const char *parse_hex(const char *text, uint32_t *ret)
{
        uint32_t value = 0;
        unsigned int n = 0;

        for (;; text++, n++) {
                uint32_t digit;

                if (*text >= '0' && *text <= '9')
                        digit = (uint32_t)(*text - '0');
                else if (*text >= 'a' && *text <= 'f')
                        digit = (uint32_t)(*text - 'a' + 10);
                else
                        break;
                value = value << 4 | digit;
        }
        if (n == 0 || n > 8)
                return NULL;
        *ret = value;
        return text;
}

static bool print_msr_list(const char *list, bool write)
{
        for (;;) {
                uint32_t first, last;

                list = parse_hex(list, &first);
                if (!list)
                        return false;
                last = first;
                if (*list == '-') {
                        list = parse_hex(list + 1, &last);
                        if (!list || last < first)
                                return false;
                }
                print_msrs(first, last, write);
                if (*list != ',')
                        return *list == '\0' || *list == ' ';
                list++;
        }
}

unsigned int guest_main(const struct boot_info *boot)
{
        /* The architectural ranges, the PMU, machine checks, shadow stacks, the TSC deadline, x2APIC, XSAVE, AMD's,
         * KVM's own and Hyper-V's. */
        static const char broad[] =
                "0-4ff,6a0-6a8,6e0,700-8ff,d90-daf,c0000080-c0000105,c0010000-c0010300,c0011000-c0011040,"
                "40000000-400000ff,4b564d00-4b564d10";
        const char *list = boot_option(boot, "msr");

        print_cpuid();
        if (!print_msr_list(list ? list : broad, boot_option(boot, "wrmsr") != NULL))
                return VERDICT_BAD_OPTION;
        print("cpuid done\n");
        return VERDICT_PASSED;
}
