/* The first C code: the same steps for every guest, then its guest_main(). */
#include <stdint.h>

#include "boot.h"
#include "print.h"
#include "trap.h"
#include "uart.h"
#include "verdict.h"

/* Called by start.S with the address the boot protocol left in ebx. */
_Noreturn void runtime_start(uint64_t start_info);

void runtime_start(uint64_t start_info)
{
        static struct boot_info boot;

        trap_init();
        uart_init();
        if (!boot_read(start_info, &boot)) {
                print("no usable hvm_start_info at 0x%lx\n", start_info);
                verdict(VERDICT_FAILED);
        }
        verdict(guest_main(&boot));
}
