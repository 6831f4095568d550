/*
 * UART 16550A: a pure state machine. It takes no lock, does no I/O and knows no addresses; the caller
 * serialises calls. Flow control on the guest's side: while the host does not take bytes, the transmitter
 * does not become empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_FIFO_BYTES 16

struct uart_ops {
        /* Takes up to len bytes for the host; returns how many were taken (0: the host is not ready). */
        size_t (*transmit)(void *ctx, const uint8_t *data, size_t len);
        /* The interrupt line changed. */
        void (*set_irq)(void *ctx, bool level);
};

/* Plain state only, so that it can be saved as it is. */
struct uart {
        uint8_t ier, lcr, mcr, msr, lsr, scr, fcr;
        uint16_t divisor;
        uint8_t rx[UART_FIFO_BYTES], tx[UART_FIFO_BYTES];
        uint8_t rx_head, rx_count, tx_count;
        bool thr_empty_pending; /* THRE interrupt not yet acknowledged */
        bool rx_timeout_pending;
        bool irq_level;
};

/* Power-on state. */
void uart_init(struct uart *u);

/* One byte-wide register access, reg 0..7. */
uint8_t uart_read(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg);
void uart_write(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg, uint8_t value);

/* How many received bytes the guest can take now (0..UART_FIFO_BYTES); honours RTS with auto flow control
 * off. */
size_t uart_receive_room(const struct uart *u);

/* Hands received bytes to the guest; takes at most uart_receive_room() and returns how many. */
size_t uart_receive(struct uart *u, const struct uart_ops *ops, void *ctx, const uint8_t *data, size_t len);

/* True while bytes wait for the host; then call uart_flush() when the host can take more. */
bool uart_has_output(const struct uart *u);
void uart_flush(struct uart *u, const struct uart_ops *ops, void *ctx);
