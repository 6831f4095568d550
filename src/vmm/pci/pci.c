#include "vmm/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci.h> /* register and bit names */
#include <string.h>

#include "base/number.h"

/* The identity of QEMU's PCI Express host bridge (QEMU, docs/specs/pci-ids): no driver wants more of it than a class.
 */
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008
#define BRIDGE_CLASS  0x0600

#define CAPABILITIES_START 0x40 /* PCI 3.0, 6.1: the header ends there */
#define COMMAND_WRITABLE   (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)
#define BAR_FLAGS          (PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64)
#define ALL_ONES           0xffffffffU

/* The address register: PCI 3.0, figure 3-2. */
#define ADDRESS_ENABLE   0x80000000U
#define ADDRESS_WRITABLE 0x80fffffcU
#define DATA_PORT        (LAYOUT_PCI_PORT + 4)

#define ECAM_FUNCTION_BYTES 4096

static void put16(uint8_t *p, uint16_t value)
{
        memcpy(p, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *p)
{
        uint16_t value;

        memcpy(&value, p, sizeof(value));
        return value;
}

void pci_init(struct pci_bus *bus)
{
        uint8_t *config = bus->bridge.config;

        memset(bus, 0, sizeof(*bus));
        put16(config + PCI_VENDOR_ID, BRIDGE_VENDOR);
        put16(config + PCI_DEVICE_ID, BRIDGE_DEVICE);
        put16(config + PCI_CLASS_DEVICE, BRIDGE_CLASS);
        bus->slots[0] = &bus->bridge;
}

/* ---- BARs ---- */

static unsigned int bar_register(unsigned int bar)
{
        return PCI_BASE_ADDRESS_0 + 8 * bar;
}

static uint64_t bar_programmed(const struct pci_device *dev, unsigned int bar)
{
        uint64_t value;

        memcpy(&value, dev->config + bar_register(bar), sizeof(value));
        return value & PCI_BASE_ADDRESS_MEM_MASK;
}

static bool in_window(uint64_t base, uint32_t size_bytes)
{
        return base >= LAYOUT_PCI_WINDOW && range_fits(base - LAYOUT_PCI_WINDOW, size_bytes, LAYOUT_PCI_WINDOW_SIZE);
}

/* May be decoded, as far as the function alone can tell. */
static bool bar_enabled(const struct pci_device *dev, const struct pci_bar *b)
{
        return b->size_bytes > 0 && (get16(dev->config + PCI_COMMAND) & PCI_COMMAND_MEMORY) &&
               in_window(b->base, b->size_bytes);
}

/* Does a BAR, of those that are decoded or of all, touch [base, base + size)? Those of a function that is not placed
 * yet are at 0. */
static bool range_taken(const struct pci_bus *bus, uint64_t base, uint32_t size_bytes, bool only_decoded)
{
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
                for (unsigned int i = 0; bus->slots[slot] && i < PCI_BARS_MAX; i++) {
                        const struct pci_bar *b = &bus->slots[slot]->bars[i];

                        if ((b->decoded || !only_decoded) && b->base < base + size_bytes &&
                            base < b->base + b->size_bytes)
                                return true;
                }
        return false;
}

static void bar_tell(struct pci_device *dev, unsigned int bar, bool decoded)
{
        dev->bars[bar].decoded = decoded;
        dev->ops->bar_moved(dev->ctx, bar, dev->bars[bar].base, decoded);
}

/* First everything that leaves its place: somebody else may be waiting for it. */
static void bars_leave(struct pci_device *dev)
{
        for (unsigned int i = 0; i < PCI_BARS_MAX; i++) {
                struct pci_bar *b = &dev->bars[i];
                uint64_t base = bar_programmed(dev, i);

                if (b->decoded && (base != b->base || !bar_enabled(dev, b)))
                        bar_tell(dev, i, false);
                b->base = base;
        }
}

static void bars_arrive(struct pci_bus *bus)
{
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
                for (unsigned int i = 0; bus->slots[slot] && i < PCI_BARS_MAX; i++) {
                        struct pci_device *dev = bus->slots[slot];
                        const struct pci_bar *b = &dev->bars[i];

                        if (!b->decoded && bar_enabled(dev, b) && !range_taken(bus, b->base, b->size_bytes, true))
                                bar_tell(dev, i, true);
                }
}

/* Naturally aligned, as BARs are: the window starts at a multiple of its own size, which is a power of two. */
_Static_assert(LAYOUT_PCI_WINDOW % LAYOUT_PCI_WINDOW_SIZE == 0, "every BAR that fits is aligned");

static int bar_place(struct pci_bus *bus, struct pci_device *dev, unsigned int bar)
{
        const uint32_t size = dev->bars[bar].size_bytes;
        uint64_t base = LAYOUT_PCI_WINDOW, mask = ~((uint64_t)size - 1);

        assert((size & (size - 1)) == 0 && size >= 4096);
        while (in_window(base, size) && range_taken(bus, base, size, false))
                base += size;
        if (!in_window(base, size))
                return -ENOSPC;
        dev->bars[bar].base = base;
        base |= BAR_FLAGS;
        memcpy(dev->config + bar_register(bar), &base, sizeof(base));
        memcpy(dev->writable + bar_register(bar), &mask, sizeof(mask));
        return 0;
}

int pci_add(struct pci_bus *bus, struct pci_device *dev, unsigned int slot)
{
        if (slot >= PCI_SLOTS)
                return -ENOSPC;
        if (bus->slots[slot])
                return -EEXIST;
        bus->slots[slot] = dev; /* so that its BARs see one another */
        for (unsigned int i = 0; i < PCI_BARS_MAX; i++) {
                int r = dev->bars[i].size_bytes > 0 ? bar_place(bus, dev, i) : 0;

                if (r < 0) {
                        bus->slots[slot] = NULL;
                        return r;
                }
        }
        put16(dev->writable + PCI_COMMAND, COMMAND_WRITABLE);
        dev->writable[PCI_CACHE_LINE_SIZE] = 0xff; /* these two only have to remember */
        dev->writable[PCI_INTERRUPT_LINE] = 0xff;
        return 0;
}

uint8_t pci_capability_add(struct pci_device *dev, uint8_t id, const void *body, uint8_t body_bytes)
{
        unsigned int at = dev->capabilities_end ? (dev->capabilities_end + 3U) & ~3U : CAPABILITIES_START;
        unsigned int link = PCI_CAPABILITY_LIST;

        assert(at + 2 + body_bytes < PCI_CONFIG_BYTES);
        while (dev->config[link] != 0)
                link = dev->config[link] + PCI_CAP_LIST_NEXT;
        dev->config[link] = (uint8_t)at;
        dev->config[at] = id;
        memcpy(dev->config + at + 2, body, body_bytes);
        dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
        dev->capabilities_end = (uint8_t)(at + 2 + body_bytes);
        return (uint8_t)at;
}

bool pci_is_bus_master(const struct pci_device *dev)
{
        return get16(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

/* ---- configuration space: accesses within one aligned double word; dev NULL: nobody is there ---- */

static uint32_t config_read(struct pci_device *dev, uint32_t off, unsigned int width)
{
        uint32_t value = 0;

        if (!dev)
                return ALL_ONES;
        if (off >= PCI_CONFIG_BYTES)
                return 0;
        if (dev->ops && dev->ops->config_reading)
                dev->ops->config_reading(dev->ctx, off, width);
        memcpy(&value, dev->config + off, width);
        return value;
}

static void config_write(struct pci_bus *bus, struct pci_device *dev, uint32_t off, unsigned int width, uint32_t value)
{
        if (!dev || off >= PCI_CONFIG_BYTES)
                return;
        for (unsigned int i = 0; i < width; i++) {
                uint8_t mask = dev->writable[off + i], byte = (uint8_t)(value >> (8 * i));

                dev->config[off + i] = (uint8_t)((dev->config[off + i] & ~mask) | (byte & mask));
        }
        if (off < CAPABILITIES_START) {
                bars_leave(dev);
                bars_arrive(bus);
        }
        if (dev->ops && dev->ops->config_written)
                dev->ops->config_written(dev->ctx, off, width);
}

static struct pci_device *function_at(const struct pci_bus *bus, unsigned int number, unsigned int devfn)
{
        return number == 0 && PCI_FUNC(devfn) == 0 ? bus->slots[PCI_SLOT(devfn)] : NULL;
}

/* ---- mechanism #1 ---- */

static bool is_data(const struct pci_bus *bus, uint16_t port, unsigned int width)
{
        return (bus->address & ADDRESS_ENABLE) && port >= DATA_PORT && port + width <= DATA_PORT + 4U;
}

static struct pci_device *addressed(const struct pci_bus *bus)
{
        return function_at(bus, bus->address >> 16 & 0xff, bus->address >> 8 & 0xff);
}

uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, unsigned int width)
{
        uint32_t value = ALL_ONES;

        if (port == LAYOUT_PCI_PORT && width == 4)
                value = bus->address;
        else if (is_data(bus, port, width))
                value = config_read(addressed(bus), (bus->address & 0xfc) + (port - DATA_PORT), width);
        return value & (ALL_ONES >> (32 - 8 * width));
}

void pci_port_write(struct pci_bus *bus, uint16_t port, unsigned int width, uint32_t value)
{
        if (port == LAYOUT_PCI_PORT && width == 4)
                bus->address = value & ADDRESS_WRITABLE;
        else if (is_data(bus, port, width))
                config_write(bus, addressed(bus), (bus->address & 0xfc) + (port - DATA_PORT), width, value);
}

/* ---- memory ---- */

static bool in_ecam(uint64_t address)
{
        return address >= LAYOUT_ECAM && address - LAYOUT_ECAM < LAYOUT_ECAM_SIZE;
}

/* The part of an access that is left and lies in one double word. */
static unsigned int piece(uint64_t address, unsigned int left)
{
        unsigned int room = 4 - (unsigned int)(address % 4);

        return left < room ? left : room;
}

static struct pci_device *ecam_function(const struct pci_bus *bus, uint64_t address)
{
        return in_ecam(address) ? function_at(bus, 0, (unsigned int)((address - LAYOUT_ECAM) / ECAM_FUNCTION_BYTES))
                                : NULL;
}

static void ecam_read(struct pci_bus *bus, uint64_t address, uint8_t *data, unsigned int len)
{
        for (unsigned int done = 0, n; done < len; done += n) {
                uint64_t at = address + done;
                uint32_t value;

                n = piece(at, len - done);
                value = config_read(ecam_function(bus, at), at % ECAM_FUNCTION_BYTES, n);
                memcpy(data + done, &value, n);
        }
}

static void ecam_write(struct pci_bus *bus, uint64_t address, const uint8_t *data, unsigned int len)
{
        for (unsigned int done = 0, n; done < len; done += n) {
                uint64_t at = address + done;
                uint32_t value = 0;

                n = piece(at, len - done);
                memcpy(&value, data + done, n);
                config_write(bus, ecam_function(bus, at), at % ECAM_FUNCTION_BYTES, n, value);
        }
}

static struct pci_device *decoding(const struct pci_bus *bus, uint64_t address, unsigned int len, unsigned int *ret_bar)
{
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
                for (unsigned int i = 0; bus->slots[slot] && i < PCI_BARS_MAX; i++) {
                        const struct pci_bar *b = &bus->slots[slot]->bars[i];

                        if (b->decoded && address >= b->base && range_fits(address - b->base, len, b->size_bytes)) {
                                *ret_bar = i;
                                return bus->slots[slot];
                        }
                }
        return NULL;
}

static bool is_register_width(unsigned int len)
{
        return len == 1 || len == 2 || len == 4 || len == 8;
}

bool pci_mmio_read(struct pci_bus *bus, uint64_t address, uint8_t *data, unsigned int len)
{
        struct pci_device *dev;
        uint64_t value = 0;
        unsigned int bar;

        if (in_ecam(address)) {
                ecam_read(bus, address, data, len);
                return true;
        }
        dev = decoding(bus, address, len, &bar);
        if (!dev)
                return false;
        if (is_register_width(len))
                value = dev->ops->bar_read(dev->ctx, bar, (uint32_t)(address - dev->bars[bar].base), len);
        memcpy(data, &value, len);
        return true;
}

bool pci_mmio_write(struct pci_bus *bus, uint64_t address, const uint8_t *data, unsigned int len)
{
        struct pci_device *dev;
        uint64_t value = 0;
        unsigned int bar;

        if (in_ecam(address)) {
                ecam_write(bus, address, data, len);
                return true;
        }
        dev = decoding(bus, address, len, &bar);
        if (!dev)
                return false;
        memcpy(&value, data, len);
        if (is_register_width(len))
                dev->ops->bar_write(dev->ctx, bar, (uint32_t)(address - dev->bars[bar].base), len, value);
        return true;
}
