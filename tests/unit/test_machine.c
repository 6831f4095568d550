/*
 * The buses and devices of the machine, without KVM: the descriptors that the VMM has are a socket pair for the
 * console, an event descriptor, and /dev/null in the place of the virtual machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "spec/vmm_fds.h"
#include "vmm/machine.h"
#include "vmm/x86_64/layout.h"

static int console; /* the supervisor's end */

static int descriptors_open(void **state)
{
        int pair[2], wake, vm;

        (void)state;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
                return -1;
        wake = eventfd(0, EFD_NONBLOCK);
        vm = open("/dev/null", O_RDWR);
        /* High numbers first, so that none of ours is overwritten. */
        console = fcntl(pair[0], F_DUPFD, 100);
        int peer = fcntl(pair[1], F_DUPFD, 100), w = fcntl(wake, F_DUPFD, 100), v = fcntl(vm, F_DUPFD, 100);

        return dup2(peer, VMM_FD_CONSOLE) < 0 || dup2(w, VMM_FD_WAKE) < 0 || dup2(v, VMM_FD_VM) < 0 ? -1 : 0;
}

static bool woken(void)
{
        uint64_t n;

        return read(VMM_FD_WAKE, &n, sizeof(n)) == sizeof(n);
}

static struct machine m;

static int power_on(void **state)
{
        char rest[4096];

        (void)state;
        machine_init(&m, 1, true);
        while (read(console, rest, sizeof(rest)) > 0)
                ;
        (void)woken();
        return 0;
}

static void unclaimed_reads_ones(void **state)
{
        uint8_t data[8];

        for (uint32_t port = 0; port <= 0xffff; port++) {
                if (port + 4 > LAYOUT_UART_PORT && port < LAYOUT_UART_PORT + LAYOUT_UART_PORTS)
                        continue;
                if (port + 4 > LAYOUT_PM_PORT && port < LAYOUT_PM_PORT + LAYOUT_PM_PORTS)
                        continue;
                if (port + 4 > LAYOUT_PCI_PORT && port < LAYOUT_PCI_PORT + LAYOUT_PCI_PORTS)
                        continue;
                assert_int_equal(machine_port_read(&m, (uint16_t)port, 1), 0xff);
                assert_int_equal(machine_port_read(&m, (uint16_t)port, 2), 0xffff);
                assert_true(machine_port_read(&m, (uint16_t)port, 4) == 0xffffffff);
        }
        for (unsigned int len = 1; len <= 8; len++) {
                memset(data, 0, sizeof(data));
                machine_mmio_read(&m, LAYOUT_HOLE_START, data, len);
                for (unsigned int i = 0; i < 8; i++)
                        assert_int_equal(data[i], i < len ? 0xff : 0);
                machine_mmio_write(&m, LAYOUT_HOLE_START, data, len);
        }
        assert_false(machine_stopping(&m));
}

static void wide_accesses_are_bytes(void **state)
{
        /* Scratch register (7) of the UART and the port behind it. */
        machine_port_write(&m, LAYOUT_UART_PORT + 7, 2, 0xab5a);
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT + 7, 1), 0x5a);
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT + 7, 4), 0xffffff5a);
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT + 5, 4) >> 16 & 0xff, 0x5a);
        /* The last port: what is past it is nothing. */
        machine_port_write(&m, 0xffff, 4, 0);
        assert_true(machine_port_read(&m, 0xffff, 4) == 0xffffffff);
}

static uint64_t mmio(gpa_t address, unsigned int len)
{
        uint8_t data[8] = {0};
        uint64_t value;

        machine_mmio_read(&m, address, data, len);
        memcpy(&value, data, sizeof(value));
        return value;
}

/* The host bridge by both ways, and nobody in the other places of the bus. */
static void pci_configuration_space(void **state)
{
        uint32_t bridge;

        assert_int_equal(machine_port_read(&m, LAYOUT_PCI_PORT, 4), 0);
        assert_true(machine_port_read(&m, LAYOUT_PCI_PORT + 4, 4) == 0xffffffff); /* not enabled */
        machine_port_write(&m, LAYOUT_PCI_PORT, 4, 0x80000000);
        bridge = machine_port_read(&m, LAYOUT_PCI_PORT + 4, 4);
        assert_int_equal(bridge, 0x00081b36);
        assert_int_equal(machine_port_read(&m, LAYOUT_PCI_PORT + 6, 2), 0x0008);
        assert_int_equal(machine_port_read(&m, LAYOUT_PCI_PORT + 5, 1), 0x1b);
        assert_int_equal(mmio(LAYOUT_ECAM, 4), bridge);
        assert_int_equal(mmio(LAYOUT_ECAM + 2, 2), 0x0008);
        assert_int_equal(mmio(LAYOUT_ECAM + 0x100, 4), 0); /* extended configuration space: none */
        for (gpa_t function = 1; function < LAYOUT_ECAM_SIZE / 4096; function++)
                assert_true(mmio(LAYOUT_ECAM + function * 4096, 4) == 0xffffffff);
        machine_port_write(&m, LAYOUT_PCI_PORT, 4, 0x80000800);
        assert_true(machine_port_read(&m, LAYOUT_PCI_PORT + 4, 4) == 0xffffffff);
        /* The address register is a whole one: a part of it, or an access that begins before it, is bytes. */
        machine_port_write(&m, LAYOUT_PCI_PORT, 1, 0);
        machine_port_write(&m, LAYOUT_PCI_PORT - 1, 4, 0);
        machine_port_write(&m, LAYOUT_PCI_PORT + 2, 2, 0);
        assert_true(machine_port_read(&m, LAYOUT_PCI_PORT, 4) == 0x80000800);
        assert_int_equal(machine_port_read(&m, LAYOUT_PCI_PORT, 1), 0xff);
        assert_true(machine_port_read(&m, LAYOUT_PCI_PORT - 1, 4) == 0xffffffff);
        machine_port_write(&m, LAYOUT_PCI_PORT, 4, 0x80000000);
        assert_int_equal(machine_port_read(&m, LAYOUT_PCI_PORT + 7, 2), 0xff00); /* its last byte, and nothing */
        /* The bridge takes no writes. */
        machine_port_write(&m, LAYOUT_PCI_PORT + 4, 4, 0);
        machine_mmio_write(&m, LAYOUT_ECAM, (const uint8_t[4]){0}, 4);
        assert_int_equal(mmio(LAYOUT_ECAM, 4), bridge);
        assert_true(mmio(LAYOUT_PCI_WINDOW, 8) == UINT64_MAX);
        assert_false(machine_stopping(&m));
}

static void console_output(void **state)
{
        char got[8] = "";

        machine_port_write(&m, LAYOUT_UART_PORT, 1, 'A');
        machine_port_write(&m, LAYOUT_UART_PORT, 1, 'B');
        assert_int_equal(read(console, got, sizeof(got)), 2);
        assert_string_equal(got, "AB");
}

static void a_full_console_waits(void **state)
{
        char drain[4096];
        unsigned int written = 0;

        /* Until the socket is full and the UART holds bytes. */
        while (!machine_console_has_output(&m) && written < 10000000) {
                machine_port_write(&m, LAYOUT_UART_PORT, 1, 'x');
                written++;
        }
        assert_true(machine_console_has_output(&m));
        assert_true(woken());
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT + 5, 1) & 0x20, 0); /* LSR: THR not empty */
        while (read(console, drain, sizeof(drain)) > 0)
                ;
        machine_console_flush(&m);
        assert_false(machine_console_has_output(&m));
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT + 5, 1) & 0x20, 0x20);
}

static void console_input(void **state)
{
        size_t room;

        assert_int_equal(machine_console_room(&m), 0); /* nobody has raised RTS yet */
        assert_false(machine_console_wants_input(&m));
        machine_port_write(&m, LAYOUT_UART_PORT + 2, 1, 0x01); /* FIFO on */
        machine_port_write(&m, LAYOUT_UART_PORT + 4, 1, 0x0b); /* DTR, RTS, OUT2 */
        room = machine_console_room(&m);
        assert_in_range(room, 1, UART_FIFO_BYTES);
        machine_console_input(&m, (const uint8_t *)"hi", 2);
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT, 1), 'h');
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT, 1), 'i');
        /* Full, the main thread waits; the guest's read wakes it. */
        machine_console_input(&m, (const uint8_t *)"0123456789abcdef", UART_FIFO_BYTES);
        (void)woken();
        assert_false(machine_console_wants_input(&m));
        assert_int_equal(machine_port_read(&m, LAYOUT_UART_PORT, 1), '0');
        assert_true(woken());
}

static void power_button(void **state)
{
        assert_int_equal(machine_port_read(&m, LAYOUT_PM_PORT + LAYOUT_PM_EVENTS, 1), 0);
        machine_power_button(&m);
        assert_int_equal(machine_port_read(&m, LAYOUT_PM_PORT + LAYOUT_PM_EVENTS, 1), LAYOUT_PM_EVENT_POWER);
        assert_int_equal(machine_port_read(&m, LAYOUT_PM_PORT + LAYOUT_PM_EVENTS, 1), 0);
        assert_false(machine_stopping(&m));
}

/* What each write to the sleep control and reset registers does, for all 256 values. */
static void only_the_right_values_end_the_guest(void **state)
{
        for (unsigned int v = 0; v < 256; v++) {
                machine_init(&m, 1, true);
                machine_port_write(&m, LAYOUT_PM_PORT + LAYOUT_PM_SLEEP_CTL, 1, v);
                assert_int_equal(machine_stopping(&m), (v & 0x3c) == (0x20 | LAYOUT_PM_SLP_TYP_S5 << 2));
                if (machine_stopping(&m))
                        assert_int_equal(m.reason, END_POWEROFF);

                machine_init(&m, 1, true);
                machine_port_write(&m, LAYOUT_PM_PORT + LAYOUT_PM_RESET, 1, v);
                assert_int_equal(machine_stopping(&m), v == LAYOUT_PM_RESET_VALUE);
                if (machine_stopping(&m))
                        assert_int_equal(m.reason, END_RESET);
        }
}

static void the_first_reason_stays(void **state)
{
        struct err e = ERR_INIT;

        machine_port_write(&m, LAYOUT_TEST_PORT, 4, 7);
        assert_int_equal(m.stop, STOP_END);
        assert_int_equal(m.reason, END_VERDICT);
        assert_int_equal(m.verdict, 7);
        machine_end(&m, END_RESET, 0);
        machine_fail(&m, &e);
        assert_int_equal(m.stop, STOP_END);
        assert_int_equal(m.reason, END_VERDICT);
        assert_true(woken());
}

static void the_test_register_is_exact(void **state)
{
        machine_port_write(&m, LAYOUT_TEST_PORT, 1, 1);
        machine_port_write(&m, LAYOUT_TEST_PORT, 2, 1);
        machine_port_write(&m, LAYOUT_TEST_PORT - 1, 4, 1);
        machine_port_write(&m, LAYOUT_TEST_PORT + 1, 4, 1);
        assert_false(machine_stopping(&m));
        machine_init(&m, 1, false); /* without --test-device there is no such register */
        machine_port_write(&m, LAYOUT_TEST_PORT, 4, 1);
        assert_false(machine_stopping(&m));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(unclaimed_reads_ones, power_on),
                cmocka_unit_test_setup(wide_accesses_are_bytes, power_on),
                cmocka_unit_test_setup(pci_configuration_space, power_on),
                cmocka_unit_test_setup(console_output, power_on),
                cmocka_unit_test_setup(a_full_console_waits, power_on),
                cmocka_unit_test_setup(console_input, power_on),
                cmocka_unit_test_setup(power_button, power_on),
                cmocka_unit_test_setup(only_the_right_values_end_the_guest, power_on),
                cmocka_unit_test_setup(the_first_reason_stays, power_on),
                cmocka_unit_test_setup(the_test_register_is_exact, power_on),
        };

        return cmocka_run_group_tests(tests, descriptors_open, NULL);
}
