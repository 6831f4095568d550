/*
 * UART 16550A (National Semiconductor PC16550D), wired as on a PC: a pure state machine. It takes no lock,
 * does no I/O and knows no addresses; the caller serialises calls and callbacks do not call back into it.
 *
 * There is no time in it: a byte written is with the host at once or waits in the transmit FIFO until the
 * host takes it; the receive time-out is due as soon as bytes wait. Divisor, word length, parity and break
 * are remembered and change nothing.
 *
 * Flow control on the guest's side: while the host does not take bytes, the transmitter does not become
 * empty. On the host's side: bytes are only handed over while the guest has RTS on and room for them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_FIFO_BYTES 16
#define UART_REGISTERS  8

struct uart_ops {
        /* Takes up to len bytes for the host; returns how many were taken (0: the host is not ready). */
        size_t (*transmit)(void *ctx, const uint8_t *data, size_t len);
        /* The interrupt line changed. */
        void (*set_irq)(void *ctx, bool level);
};

/* Plain state only, so that it can be saved as it is. What a register shows beyond this is computed. */
struct uart {
        uint8_t ier, lcr, mcr, scr;
        uint8_t fcr;        /* FIFO enable and receive trigger; the reset bits clear themselves */
        uint8_t lsr_errors; /* OE */
        uint8_t msr_deltas; /* DCTS, DDSR, TERI, DDCD */
        uint16_t divisor;
        uint8_t rx[UART_FIFO_BYTES], tx[UART_FIFO_BYTES];
        uint8_t rx_head, rx_count; /* rx is a ring */
        uint8_t tx_count;          /* tx starts at 0 */
        bool thr_empty_pending;    /* THRE interrupt not yet acknowledged */
        bool irq_level;
};

/* Power-on state: no interrupts, FIFOs off, 9600 baud, interrupt line low. */
void uart_init(struct uart *u);

/*
 * One byte-wide register access. Registers past the last one (UART_REGISTERS - 1) read 0 and ignore writes.
 * Any access can change what uart_receive_room() and uart_has_output() say.
 */
uint8_t uart_read(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg);
void uart_write(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg, uint8_t value);

/*
 * How many received bytes the guest can take now, 0..UART_FIFO_BYTES. It is 0 while the guest keeps RTS off
 * (nobody listens yet: the bytes wait with the host instead of being lost when the driver resets the FIFOs)
 * and in loopback mode, which cuts the UART off from the outside.
 */
size_t uart_receive_room(const struct uart *u);

/* Hands received bytes to the guest; takes at most uart_receive_room() and returns how many. */
size_t uart_receive(struct uart *u, const struct uart_ops *ops, void *ctx, const uint8_t *data, size_t len);

/* True while bytes wait for the host; then call uart_flush() when the host can take more. */
bool uart_has_output(const struct uart *u);
void uart_flush(struct uart *u, const struct uart_ops *ops, void *ctx);
