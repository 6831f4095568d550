/*
 * ACPI as a guest uses it: the four registers and the event interrupt, in any order with presses of the power button;
 * and the tables, for any number of processors and any memory.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_vmm.h"
#include "vmm/x86_64/acpi/acpi.h"
#include "vmm/x86_64/layout.h"

#define IOREGSEL  LAYOUT_IOAPIC
#define IOWIN     (LAYOUT_IOAPIC + 0x10)
#define GED_LOW   (0x10 + 2 * LAYOUT_GED_GSI)
#define GED_EDGE  0x0000000000000025ULL /* vector 0x25, fixed, edge, not masked */
#define PORT(reg) ((uint16_t)(LAYOUT_PM_PORT + (reg)))

static void ioapic_set(struct machine *m, uint32_t index, uint32_t value)
{
        machine_mmio_write(m, IOREGSEL, (const uint8_t *)&index, sizeof(index));
        machine_mmio_write(m, IOWIN, (const uint8_t *)&value, sizeof(value));
}

/* The registers, as ACPI 6.4, 4.8.3.7, and layout.h have them. */
struct account {
        bool pressed; /* and not yet read */
        bool ended;
        enum control_reason reason;
};

static void guest_writes(struct machine *m, struct account *a, unsigned int reg, unsigned int width, uint32_t value)
{
        for (unsigned int i = 0; i < width && !a->ended; i++) {
                uint8_t byte = (uint8_t)(value >> 8 * i);

                if (reg + i == 0 && (byte & 0x20) && (byte >> 2 & 7) == 5) {
                        a->ended = true;
                        a->reason = END_POWEROFF;
                } else if (reg + i == 2 && byte == 0x01) {
                        a->ended = true;
                        a->reason = END_RESET;
                }
        }
        machine_port_write(m, PORT(reg), width, value);
}

static void guest_reads(struct machine *m, struct account *a, unsigned int reg, unsigned int width)
{
        uint32_t v = machine_port_read(m, PORT(reg), width);

        for (unsigned int i = 0; i < width; i++) {
                uint8_t byte = (uint8_t)(v >> 8 * i);

                if (reg + i < LAYOUT_PM_EVENTS)
                        MUST(byte == 0);
                else if (reg + i > LAYOUT_PM_EVENTS)
                        MUST(byte == 0xff);
                else
                        MUST(byte == (a->pressed ? LAYOUT_PM_EVENT_POWER : 0));
        }
        if (reg <= LAYOUT_PM_EVENTS && reg + width > LAYOUT_PM_EVENTS)
                a->pressed = false;
}

static void registers(struct reader *r)
{
        static struct machine m;
        struct account a = {0};
        bool masked = read_u8(r) & 1;

        fake_vmm_start(&m, r, false);
        if (!masked)
                ioapic_set(&m, GED_LOW, GED_EDGE);
        while (r->len > 0) {
                uint8_t op = read_u8(r);
                size_t messages = fake_vmm.messages;
                bool before = a.pressed;

                if (op & 0x80) {
                        machine_power_button(&m);
                        a.pressed = true;
                        MUST(fake_vmm.messages == messages + (!before && !masked)); /* an edge, when it was low */
                } else if (op & 0x40) {
                        guest_writes(&m, &a, op & 3, 1U << (op >> 2 & 1), read_u32(r));
                        MUST(fake_vmm.messages == messages);
                } else {
                        guest_reads(&m, &a, op & 3, 1U << (op >> 2) % 3);
                        MUST(fake_vmm.messages == messages);
                }
                MUST((m.pm_events != 0) == a.pressed);
                MUST(((m.ioapic.lines >> LAYOUT_GED_GSI & 1) != 0) == a.pressed);
                MUST((m.stop == STOP_END) == a.ended && m.stop != STOP_FAILED);
                MUST(!a.ended || m.reason == a.reason);
        }
        fake_vmm_stop();
}

static void must_sum_up(const uint8_t *p, size_t len)
{
        uint8_t sum = 0;

        for (size_t i = 0; i < len; i++)
                sum += p[i];
        MUST(sum == 0);
}

/* Every table lies in the area, sums up to 0, and is found from the RSDP. Returns its length. */
static uint32_t table_check(const struct guest_ram *ram, gpa_t gpa, const char *signature)
{
        const uint8_t *p = guest_ram_at(ram, gpa, 36);
        uint32_t len;

        MUST(p && gpa >= LAYOUT_ACPI);
        memcpy(&len, p + 4, sizeof(len));
        MUST(memcmp(p, signature, 4) == 0 && len >= 36 && gpa + len <= LAYOUT_ACPI_END);
        must_sum_up(p, len);
        return len;
}

static void tables(struct reader *r)
{
        const unsigned int vcpus = (unsigned int)read_in(r, 0, SPEC_VCPUS_MAX + 2);
        const uint64_t bytes = read_in(r, 0, 0x110) * 4096;
        uint8_t *memory = calloc(1, bytes + 1);
        struct guest_ram ram = {.len_bytes = bytes, .region_count = 1, .regions = {{0, bytes, memory}}};
        struct err e = ERR_INIT;
        gpa_t rsdp = 1;
        uint64_t xsdt, fadt, madt, mcfg, dsdt;
        int result;

        MUST(memory);
        result = acpi_write_tables(&ram, vcpus, &rsdp, &e);
        if (vcpus < 1 || vcpus > SPEC_VCPUS_MAX || bytes < LAYOUT_ACPI_END) {
                if (result < 0) {
                        must_be_error(&e, result, STATUS_BIT(STATUS_FAILURE));
                        free(memory);
                        return;
                }
                MUST(vcpus >= 1 && vcpus <= SPEC_VCPUS_MAX); /* the tables may end before the area does */
        }
        MUST(result == 0 && rsdp == LAYOUT_ACPI);
        MUST(memcmp(memory + rsdp, "RSD PTR ", 8) == 0);
        must_sum_up(memory + rsdp, 20); /* what ACPI 1.0 has of it */
        must_sum_up(memory + rsdp, 36);
        memcpy(&xsdt, memory + rsdp + 24, sizeof(xsdt));
        MUST(table_check(&ram, xsdt, "XSDT") == 36 + 3 * 8);
        memcpy(&fadt, memory + xsdt + 36, sizeof(fadt));
        memcpy(&madt, memory + xsdt + 44, sizeof(madt));
        memcpy(&mcfg, memory + xsdt + 52, sizeof(mcfg));
        MUST(table_check(&ram, mcfg, "MCFG") == 60);
        MUST(table_check(&ram, fadt, "FACP") == 276);
        MUST(table_check(&ram, madt, "APIC") == 44 + 12 + 8 * vcpus);
        memcpy(&dsdt, memory + fadt + 140, sizeof(dsdt));
        table_check(&ram, dsdt, "DSDT");
        for (uint64_t i = 0; i < LAYOUT_ACPI; i++)
                MUST(memory[i] == 0);
        free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};

        if (read_u8(&r) & 3)
                registers(&r);
        else
                tables(&r);
        return 0;
}
