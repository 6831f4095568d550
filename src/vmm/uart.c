#include "vmm/uart.h"

#include <assert.h>
#include <linux/serial_reg.h> /* register and bit names */
#include <string.h>

#define IIR_FIFO_ENABLED 0xc0 /* PC16550D, 8.5: bits 6 and 7 are set when FCR0 is 1 */
#define IER_BITS         (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_BITS         (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)
#define FCR_KEPT         (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK)
#define DIVISOR_9600     12 /* of 115200; never 0, because Linux divides by what it finds there */

void uart_init(struct uart *u)
{
        *u = (struct uart){.divisor = DIVISOR_9600};
}

static bool fifos_enabled(const struct uart *u)
{
        return u->fcr & UART_FCR_ENABLE_FIFO;
}

/* Without FIFOs one holding register each way is left. */
static unsigned int fifo_bytes(const struct uart *u)
{
        return fifos_enabled(u) ? UART_FIFO_BYTES : 1;
}

/* PC16550D, 8.4: FCR6 and FCR7. */
static unsigned int rx_trigger(const struct uart *u)
{
        static const uint8_t levels[] = {1, 4, 8, 14};

        return fifos_enabled(u) ? levels[u->fcr >> 6] : 1;
}

/* The most urgent enabled interrupt, as IIR shows it (PC16550D, table IV). */
static uint8_t interrupt_source(const struct uart *u)
{
        if ((u->ier & UART_IER_RLSI) && u->lsr_errors)
                return UART_IIR_RLSI;
        if ((u->ier & UART_IER_RDI) && u->rx_count >= rx_trigger(u))
                return UART_IIR_RDI;
        if ((u->ier & UART_IER_RDI) && u->rx_count > 0)
                return UART_IIR_RX_TIMEOUT;
        if ((u->ier & UART_IER_THRI) && u->thr_empty_pending)
                return UART_IIR_THRI;
        if ((u->ier & UART_IER_MSI) && u->msr_deltas)
                return UART_IIR_MSI;
        return UART_IIR_NO_INT;
}

/*
 * Called once at the end of every access, so that a cause that goes and comes back within one (a byte that
 * leaves at once makes the transmitter full and empty again) is no extra edge: the guest still has the first
 * one to handle. A PC gates the line with OUT2. Loopback does not: there interrupts are "fully operational"
 * (PC16550D, 8.7).
 */
static void update_irq(struct uart *u, const struct uart_ops *ops, void *ctx)
{
        bool level = (u->mcr & UART_MCR_OUT2) && interrupt_source(u) != UART_IIR_NO_INT;

        if (level == u->irq_level)
                return;
        u->irq_level = level;
        ops->set_irq(ctx, level);
}

/* The modem's lines: the host is always there, except that loopback connects the outputs to the inputs. */
static uint8_t modem_lines(const struct uart *u)
{
        uint8_t lines = 0;

        if (!(u->mcr & UART_MCR_LOOP))
                return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
        if (u->mcr & UART_MCR_RTS)
                lines |= UART_MSR_CTS;
        if (u->mcr & UART_MCR_DTR)
                lines |= UART_MSR_DSR;
        if (u->mcr & UART_MCR_OUT1)
                lines |= UART_MSR_RI;
        if (u->mcr & UART_MCR_OUT2)
                lines |= UART_MSR_DCD;
        return lines;
}

static void mcr_write(struct uart *u, uint8_t value)
{
        uint8_t before = modem_lines(u), after;

        u->mcr = value & MCR_BITS;
        after = modem_lines(u);
        /* Each delta bit is four below its line; RI alone counts only when it goes off. */
        u->msr_deltas |= ((before ^ after) >> 4) & (UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
        if (before & ~after & UART_MSR_RI)
                u->msr_deltas |= UART_MSR_TERI;
}

static void rx_push(struct uart *u, uint8_t byte)
{
        u->rx[(u->rx_head + u->rx_count) % UART_FIFO_BYTES] = byte;
        u->rx_count++;
}

static uint8_t rx_pop(struct uart *u)
{
        uint8_t byte;

        if (u->rx_count == 0)
                return 0;
        byte = u->rx[u->rx_head];
        u->rx_head = (u->rx_head + 1) % UART_FIFO_BYTES;
        u->rx_count--;
        return byte;
}

/* A byte sent in loopback mode. PC16550D, 8.3: an overrun destroys the byte in RBR, but never the FIFO. */
static void loop_back(struct uart *u, uint8_t byte)
{
        if (u->rx_count == fifo_bytes(u)) {
                u->lsr_errors |= UART_LSR_OE;
                if (fifos_enabled(u))
                        return;
                rx_pop(u);
        }
        rx_push(u, byte);
}

static void thr_write(struct uart *u, const struct uart_ops *ops, void *ctx, uint8_t byte)
{
        if (u->mcr & UART_MCR_LOOP)
                loop_back(u, byte);
        else if (u->tx_count > 0 || ops->transmit(ctx, &byte, 1) == 0)
                /* A guest that writes without waiting for THRE loses what does not fit. */
                if (u->tx_count < fifo_bytes(u))
                        u->tx[u->tx_count++] = byte;
        u->thr_empty_pending = u->tx_count == 0;
}

static void tx_reset(struct uart *u)
{
        if (u->tx_count > 0)
                u->thr_empty_pending = true;
        u->tx_count = 0;
}

/* PC16550D, 8.4: changing FCR0 clears both FIFOs; the other bits count only when it is 1. */
static void fcr_write(struct uart *u, uint8_t value)
{
        bool enable = value & UART_FCR_ENABLE_FIFO, toggled = enable != fifos_enabled(u);

        if (toggled || (enable && (value & UART_FCR_CLEAR_RCVR)))
                u->rx_count = 0;
        if (toggled || (enable && (value & UART_FCR_CLEAR_XMIT)))
                tx_reset(u);
        u->fcr = enable ? value & FCR_KEPT : 0;
}

static void ier_write(struct uart *u, uint8_t value)
{
        uint8_t enabled = value & ~u->ier;

        /* Enabling it while the transmitter is empty raises it again, acknowledged or not. */
        if ((enabled & UART_IER_THRI) && u->tx_count == 0)
                u->thr_empty_pending = true;
        u->ier = value & IER_BITS;
}

static uint8_t iir_read(struct uart *u)
{
        uint8_t source = interrupt_source(u);

        if (source == UART_IIR_THRI)
                u->thr_empty_pending = false;
        return source | (fifos_enabled(u) ? IIR_FIFO_ENABLED : 0);
}

static uint8_t lsr_read(struct uart *u)
{
        uint8_t value = u->lsr_errors;

        if (u->rx_count > 0)
                value |= UART_LSR_DR;
        if (u->tx_count == 0)
                value |= UART_LSR_THRE | UART_LSR_TEMT;
        u->lsr_errors = 0;
        return value;
}

static uint8_t msr_read(struct uart *u)
{
        uint8_t value = modem_lines(u) | u->msr_deltas;

        u->msr_deltas = 0;
        return value;
}

static uint8_t register_read(struct uart *u, unsigned int reg)
{
        bool dlab = u->lcr & UART_LCR_DLAB;

        switch (reg) {
        case UART_RX:
                return dlab ? u->divisor & 0xff : rx_pop(u);
        case UART_IER:
                return dlab ? u->divisor >> 8 : u->ier;
        case UART_IIR:
                return iir_read(u);
        case UART_LCR:
                return u->lcr;
        case UART_MCR:
                return u->mcr;
        case UART_LSR:
                return lsr_read(u);
        case UART_MSR:
                return msr_read(u);
        case UART_SCR:
                return u->scr;
        default:
                return 0;
        }
}

uint8_t uart_read(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg)
{
        uint8_t value = register_read(u, reg);

        update_irq(u, ops, ctx);
        return value;
}

void uart_write(struct uart *u, const struct uart_ops *ops, void *ctx, unsigned int reg, uint8_t value)
{
        bool dlab = u->lcr & UART_LCR_DLAB;

        switch (reg) {
        case UART_TX:
                if (dlab)
                        u->divisor = (uint16_t)((u->divisor & 0xff00) | value);
                else
                        thr_write(u, ops, ctx, value);
                break;
        case UART_IER:
                if (dlab)
                        u->divisor = (uint16_t)(value << 8 | (u->divisor & 0xff));
                else
                        ier_write(u, value);
                break;
        case UART_FCR:
                fcr_write(u, value);
                break;
        case UART_LCR:
                u->lcr = value;
                break;
        case UART_MCR:
                mcr_write(u, value);
                break;
        case UART_SCR:
                u->scr = value;
                break;
        default: /* LSR and MSR are for the factory's tests only */
                break;
        }
        update_irq(u, ops, ctx);
}

size_t uart_receive_room(const struct uart *u)
{
        if ((u->mcr & UART_MCR_LOOP) || !(u->mcr & UART_MCR_RTS))
                return 0;
        return fifo_bytes(u) - u->rx_count;
}

size_t uart_receive(struct uart *u, const struct uart_ops *ops, void *ctx, const uint8_t *data, size_t len)
{
        size_t room = uart_receive_room(u), taken = len < room ? len : room;

        for (size_t i = 0; i < taken; i++)
                rx_push(u, data[i]);
        update_irq(u, ops, ctx);
        return taken;
}

bool uart_has_output(const struct uart *u)
{
        return u->tx_count > 0;
}

void uart_flush(struct uart *u, const struct uart_ops *ops, void *ctx)
{
        size_t taken;

        if (u->tx_count == 0)
                return;
        taken = ops->transmit(ctx, u->tx, u->tx_count);
        assert(taken <= u->tx_count);
        u->tx_count -= (uint8_t)taken;
        memmove(u->tx, u->tx + taken, u->tx_count);
        if (u->tx_count == 0)
                u->thr_empty_pending = true;
        update_irq(u, ops, ctx);
}
