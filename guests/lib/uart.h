/* The 16550A at LAYOUT_UART_PORT, polled. Boot processor only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Register offsets and the bits the guests use (National Semiconductor PC16550D). */
#define UART_DATA 0
#define UART_IER  1
#define UART_IIR  2 /* reads */
#define UART_FCR  2 /* writes */
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5
#define UART_MSR  6

#define UART_IER_RX        0x01
#define UART_IER_THR_EMPTY 0x02
#define UART_IIR_NONE      0x01 /* no interrupt pending */
#define UART_FCR_ENABLE    0x01
#define UART_FCR_CLEAR     0x06 /* both FIFOs */
#define UART_LCR_8N1       0x03
#define UART_LCR_DLAB      0x80
#define UART_MCR_OUT2      0x08 /* lets the interrupt line out of a PC's UART */
#define UART_MCR_DTR_RTS   0x03
#define UART_LSR_RX        0x01
#define UART_LSR_THRE      0x20

#define UART_FIFO_BYTES 16

/* 115200 8N1, FIFOs on and empty, no interrupts. */
void uart_init(void);

/*
 * Sends len bytes, sixteen for each time the transmitter reports empty. Returns false, and drops the rest,
 * when it does not become empty within some seconds: a host that takes no output must not hang a guest that
 * has a verdict to give.
 */
bool uart_write(const char *data, size_t len);

/* One received byte, or -1 when there is none. */
int uart_read(void);
