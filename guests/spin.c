/*
 * spin: runs for ever in ring 0 with interrupts off and makes no exit. Only a kick from the host ends it.
 *
 * Prints:   spinning
 * Verdicts: none
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"

unsigned int guest_main(const struct boot_info *boot)
{
        (void)boot;
        print("spinning\n");
        cpu_interrupts_off();
        for (;;)
                __asm__ volatile("");
}
