/*
 * The UART, driven by a guest and a host that do what the input says. A second, slower account of what the guest may
 * see is kept beside it: which bytes wait for the guest, and whether the interrupt line has to be up.
 */
#include <linux/serial_reg.h>
#include <string.h>

#include "fuzz.h"
#include "vmm/uart.h"

struct world {
        struct uart u;
        struct reader script;
        bool line;           /* as set_irq() told */
        bool in_transmit_ok; /* bytes may go to the host now */
        size_t sent;         /* to the host, in all */
        size_t written;      /* by the guest, to THR outside loopback */
};

static size_t transmit(void *ctx, const uint8_t *data, size_t len)
{
        struct world *w = ctx;
        size_t taken;

        MUST(w->in_transmit_ok);
        MUST(len >= 1 && len <= UART_FIFO_BYTES);
        for (size_t i = 0; i < len; i++) /* readable, all of them */
                MUST(data[i] <= UINT8_MAX);
        taken = read_u8(&w->script) % (len + 1);
        w->sent += taken;
        return taken;
}

static void set_irq(void *ctx, bool level)
{
        struct world *w = ctx;

        MUST(level != w->line); /* only changes are told */
        w->line = level;
}

static const struct uart_ops ops = {.transmit = transmit, .set_irq = set_irq};

static bool loopback(const struct uart *u)
{
        return u->mcr & UART_MCR_LOOP;
}

static void check(const struct world *w)
{
        const struct uart *u = &w->u;
        const unsigned int fifo = u->fcr & UART_FCR_ENABLE_FIFO ? UART_FIFO_BYTES : 1;
        bool cause = ((u->ier & UART_IER_RDI) && u->rx_count > 0) || ((u->ier & UART_IER_RLSI) && u->lsr_errors) ||
                     ((u->ier & UART_IER_MSI) && u->msr_deltas) || ((u->ier & UART_IER_THRI) && u->thr_empty_pending);

        MUST(u->rx_count <= fifo && u->tx_count <= fifo && u->rx_head < UART_FIFO_BYTES);
        MUST(w->line == u->irq_level);
        MUST(w->line == (cause && (u->mcr & UART_MCR_OUT2)));
        MUST(!u->thr_empty_pending || u->tx_count == 0);
        MUST((u->ier & 0xf0) == 0 && (u->mcr & 0xe0) == 0 && (u->lsr_errors & ~UART_LSR_OE) == 0);
        MUST((u->msr_deltas & 0xf0) == 0);
        MUST(w->sent + u->tx_count <= w->written); /* the host gets nothing that the guest did not write */
        MUST(uart_has_output(u) == (u->tx_count > 0));
        MUST(uart_receive_room(u) <= fifo - u->rx_count);
        if (loopback(u) || !(u->mcr & UART_MCR_RTS))
                MUST(uart_receive_room(u) == 0);
}

static void guest_reads(struct world *w, unsigned int reg)
{
        struct uart before = w->u;
        bool dlab = before.lcr & UART_LCR_DLAB;
        uint8_t v;

        w->in_transmit_ok = false;
        v = uart_read(&w->u, &ops, w, reg);
        if (reg == UART_RX && !dlab) {
                MUST(w->u.rx_count == before.rx_count - (before.rx_count > 0));
                MUST(v == (before.rx_count ? before.rx[before.rx_head] : 0));
        } else {
                MUST(w->u.rx_count == before.rx_count);
        }
        if (reg == UART_LSR) {
                MUST(((v & UART_LSR_DR) != 0) == (before.rx_count > 0));
                MUST(((v & UART_LSR_THRE) != 0) == (before.tx_count == 0));
                MUST(w->u.lsr_errors == 0);
        }
        if (reg == UART_IIR) {
                MUST(((v & 0xc0) == 0xc0) == ((before.fcr & UART_FCR_ENABLE_FIFO) != 0) && (v & 0x30) == 0);
                MUST((v & 1) == 1 ? (v & 0x0f) == 1 : (v & 0x0f) <= 6 || (v & 0x0f) == 0x0c);
        }
        if (reg >= UART_REGISTERS)
                MUST(v == 0 && memcmp(&before, &w->u, sizeof(before)) == 0);
        MUST(w->u.tx_count == before.tx_count);
}

static void guest_writes(struct world *w, unsigned int reg, uint8_t value)
{
        struct uart before = w->u;
        bool to_thr = reg == UART_TX && !(before.lcr & UART_LCR_DLAB);

        w->in_transmit_ok = to_thr && !loopback(&before) && before.tx_count == 0;
        w->written += to_thr && !loopback(&before);
        uart_write(&w->u, &ops, w, reg, value);
        if (reg == UART_SCR)
                MUST(w->u.scr == value);
        if (reg >= UART_REGISTERS)
                MUST(memcmp(&before, &w->u, sizeof(before)) == 0);
}

static void host_sends(struct world *w)
{
        uint8_t data[2 * UART_FIFO_BYTES];
        size_t len = read_bytes(&w->script, data, read_u8(&w->script) % (sizeof(data) + 1));
        size_t room = uart_receive_room(&w->u), taken;
        struct uart before = w->u;

        w->in_transmit_ok = false;
        taken = uart_receive(&w->u, &ops, w, data, len);
        MUST(taken == (len < room ? len : room));
        for (size_t i = 0; i < taken; i++)
                MUST(w->u.rx[(before.rx_head + before.rx_count + i) % UART_FIFO_BYTES] == data[i]);
}

static void host_takes(struct world *w)
{
        struct uart before = w->u;
        size_t sent = w->sent;

        w->in_transmit_ok = before.tx_count > 0;
        uart_flush(&w->u, &ops, w);
        MUST(w->u.tx_count == before.tx_count - (w->sent - sent));
        MUST(memcmp(w->u.tx, before.tx + (w->sent - sent), w->u.tx_count) == 0); /* in their order */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct world w = {.script = {data, len}};

        uart_init(&w.u);
        check(&w);
        while (w.script.len > 0) {
                uint8_t op = read_u8(&w.script);
                unsigned int reg = op & 0x0f; /* eight and a few past the end */

                if (op < 0x60)
                        guest_reads(&w, reg);
                else if (op < 0xd0)
                        guest_writes(&w, reg, read_u8(&w.script));
                else if (op < 0xe8)
                        host_sends(&w);
                else
                        host_takes(&w);
                check(&w);
        }
        return 0;
}
