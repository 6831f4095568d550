/*
 * power: the three ways a guest ends its machine.
 *
 * Options:  off       ACPI S5 through the sleep control register (the default)
 *           reset     the ACPI reset register
 *           triple    a triple fault
 *           wait      not before a byte has come by the UART
 * Prints:   power: off | power: reset | power: triple
 *           power: still running        when the write did nothing
 * Verdicts: 1 (still running)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include "lib/acpi.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/uart.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

unsigned int guest_main(const struct boot_info *boot)
{
        while (boot_option(boot, "wait") && uart_read() < 0)
                cpu_pause();
        if (boot_option(boot, "triple")) {
                print("power: triple\n");
                cpu_triple_fault();
        }
        if (boot_option(boot, "reset")) {
                print("power: reset\n");
                outb(LAYOUT_PM_PORT + LAYOUT_PM_RESET, LAYOUT_PM_RESET_VALUE);
        } else {
                print("power: off\n");
                acpi_power_off();
        }
        print("power: still running\n");
        return VERDICT_FAILED;
}
