#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/serial_reg.h>

#include "vmm/uart.h"

#define IIR_FIFOS 0xc0

/* The other end of the line: takes `accept` more bytes, remembers them and the interrupt line. */
struct host {
        struct uart u;
        uint8_t out[65536];
        size_t out_len, accept;
        bool level;
        unsigned int raised;
};

static size_t host_transmit(void *ctx, const uint8_t *data, size_t len)
{
        struct host *h = ctx;
        size_t n = len < h->accept ? len : h->accept;

        assert_true(len >= 1 && len <= UART_FIFO_BYTES);
        assert_true(h->out_len + n <= sizeof(h->out));
        memcpy(h->out + h->out_len, data, n);
        h->out_len += n;
        h->accept -= n;
        return n;
}

static void host_set_irq(void *ctx, bool level)
{
        struct host *h = ctx;

        assert_true(level != h->level); /* called for changes only */
        h->level = level;
        h->raised += level;
}

static const struct uart_ops ops = {.transmit = host_transmit, .set_irq = host_set_irq};
static struct host host;

static uint8_t in(unsigned int reg)
{
        return uart_read(&host.u, &ops, &host, reg);
}

static void out(unsigned int reg, uint8_t value)
{
        uart_write(&host.u, &ops, &host, reg, value);
}

static size_t feed(const char *text)
{
        return uart_receive(&host.u, &ops, &host, (const uint8_t *)text, strlen(text));
}

static int setup(void **state)
{
        memset(&host, 0, sizeof(host));
        host.accept = SIZE_MAX;
        uart_init(&host.u);
        return 0;
}

/* A driver that opened the port: FIFOs on, trigger at 8, DTR, RTS and OUT2 on, interrupts as given. */
static void open_port(uint8_t ier)
{
        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
        out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
        out(UART_IER, ier);
}

static void power_on(void **state)
{
        assert_int_equal(in(UART_IER), 0);
        assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
        assert_int_equal(in(UART_LCR), 0);
        assert_int_equal(in(UART_MCR), 0);
        assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        assert_int_equal(in(UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
        assert_int_equal(in(UART_RX), 0);
        assert_int_equal(in(UART_REGISTERS), 0);
        assert_int_equal(in(UINT32_MAX), 0);
        assert_false(host.level);
}

static void registers_hold_their_bits(void **state)
{
        out(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
        assert_int_equal(in(UART_DLL), 12);
        assert_int_equal(in(UART_DLM), 0);
        out(UART_DLL, 0x34);
        out(UART_DLM, 0x12);
        assert_int_equal(in(UART_DLL), 0x34);
        assert_int_equal(in(UART_DLM), 0x12);
        assert_int_equal(host.out_len, 0);
        out(UART_LCR, UART_LCR_WLEN8);
        assert_int_equal(in(UART_IER), 0);
        assert_int_equal(host.u.divisor, 0x1234);

        out(UART_IER, 0xff);
        assert_int_equal(in(UART_IER), 0x0f);
        out(UART_MCR, 0xff);
        assert_int_equal(in(UART_MCR), 0x1f);
        out(UART_SCR, 0xa5);
        assert_int_equal(in(UART_SCR), 0xa5);
        out(UART_REGISTERS, 0x5a);
        out(UART_LSR, 0xff);
        assert_int_equal(in(UART_LSR)&0x9f, 0);
}

/* The steps of Linux's 8250 driver that tell a 16550A from its relatives. */
static void linux_autoconfig(void **state)
{
        uint8_t mcr, status, exc;

        out(UART_IER, 0);
        assert_int_equal(in(UART_IER), 0);
        out(UART_IER, 0x0f);
        assert_int_equal(in(UART_IER), 0x0f);
        out(UART_IER, 0);

        mcr = in(UART_MCR);
        out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
        assert_int_equal(in(UART_MSR)&0xf0, UART_MSR_DCD | UART_MSR_CTS);
        out(UART_MCR, mcr);

        out(UART_LCR, 0xbf); /* would be the EFR of a 16650 */
        out(UART_EFR, 0);
        out(UART_LCR, 0);
        out(UART_FCR, UART_FCR_ENABLE_FIFO);
        assert_int_equal(in(UART_IIR) >> 6, 3);

        out(UART_LCR, UART_LCR_DLAB); /* a 16650 reads 0 here */
        assert_int_not_equal(in(UART_EFR), 0);
        out(UART_LCR, 0xbf);
        assert_int_not_equal(in(UART_EFR), 0);

        out(UART_LCR, 0); /* a National SuperIO shows MCR's loop bit in another bank */
        status = in(UART_MCR);
        out(UART_LCR, 0xe0);
        exc = in(2);
        assert_int_equal((exc ^ status) & UART_MCR_LOOP, 0);
        out(UART_LCR, 0);
        out(UART_MCR, status ^ UART_MCR_LOOP);
        out(UART_LCR, 0xe0);
        exc = in(2);
        out(UART_LCR, 0);
        out(UART_MCR, status);
        assert_int_equal((exc ^ status) & UART_MCR_LOOP, 0);

        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE); /* a 16750 shows bit 5 */
        assert_int_equal(in(UART_IIR)&0x20, 0);
        out(UART_IER, UART_IER_UUE); /* an XScale UART keeps bit 6 */
        assert_int_equal(in(UART_IER), 0);
}

/* Its start-up tests: the transmitter's interrupt comes back each time it is enabled on an empty one. */
static void linux_startup_irq_tests(void **state)
{
        out(UART_FCR, UART_FCR_ENABLE_FIFO);
        out(UART_MCR, UART_MCR_OUT2);
        for (int i = 0; i < 2; i++) {
                out(UART_IER, UART_IER_THRI);
                assert_true(host.level);
                assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
                assert_false(host.level);
                assert_int_equal(in(UART_IIR), UART_IIR_NO_INT | IIR_FIFOS);
                out(UART_IER, 0);
        }
        out(UART_IER, UART_IER_THRI);
        assert_int_equal(in(UART_LSR), UART_LSR_TEMT | UART_LSR_THRE);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
        assert_int_equal(host.raised, 3);
}

static void loopback_lines(void **state)
{
        static const struct {
                uint8_t mcr, msr;
        } wires[] = {{UART_MCR_RTS, UART_MSR_CTS},
                     {UART_MCR_DTR, UART_MSR_DSR},
                     {UART_MCR_OUT1, UART_MSR_RI},
                     {UART_MCR_OUT2, UART_MSR_DCD}};

        out(UART_MCR, UART_MCR_LOOP);
        in(UART_MSR);
        for (size_t i = 0; i < 4; i++) {
                bool ri = wires[i].msr == UART_MSR_RI;

                out(UART_MCR, UART_MCR_LOOP | wires[i].mcr);
                assert_int_equal(in(UART_MSR), wires[i].msr | (ri ? 0 : wires[i].msr >> 4));
                assert_int_equal(in(UART_MSR), wires[i].msr); /* deltas are cleared by reading */
                out(UART_MCR, UART_MCR_LOOP);
                assert_int_equal(in(UART_MSR), wires[i].msr >> 4); /* RI: trailing edge */
        }
        out(UART_MCR, 0);
        assert_int_equal(in(UART_MSR), 0xbb);
        assert_int_equal(in(UART_MSR), 0xb0);
}

static void loopback_data(void **state)
{
        open_port(0);
        out(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT2);
        assert_int_equal(uart_receive_room(&host.u), 0);
        for (unsigned int i = 0; i < UART_FIFO_BYTES; i++)
                out(UART_TX, (uint8_t)(0x40 + i));
        assert_int_equal(in(UART_LSR), UART_LSR_DR | UART_LSR_THRE | UART_LSR_TEMT);
        out(UART_TX, 0xff); /* one too many: lost, the FIFO stays */
        assert_int_equal(in(UART_LSR), UART_LSR_OE | UART_LSR_DR | UART_LSR_THRE | UART_LSR_TEMT);
        assert_int_equal(in(UART_LSR)&UART_LSR_OE, 0);
        for (unsigned int i = 0; i < UART_FIFO_BYTES; i++)
                assert_int_equal(in(UART_RX), 0x40 + i);
        assert_int_equal(in(UART_LSR)&UART_LSR_DR, 0);
        assert_int_equal(in(UART_RX), 0);
        assert_int_equal(host.out_len, 0);

        out(UART_FCR, 0); /* without FIFOs the newer byte wins */
        out(UART_TX, 1);
        out(UART_TX, 2);
        assert_int_equal(in(UART_LSR) & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
        assert_int_equal(in(UART_RX), 2);
        assert_int_equal(in(UART_LSR)&UART_LSR_DR, 0);
}

/* Every source raises the line by itself, and IIR names the most urgent one first. */
static void interrupt_priorities(void **state)
{
        open_port(0);
        in(UART_MSR);
        out(UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP); /* changes CTS and DSR */
        for (int i = 0; i < 9; i++)
                out(UART_TX, 'x');
        assert_false(host.level);

        out(UART_IER, UART_IER_MSI);
        assert_true(host.level);
        assert_int_equal(in(UART_IIR), UART_IIR_MSI | IIR_FIFOS);
        out(UART_IER, UART_IER_MSI | UART_IER_THRI);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
        assert_int_equal(in(UART_IIR), UART_IIR_MSI | IIR_FIFOS); /* acknowledged */
        out(UART_TX, 'x');
        assert_int_equal(host.u.rx_count, 10);
        out(UART_IER, UART_IER_MSI | UART_IER_THRI | UART_IER_RDI);
        assert_int_equal(in(UART_IIR), UART_IIR_RDI | IIR_FIFOS);
        for (int i = 0; i < 6; i++)
                out(UART_TX, 'x');
        out(UART_TX, 'y'); /* overrun */
        assert_int_equal(in(UART_IIR), UART_IIR_RDI | IIR_FIFOS);
        out(UART_IER, 0x0f);
        assert_int_equal(in(UART_IIR), UART_IIR_RLSI | IIR_FIFOS);
        assert_int_equal(in(UART_IIR), UART_IIR_RLSI | IIR_FIFOS); /* reading IIR does not clear it */

        /* One by one they go, each by its own remedy. */
        in(UART_LSR);
        assert_int_equal(in(UART_IIR), UART_IIR_RDI | IIR_FIFOS);
        for (int i = 0; i < 9; i++)
                in(UART_RX);
        assert_int_equal(in(UART_IIR), UART_IIR_RX_TIMEOUT | IIR_FIFOS);
        for (int i = 0; i < 7; i++)
                in(UART_RX);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
        assert_int_equal(in(UART_IIR), UART_IIR_MSI | IIR_FIFOS);
        assert_true(host.level);
        in(UART_MSR);
        assert_false(host.level);
        assert_int_equal(in(UART_IIR), UART_IIR_NO_INT | IIR_FIFOS);
        assert_int_equal(host.raised, 1);
}

static void out2_gates_the_line(void **state)
{
        out(UART_IER, UART_IER_THRI);
        assert_false(host.level);
        out(UART_MCR, UART_MCR_OUT2);
        assert_true(host.level);
        out(UART_MCR, 0);
        assert_false(host.level);
        out(UART_MCR, UART_MCR_OUT2);
        assert_true(host.level);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI);
        assert_false(host.level);
}

static void receive_triggers(void **state)
{
        static const uint8_t levels[] = {1, 4, 8, 14};

        for (unsigned int t = 0; t < 4; t++) {
                setup(NULL);
                open_port(UART_IER_RDI);
                out(UART_FCR, (uint8_t)(UART_FCR_ENABLE_FIFO | t << 6));
                for (unsigned int n = 1; n <= UART_FIFO_BYTES; n++) {
                        assert_int_equal(feed("r"), 1);
                        assert_true(host.level);
                        assert_int_equal(in(UART_IIR),
                                         IIR_FIFOS | (n >= levels[t] ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT));
                }
                for (unsigned int n = 0; n < UART_FIFO_BYTES; n++)
                        in(UART_RX);
                assert_false(host.level);
        }
}

static void receive_limits(void **state)
{
        assert_int_equal(uart_receive_room(&host.u), 0); /* nobody listens yet */
        assert_int_equal(feed("early"), 0);
        out(UART_MCR, UART_MCR_RTS);
        assert_int_equal(uart_receive_room(&host.u), 1); /* no FIFO */
        assert_int_equal(feed("ab"), 1);
        assert_int_equal(feed("b"), 0);
        assert_int_equal(in(UART_RX), 'a');

        open_port(0);
        assert_int_equal(feed("0123456789abcdefX"), 16);
        assert_int_equal(uart_receive_room(&host.u), 0);
        assert_int_equal(feed("X"), 0);
        assert_int_equal(in(UART_RX), '0');
        assert_int_equal(uart_receive_room(&host.u), 1);
        assert_int_equal(feed("gX"), 1);
        for (const char *p = "123456789abcdefg"; *p; p++)
                assert_int_equal(in(UART_RX), *p);
        assert_int_equal(in(UART_LSR) & (UART_LSR_DR | UART_LSR_OE), 0);

        feed("gone");
        out(UART_FCR, UART_FCR_CLEAR_RCVR); /* without FCR0: turns the FIFOs off, which clears them */
        assert_int_equal(in(UART_LSR)&UART_LSR_DR, 0);
        assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
        out(UART_FCR, UART_FCR_ENABLE_FIFO);
        feed("gone");
        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
        assert_int_equal(in(UART_RX), 'g');
        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
        assert_int_equal(in(UART_LSR)&UART_LSR_DR, 0);
        out(UART_MCR, 0);
        assert_int_equal(uart_receive_room(&host.u), 0); /* RTS off */
}

static void transmit_at_once(void **state)
{
        open_port(UART_IER_THRI);
        in(UART_IIR);
        out(UART_TX, 'h');
        assert_int_equal(host.out_len, 1);
        assert_true(host.level); /* empty again */
        out(UART_TX, 'i');
        assert_memory_equal(host.out, "hi", 2);
        assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        assert_false(uart_has_output(&host.u));
        assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
        assert_false(host.level);
        assert_int_equal(host.raised, 2); /* at the enabling, and once for both bytes */
}

static void transmit_back_pressure(void **state)
{
        open_port(UART_IER_THRI);
        in(UART_IIR);
        host.accept = 1;
        for (unsigned int i = 0; i < 1 + UART_FIFO_BYTES; i++)
                out(UART_TX, (uint8_t)('a' + i));
        out(UART_TX, '!'); /* over a full FIFO: lost */
        assert_int_equal(host.out_len, 1);
        assert_int_equal(host.u.tx_count, UART_FIFO_BYTES);
        assert_int_equal(in(UART_LSR), 0);
        assert_int_equal(in(UART_IIR), UART_IIR_NO_INT | IIR_FIFOS);
        assert_false(host.level);
        out(UART_IER, 0); /* not empty: enabling raises nothing */
        out(UART_IER, UART_IER_THRI);
        assert_false(host.level);

        uart_flush(&host.u, &ops, &host); /* the host takes nothing */
        assert_int_equal(host.u.tx_count, UART_FIFO_BYTES);
        host.accept = 15;
        uart_flush(&host.u, &ops, &host);
        assert_true(uart_has_output(&host.u));
        assert_int_equal(in(UART_LSR), 0); /* THRE: empty, not merely some room */
        assert_false(host.level);
        host.accept = SIZE_MAX;
        uart_flush(&host.u, &ops, &host);
        assert_false(uart_has_output(&host.u));
        assert_true(host.level);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI | IIR_FIFOS);
        assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        assert_int_equal(host.out_len, 17);
        assert_memory_equal(host.out, "abcdefghijklmnopq", 17);
        uart_flush(&host.u, &ops, &host); /* nothing to do */
        assert_int_equal(host.out_len, 17);
}

static void transmit_keeps_the_order(void **state)
{
        open_port(0);
        host.accept = 0;
        out(UART_TX, 'a');
        host.accept = SIZE_MAX; /* ready again, but 'a' waits for the flush */
        out(UART_TX, 'b');
        assert_int_equal(host.out_len, 0);
        uart_flush(&host.u, &ops, &host);
        out(UART_TX, 'c');
        assert_int_equal(host.out_len, 3);
        assert_memory_equal(host.out, "abc", 3);
}

static void transmit_without_fifo_and_reset(void **state)
{
        out(UART_MCR, UART_MCR_OUT2);
        out(UART_IER, UART_IER_THRI);
        in(UART_IIR);
        host.accept = 0;
        out(UART_TX, 'a');
        out(UART_TX, 'b'); /* the one holding register is taken */
        assert_int_equal(host.u.tx_count, 1);
        assert_false(host.level);
        out(UART_FCR, UART_FCR_ENABLE_FIFO); /* clears it */
        assert_false(uart_has_output(&host.u));
        assert_true(host.level);
        in(UART_IIR);
        out(UART_TX, 'c');
        assert_true(uart_has_output(&host.u));
        assert_false(host.level);
        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
        assert_false(uart_has_output(&host.u));
        assert_true(host.level);
        assert_int_equal(host.out_len, 0);
}

static uint32_t next_random(uint32_t *x)
{
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        return *x;
}

/* What the line has to be, written down a second time, from the registers' definitions. */
static bool line_expected(const struct uart *u)
{
        bool rx = u->rx_count > 0, tx = u->thr_empty_pending;

        if (!(u->mcr & UART_MCR_OUT2))
                return false;
        return ((u->ier & 1) && rx) || ((u->ier & 2) && tx) || ((u->ier & 4) && u->lsr_errors) ||
               ((u->ier & 8) && u->msr_deltas);
}

static void random_access(void **state)
{
        uint32_t x = 0x16550a;
        unsigned int levels = 0, full_rx = 0, full_tx = 0, overruns = 0;

        for (unsigned int i = 0; i < 1000000; i++) {
                uint32_t r = next_random(&x);
                unsigned int reg = r >> 8 & 7, limit;
                char text[32];

                host.out_len = 0;
                host.accept = r >> 24 & 3 ? 0 : r >> 26;
                switch (r & 15) {
                case 0:
                case 1:
                case 2:
                        in(reg);
                        break;
                case 3:
                        uart_flush(&host.u, &ops, &host);
                        break;
                case 4:
                case 5:
                        memset(text, 'r', sizeof(text));
                        text[r >> 11 & 31] = '\0';
                        limit = (unsigned int)uart_receive_room(&host.u);
                        assert_int_equal(feed(text), strlen(text) < limit ? strlen(text) : limit);
                        break;
                case 6:
                case 7:
                        out(reg, (uint8_t)(r >> 16));
                        break;
                default:
                        out(UART_TX, (uint8_t)(r >> 16));
                        break;
                }
                limit = host.u.fcr & UART_FCR_ENABLE_FIFO ? UART_FIFO_BYTES : 1;
                assert_true(host.u.rx_count <= limit && host.u.tx_count <= limit);
                assert_true(host.u.rx_head < UART_FIFO_BYTES);
                assert_true(uart_receive_room(&host.u) <= limit);
                assert_false(host.u.thr_empty_pending && host.u.tx_count > 0);
                assert_int_equal(host.u.ier & 0xf0, 0);
                assert_int_equal(host.u.irq_level, host.level);
                assert_int_equal(host.level, line_expected(&host.u));
                levels |= host.level ? 1U : 2U;
                overruns += host.u.lsr_errors != 0;
                full_rx += host.u.rx_count == UART_FIFO_BYTES;
                full_tx += host.u.tx_count == UART_FIFO_BYTES;
        }
        /* The walk went where it matters. */
        assert_int_equal(levels, 3);
        assert_true(full_rx > 100 && full_tx > 100 && overruns > 100);
}

/* A driver that waits for THRE and then fills the FIFO loses nothing, however the host stutters. */
static void polite_writer_loses_nothing(void **state)
{
        uint32_t x = 115200;
        size_t written = 0;

        open_port(0);
        while (written < 50000) {
                host.accept = next_random(&x) % 7;
                uart_flush(&host.u, &ops, &host);
                if (!(in(UART_LSR)&UART_LSR_THRE))
                        continue;
                for (unsigned int i = 0; i < UART_FIFO_BYTES; i++, written++)
                        out(UART_TX, (uint8_t)(written * 31));
        }
        host.accept = SIZE_MAX;
        uart_flush(&host.u, &ops, &host);
        assert_int_equal(host.out_len, written);
        for (size_t i = 0; i < written; i++)
                assert_int_equal(host.out[i], (uint8_t)(i * 31));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(power_on, setup),
                cmocka_unit_test_setup(registers_hold_their_bits, setup),
                cmocka_unit_test_setup(linux_autoconfig, setup),
                cmocka_unit_test_setup(linux_startup_irq_tests, setup),
                cmocka_unit_test_setup(loopback_lines, setup),
                cmocka_unit_test_setup(loopback_data, setup),
                cmocka_unit_test_setup(interrupt_priorities, setup),
                cmocka_unit_test_setup(out2_gates_the_line, setup),
                cmocka_unit_test_setup(receive_triggers, setup),
                cmocka_unit_test_setup(receive_limits, setup),
                cmocka_unit_test_setup(transmit_at_once, setup),
                cmocka_unit_test_setup(transmit_back_pressure, setup),
                cmocka_unit_test_setup(transmit_keeps_the_order, setup),
                cmocka_unit_test_setup(transmit_without_fifo_and_reset, setup),
                cmocka_unit_test_setup(random_access, setup),
                cmocka_unit_test_setup(polite_writer_loses_nothing, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
