/* ACPI tables as the guest finds them: RSDP, XSDT, hardware-reduced FADT, MADT, MCFG, DSDT. */
#pragma once

#include "memory/guest_ram.h"

/*
 * Writes the tables into LAYOUT_ACPI..LAYOUT_ACPI_END for a machine with vcpus processors (1..SPEC_VCPUS_MAX,
 * APIC id = index). Returns 0 and the RSDP's address, or a negative errno.
 */
int acpi_write_tables(const struct guest_ram *ram, unsigned int vcpus, gpa_t *ret_rsdp, struct err *e);
