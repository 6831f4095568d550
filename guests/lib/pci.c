#include "pci.h"

#include "boot.h"
#include "cpu.h"
#include "vmm/x86_64/layout.h"

#define PORT_ENABLE     0x80000000U
#define BAR_IO          0x1
#define BAR_WIDE        0x4
#define BAR_PREFETCH    0x8
#define BAR_FLAGS       0xfU
#define MAPPED_END      0x100000000ULL
#define PAGE            4096ULL
#define MSIX_TABLE      4 /* offsets in the capability */
#define MSIX_PBA        8
#define MSIX_BIR        7U
#define MSIX_COUNT      0x7ff
#define MSI_ADDRESS     0xfee00000U
#define MSI_ADDRESS_CPU 12 /* shift */

static uint64_t ecam;

void pci_use_ecam(uint64_t address)
{
        ecam = address;
}

void pci_init(const struct boot_info *boot)
{
        if (boot_option(boot, "ecam"))
                pci_use_ecam(boot_option_number(boot, "ecam", LAYOUT_ECAM));
}

/* Where the access goes: an address in ECAM, or the data port once the address port is written. */
static uint64_t select(unsigned int slot, unsigned int off)
{
        if (ecam)
                return ecam + (slot << 15) + off;
        outl(LAYOUT_PCI_PORT, PORT_ENABLE | slot << 11 | (off & 0xfcU));
        return LAYOUT_PCI_PORT + 4 + (off & 3U);
}

uint32_t pci_read(unsigned int slot, unsigned int off, unsigned int width)
{
        uint64_t at = select(slot, off);

        if (ecam)
                return width == 1 ? mmio_read8(at) : width == 2 ? mmio_read16(at) : mmio_read32(at);
        return width == 1 ? inb((uint16_t)at) : width == 2 ? inw((uint16_t)at) : inl((uint16_t)at);
}

static void write_port(uint16_t port, unsigned int width, uint32_t value)
{
        if (width == 1)
                outb(port, (uint8_t)value);
        else if (width == 2)
                outw(port, (uint16_t)value);
        else
                outl(port, value);
}

void pci_write(unsigned int slot, unsigned int off, unsigned int width, uint32_t value)
{
        uint64_t at = select(slot, off);

        if (!ecam)
                write_port((uint16_t)at, width, value);
        else if (width == 1)
                mmio_write8(at, (uint8_t)value);
        else if (width == 2)
                mmio_write16(at, (uint16_t)value);
        else
                mmio_write32(at, value);
}

unsigned int pci_capability(unsigned int slot, uint8_t id, unsigned int after)
{
        unsigned int at = after ? pci_read(slot, after + 1, 1) : 0;

        if (!(pci_read(slot, PCI_STATUS, 2) & PCI_STATUS_CAPS))
                return 0;
        if (!after)
                at = pci_read(slot, PCI_CAPS, 1);
        for (unsigned int i = 0; i < PCI_MAX_CAPS && at >= 0x40; i++) {
                if (pci_read(slot, at, 1) == id)
                        return at;
                at = pci_read(slot, at + 1, 1);
        }
        return 0;
}

static uint64_t bar_size(unsigned int slot, unsigned int at, uint32_t low, bool wide)
{
        uint64_t mask;
        uint32_t high = wide ? pci_read(slot, at + 4, 4) : 0;

        pci_write(slot, at, 4, ~0U);
        mask = pci_read(slot, at, 4) & ~BAR_FLAGS;
        pci_write(slot, at, 4, low);
        if (!wide)
                return mask ? (uint32_t)-mask : 0;
        pci_write(slot, at + 4, 4, ~0U);
        mask |= (uint64_t)pci_read(slot, at + 4, 4) << 32;
        pci_write(slot, at + 4, 4, high);
        return -mask;
}

struct pci_bar pci_bar_get(unsigned int slot, unsigned int bar)
{
        unsigned int at = PCI_BAR0 + 4 * bar;
        uint32_t low = pci_read(slot, at, 4), command = pci_read(slot, PCI_COMMAND, 2);
        struct pci_bar b = {0};

        if (low & BAR_IO)
                return b;
        b.wide = low & BAR_WIDE;
        b.prefetchable = low & BAR_PREFETCH;
        b.address = low & ~BAR_FLAGS;
        if (b.wide)
                b.address |= (uint64_t)pci_read(slot, at + 4, 4) << 32;
        pci_write(slot, PCI_COMMAND, 2, command & ~(uint32_t)PCI_COMMAND_MEMORY);
        b.size = bar_size(slot, at, low, b.wide);
        pci_write(slot, PCI_COMMAND, 2, command);
        return b;
}

void pci_bar_set(unsigned int slot, unsigned int bar, uint64_t address)
{
        unsigned int at = PCI_BAR0 + 4 * bar;

        pci_write(slot, at, 4, (uint32_t)address);
        if (pci_read(slot, at, 4) & BAR_WIDE)
                pci_write(slot, at + 4, 4, (uint32_t)(address >> 32));
}

uint64_t pci_place(uint64_t size)
{
        static uint64_t next = PCI_PLACE_START;
        uint64_t address;

        if (size < PAGE)
                size = PAGE;
        address = (next + size - 1) & ~(size - 1);
        next = address + size;
        return address;
}

void pci_enable(unsigned int slot)
{
        for (unsigned int bar = 0; bar < PCI_BARS; bar++) {
                struct pci_bar b = pci_bar_get(slot, bar);

                if (b.size && (b.address == 0 || b.address >= MAPPED_END - b.size))
                        pci_bar_set(slot, bar, pci_place(b.size));
                if (b.wide)
                        bar++;
        }
        pci_write(slot, PCI_COMMAND, 2,
                  pci_read(slot, PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
}

struct pci_msix pci_msix_get(unsigned int slot)
{
        struct pci_msix m = {.slot = slot, .capability = pci_capability(slot, PCI_CAP_MSIX, 0)};
        uint32_t table, pba;

        if (!m.capability)
                return m;
        table = pci_read(slot, m.capability + MSIX_TABLE, 4);
        pba = pci_read(slot, m.capability + MSIX_PBA, 4);
        m.count = (pci_read(slot, m.capability + PCI_MSIX_CONTROL, 2) & MSIX_COUNT) + 1;
        m.table = pci_bar_get(slot, table & MSIX_BIR).address + (table & ~MSIX_BIR);
        m.pba = pci_bar_get(slot, pba & MSIX_BIR).address + (pba & ~MSIX_BIR);
        return m;
}

void pci_msix_control(const struct pci_msix *m, uint16_t bits)
{
        pci_write(m->slot, m->capability + PCI_MSIX_CONTROL, 2, bits);
}

void pci_msix_set(const struct pci_msix *m, unsigned int entry, uint8_t vector, uint8_t apic_id)
{
        uint64_t at = m->table + (uint64_t)entry * PCI_MSIX_ENTRY_BYTES;

        mmio_write32(at + 12, PCI_MSIX_ENTRY_MASKED);
        mmio_write32(at, MSI_ADDRESS | (uint32_t)apic_id << MSI_ADDRESS_CPU);
        mmio_write32(at + 4, 0);
        mmio_write32(at + 8, vector);
        mmio_write32(at + 12, 0);
}

void pci_msix_mask(const struct pci_msix *m, unsigned int entry, bool masked)
{
        mmio_write32(m->table + (uint64_t)entry * PCI_MSIX_ENTRY_BYTES + 12, masked ? PCI_MSIX_ENTRY_MASKED : 0);
}

bool pci_msix_pending(const struct pci_msix *m, unsigned int entry)
{
        return mmio_read32(m->pba + entry / 32 * 4) >> entry % 32 & 1;
}
