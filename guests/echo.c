/*
 * echo: sends back every byte it receives; the UART's receive interrupt comes through the I/O APIC.
 *
 * The processor is halted whenever there is nothing to do. A receive interrupt that does not come leaves it
 * halted: the host needs a time limit.
 *
 * Prints:   echo ready        bytes sent before this may be lost
 *           then each byte received, up to and with the 'q' that ends it
 * Verdicts: 0 (after 'q')
 * Needs:    the in-kernel local APIC and an I/O APIC; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/ioapic.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/uart.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

#define VECTOR_UART 0x60

static void on_uart(void)
{
        lapic_eoi();
}

unsigned int guest_main(const struct boot_info *boot)
{
        (void)boot;
        (void)lapic_enable(LAPIC_XAPIC);
        trap_set_irq(VECTOR_UART, on_uart);
        ioapic_route_edge(LAYOUT_UART_GSI, VECTOR_UART, (uint8_t)lapic_id());
        print("echo ready\n");
        outb(LAYOUT_UART_PORT + UART_IER, UART_IER_RX);

        /* The pin is edge triggered. The FIFO is read until it is empty, which lets the line fall; a byte
         * that comes after that raises it again, and the interrupt waits in the local APIC until the next
         * hlt. */
        for (;;) {
                int c;

                cpu_wait_for_interrupt();
                while ((c = uart_read()) >= 0) {
                        char byte = (char)c;

                        (void)uart_write(&byte, 1);
                        if (byte == 'q')
                                return VERDICT_PASSED;
                }
        }
}
