#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/x86_64/acpi/acpi.h"
#include "vmm/x86_64/layout.h"

/* The tables are read as a guest reads them: by the offsets of ACPI 6.3, from guest memory. */
#define RSDP_V1   20
#define RSDP_V2   36
#define HEADER    36
#define FADT      276
#define MADT_HEAD 44

static struct guest_ram ram;

static int setup(void **state)
{
        return guest_ram_map(&ram, 2U << 20, LAYOUT_HOLE_START, LAYOUT_HOLE_END, NULL, NULL);
}

static int teardown(void **state)
{
        guest_ram_unmap(&ram);
        return 0;
}

static const uint8_t *at(uint64_t gpa, uint64_t len)
{
        const uint8_t *p = guest_ram_at(&ram, gpa, len);

        assert_true(gpa >= LAYOUT_ACPI && gpa + len <= LAYOUT_ACPI_END);
        assert_non_null(p);
        return p;
}

static uint64_t number(const uint8_t *p, size_t len)
{
        uint64_t v = 0;

        while (len-- > 0)
                v = v << 8 | p[len];
        return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
        uint8_t s = 0;

        while (len-- > 0)
                s += p[len];
        return s;
}

/* Checks a table's header and checksum; returns where it is and how long. */
static const uint8_t *table(uint64_t gpa, const char *signature, unsigned int revision, size_t *ret_len)
{
        size_t len = number(at(gpa, HEADER) + 4, 4);
        const uint8_t *t = at(gpa, len);

        assert_true(len >= HEADER);
        assert_memory_equal(t, signature, 4);
        assert_int_equal(t[8], revision);
        assert_memory_equal(t + 10, "BLKHD BULKHEAD", 14);
        assert_int_equal(sum(t, len), 0);
        *ret_len = len;
        return t;
}

struct tables {
        uint64_t rsdp, xsdt, fadt, madt, mcfg, dsdt; /* guest addresses */
};

/* From the RSDP to every table. */
static struct tables walk(unsigned int vcpus)
{
        struct tables t = {0};
        gpa_t rsdp = 0;
        const uint8_t *p;
        size_t len;

        assert_int_equal(acpi_write_tables(&ram, vcpus, &rsdp, NULL), 0);
        assert_int_equal(rsdp, LAYOUT_ACPI);
        t.rsdp = rsdp;
        p = at(rsdp, RSDP_V2);
        assert_memory_equal(p, "RSD PTR ", 8);
        assert_memory_equal(p + 9, "BLKHD ", 6);
        assert_int_equal(p[15], 2);
        assert_int_equal(number(p + 16, 4), 0); /* no RSDT */
        assert_int_equal(number(p + 20, 4), RSDP_V2);
        assert_int_equal(sum(p, RSDP_V1), 0);
        assert_int_equal(sum(p, RSDP_V2), 0);

        t.xsdt = number(p + 24, 8);
        p = table(t.xsdt, "XSDT", 1, &len);
        assert_int_equal(len, HEADER + 3 * 8);
        t.fadt = number(p + HEADER, 8);
        t.madt = number(p + HEADER + 8, 8);
        t.mcfg = number(p + HEADER + 16, 8);
        p = table(t.fadt, "FACP", 6, &len);
        assert_int_equal(len, FADT);
        t.dsdt = number(p + 140, 8);
        return t;
}

static void gas_is_pm_register(const uint8_t *gas, unsigned int offset)
{
        assert_int_equal(gas[0], 1); /* system I/O */
        assert_int_equal(gas[1], 8); /* bits wide */
        assert_int_equal(gas[2], 0);
        assert_int_equal(gas[3], 1); /* byte access */
        assert_int_equal(number(gas + 4, 8), LAYOUT_PM_PORT + offset);
}

static void fadt_is_hardware_reduced(void **state)
{
        struct tables t = walk(1);
        size_t len;
        const uint8_t *p = table(t.fadt, "FACP", 6, &len);
        uint8_t zeros[96] = {0};

        assert_int_equal(p[131], 3); /* minor version */
        /* WBINVD, C1, no fixed power and sleep button, reset register, headless, hardware-reduced */
        assert_int_equal(number(p + 112, 4), 1U << 0 | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 10 | 1U << 12 | 1U << 20);
        assert_int_equal(number(p + 109, 2), 1U << 2 | 1U << 5); /* no VGA, no CMOS RTC; no 8042; MSI fine */
        gas_is_pm_register(p + 116, LAYOUT_PM_RESET);
        assert_int_equal(p[128], LAYOUT_PM_RESET_VALUE);
        gas_is_pm_register(p + 244, LAYOUT_PM_SLEEP_CTL);
        gas_is_pm_register(p + 256, LAYOUT_PM_SLEEP_STS);
        assert_memory_equal(p + 36, zeros, 109 - 36);       /* FACS, 32-bit DSDT, SCI, SMI, PM1 and so on */
        assert_memory_equal(p + 132, zeros, 8);             /* 64-bit FACS */
        assert_memory_equal(p + 148, zeros, sizeof(zeros)); /* the extended register blocks */
}

static void madt_lists_processors(void **state)
{
        for (unsigned int vcpus = 1; vcpus <= 64; vcpus++) {
                struct tables t = walk(vcpus);
                unsigned int lapics = 0, ioapics = 0;
                size_t len, off = MADT_HEAD;
                const uint8_t *p = table(t.madt, "APIC", 5, &len);

                assert_int_equal(number(p + 36, 4), LAYOUT_LAPIC);
                assert_int_equal(number(p + 40, 4), 0); /* no PICs */
                while (off < len) {
                        const uint8_t *entry = p + off;

                        assert_true(off + 2 <= len && entry[1] >= 2 && off + entry[1] <= len);
                        if (entry[0] == 0) {
                                assert_int_equal(entry[1], 8);
                                assert_int_equal(entry[2], lapics);
                                assert_int_equal(entry[3], lapics);
                                assert_int_equal(number(entry + 4, 4), 1);
                                lapics++;
                        } else {
                                assert_int_equal(entry[0], 1);
                                assert_int_equal(entry[1], 12);
                                assert_int_equal(entry[2], LAYOUT_IOAPIC_ID);
                                assert_int_equal(number(entry + 4, 4), LAYOUT_IOAPIC);
                                assert_int_equal(number(entry + 8, 4), 0);
                                ioapics++;
                        }
                        off += entry[1];
                }
                assert_int_equal(off, len);
                assert_int_equal(lapics, vcpus);
                assert_int_equal(ioapics, 1);
        }
}

/* One segment, one bus, all of it. */
static void mcfg_names_the_ecam(void **state)
{
        struct tables t = walk(1);
        size_t len;
        const uint8_t *p = table(t.mcfg, "MCFG", 1, &len);

        assert_int_equal(len, HEADER + 8 + 16);
        assert_int_equal(number(p + HEADER, 8), 0);
        assert_int_equal(number(p + 44, 8), LAYOUT_ECAM);
        assert_int_equal(number(p + 52, 2), 0); /* segment */
        assert_int_equal(p[54], 0);             /* first and last bus */
        assert_int_equal(p[55], 0);
        assert_int_equal(number(p + 56, 4), 0);
        assert_int_equal(LAYOUT_ECAM_SIZE, 1 << 20); /* which is one bus */
}

/* How often a byte string occurs in the DSDT. */
static unsigned int occurrences(const uint8_t *p, size_t len, const void *needle, size_t needle_len)
{
        unsigned int n = 0;

        for (size_t i = 0; i + needle_len <= len; i++)
                n += memcmp(p + i, needle, needle_len) == 0;
        return n;
}

#define BYTES32(v) (v) & 0xff, (v) >> 8 & 0xff, (v) >> 16 & 0xff, (uint32_t)(v) >> 24

/* AML of each device, spelled out: the numbers of layout.h arrived in it. */
static void dsdt_has_layouts_numbers(void **state)
{
        static const uint8_t uart_io[] = {0x47,
                                          1,
                                          LAYOUT_UART_PORT & 0xff,
                                          LAYOUT_UART_PORT >> 8,
                                          LAYOUT_UART_PORT & 0xff,
                                          LAYOUT_UART_PORT >> 8,
                                          1,
                                          LAYOUT_UART_PORTS};
        static const uint8_t pm_io[] = {0x47,
                                        1,
                                        LAYOUT_PM_PORT & 0xff,
                                        LAYOUT_PM_PORT >> 8,
                                        LAYOUT_PM_PORT & 0xff,
                                        LAYOUT_PM_PORT >> 8,
                                        1,
                                        LAYOUT_PM_PORTS};
        static const uint8_t test_io[] = {0x47, 1, LAYOUT_TEST_PORT, 0, LAYOUT_TEST_PORT, 0, 1, LAYOUT_TEST_PORTS};
        /* extended interrupt: consumer, edge, active high, exclusive; one line */
        static const uint8_t uart_irq[] = {0x89, 6, 0, 0x03, 1, LAYOUT_UART_GSI, 0, 0, 0};
        static const uint8_t ged_irq[] = {0x89, 6, 0, 0x03, 1, LAYOUT_GED_GSI, 0, 0, 0};
        static const uint8_t pci_io[] = {0x47,
                                         1,
                                         LAYOUT_PCI_PORT & 0xff,
                                         LAYOUT_PCI_PORT >> 8,
                                         LAYOUT_PCI_PORT & 0xff,
                                         LAYOUT_PCI_PORT >> 8,
                                         1,
                                         LAYOUT_PCI_PORTS};
        /* word address space: bus numbers, fixed; granularity, 0..0, no translation, 1 of them */
        static const uint8_t pci_bus[] = {0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
        /* double word address space: memory, fixed, read and write */
        static const uint8_t pci_window[] = {0x87,
                                             23,
                                             0,
                                             0,
                                             0x0c,
                                             1,
                                             0,
                                             0,
                                             0,
                                             0,
                                             BYTES32(LAYOUT_PCI_WINDOW),
                                             BYTES32(LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1),
                                             BYTES32(0),
                                             BYTES32(LAYOUT_PCI_WINDOW_SIZE)};
        /* 32-bit fixed memory: read and write */
        static const uint8_t ecam[] = {0x86, 9, 0, 1, BYTES32(LAYOUT_ECAM), BYTES32(LAYOUT_ECAM_SIZE)};
        /* OperationRegion (EVNT, SystemIO, PM events, 1) */
        static const uint8_t region[] = {0x5b,
                                         0x80,
                                         'E',
                                         'V',
                                         'N',
                                         'T',
                                         1,
                                         0x0b,
                                         (LAYOUT_PM_PORT + LAYOUT_PM_EVENTS) & 0xff,
                                         (LAYOUT_PM_PORT + LAYOUT_PM_EVENTS) >> 8,
                                         1};
        /* Name (_S5, Package () {S5, 0, 0, 0}) */
        static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 7, 4, 0x0a, LAYOUT_PM_SLP_TYP_S5, 0, 0, 0};
        /* Notify (PWRB, 0x80) */
        static const uint8_t notify[] = {0x86, 'P', 'W', 'R', 'B', 0x0a, 0x80};
        struct tables t = walk(2);
        size_t len;
        const uint8_t *p = table(t.dsdt, "DSDT", 2, &len);
        const struct {
                const void *bytes;
                size_t len;
        } parts[] = {
                {uart_io, sizeof(uart_io)},
                {pm_io, sizeof(pm_io)},
                {test_io, sizeof(test_io)},
                {pci_io, sizeof(pci_io)},
                {pci_bus, sizeof(pci_bus)},
                {pci_window, sizeof(pci_window)},
                {ecam, sizeof(ecam)},
                {uart_irq, sizeof(uart_irq)},
                {ged_irq, sizeof(ged_irq)},
                {region, sizeof(region)},
                {s5, sizeof(s5)},
                {notify, sizeof(notify)},
                {"\x0d"
                 "ACPI0013",
                 10},
                {"\x0c\x41\xd0\x05\x01", 5},                                              /* PNP0501 */
                {"\x0c\x41\xd0\x0c\x0c", 5},                                              /* PNP0C0C */
                {"\x0c\x41\xd0\x0c\x02", 5},                                              /* PNP0C02 */
                {"\x0c\x41\xd0\x0a\x08", 5},                                              /* PNP0A08 */
                {"\x0c\x41\xd0\x0a\x03", 5},                                              /* PNP0A03 */
                {"\x5b\x4d\xdb\x33\xf7\x1f\x1c\x40\x96\x57\x74\x41\xc0\x3d\xd7\x66", 16}, /* of _OSC */
        };

        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
                assert_int_equal(occurrences(p, len, parts[i].bytes, parts[i].len), 1);
        assert_int_equal(occurrences(p, len, "_PRT", 4), 0); /* no interrupt pins */
}

static void tables_do_not_overlap(void **state)
{
        struct tables t = walk(64);
        const struct {
                uint64_t start;
                size_t head;
        } all[] = {{t.rsdp, RSDP_V2}, {t.xsdt, 0}, {t.fadt, 0}, {t.madt, 0}, {t.mcfg, 0}, {t.dsdt, 0}};
        uint64_t end[ARRAY_LEN(all)];

        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                end[i] = all[i].start + (all[i].head ? all[i].head : number(at(all[i].start, HEADER) + 4, 4));
                assert_true(all[i].start % 8 == 0);
                for (size_t j = 0; j < i; j++)
                        assert_true(end[i] <= all[j].start || end[j] <= all[i].start);
        }
        /* Nothing is written outside the area. */
        for (uint64_t gpa = 0; gpa < ram.len_bytes; gpa++)
                if (gpa < LAYOUT_ACPI || gpa >= LAYOUT_ACPI_END)
                        assert_int_equal(ram.regions[0].host[gpa], 0);
}

static void refusals(void **state)
{
        static const unsigned int bad[] = {0, 65, 256, UINT32_MAX};
        struct guest_ram small = {0};
        struct err e = ERR_INIT;
        gpa_t rsdp = 7;

        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                assert_int_equal(acpi_write_tables(&ram, bad[i], &rsdp, &e), -EINVAL);
                assert_true(e.text[0] != '\0');
        }
        /* Memory ends before the area, by a page and exactly. */
        for (uint64_t len = LAYOUT_ACPI - 4096; len <= LAYOUT_ACPI; len += 4096) {
                assert_int_equal(guest_ram_map(&small, len, LAYOUT_HOLE_START, LAYOUT_HOLE_END, NULL, NULL), 0);
                assert_int_equal(acpi_write_tables(&small, 64, &rsdp, &e), -EFAULT);
                guest_ram_unmap(&small);
        }
        assert_int_equal(rsdp, 7);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(fadt_is_hardware_reduced, setup, teardown),
                cmocka_unit_test_setup_teardown(madt_lists_processors, setup, teardown),
                cmocka_unit_test_setup_teardown(mcfg_names_the_ecam, setup, teardown),
                cmocka_unit_test_setup_teardown(dsdt_has_layouts_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(tables_do_not_overlap, setup, teardown),
                cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
