/*
 * hypercall: VMCALL and VMMCALL with numbers KVM does not have, and with those it has.
 *
 * KVM answers an unknown hypercall with -1000 (-KVM_ENOSYS), or the instruction is #UD; on the processor of
 * the other vendor KVM may patch the instruction in guest memory first. Known numbers (below 0x100) may
 * answer anything.
 *
 * Options:  spin      calls for ever instead, interrupts off: only a kick from the host ends it
 * Prints:   hypercall spinning                        with spin
 *           hypercall INSTRUCTION NUMBER: RESULT      or "#UD" for the result
 * Verdicts: 0, 1 (another result), 3 (another exception)
 * Needs:    hardware virtualization. A back end that emulates ring 0 may retry VMCALL inside KVM_RUN
 *           until a signal comes (unless the quirk KVM_X86_QUIRK_FIX_HYPERCALL_INSN is off): there it
 *           is only a test of killing.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/verdict.h"

#define VERDICT_NOT_UD 3

#define KVM_ENOSYS    1000
#define KNOWN_NUMBERS 0x100 /* KVM's own are below */

enum instruction { VMCALL, VMMCALL };

struct call {
        enum instruction instruction;
        uint64_t number, args[4];
        int64_t result;
};

static void do_call(void *arg)
{
        struct call *c = arg;

        /* The register convention of Documentation/virt/kvm/x86/hypercalls.rst. */
        if (c->instruction == VMCALL)
                __asm__ volatile("vmcall"
                                 : "=a"(c->result)
                                 : "a"(c->number), "b"(c->args[0]), "c"(c->args[1]), "d"(c->args[2]), "S"(c->args[3])
                                 : "memory");
        else
                __asm__ volatile("vmmcall"
                                 : "=a"(c->result)
                                 : "a"(c->number), "b"(c->args[0]), "c"(c->args[1]), "d"(c->args[2]), "S"(c->args[3])
                                 : "memory");
}

/* xorshift64: the same arguments in every run. */
static uint64_t next_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* Returns false when the answer is not one that KVM may give. */
static bool try_call(enum instruction instruction, uint64_t number, uint64_t *random)
{
        struct call c = {.instruction = instruction, .number = number};
        const char *name = instruction == VMCALL ? "vmcall" : "vmmcall";
        int vector;

        for (size_t i = 0; i < 4; i++)
                c.args[i] = next_random(random);
        vector = guest_try(do_call, &c);
        if (vector == TRAP_UD) {
                print("hypercall %s 0x%lx: #UD\n", name, number);
                return true;
        }
        if (vector >= 0) {
                print("hypercall %s 0x%lx: exception %d\n", name, number, vector);
                verdict(VERDICT_NOT_UD);
        }
        print("hypercall %s 0x%lx: %d\n", name, number, (int)c.result);
        return number < KNOWN_NUMBERS || c.result == -KVM_ENOSYS;
}

unsigned int guest_main(const struct boot_info *boot)
{
        static const uint64_t fixed[] = {0x100, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 63, ~0ULL};
        uint64_t random = 0x2545f4914f6cdd1d;
        bool good = true;

        if (boot_option(boot, "spin")) {
                struct call c = {.number = KNOWN_NUMBERS};

                print("hypercall spinning\n");
                for (;;)
                        (void)guest_try(do_call, &c);
        }
        for (enum instruction i = VMCALL; i <= VMMCALL; i++) {
                for (uint64_t number = 0; number < 32; number++)
                        good &= try_call(i, number, &random);
                for (size_t n = 0; n < sizeof(fixed) / sizeof(fixed[0]); n++)
                        good &= try_call(i, fixed[n], &random);
                for (unsigned int n = 0; n < 32; n++)
                        good &= try_call(i, next_random(&random) | KNOWN_NUMBERS, &random);
        }
        return good ? VERDICT_PASSED : VERDICT_FAILED;
}
