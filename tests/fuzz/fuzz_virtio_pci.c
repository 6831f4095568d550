/*
 * A virtio device's PCI function, driven by a guest that writes what it likes and a device that answers, or breaks,
 * when it likes. A second account is kept of what the device was told: what runs, with which queues, and where each
 * interrupt goes.
 */
#include <linux/virtio_ids.h>
#include <string.h>

#include "fuzz.h"
#include "vmm/pci/virtio_pci.h"

#define SLOT          1
#define QUEUES_MAX    4
#define VECTORS       (QUEUES_MAX + 1)
#define NO_VECTOR     0xffff
#define VERSION_1     (1ULL << 32)
#define PLATFORM      (1ULL << 33)
#define FEATURES_OK   0x08
#define DRIVER_OK     0x04
#define NEEDS_RESET   0x40
#define DEVICE_STATUS 20

struct world {
        struct pci_bus bus;
        struct virtio_pci v;
        struct reader script;
        bool running, stopping; /* as start() and stop() said */
        struct virtio_pci_queue frozen[QUEUES_MAX];
        uint64_t frozen_features;
        bool routed[VECTORS]; /* as vector_changed() said */
        struct msix_message routes[VECTORS];
        bool msix_enabled; /* before the access */
        uint16_t queue_vectors[QUEUES_MAX];
        uint32_t pending;
};

static struct world w;

static void on_start(void *ctx)
{
        MUST(ctx == &w && !w.running && !w.stopping);
        MUST((w.v.status & (FEATURES_OK | DRIVER_OK | NEEDS_RESET)) == (FEATURES_OK | DRIVER_OK));
        w.running = true;
        w.frozen_features = w.v.negotiated;
        for (unsigned int i = 0; i < w.v.queue_count; i++)
                w.frozen[i] = w.v.queues[i];
}

static void on_stop(void *ctx)
{
        MUST(ctx == &w && w.running && !w.stopping);
        w.stopping = true;
}

static void on_config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        MUST(ctx == &w && len_bytes >= 1 && len_bytes <= 8);
        MUST(off_bytes < w.v.config_bytes && len_bytes <= w.v.config_bytes - off_bytes);
        MUST((w.v.status & FEATURES_OK) && !w.stopping);
        for (uint32_t i = 0; i < len_bytes; i++) /* readable, all of them */
                MUST(data[i] <= UINT8_MAX);
}

static void on_notify_window(void *ctx, uint64_t base, bool decoded)
{
        (void)decoded;
        MUST(ctx == &w && base % 4096 == 0);
}

static void on_notify(void *ctx, unsigned int queue)
{
        MUST(ctx == &w && queue < w.v.queue_count && w.running && !w.stopping && w.v.queues[queue].enabled);
}

static void on_vector_changed(void *ctx, unsigned int vector)
{
        struct msix_message now = {0};
        bool routed;

        MUST(ctx == &w && vector < w.v.msix.count);
        routed = msix_get(&w.v.msix, vector, &now);
        MUST(routed != w.routed[vector] || now.address != w.routes[vector].address ||
             now.data != w.routes[vector].data || w.v.msix.enabled != w.msix_enabled);
        w.routed[vector] = routed;
        w.routes[vector] = now;
}

static void on_queue_vector_changed(void *ctx, unsigned int queue)
{
        MUST(ctx == &w && queue < w.v.queue_count && w.queue_vectors[queue] != w.v.queues[queue].vector);
        w.queue_vectors[queue] = w.v.queues[queue].vector;
}

static bool on_vector_pending(void *ctx, unsigned int vector)
{
        MUST(ctx == &w && vector < w.v.msix.count);
        return w.pending >> vector & 1;
}

static void on_vector_send(void *ctx, unsigned int vector)
{
        struct msix_message message;

        MUST(ctx == &w && vector < w.v.msix.count && msix_get(&w.v.msix, vector, &message));
}

static const struct virtio_pci_ops ops = {
        .start = on_start,
        .stop = on_stop,
        .config_write = on_config_write,
        .notify_window = on_notify_window,
        .notify = on_notify,
        .vector_changed = on_vector_changed,
        .queue_vector_changed = on_queue_vector_changed,
        .vector_pending = on_vector_pending,
        .vector_send = on_vector_send,
};

/* ---- claims ---- */

static void check_queue(const struct virtio_pci_queue *q)
{
        MUST(q->vector == NO_VECTOR || q->vector < w.v.msix.count);
        if (!q->enabled)
                return;
        MUST(q->enabled == 1 && q->size >= 1 && q->size <= w.v.queue_size_max && (q->size & (q->size - 1)) == 0);
        MUST(q->descriptors % 16 == 0 && q->driver % 2 == 0 && q->device % 4 == 0);
        MUST(q->descriptors + 16ULL * q->size > q->descriptors && q->driver + 6 + 2ULL * q->size > q->driver);
        MUST(q->device + 6 + 8ULL * q->size > q->device);
}

/* What was agreed on at DRIVER_OK holds until the reset is done; vectors alone may change. */
static void check_frozen(void)
{
        MUST(w.v.negotiated == w.frozen_features);
        for (unsigned int i = 0; i < w.v.queue_count; i++) {
                struct virtio_pci_queue q = w.v.queues[i];

                q.vector = w.frozen[i].vector;
                MUST(memcmp(&q, &w.frozen[i], sizeof(q)) == 0);
        }
}

static void check_interrupts(void)
{
        for (unsigned int i = 0; i < w.v.msix.count; i++) {
                struct msix_message now = {0};

                MUST(msix_get(&w.v.msix, i, &now) == w.routed[i]);
                MUST(now.address == w.routes[i].address && now.data == w.routes[i].data);
                MUST(!(w.routed[i] && (w.v.msix.pending >> i & 1))); /* nothing waits that could go */
        }
        MUST(w.v.msix.pending >> w.v.msix.count == 0);
        MUST(w.v.config_vector == NO_VECTOR || w.v.config_vector < w.v.msix.count);
        for (unsigned int i = 0; i < w.v.queue_count; i++)
                MUST(w.queue_vectors[i] == w.v.queues[i].vector);
}

static void check(void)
{
        const uint8_t status = w.v.status;

        MUST((w.v.offered & PLATFORM) == 0 && (w.v.offered & VERSION_1));
        if (status & FEATURES_OK)
                MUST((w.v.negotiated & ~w.v.offered) == 0 && (w.v.negotiated & VERSION_1));
        MUST(!(status & DRIVER_OK) || (status & FEATURES_OK));
        MUST(w.running == w.v.started && w.stopping == w.v.stopping);
        MUST(!w.running || (status & DRIVER_OK)); /* above all: not 0 before it has stopped */
        MUST(!(status & DRIVER_OK) || w.running || (status & NEEDS_RESET));
        MUST((w.v.isr & ~2) == 0);
        for (unsigned int i = 0; i < w.v.queue_count; i++)
                check_queue(&w.v.queues[i]);
        if (w.running)
                check_frozen();
        check_interrupts();
        w.msix_enabled = w.v.msix.enabled;
}

/* ---- guest and device ---- */

static void access_at(uint64_t address, unsigned int width, bool write)
{
        uint8_t data[8] = {0}, again[8];

        if (write) {
                (void)read_bytes(&w.script, data, width);
                (void)pci_mmio_write(&w.bus, address, data, width);
                return;
        }
        memset(again, 0xff, sizeof(again));
        if (!pci_mmio_read(&w.bus, address, data, width))
                return;
        (void)pci_mmio_read(&w.bus, address, again, width);
        if (address != w.v.pci.bars[0].base + VIRTIO_PCI_ISR_OFF && (address < LAYOUT_ECAM + 0x8040ULL))
                MUST(memcmp(data, again, width) == 0); /* of the state, and nothing else; only the ISR is cleared */
}

static void guest(uint8_t op)
{
        const unsigned int width = 1U << (op & 3);
        const bool write = op & 4;
        const uint64_t registers = w.v.pci.bars[0].base, config = LAYOUT_ECAM + (SLOT << 15);

        switch (op >> 3 & 7) {
        case 0:
        case 1:
        case 2:
                access_at(registers + read_u8(&w.script) % 64, width, write);
                break;
        case 3:
                access_at(registers + read_u16(&w.script) % VIRTIO_PCI_REGISTERS_BYTES, width, write);
                break;
        case 4:
                access_at(w.v.pci.bars[1].base + read_u8(&w.script), width, write);
                break;
        case 5:
                access_at(w.v.pci.bars[1].base + MSIX_PBA_OFF + (read_u8(&w.script) & 15), width, write);
                break;
        case 6:
                access_at(config + read_u8(&w.script), width, write);
                break;
        default:
                access_at(registers + VIRTIO_PCI_NOTIFY_OFF * (op & 1) + VIRTIO_PCI_DEVICE_OFF * !(op & 1) +
                                  read_u8(&w.script) % 32,
                          width, write);
                break;
        }
}

static void set(uint64_t address, uint64_t value, unsigned int width)
{
        (void)pci_mmio_write(&w.bus, address, (const uint8_t *)&value, width);
}

/* A queue as a driver sets it up, somewhere. */
static void good_queue(void)
{
        const uint64_t registers = w.v.pci.bars[0].base;
        uint64_t base = read_u64(&w.script) & ~15ULL;

        set(registers + 22, read_u8(&w.script) % QUEUES_MAX, 2);
        set(registers + 24, 1U << read_u8(&w.script) % 16, 2);
        for (unsigned int i = 0; i < 3; i++)
                set(registers + 32 + 8 * i, base + read_u8(&w.script) * 4096, 8);
        set(registers + 28, 1, 2);
}

/* A message for a vector, and perhaps for the changes of configuration; or the whole function switched on, masked or
 * off. */
static void good_msix(void)
{
        uint8_t how = read_u8(&w.script);
        uint64_t entry = w.v.pci.bars[1].base + how % VECTORS * MSIX_ENTRY_BYTES;

        if (how & 0x40) {
                set(LAYOUT_ECAM + (SLOT << 15) + w.v.msix_capability + 3, how & 0x80 ? 0x80 : read_u8(&w.script), 1);
                return;
        }
        set(entry, 0xfee00000 | read_u8(&w.script) << 12, 8);
        set(entry + 8, read_u8(&w.script), 8); /* and not masked */
        if (how & 0x80)
                set(w.v.pci.bars[0].base + 16, how % VECTORS, 2);
}

/* A driver that does the right thing: it gets further than chance does. */
static void good_driver(void)
{
        const uint64_t registers = w.v.pci.bars[0].base;
        static const uint8_t steps[] = {0x01, 0x03, 0x0b, 0x0f};
        const uint32_t features[] = {(uint32_t)w.v.offered, (uint32_t)(w.v.offered >> 32)};
        const uint8_t command = 6;

        (void)pci_mmio_write(&w.bus, LAYOUT_ECAM + (SLOT << 15) + 4, &command, 1);
        for (uint32_t i = 0; i < 2; i++) {
                (void)pci_mmio_write(&w.bus, registers + 8, (const uint8_t *)&i, 4);
                (void)pci_mmio_write(&w.bus, registers + 12, (const uint8_t *)&features[i], 4);
        }
        for (size_t i = 0; i < 2 + read_u8(&w.script) % 3U; i++) {
                (void)pci_mmio_write(&w.bus, registers + DEVICE_STATUS, &steps[i], 1);
                check();
        }
}

static void device(uint8_t op)
{
        uint8_t config[VIRTIO_PCI_CONFIG_MAX];
        size_t len;

        if (op & 8) {
                if (op & 1)
                        good_queue();
                else
                        good_msix();
                return;
        }
        switch (op & 7) {
        case 0:
        case 1:
                virtio_pci_started(&w.v, op & 1);
                break;
        case 2:
        case 3: /* an answer nobody waits for is one too */
                if (w.v.stopping) {
                        w.running = w.stopping = false;
                        virtio_pci_stopped(&w.v);
                        MUST(w.v.status == 0 && w.v.negotiated == 0);
                } else {
                        virtio_pci_stopped(&w.v);
                }
                break;
        case 4:
                virtio_pci_needs_reset(&w.v);
                break;
        case 5:
                w.pending = read_u32(&w.script);
                break;
        case 6:
                good_driver();
                break;
        default:
                len = read_bytes(&w.script, config, read_u8(&w.script) % 40);
                virtio_pci_config_changed(&w.v, config, (uint32_t)len);
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        uint8_t config[32] = {1, 2, 3}, command = 6;
        uint32_t config_bytes;
        unsigned int queues;
        uint64_t offered;

        memset(&w, 0, sizeof(w));
        memset(w.queue_vectors, 0xff, sizeof(w.queue_vectors));
        w.script = (struct reader){data, len};
        offered = read_u64(&w.script);
        queues = (unsigned int)read_in(&w.script, 1, QUEUES_MAX);
        config_bytes = read_u8(&w.script) % (sizeof(config) + 1);
        pci_init(&w.bus);
        virtio_pci_init(&w.v, VIRTIO_ID_BLOCK, offered, queues, 1U << read_u8(&w.script) % 16, config, config_bytes,
                        &ops, &w);
        MUST(pci_add(&w.bus, &w.v.pci, SLOT) == 0);
        (void)pci_mmio_write(&w.bus, LAYOUT_ECAM + (SLOT << 15) + 4, &command, 1);
        check();
        while (w.script.len > 0) {
                uint8_t op = read_u8(&w.script);

                if (op & 0xc0)
                        guest(op);
                else
                        device(op);
                check();
        }
        return 0;
}
