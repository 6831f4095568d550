/*
 * hello: the way into long mode works.
 *
 * Prints:   hello from ring 0, N bytes of RAM      (N: the sum of the usable entries of the memory map)
 * Verdicts: 0
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/print.h"
#include "lib/verdict.h"

unsigned int guest_main(const struct boot_info *boot)
{
        print("hello from ring 0, %lu bytes of RAM\n", boot_ram_bytes(boot));
        return VERDICT_PASSED;
}
