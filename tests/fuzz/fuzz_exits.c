/*
 * A guest that leaves for whatever reason KVM can report, over and over: the shared page is filled from the input
 * within KVM's own rules (api.rst, KVM_RUN), and the exit is handled. Beside it runs a second account of what may end
 * the machine, so that no other access can.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fake_vmm.h"
#include "spec/vmm_fds.h"
#include "vmm/exits.h"
#include "vmm/x86_64/layout.h"

#define PAGE 4096U
#define RAM  (64 * 1024U)

struct world {
        struct machine m;
        struct vcpu v;
        struct reader script;
        bool ended; /* by something that may end it, first of all */
        enum control_reason reason;
        uint32_t verdict;
        bool failed; /* by an exit that cannot be handled */
};

static bool is_uart(uint32_t port)
{
        return port >= LAYOUT_UART_PORT && port < LAYOUT_UART_PORT + LAYOUT_UART_PORTS;
}

static bool is_pm(uint32_t port)
{
        return port >= LAYOUT_PM_PORT && port < LAYOUT_PM_PORT + LAYOUT_PM_PORTS;
}

static bool is_pci(uint32_t port)
{
        return port >= LAYOUT_PCI_PORT && port < LAYOUT_PCI_PORT + LAYOUT_PCI_PORTS;
}

static void expect_end(struct world *w, enum control_reason reason, uint32_t verdict)
{
        if (w->ended || w->failed)
                return;
        w->ended = true;
        w->reason = reason;
        w->verdict = verdict;
}

/* What one element of port output may end. */
static void output_expect(struct world *w, uint32_t port, unsigned int width, uint32_t value)
{
        if (w->m.test_device && port == 0xf4 && width == 4) {
                expect_end(w, END_VERDICT, value);
                return;
        }
        for (unsigned int i = 0; i < width; i++) {
                uint8_t byte = (uint8_t)(value >> 8 * i);

                if (port + i == 0x600 && (byte & 0x3c) == 0x34) /* SLP_EN, SLP_TYP 5 */
                        expect_end(w, END_POWEROFF, 0);
                if (port + i == 0x602 && byte == 1)
                        expect_end(w, END_RESET, 0);
        }
}

/* A page for KVM and the data behind it, exactly as much as this exit has: one byte more is seen by the sanitizer. */
static struct kvm_run *page_new(size_t data_bytes)
{
        struct kvm_run *run = calloc(1, PAGE + data_bytes);

        MUST(run);
        return run;
}

static uint16_t port_read(struct reader *r)
{
        static const uint16_t ports[] = {LAYOUT_UART_PORT, LAYOUT_PM_PORT, LAYOUT_TEST_PORT, 0xfffc,
                                         LAYOUT_PCI_PORT + 3};
        uint8_t how = read_u8(r);

        return how & 0x80 ? read_u16(r) : (uint16_t)(ports[(how >> 4 & 7) % ARRAY_LEN(ports)] + (how & 15) - 3);
}

static void io_exit(struct world *w)
{
        const unsigned int width = 1U << read_u8(&w->script) % 3;
        const uint16_t port = port_read(&w->script);
        const bool in = read_u8(&w->script) & 1;
        const uint32_t count = 1 + read_u8(&w->script) % 16;
        const size_t bytes = (size_t)width * count;
        struct kvm_run *run = page_new(bytes);
        uint8_t *data = (uint8_t *)run + PAGE, before[4 * 16];

        read_bytes(&w->script, data, bytes);
        memcpy(before, data, bytes);
        run->exit_reason = KVM_EXIT_IO;
        run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
        run->io.size = (uint8_t)width;
        run->io.port = port;
        run->io.count = count;
        run->io.data_offset = PAGE;
        for (uint32_t i = 0; !in && i < count; i++) {
                uint32_t value = 0;

                memcpy(&value, data + i * width, width);
                output_expect(w, port, width, value);
        }
        w->v.run = run;
        vcpu_handle_exit(&w->v, 0);
        if (!in)
                MUST(memcmp(data, before, bytes) == 0);
        for (size_t i = 0; in && i < bytes; i++) { /* nobody is there: ones */
                uint32_t at = port + (uint32_t)(i % width);

                if (!is_uart(at) && !is_pm(at) && !is_pci(at))
                        MUST(data[i] == 0xff);
        }
        free(run);
}

static void mmio_exit(struct world *w, uint64_t address, uint32_t len, const uint8_t data[8])
{
        struct kvm_run *run = page_new(0);
        uint8_t before[8];

        run->exit_reason = KVM_EXIT_MMIO;
        run->mmio.phys_addr = address;
        run->mmio.len = len;
        run->mmio.is_write = data != NULL;
        if (data)
                memcpy(run->mmio.data, data, sizeof(run->mmio.data));
        else
                memset(run->mmio.data, 0xa5, sizeof(run->mmio.data));
        memcpy(before, run->mmio.data, sizeof(before));
        w->v.run = run;
        vcpu_handle_exit(&w->v, 0);
        if (run->mmio.is_write)
                MUST(memcmp(before, run->mmio.data, sizeof(before)) == 0);
        else
                MUST(memcmp(before + run->mmio.len, run->mmio.data + run->mmio.len, 8 - run->mmio.len) == 0);
        if (!run->mmio.is_write && address - LAYOUT_IOAPIC >= LAYOUT_IOAPIC_SIZE &&
            address - LAYOUT_ECAM >= LAYOUT_ECAM_SIZE)
                for (unsigned int i = 0; i < run->mmio.len; i++)
                        MUST(run->mmio.data[i] == 0xff);
        free(run);
}

static void mmio_anywhere(struct world *w)
{
        static const uint64_t bases[] = {LAYOUT_IOAPIC, LAYOUT_HOLE_START, LAYOUT_ECAM, LAYOUT_IOAPIC + 0xff8};
        uint8_t how = read_u8(&w->script), data[8] = {0};
        uint64_t address = how & 0x80 ? read_u64(&w->script) : bases[how >> 5 & 3] + (how & 0x1f) * 4;
        uint32_t len = 1 + read_u8(&w->script) % 8;
        bool is_write = read_u8(&w->script) & 1;

        if (is_write)
                read_bytes(&w->script, data, sizeof(data));
        mmio_exit(w, address, len, is_write ? data : NULL);
}

/* One half of a redirection entry, as a guest's driver writes it; most often of the two pins that have a device. */
static void redirection_write(struct world *w)
{
        uint8_t how = read_u8(&w->script), pin = how & 0x80 ? how & 0x1f : how & 1 ? LAYOUT_UART_GSI : LAYOUT_GED_GSI;
        uint8_t index[8] = {(uint8_t)(0x10 + 2 * pin + (how >> 6 & 1))}, value[8] = {0};

        read_bytes(&w->script, value, 4);
        mmio_exit(w, LAYOUT_IOAPIC, 4, index);
        mmio_exit(w, LAYOUT_IOAPIC + 0x10, 4, value);
}

/* Everything else: an exit reason and a union of any bytes, or KVM_RUN has failed. */
static void other_exit(struct world *w)
{
        static const uint32_t harmless[] = {KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_SET_TPR,
                                            KVM_EXIT_TPR_ACCESS, KVM_EXIT_IOAPIC_EOI};
        struct kvm_run *run = page_new(0);
        uint8_t reason = read_u8(&w->script);
        int error = read_u8(&w->script) % 8 ? 0 : -(1 + read_u8(&w->script) % 133);
        bool is_harmless = false;

        run->exit_reason = reason == 0xff ? read_u32(&w->script) : reason % 40U;
        if (run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO)
                run->exit_reason = KVM_EXIT_SHUTDOWN;
        if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
                run->system_event.type = read_u8(&w->script) % 5;
        else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
                run->internal.suberror = read_u8(&w->script) % 5;
        else
                read_bytes(&w->script, run->padding, sizeof(run->padding));
        for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
                is_harmless |= run->exit_reason == harmless[i];
        w->v.run = run;
        if (error == 0 && run->exit_reason == KVM_EXIT_SHUTDOWN)
                expect_end(w, END_TRIPLE_FAULT, 0);
        else if (error == 0 && run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
                 run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN)
                expect_end(w, END_POWEROFF, 0);
        else if (error == 0 && run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
                 run->system_event.type == KVM_SYSTEM_EVENT_RESET)
                expect_end(w, END_RESET, 0);
        else if (error < 0 || !is_harmless)
                w->failed |= !w->ended;
        vcpu_handle_exit(&w->v, error);
        free(run);
}

/* The main thread's side. */
static void console_step(struct world *w, uint8_t how)
{
        uint8_t input[UART_FIFO_BYTES];

        fake_vmm.console_full = how & 1;
        fake_vmm.console_gone = (how & 6) == 6;
        if (machine_console_wants_input(&w->m)) {
                size_t room = machine_console_room(&w->m);

                MUST(room >= 1 && room <= sizeof(input));
                machine_console_input(&w->m, input, read_bytes(&w->script, input, room));
        }
        machine_console_flush(&w->m);
        MUST(!machine_console_has_output(&w->m) || !fake_vmm.console_gone);
        if (how & 8)
                machine_power_button(&w->m);
        fake_vmm.routing_fails = (how & 0x70) == 0x70;
}

static void check(const struct world *w)
{
        const struct machine *m = &w->m;

        if (m->stop == STOP_FAILED) {
                /* By an exit, or by KVM's refusal to take the routes. */
                MUST(w->failed || strstr(m->failure.text, "routes"));
                must_be_error(&m->failure, -1, STATUS_BIT(STATUS_GUEST) | STATUS_BIT(STATUS_FAILURE));
        } else if (m->stop == STOP_END) {
                MUST(w->ended && !w->failed && m->reason == w->reason && m->verdict == w->verdict);
        } else {
                MUST(!w->ended && !w->failed);
        }
        MUST(m->stop == STOP_NO || fake_vmm.wakes > 0); /* the main thread learns of it */
        MUST((m->pm_events & ~LAYOUT_PM_EVENT_POWER) == 0);
        MUST(m->uart.rx_count <= UART_FIFO_BYTES && m->uart.tx_count <= UART_FIFO_BYTES);
}

static void step(struct world *w)
{
        uint8_t op = read_u8(&w->script);

        if (op < 0x80)
                io_exit(w);
        else if (op < 0xa0)
                mmio_anywhere(w);
        else if (op < 0xb0)
                redirection_write(w);
        else if (op < 0xf0)
                console_step(w, read_u8(&w->script));
        else
                other_exit(w);
        check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct world w;
        static uint8_t ram[RAM];
        uint8_t how;

        w.script = (struct reader){data, len};
        how = read_u8(&w.script);
        w.ended = w.failed = false;
        fake_vmm_start(&w.m, &w.script, how & 1);
        w.m.ram = (struct guest_ram){.len_bytes = RAM, .region_count = 1, .regions = {{0, RAM, ram}}};
        w.v = (struct vcpu){.fd = VMM_FD_VCPU_FIRST, .machine = &w.m};
        fake_vmm.registers_fail = (how & 6) == 6;
        fake_vmm.translate_fails = (how & 0x18) == 0x18;
        fake_vmm.rip = (how & 0x60) == 0x60 ? UINT64_MAX : 0x1000;
        fake_vmm.rip_physical = how & 0x80 ? RAM - (how & 0x1f) : read_u64(&w.script);
        /* A guest whose machine has stopped runs on until it is kicked out: a few exits more. */
        for (unsigned int more = 4; w.script.len > 0 && more > 0; more -= w.m.stop != STOP_NO)
                step(&w);
        fake_vmm_stop();
        return 0;
}
