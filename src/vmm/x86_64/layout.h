/*
 * The machine's fixed addresses: guest physical memory map, I/O ports, interrupt lines.
 * Only constants: the VMM, its ACPI tables and the bare-metal test guests include it.
 *
 *   0x00000000  RAM; the first MiB holds what the loader hands over (below)
 *   0xc0000000  PCI hole, up to 4 GiB: BARs, PCI configuration space, I/O APIC, local APIC, KVM's own pages
 *   4 GiB       the rest of RAM
 */
#pragma once

/* Low memory handed to the guest. All of it is RAM; e820 reports 0..0x9fbff and everything from 1 MiB as
 * usable. */
#define LAYOUT_GDT         0x00000500 /* boot-time GDT, 4 entries */
#define LAYOUT_PVH_INFO    0x00006000 /* struct hvm_start_info, module list, memory map */
#define LAYOUT_ZERO_PAGE   0x00007000 /* struct boot_params */
#define LAYOUT_BOOT_STACK  0x00008ff0
#define LAYOUT_PAGE_TABLES 0x00009000 /* PML4, PDPT, 4 page directories: identity map of 4 GiB with 2 MiB pages */
#define LAYOUT_CMDLINE     0x00020000
#define LAYOUT_CMDLINE_MAX                                                                                 \
        0x00010000                    /* bytes, with the terminating zero; the kernel's own limit is lower \
                                       */
#define LAYOUT_LOW_RAM_END 0x0009fc00 /* where a PC keeps its EBDA; reserved from here to 1 MiB */
#define LAYOUT_ACPI        0x000e0000 /* RSDP and every table */
#define LAYOUT_ACPI_END    0x000ffff0
#define LAYOUT_RESET       0x000ffff0 /* code that resets the machine, where a PC's BIOS starts (F000:FFF0) */
#define LAYOUT_HIGH_RAM    0x00100000 /* 1 MiB */

#define LAYOUT_HOLE_START 0xc0000000ULL
#define LAYOUT_HOLE_END   0x100000000ULL

/* PCI: configuration space of one bus, and where BARs are. ASL has no suffixes, and no sums in a resource. */
#define LAYOUT_ECAM            0xe0000000
#define LAYOUT_ECAM_SIZE       0x00100000 /* bus 0 alone: 32 devices x 8 functions x 4 KiB */
#define LAYOUT_PCI_WINDOW      0xd0000000
#define LAYOUT_PCI_WINDOW_SIZE 0x10000000
#define LAYOUT_PCI_WINDOW_LAST 0xdfffffff /* its last byte */
#define LAYOUT_PCI_PORT        0xcf8      /* address; 0xcfc: data */
#define LAYOUT_PCI_PORTS       8

#define LAYOUT_IOAPIC       0xfec00000U
#define LAYOUT_IOAPIC_SIZE  0x1000U
#define LAYOUT_IOAPIC_PINS  24
#define LAYOUT_IOAPIC_ID    0xff /* above every local APIC id (0..63) */
#define LAYOUT_LAPIC        0xfee00000U
#define LAYOUT_IDENTITY_MAP 0xfffbc000U /* KVM_SET_IDENTITY_MAP_ADDR: one page (Intel, real mode without EPT) */
#define LAYOUT_TSS          0xfffbd000U /* KVM_SET_TSS_ADDR: three pages (Intel, the same) */

/* I/O ports and interrupt lines (GSI = I/O APIC pin; both edge triggered, active high). */
#define LAYOUT_UART_PORT      0x3f8
#define LAYOUT_UART_PORTS     8
#define LAYOUT_UART_GSI       4
#define LAYOUT_GED_GSI        5     /* ACPI generic event device */
#define LAYOUT_PM_PORT        0x600 /* four byte-wide registers: */
#define LAYOUT_PM_SLEEP_CTL   0     /*   ACPI sleep control: SLP_TYP in bits 2-4, SLP_EN bit 5 (ACPI 6.4, 4.8.3.7) */
#define LAYOUT_PM_SLEEP_STS   1     /*   ACPI sleep status: reads 0 */
#define LAYOUT_PM_RESET       2     /*   write LAYOUT_PM_RESET_VALUE: reset */
#define LAYOUT_PM_EVENTS      3     /*   pending events; reading clears them */
#define LAYOUT_PM_PORTS       4
#define LAYOUT_PM_RESET_VALUE 0x01
#define LAYOUT_PM_SLP_TYP_S5  5
#define LAYOUT_PM_EVENT_POWER 0x01 /* power button pressed */

/* Test register (--test-device only): a 32-bit write ends the guest with that verdict (0: passed). */
#define LAYOUT_TEST_PORT  0xf4
#define LAYOUT_TEST_PORTS 4
