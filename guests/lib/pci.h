/*
 * Bus 0 of a PCI machine from the driver's side (PCI 3.0), function 0 of each slot only: configuration space by
 * mechanism #1 or by ECAM, BARs, MSI-X. Works without firmware: it places BARs that nobody has placed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PCI_SLOTS    32
#define PCI_BARS     6
#define PCI_NOTHING  0xffff /* the vendor id of an empty slot */
#define PCI_MAX_CAPS 48     /* capabilities that fit into 192 bytes: a longer list is a loop */

/* Configuration space, PCI 3.0 section 6.1. */
#define PCI_VENDOR      0x00
#define PCI_DEVICE      0x02
#define PCI_COMMAND     0x04
#define PCI_STATUS      0x06
#define PCI_REVISION    0x08
#define PCI_CLASS       0x0a
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0        0x10
#define PCI_ROM         0x30
#define PCI_CAPS        0x34
#define PCI_INTERRUPT   0x3c

#define PCI_COMMAND_MEMORY  0x0002
#define PCI_COMMAND_MASTER  0x0004
#define PCI_COMMAND_NO_INTX 0x0400
#define PCI_STATUS_CAPS     0x0010

#define PCI_CAP_MSIX   0x11
#define PCI_CAP_VENDOR 0x09

#define PCI_MSIX_CONTROL        2 /* offset in the capability */
#define PCI_MSIX_CONTROL_ENABLE 0x8000
#define PCI_MSIX_CONTROL_MASK   0x4000 /* every vector */
#define PCI_MSIX_ENTRY_BYTES    16
#define PCI_MSIX_ENTRY_MASKED   1

/* Where BARs go that have no address: the upper half of LAYOUT_PCI_WINDOW. */
#define PCI_PLACE_START 0xd8000000U

/* Mechanism #1 until this is called; address 0: again. */
void pci_use_ecam(uint64_t address);

/* The machine's command line: "ecam" (LAYOUT_ECAM), "ecam=ADDRESS" (decimal), or neither: mechanism #1. */
struct boot_info;
void pci_init(const struct boot_info *boot);

/* width: 1, 2 or 4; off a multiple of it. */
uint32_t pci_read(unsigned int slot, unsigned int off, unsigned int width);
void pci_write(unsigned int slot, unsigned int off, unsigned int width, uint32_t value);

/* The offset of the first capability of that id behind `after` (0: from the start), or 0. */
unsigned int pci_capability(unsigned int slot, uint8_t id, unsigned int after);

struct pci_bar {
        uint64_t address, size; /* size 0: not implemented, or not memory */
        bool wide;              /* takes the next BAR as well */
        bool prefetchable;
};

/* Reads a BAR and finds its size; the device decodes no memory meanwhile. */
struct pci_bar pci_bar_get(unsigned int slot, unsigned int bar);

/* Writes a BAR. */
void pci_bar_set(unsigned int slot, unsigned int bar, uint64_t address);

/* An address for so many bytes that nothing else has. */
uint64_t pci_place(uint64_t size);

/* Places the BARs that have no address, or one above 4 GiB; then memory decoding and bus mastering are on. */
void pci_enable(unsigned int slot);

struct pci_msix {
        unsigned int slot, capability;
        unsigned int count;  /* vectors; 0: no MSI-X */
        uint64_t table, pba; /* addresses */
};

/* After pci_enable(). */
struct pci_msix pci_msix_get(unsigned int slot);

/* Turns MSI-X on (nothing masked as a whole) or off. */
void pci_msix_control(const struct pci_msix *m, uint16_t bits);

/* Sends entry's interrupt as that vector to one processor, or masks it. */
void pci_msix_set(const struct pci_msix *m, unsigned int entry, uint8_t vector, uint8_t apic_id);
void pci_msix_mask(const struct pci_msix *m, unsigned int entry, bool masked);
bool pci_msix_pending(const struct pci_msix *m, unsigned int entry);
