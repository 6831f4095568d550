/*
 * flood: accesses the UART for ever, as fast as it goes.
 *
 * Without options it waits for an empty transmitter before each sixteen bytes, so that no byte may be lost
 * however slow the host takes them.
 *
 * Options:  raw       never looks at the transmitter: `rep outsb` without end, bytes may be lost
 *           registers never sends a byte: writes the interrupt enable and modem control registers, so that the
 *                     interrupt line goes up and down all the time
 * Prints:   lines of fifteen hexadecimal digits that count up from 0; raw: lines of one 'x' repeated;
 *           registers: flooding
 * Verdicts: none
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/uart.h"
#include "vmm/x86_64/layout.h"

#define LINE_BYTES UART_FIFO_BYTES

static void count_up(char *digits, size_t len)
{
        while (len > 0) {
                char *d = &digits[--len];

                *d = *d == '9' ? 'a' : (char)(*d + 1);
                if (*d <= 'f')
                        return;
                *d = '0';
        }
}

static _Noreturn void flood_raw(void)
{
        static const char line[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n";

        for (;;) {
                const void *from = line;
                uint64_t count = sizeof(line) - 1;

                __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(LAYOUT_UART_PORT) : "memory");
        }
}

static _Noreturn void flood_registers(void)
{
        print("flooding\n");
        for (;;) {
                outb(LAYOUT_UART_PORT + UART_IER, UART_IER_THR_EMPTY);
                outb(LAYOUT_UART_PORT + UART_MCR, UART_MCR_OUT2);
                outb(LAYOUT_UART_PORT + UART_IER, 0);
                outb(LAYOUT_UART_PORT + UART_MCR, 0);
        }
}

unsigned int guest_main(const struct boot_info *boot)
{
        char line[LINE_BYTES];

        if (boot_option(boot, "raw"))
                flood_raw();
        if (boot_option(boot, "registers"))
                flood_registers();
        for (size_t i = 0; i < LINE_BYTES - 1; i++)
                line[i] = '0';
        line[LINE_BYTES - 1] = '\n';
        for (;;) {
                while (!uart_write(line, LINE_BYTES)) {
                        /* The host takes nothing for now: nothing was sent, so try the same line again. */
                }
                count_up(line, LINE_BYTES - 1);
        }
}
