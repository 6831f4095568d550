#include "uart.h"

#include "cpu.h"
#include "vmm/x86_64/layout.h"

#define POLLS_MAX 500000 /* of the line status: at some microseconds each, seconds */

void uart_init(void)
{
        outb(LAYOUT_UART_PORT + UART_IER, 0);
        outb(LAYOUT_UART_PORT + UART_LCR, UART_LCR_DLAB);
        outb(LAYOUT_UART_PORT + UART_DATA, 1); /* divisor 1: 115200 */
        outb(LAYOUT_UART_PORT + UART_IER, 0);
        outb(LAYOUT_UART_PORT + UART_LCR, UART_LCR_8N1);
        outb(LAYOUT_UART_PORT + UART_FCR, UART_FCR_ENABLE | UART_FCR_CLEAR);
        outb(LAYOUT_UART_PORT + UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
}

static bool wait_until_empty(void)
{
        for (unsigned int i = 0; i < POLLS_MAX; i++) {
                if (inb(LAYOUT_UART_PORT + UART_LSR) & UART_LSR_THRE)
                        return true;
                cpu_pause();
        }
        return false;
}

bool uart_write(const char *data, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if (i % UART_FIFO_BYTES == 0 && !wait_until_empty())
                        return false;
                outb(LAYOUT_UART_PORT + UART_DATA, (uint8_t)data[i]);
        }
        return true;
}

int uart_read(void)
{
        if (!(inb(LAYOUT_UART_PORT + UART_LSR) & UART_LSR_RX))
                return -1;
        return inb(LAYOUT_UART_PORT + UART_DATA);
}
