/*
 * triplefault: an invalid instruction with an empty IDT. The machine must end the guest, and say why.
 *
 * Prints:   faulting
 * Verdicts: none
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"

unsigned int guest_main(const struct boot_info *boot)
{
        (void)boot;
        print("faulting\n");
        cpu_triple_fault();
}
