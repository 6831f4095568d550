/*
 * The ACPI tables' layouts, with the field names of the ACPI specification 6.3 (sections given). Everything
 * is little endian, as the host is.
 */
#pragma once

#include <stdint.h>

#include "spec/guest_spec.h"

#define ACPI_PACKED __attribute__((packed))

/* 5.2.5.3 Root System Description Pointer */
struct acpi_rsdp {
        char signature[8]; /* "RSD PTR " */
        uint8_t checksum;  /* over the first ACPI_RSDP_V1_BYTES */
        char oemid[6];
        uint8_t revision;
        uint32_t rsdt_address;
        uint32_t length;
        uint64_t xsdt_address;
        uint8_t extended_checksum; /* over everything */
        uint8_t reserved[3];
} ACPI_PACKED;
#define ACPI_RSDP_V1_BYTES 20

/* 5.2.6 System Description Table Header */
struct acpi_header {
        char signature[4];
        uint32_t length;
        uint8_t revision;
        uint8_t checksum;
        char oemid[6];
        char oem_table_id[8];
        uint32_t oem_revision;
        char creator_id[4];
        uint32_t creator_revision;
} ACPI_PACKED;

/* 5.2.3.2 Generic Address Structure */
struct acpi_gas {
        uint8_t address_space_id;
        uint8_t register_bit_width;
        uint8_t register_bit_offset;
        uint8_t access_size;
        uint64_t address;
} ACPI_PACKED;
#define ACPI_GAS_SYSTEM_IO 1
#define ACPI_GAS_BYTE      1

/* 5.2.8 Extended System Description Table; the machine has three tables to list (DSDT hangs off the FADT) */
struct acpi_xsdt {
        struct acpi_header header;
        uint64_t entry[3];
} ACPI_PACKED;

/* 5.2.9 Fixed ACPI Description Table */
struct acpi_fadt {
        struct acpi_header header;
        uint32_t firmware_ctrl;
        uint32_t dsdt;
        uint8_t reserved0;
        uint8_t preferred_pm_profile;
        uint16_t sci_int;
        uint32_t smi_cmd;
        uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
        uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk;
        uint32_t gpe0_blk, gpe1_blk;
        uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base;
        uint8_t cst_cnt;
        uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
        uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
        uint16_t iapc_boot_arch;
        uint8_t reserved1;
        uint32_t flags;
        struct acpi_gas reset_reg;
        uint8_t reset_value;
        uint16_t arm_boot_arch;
        uint8_t fadt_minor_version;
        uint64_t x_firmware_ctrl, x_dsdt;
        struct acpi_gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk,
                x_gpe0_blk, x_gpe1_blk;
        struct acpi_gas sleep_control_reg, sleep_status_reg;
        uint64_t hypervisor_vendor_identity;
} ACPI_PACKED;

/* 5.2.9, fixed feature flags */
#define ACPI_FADT_WBINVD          (1U << 0)
#define ACPI_FADT_PROC_C1         (1U << 2)
#define ACPI_FADT_PWR_BUTTON      (1U << 4) /* not fixed hardware: a control-method device */
#define ACPI_FADT_SLP_BUTTON      (1U << 5) /* the same, or, as here, none */
#define ACPI_FADT_RESET_REG_SUP   (1U << 10)
#define ACPI_FADT_HEADLESS        (1U << 12)
#define ACPI_FADT_HW_REDUCED_ACPI (1U << 20)

/* 5.2.9.3 IA-PC Boot Architecture Flags; legacy devices (bit 0) and 8042 (bit 1) stay clear: neither is here
 */
#define ACPI_FADT_VGA_NOT_PRESENT      (1U << 2)
#define ACPI_FADT_CMOS_RTC_NOT_PRESENT (1U << 5)

/* 5.2.12.2 Processor Local APIC */
struct acpi_madt_lapic {
        uint8_t type, length;
        uint8_t processor_uid;
        uint8_t apic_id;
        uint32_t flags;
} ACPI_PACKED;
#define ACPI_MADT_LAPIC         0
#define ACPI_MADT_LAPIC_ENABLED (1U << 0)

/* 5.2.12.3 I/O APIC */
struct acpi_madt_ioapic {
        uint8_t type, length;
        uint8_t ioapic_id;
        uint8_t reserved;
        uint32_t ioapic_address;
        uint32_t global_system_interrupt_base;
} ACPI_PACKED;
#define ACPI_MADT_IOAPIC 1

/* 5.2.12 Multiple APIC Description Table; cut after the last processor */
struct acpi_madt {
        struct acpi_header header;
        uint32_t local_apic_address;
        uint32_t flags; /* PCAT_COMPAT clear: no 8259 PICs */
        struct acpi_madt_ioapic ioapic;
        struct acpi_madt_lapic lapic[SPEC_VCPUS_MAX];
} ACPI_PACKED;

/* PCI Firmware Specification 3.3, 4.1.2: memory mapped configuration space, here of one segment with one bus */
struct acpi_mcfg {
        struct acpi_header header;
        uint64_t reserved;
        struct {
                uint64_t base_address;
                uint16_t segment_group;
                uint8_t start_bus, end_bus;
                uint32_t reserved;
        } ACPI_PACKED allocation[1];
} ACPI_PACKED;

_Static_assert(SPEC_VCPUS_MAX < 0xff, "Local APIC entries have 8-bit ids, 0xff being broadcast");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.3, 5.2.5.3");
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.3, 5.2.6");
_Static_assert(sizeof(struct acpi_gas) == 12, "ACPI 6.3, 5.2.3.2");
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.3, 5.2.9");
_Static_assert(sizeof(struct acpi_madt_lapic) == 8, "ACPI 6.3, 5.2.12.2");
_Static_assert(sizeof(struct acpi_madt_ioapic) == 12, "ACPI 6.3, 5.2.12.3");
_Static_assert(sizeof(struct acpi_mcfg) == 60, "PCI Firmware 3.3, 4.1.2");
