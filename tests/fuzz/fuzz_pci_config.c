/*
 * The PCI bus, driven by a guest that writes what it likes: configuration space by ports and by ECAM, and the memory
 * around it, with two functions: a virtio device, and one that only keeps account of what it is told.
 */
#include <linux/virtio_ids.h>
#include <string.h>

#include "fuzz.h"
#include "vmm/pci/virtio_pci.h"

#define TOY_SLOT    3
#define VIRTIO_SLOT 17
#define BARS        (2 * PCI_BARS_MAX)

struct world {
        struct pci_bus bus;
        struct pci_device toy;
        struct virtio_pci virtio;
        bool toy_decoded[PCI_BARS_MAX];
        uint64_t toy_base[PCI_BARS_MAX];
        bool window_decoded;
        uint64_t window_base;
        struct reader script;
};

static struct world w;

/* ---- the function that keeps account ---- */

static void must_be_inside(unsigned int bar, uint32_t off, unsigned int width)
{
        MUST(bar < PCI_BARS_MAX && (width == 1 || width == 2 || width == 4 || width == 8));
        MUST(w.toy.bars[bar].decoded && off < w.toy.bars[bar].size_bytes);
        MUST(width <= w.toy.bars[bar].size_bytes - off);
}

static uint64_t toy_read(void *ctx, unsigned int bar, uint32_t off, unsigned int width)
{
        (void)ctx;
        must_be_inside(bar, off, width);
        return 0x0123456789abcdefULL ^ off;
}

static void toy_write(void *ctx, unsigned int bar, uint32_t off, unsigned int width, uint64_t value)
{
        (void)ctx;
        must_be_inside(bar, off, width);
        MUST(width == 8 || value >> (8 * width) == 0);
}

static void toy_config(void *ctx, uint32_t off, unsigned int width)
{
        (void)ctx;
        MUST(width >= 1 && off % 4 + width <= 4 && off + width <= PCI_CONFIG_BYTES);
}

static void toy_moved(void *ctx, unsigned int bar, uint64_t base, bool decoded)
{
        (void)ctx;
        MUST(bar < PCI_BARS_MAX && w.toy_decoded[bar] != decoded); /* only changes are told */
        MUST(decoded || base == w.toy_base[bar]);
        w.toy_decoded[bar] = decoded;
        w.toy_base[bar] = base;
}

static const struct pci_device_ops toy_ops = {
        .bar_read = toy_read,
        .bar_write = toy_write,
        .config_written = toy_config,
        .config_reading = toy_config,
        .bar_moved = toy_moved,
};

/* ---- the virtio device's surroundings ---- */

static void nothing(void *ctx)
{
        (void)ctx;
}

static void nothing_with(void *ctx, unsigned int n)
{
        (void)ctx;
        (void)n;
}

static void config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        (void)ctx;
        (void)off_bytes;
        (void)data;
        (void)len_bytes;
}

static void notify_window(void *ctx, uint64_t base, bool decoded)
{
        (void)ctx;
        MUST(w.window_decoded != decoded);
        MUST(decoded || base == w.window_base);
        w.window_decoded = decoded;
        w.window_base = base;
}

static bool pending(void *ctx, unsigned int vector)
{
        (void)ctx;
        return vector & 1;
}

static const struct virtio_pci_ops virtio_ops = {
        .start = nothing,
        .stop = nothing,
        .config_write = config_write,
        .notify_window = notify_window,
        .notify = nothing_with,
        .vector_changed = nothing_with,
        .queue_vector_changed = nothing_with,
        .vector_pending = pending,
        .vector_send = nothing_with,
};

/* ---- claims ---- */

static bool enabled(const struct pci_device *d, const struct pci_bar *b)
{
        return (d->config[4] & 2) && b->size_bytes > 0 && b->base >= LAYOUT_PCI_WINDOW &&
               b->base <= LAYOUT_PCI_WINDOW + (uint64_t)LAYOUT_PCI_WINDOW_SIZE - b->size_bytes;
}

static bool touch(const struct pci_bar *a, const struct pci_bar *b)
{
        return a->base < b->base + b->size_bytes && b->base < a->base + a->size_bytes;
}

static void check_bars(void)
{
        const struct pci_device *devices[] = {&w.toy, &w.virtio.pci};

        for (unsigned int i = 0; i < BARS; i++) {
                const struct pci_device *d = devices[i / PCI_BARS_MAX];
                const struct pci_bar *a = &d->bars[i % PCI_BARS_MAX];
                uint64_t programmed;
                bool in_the_way = false;

                memcpy(&programmed, d->config + 0x10 + 8 * (i % PCI_BARS_MAX), sizeof(programmed));
                MUST(programmed == (a->base | 4) && a->base % a->size_bytes == 0);
                for (unsigned int j = 0; j < BARS; j++) {
                        const struct pci_bar *b = &devices[j / PCI_BARS_MAX]->bars[j % PCI_BARS_MAX];

                        in_the_way |= i != j && b->decoded && touch(a, b);
                }
                MUST(a->decoded == (enabled(d, a) && !in_the_way));
        }
        for (unsigned int i = 0; i < PCI_BARS_MAX; i++)
                MUST(w.toy_decoded[i] == w.toy.bars[i].decoded &&
                     (!w.toy_decoded[i] || w.toy_base[i] == w.toy.bars[i].base));
        MUST(w.window_decoded == w.virtio.pci.bars[0].decoded);
        MUST(!w.window_decoded || w.window_base == w.virtio.pci.bars[0].base + VIRTIO_PCI_NOTIFY_OFF);
}

/* What cannot be written is what it was. */
static void check_read_only(const uint8_t first[PCI_CONFIG_BYTES], const struct pci_device *d)
{
        for (unsigned int i = 0; i < PCI_CONFIG_BYTES; i++)
                MUST(((d->config[i] ^ first[i]) & ~d->writable[i]) == 0);
}

/* ---- the guest ---- */

static unsigned int width_of(uint8_t op)
{
        return 1U << (op >> 4) % 3;
}

static void port_access(uint8_t op)
{
        const uint16_t port = LAYOUT_PCI_PORT + (op & 7);

        if (op & 8) {
                pci_port_write(&w.bus, port, width_of(op), read_u32(&w.script));
        } else {
                uint32_t value = pci_port_read(&w.bus, port, width_of(op));

                MUST(width_of(op) == 4 || value >> (8 * width_of(op)) == 0);
                if ((op & 7) + width_of(op) > LAYOUT_PCI_PORTS)
                        MUST(value == UINT32_MAX >> (32 - 8 * width_of(op)));
                MUST(pci_port_read(&w.bus, port, width_of(op)) == value);
        }
}

static bool is_anybodys(uint64_t address, unsigned int len)
{
        const struct pci_device *devices[] = {&w.toy, &w.virtio.pci};

        if (address >= LAYOUT_ECAM && address < LAYOUT_ECAM + (uint64_t)LAYOUT_ECAM_SIZE)
                return true;
        for (unsigned int i = 0; i < BARS; i++) {
                const struct pci_bar *b = &devices[i / PCI_BARS_MAX]->bars[i % PCI_BARS_MAX];

                if (b->decoded && address >= b->base && address - b->base <= b->size_bytes - len)
                        return true;
        }
        return false;
}

static void memory_access(uint64_t address, unsigned int len, bool write)
{
        uint8_t data[8] = {0}, again[8];
        bool known = is_anybodys(address, len);

        if (write) {
                (void)read_bytes(&w.script, data, len);
                MUST(pci_mmio_write(&w.bus, address, data, len) == known);
                return;
        }
        memset(again, 0xff, sizeof(again));
        MUST(pci_mmio_read(&w.bus, address, data, len) == known);
        MUST(pci_mmio_read(&w.bus, address, again, len) == known);
        for (unsigned int i = 0; i < sizeof(data); i++)
                if (!known || i >= len)
                        MUST(data[i] == 0 && again[i] == 0xff);
                else
                        MUST(data[i] == again[i]); /* all of it is written, and of nothing but the state */
}

static uint64_t somewhere(uint8_t op)
{
        static const uint32_t slots[] = {0, TOY_SLOT, VIRTIO_SLOT, 31};

        switch (op & 7) {
        case 0:
        case 1:
        case 2:
        case 3:
                return LAYOUT_ECAM + (slots[op & 3] << 15) + read_u8(&w.script);
        case 4:
                return LAYOUT_ECAM - 8ULL + read_in(&w.script, 0, LAYOUT_ECAM_SIZE + 8);
        case 5:
                return w.toy.bars[read_u8(&w.script) & 1].base + read_u16(&w.script) - 4;
        case 6:
                return w.virtio.pci.bars[read_u8(&w.script) & 1].base + read_u16(&w.script) % 0x5000 - 4;
        default:
                return read_u64(&w.script);
        }
}

/* The registers that matter, straight: command and BARs. */
static void program(uint8_t op)
{
        const uint32_t slot = op & 1 ? TOY_SLOT : VIRTIO_SLOT;
        const uint64_t config = LAYOUT_ECAM + (slot << 15);
        uint32_t value;

        if (op & 2) {
                value = LAYOUT_PCI_WINDOW + (read_u8(&w.script) << 12);
                (void)pci_mmio_write(&w.bus, config + 0x10 + (op & 4) * 2, (const uint8_t *)&value, 4);
        } else {
                value = read_u8(&w.script);
                (void)pci_mmio_write(&w.bus, config + 4, (const uint8_t *)&value, 1);
        }
}

static bool start(const uint8_t *data, size_t len)
{
        static const uint8_t config[24] = {1, 2, 3};

        memset(&w, 0, sizeof(w));
        w.script = (struct reader){data, len};
        pci_init(&w.bus);
        virtio_pci_init(&w.virtio, VIRTIO_ID_BLOCK, 0, 2, 128, config, sizeof(config), &virtio_ops, NULL);
        MUST(pci_add(&w.bus, &w.virtio.pci, VIRTIO_SLOT) == 0);
        w.toy.ops = &toy_ops;
        w.toy.bars[0].size_bytes = 0x1000U << read_u8(&w.script) % 6;
        w.toy.bars[1].size_bytes = 0x1000U << read_u8(&w.script) % 17; /* up to the whole window, which does not fit */
        return pci_add(&w.bus, &w.toy, TOY_SLOT) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        uint8_t first[2][PCI_CONFIG_BYTES];

        if (!start(data, len)) {
                MUST(w.toy.bars[1].size_bytes == LAYOUT_PCI_WINDOW_SIZE && !w.bus.slots[TOY_SLOT]);
                return 0;
        }
        memcpy(first[0], w.toy.config, PCI_CONFIG_BYTES);
        memcpy(first[1], w.virtio.pci.config, PCI_CONFIG_BYTES);
        check_bars();
        while (w.script.len > 0) {
                uint8_t op = read_u8(&w.script);

                if (op < 0x60)
                        port_access(op);
                else if (op < 0xc0)
                        memory_access(somewhere(op), 1 + (read_u8(&w.script) & 7), op & 8);
                else
                        program(op);
                check_bars();
                check_read_only(first[0], &w.toy);
                check_read_only(first[1], &w.virtio.pci);
        }
        return 0;
}
