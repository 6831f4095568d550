#include "vmm/x86_64/acpi/acpi.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/x86_64/acpi/tables.h"
#include "vmm/x86_64/layout.h"

/* The whole DSDT, checksum included, as iasl makes it from dsdt.asl. */
static const uint8_t dsdt_aml[] = {
#include "vmm/x86_64/acpi/dsdt.inc"
};

/* A guest searches for the RSDP on 16-byte boundaries (ACPI 6.3, 5.2.5.1); it is enough for the rest. */
#define TABLE_ALIGN      16
#define TABLE_ROOM(size) (((size) + TABLE_ALIGN - 1) / TABLE_ALIGN * TABLE_ALIGN)
#define TABLE_ROOM_ALL                                                                 \
        (TABLE_ROOM(sizeof(struct acpi_rsdp)) + TABLE_ROOM(sizeof(struct acpi_xsdt)) + \
         TABLE_ROOM(sizeof(struct acpi_fadt)) + TABLE_ROOM(sizeof(struct acpi_madt)) + \
         TABLE_ROOM(sizeof(struct acpi_mcfg)) + TABLE_ROOM(sizeof(dsdt_aml)))

_Static_assert(LAYOUT_PCI_WINDOW_LAST == LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1, "the DSDT needs both");
_Static_assert(LAYOUT_ACPI % TABLE_ALIGN == 0, "the RSDP comes first");
_Static_assert(TABLE_ROOM_ALL <= LAYOUT_ACPI_END - LAYOUT_ACPI, "the tables of the largest machine fit");

/* Tables are laid one after the other; `next` is where the next one goes. */
struct table_area {
        const struct guest_ram *ram;
        gpa_t next;
};

/* What makes all len bytes add up to 0, as long as the checksum field itself is still 0. */
static uint8_t checksum(const void *table, size_t len)
{
        const uint8_t *p = table;
        uint8_t sum = 0;

        for (size_t i = 0; i < len; i++)
                sum += p[i];
        return (uint8_t)-sum;
}

static struct acpi_header header(const char signature[4], uint8_t revision, size_t length)
{
        struct acpi_header h = {
                .length = (uint32_t)length,
                .revision = revision,
                .oemid = {'B', 'L', 'K', 'H', 'D', ' '},
                .oem_table_id = {'B', 'U', 'L', 'K', 'H', 'E', 'A', 'D'},
                .oem_revision = 1,
                .creator_id = {'B', 'L', 'K', 'H'},
                .creator_revision = 1,
        };

        memcpy(h.signature, signature, sizeof(h.signature));
        return h;
}

static int table_put(struct table_area *area, const void *table, size_t len, gpa_t *ret, struct err *e)
{
        int r = guest_ram_write(area->ram, area->next, table, len);

        if (r < 0)
                return err_set(e, r, "write an ACPI table at guest address 0x%llx", (unsigned long long)area->next);
        *ret = area->next;
        area->next += TABLE_ROOM(len);
        return 0;
}

/* A table that starts with the common header: sums it up, then writes it. */
static int table_put_summed(struct table_area *area, struct acpi_header *table, gpa_t *ret, struct err *e)
{
        table->checksum = checksum(table, table->length);
        return table_put(area, table, table->length, ret, e);
}

static struct acpi_gas pm_register(unsigned int offset)
{
        return (struct acpi_gas){.address_space_id = ACPI_GAS_SYSTEM_IO,
                                 .register_bit_width = 8,
                                 .access_size = ACPI_GAS_BYTE,
                                 .address = LAYOUT_PM_PORT + offset};
}

/* Hardware-reduced (ACPI 6.3, 4.1): no PM1, GPE, timer or FACS; all those fields are 0. */
static int fadt_put(struct table_area *area, gpa_t dsdt, gpa_t *ret, struct err *e)
{
        struct acpi_fadt fadt = {
                .header = header("FACP", 6, sizeof(fadt)),
                .fadt_minor_version = 3,
                .iapc_boot_arch = ACPI_FADT_VGA_NOT_PRESENT | ACPI_FADT_CMOS_RTC_NOT_PRESENT,
                .flags = ACPI_FADT_WBINVD | ACPI_FADT_PROC_C1 | ACPI_FADT_PWR_BUTTON | ACPI_FADT_SLP_BUTTON |
                         ACPI_FADT_RESET_REG_SUP | ACPI_FADT_HEADLESS | ACPI_FADT_HW_REDUCED_ACPI,
                .reset_reg = pm_register(LAYOUT_PM_RESET),
                .reset_value = LAYOUT_PM_RESET_VALUE,
                .x_dsdt = dsdt,
                .sleep_control_reg = pm_register(LAYOUT_PM_SLEEP_CTL),
                .sleep_status_reg = pm_register(LAYOUT_PM_SLEEP_STS),
        };

        return table_put_summed(area, &fadt.header, ret, e);
}

/* No interrupt source overrides: every GSI is the pin of that number, and the DSDT says how each behaves. */
static int madt_put(struct table_area *area, unsigned int vcpus, gpa_t *ret, struct err *e)
{
        struct acpi_madt madt = {
                .header = header("APIC", 5, offsetof(struct acpi_madt, lapic) + vcpus * sizeof(madt.lapic[0])),
                .local_apic_address = LAYOUT_LAPIC,
                .ioapic = {.type = ACPI_MADT_IOAPIC,
                           .length = sizeof(madt.ioapic),
                           .ioapic_id = LAYOUT_IOAPIC_ID,
                           .ioapic_address = LAYOUT_IOAPIC},
        };

        for (unsigned int i = 0; i < vcpus; i++)
                madt.lapic[i] = (struct acpi_madt_lapic){.type = ACPI_MADT_LAPIC,
                                                         .length = sizeof(madt.lapic[i]),
                                                         .processor_uid = (uint8_t)i,
                                                         .apic_id = (uint8_t)i,
                                                         .flags = ACPI_MADT_LAPIC_ENABLED};
        return table_put_summed(area, &madt.header, ret, e);
}

static int mcfg_put(struct table_area *area, gpa_t *ret, struct err *e)
{
        struct acpi_mcfg mcfg = {
                .header = header("MCFG", 1, sizeof(mcfg)),
                .allocation = {{.base_address = LAYOUT_ECAM}},
        };

        return table_put_summed(area, &mcfg.header, ret, e);
}

static int rsdp_put(struct table_area *area, gpa_t xsdt, gpa_t *ret, struct err *e)
{
        struct acpi_rsdp rsdp = {
                .signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
                .oemid = {'B', 'L', 'K', 'H', 'D', ' '},
                .revision = 2,
                .length = sizeof(rsdp),
                .xsdt_address = xsdt,
        };

        rsdp.checksum = checksum(&rsdp, ACPI_RSDP_V1_BYTES);
        rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
        return table_put(area, &rsdp, sizeof(rsdp), ret, e);
}

int acpi_write_tables(const struct guest_ram *ram, unsigned int vcpus, gpa_t *ret_rsdp, struct err *e)
{
        /* The RSDP is first in the area and written last: it names what lies behind it. */
        struct table_area rsdp_area = {.ram = ram, .next = LAYOUT_ACPI};
        struct table_area area = {.ram = ram, .next = LAYOUT_ACPI + TABLE_ROOM(sizeof(struct acpi_rsdp))};
        gpa_t dsdt = 0, fadt = 0, madt = 0, mcfg = 0, xsdt_gpa = 0;
        struct acpi_xsdt xsdt = {.header = header("XSDT", 1, sizeof(xsdt))};
        int r;

        if (vcpus < 1 || vcpus > SPEC_VCPUS_MAX)
                return err_set(e, -EINVAL, "describe a machine with %u processors", vcpus);

        r = table_put(&area, dsdt_aml, sizeof(dsdt_aml), &dsdt, e);
        if (r < 0)
                return r;
        r = fadt_put(&area, dsdt, &fadt, e);
        if (r < 0)
                return r;
        r = madt_put(&area, vcpus, &madt, e);
        if (r < 0)
                return r;
        r = mcfg_put(&area, &mcfg, e);
        if (r < 0)
                return r;
        xsdt.entry[0] = fadt;
        xsdt.entry[1] = madt;
        xsdt.entry[2] = mcfg;
        r = table_put_summed(&area, &xsdt.header, &xsdt_gpa, e);
        if (r < 0)
                return r;
        return rsdp_put(&rsdp_area, xsdt_gpa, ret_rsdp, e);
}
