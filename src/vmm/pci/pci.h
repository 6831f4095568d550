/*
 * One PCI bus (PCI 3.0; ECAM as in PCI Firmware 3.3): a host bridge in slot 0 and up to 31 functions. Pure state: no
 * KVM, no threads; the machine's lock is held. Configuration space by mechanism #1 (ports 0xcf8, 0xcfc) and by ECAM
 * (LAYOUT_ECAM).
 *
 * Memory BARs are 64 bits wide and placed by us in LAYOUT_PCI_WINDOW. The guest may program anything its BARs can
 * express; what lies outside that window, or over a BAR that is decoded already, is not decoded until it is moved or
 * the other is.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86_64/layout.h"

#define PCI_SLOTS        32
#define PCI_CONFIG_BYTES 256
#define PCI_BARS_MAX     2 /* memory BARs of a function: BAR 0/1 (registers) and BAR 2/3 (MSI-X) */

struct pci_device;

struct pci_device_ops {
        /* Access inside BAR `bar`, naturally aligned or not: width 1, 2, 4 or 8. Unclaimed: read 0. */
        uint64_t (*bar_read)(void *ctx, unsigned int bar, uint32_t off, unsigned int width);
        void (*bar_write)(void *ctx, unsigned int bar, uint32_t off, unsigned int width, uint64_t value);
        /* A write to configuration space, already merged into config[], within one aligned double word. NULL: none. */
        void (*config_written)(void *ctx, uint32_t off, unsigned int width);
        /* Before a read of [off, off+width) (the PCI-cfg capability's data window). NULL: none. */
        void (*config_reading)(void *ctx, uint32_t off, unsigned int width);
        /* The BAR is decoded at `base` from now on (memory space is enabled and the place is valid), or no longer. Each
         * change is told once; a BAR that moves is first no longer at its old base. */
        void (*bar_moved)(void *ctx, unsigned int bar, uint64_t base, bool decoded);
};

struct pci_bar {
        uint64_t base;       /* as programmed */
        uint32_t size_bytes; /* a power of two >= 4096; 0: not implemented */
        bool decoded;
};

/* A function. The config bytes and the mask of what the guest may write are set up by its owner before pci_add(). */
struct pci_device {
        uint8_t config[PCI_CONFIG_BYTES];
        uint8_t writable[PCI_CONFIG_BYTES]; /* 1 bits: the guest can change */
        struct pci_bar bars[PCI_BARS_MAX];
        uint8_t capabilities_end; /* of pci_capability_add(); 0: none yet */
        const struct pci_device_ops *ops;
        void *ctx;
};

struct pci_bus {
        struct pci_device *slots[PCI_SLOTS];
        struct pci_device bridge;
        uint32_t address; /* 0xcf8 */
};

void pci_init(struct pci_bus *bus);

/* Puts it into a slot (1..31) and gives its BARs addresses. It must stay where it is. Returns 0, -EEXIST or -ENOSPC. */
int pci_add(struct pci_bus *bus, struct pci_device *dev, unsigned int slot);

/* Appends a capability (id, then the bytes after id and next) to config space; returns its offset. For owners, before
 * pci_add(). */
uint8_t pci_capability_add(struct pci_device *dev, uint8_t id, const void *body, uint8_t body_bytes);

/* May the function write to memory, and so send messages? (command register, bit 2) */
bool pci_is_bus_master(const struct pci_device *dev);

/*
 * Ports LAYOUT_PCI_PORT .. +7, one access of width 1, 2 or 4. The address register takes 32-bit accesses only
 * (PCI 3.0, 3.2.2.3.2); those, those that end past the last port, and functions that are not there read all-ones and
 * ignore writes.
 */
uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, unsigned int width);
void pci_port_write(struct pci_bus *bus, uint16_t port, unsigned int width, uint32_t value);

/*
 * ECAM and decoded BARs, len 1..8. Return false when nothing is at the address; data is then untouched. ECAM: functions
 * that are not there read all-ones, those that are read 0 past PCI_CONFIG_BYTES. BARs: an access must lie inside one.
 */
bool pci_mmio_read(struct pci_bus *bus, uint64_t address, uint8_t *data, unsigned int len);
bool pci_mmio_write(struct pci_bus *bus, uint64_t address, const uint8_t *data, unsigned int len);
