/*
 * hlt: halts with interrupts off and no source of one. Only the host can end it.
 *
 * Prints:   halted
 * Verdicts: none
 * Needs:    the in-kernel local APIC, or every hlt is an exit; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"

unsigned int guest_main(const struct boot_info *boot)
{
        (void)boot;
        print("halted\n");
        cpu_halt_forever();
}
