/* The PCI function of a virtio device: identity, capabilities, BARs, interrupts (virtio 1.2, 4.1). */
#include "vmm/pci/virtio_pci.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "base/number.h"
#include "vmm/pci/virtio_pci_internal.h"

#define VENDOR          0x1af4
#define DEVICE_FIRST    0x1040 /* 4.1.2: plus the type */
#define REVISION_MODERN 1      /* 4.1.2.1: 1 or higher */

#define FEATURE(bit) (1ULL << (bit))

/*
 * 2.2, and legacy bits of 6.3: these are of queues and transports, not of the device. Known here: split queues,
 * indirect descriptors, event indices. ACCESS_PLATFORM would mean an IOMMU; NOTIFICATION_DATA is lost in an eventfd.
 */
#define TRANSPORT_FEATURES       (FEATURE(42) - FEATURE(24))
#define TRANSPORT_FEATURES_KNOWN (FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(VIRTIO_RING_F_EVENT_IDX))

_Static_assert(VIRTIO_PCI_VECTORS <= MSIX_VECTORS_MAX, "a vector for each queue and one for the configuration");
_Static_assert(VIRTIO_PCI_NOTIFY_OFF + VIRTIO_PCI_QUEUES_MAX * VIRTIO_PCI_NOTIFY_MULTIPLIER <=
                       VIRTIO_PCI_REGISTERS_BYTES,
               "a notification address for each queue");

/* ---- interrupts ---- */

static bool has_message(const struct virtio_pci *v, unsigned int vector, struct msix_message *ret)
{
        *ret = (struct msix_message){0};
        return msix_get(&v->msix, vector, ret);
}

/* To be called after whatever may have given the vector a message, or another one, or taken it away. */
static void vector_update(struct virtio_pci *v, unsigned int vector, bool had, const struct msix_message *old)
{
        struct msix_message now;
        bool has = has_message(v, vector, &now);

        if (has != had || now.address != old->address || now.data != old->data)
                v->ops->vector_changed(v->ctx, vector);
        if (has && (v->msix.pending >> vector & 1)) {
                v->msix.pending &= ~(1U << vector);
                v->ops->vector_send(v->ctx, vector);
        }
}

void virtio_pci_config_interrupt(struct virtio_pci *v)
{
        struct msix_message message;

        v->isr |= VIRTIO_PCI_ISR_CONFIG;
        if (has_message(v, v->config_vector, &message))
                v->ops->vector_send(v->ctx, v->config_vector);
        else if (v->msix.enabled && v->config_vector < v->msix.count)
                v->msix.pending |= 1U << v->config_vector;
}

/* Message control and the command register say whether any message can be sent at all. */
static void msix_control_update(struct virtio_pci *v)
{
        const uint8_t *flags = v->pci.config + v->msix_capability + PCI_MSIX_FLAGS;
        struct msix_message old[VIRTIO_PCI_VECTORS];
        bool had[VIRTIO_PCI_VECTORS], was_enabled = v->msix.enabled;

        for (unsigned int i = 0; i < v->msix.count; i++)
                had[i] = has_message(v, i, &old[i]);
        v->msix.enabled = flags[1] & (PCI_MSIX_FLAGS_ENABLE >> 8);
        v->msix.all_masked = flags[1] & (PCI_MSIX_FLAGS_MASKALL >> 8);
        v->msix.silent = !pci_is_bus_master(&v->pci);
        if (!v->msix.enabled)
                v->msix.pending = 0;
        /* Even those that stay masked: from now on an interrupt waits, or does not any more. */
        for (unsigned int i = 0; v->msix.enabled != was_enabled && i < v->msix.count; i++)
                if (!had[i] && !has_message(v, i, &(struct msix_message){0}))
                        v->ops->vector_changed(v->ctx, i);
        for (unsigned int i = 0; i < v->msix.count; i++)
                vector_update(v, i, had[i], &old[i]);
}

static uint64_t pending_bits(const struct virtio_pci *v)
{
        uint64_t bits = v->msix.pending;
        struct msix_message message;

        for (unsigned int i = 0; i < v->msix.count; i++)
                if (!has_message(v, i, &message) && v->ops->vector_pending(v->ctx, i))
                        bits |= 1ULL << i;
        return bits;
}

static uint64_t msix_read(const struct virtio_pci *v, uint32_t off, unsigned int width)
{
        return msix_bar_read(&v->msix, off, width, msix_is_pba(off) ? pending_bits(v) : 0);
}

static void msix_write(struct virtio_pci *v, uint32_t off, unsigned int width, uint64_t value)
{
        const unsigned int vector = off / MSIX_ENTRY_BYTES;
        struct msix_message old;
        bool had = has_message(v, vector, &old);

        if (msix_bar_write(&v->msix, off, width, value) < v->msix.count)
                vector_update(v, vector, had, &old);
}

/* ---- registers ---- */

/* 4.1.4.5: one byte, cleared by reading. Without MSI-X there are no interrupts, and no queue's bit either. */
static uint64_t isr_read(struct virtio_pci *v, uint32_t off, unsigned int width)
{
        uint8_t isr = v->isr;

        if (off != 0 || width != 1)
                return 0;
        v->isr = 0;
        return isr;
}

/* Bytes past the end are 0. */
static uint64_t device_read(const struct virtio_pci *v, uint32_t off, unsigned int width)
{
        uint64_t value = 0;

        for (unsigned int i = 0; i < width && off + i < v->config_bytes; i++)
                value |= (uint64_t)v->config[off + i] << (8 * i);
        return value;
}

/* 3.1.1: not before the features are settled. */
static void device_write(struct virtio_pci *v, uint32_t off, unsigned int width, uint64_t value)
{
        uint8_t data[sizeof(value)];

        if (v->stopping || !(v->status & VIRTIO_CONFIG_S_FEATURES_OK) || !range_fits(off, width, v->config_bytes))
                return;
        memcpy(data, &value, sizeof(data));
        v->ops->config_write(v->ctx, off, data, width);
}

/* The address names the queue; what is written does not matter (4.1.4.4), nor how wide it is. */
static void notify_write(struct virtio_pci *v, uint32_t off)
{
        const unsigned int queue = off / VIRTIO_PCI_NOTIFY_MULTIPLIER;

        if (off % VIRTIO_PCI_NOTIFY_MULTIPLIER != 0 || queue >= v->queue_count)
                return;
        if (v->started && !v->stopping && v->queues[queue].enabled)
                v->ops->notify(v->ctx, queue);
}

static uint64_t bar_read(void *ctx, unsigned int bar, uint32_t off, unsigned int width)
{
        struct virtio_pci *v = ctx;

        if (bar != VIRTIO_PCI_BAR_REGISTERS / 2)
                return msix_read(v, off, width);
        if (off < VIRTIO_PCI_ISR_OFF)
                return virtio_pci_common_read(v, off - VIRTIO_PCI_COMMON_OFF, width);
        if (off < VIRTIO_PCI_DEVICE_OFF)
                return isr_read(v, off - VIRTIO_PCI_ISR_OFF, width);
        if (off < VIRTIO_PCI_NOTIFY_OFF)
                return device_read(v, off - VIRTIO_PCI_DEVICE_OFF, width);
        return 0;
}

static void bar_write(void *ctx, unsigned int bar, uint32_t off, unsigned int width, uint64_t value)
{
        struct virtio_pci *v = ctx;

        if (bar != VIRTIO_PCI_BAR_REGISTERS / 2)
                msix_write(v, off, width, value);
        else if (off < VIRTIO_PCI_ISR_OFF)
                virtio_pci_common_write(v, off - VIRTIO_PCI_COMMON_OFF, width, value);
        else if (off >= VIRTIO_PCI_NOTIFY_OFF)
                notify_write(v, off - VIRTIO_PCI_NOTIFY_OFF);
        else if (off >= VIRTIO_PCI_DEVICE_OFF)
                device_write(v, off - VIRTIO_PCI_DEVICE_OFF, width, value);
}

static void bar_moved(void *ctx, unsigned int bar, uint64_t base, bool decoded)
{
        struct virtio_pci *v = ctx;

        if (bar == VIRTIO_PCI_BAR_REGISTERS / 2)
                v->ops->notify_window(v->ctx, base + VIRTIO_PCI_NOTIFY_OFF, decoded);
}

/* ---- configuration space: MSI-X message control, and the window to the BARs (4.1.4.9) ---- */

static bool overlaps(uint32_t off, unsigned int width, uint32_t field, uint32_t field_bytes)
{
        return off < field + field_bytes && field < off + width;
}

static uint32_t window_data_off(const struct virtio_pci *v)
{
        return v->window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

/* Which access the driver has set up. Returns false when it is none: there is no such BAR, or it is not aligned. */
static bool window_get(const struct virtio_pci *v, unsigned int *ret_bar, uint32_t *ret_off, uint32_t *ret_width)
{
        const uint8_t *cap = v->pci.config + v->window;
        const unsigned int bar = cap[offsetof(struct virtio_pci_cap, bar)];
        uint32_t off, width;

        memcpy(&off, cap + offsetof(struct virtio_pci_cap, offset), sizeof(off));
        memcpy(&width, cap + offsetof(struct virtio_pci_cap, length), sizeof(width));
        if (bar != VIRTIO_PCI_BAR_REGISTERS && bar != VIRTIO_PCI_BAR_MSIX)
                return false;
        if ((width != 1 && width != 2 && width != 4) || off % width != 0 ||
            !range_fits(off, width, v->pci.bars[bar / 2].size_bytes))
                return false;
        *ret_bar = bar / 2;
        *ret_off = off;
        *ret_width = width;
        return true;
}

static void config_reading(void *ctx, uint32_t off, unsigned int width)
{
        struct virtio_pci *v = ctx;
        uint32_t value = 0, at, bytes;
        unsigned int bar;

        if (!overlaps(off, width, window_data_off(v), sizeof(value)))
                return;
        if (window_get(v, &bar, &at, &bytes))
                value = (uint32_t)bar_read(v, bar, at, bytes);
        memcpy(v->pci.config + window_data_off(v), &value, sizeof(value));
}

static void config_written(void *ctx, uint32_t off, unsigned int width)
{
        struct virtio_pci *v = ctx;
        uint32_t value = 0, at, bytes;
        unsigned int bar;

        if (overlaps(off, width, PCI_COMMAND, 2) || overlaps(off, width, v->msix_capability + PCI_MSIX_FLAGS, 2))
                msix_control_update(v);
        if (!overlaps(off, width, window_data_off(v), sizeof(value)) || !window_get(v, &bar, &at, &bytes))
                return;
        memcpy(&value, v->pci.config + window_data_off(v), bytes);
        bar_write(v, bar, at, bytes, value);
}

static const struct pci_device_ops pci_ops = {
        .bar_read = bar_read,
        .bar_write = bar_write,
        .config_written = config_written,
        .config_reading = config_reading,
        .bar_moved = bar_moved,
};

/* ---- set-up ---- */

/* Base class, subclass and interface (PCI 3.0, appendix D), as other virtual machines have them. */
static uint32_t class_code(uint16_t type)
{
        switch (type) {
        case VIRTIO_ID_NET:
                return 0x020000; /* Ethernet */
        case VIRTIO_ID_BLOCK:
        case VIRTIO_ID_SCSI:
                return 0x010000; /* SCSI */
        case VIRTIO_ID_CONSOLE:
                return 0x078000; /* other communication */
        default:
                return 0x00ff00; /* none of those that are defined */
        }
}

static void identity_set(struct virtio_pci *v)
{
        uint8_t *config = v->pci.config;
        const uint16_t vendor = VENDOR, device = (uint16_t)(DEVICE_FIRST + v->type);
        const uint32_t class = class_code(v->type) << 8 | REVISION_MODERN;

        memcpy(config + PCI_VENDOR_ID, &vendor, sizeof(vendor));
        memcpy(config + PCI_DEVICE_ID, &device, sizeof(device));
        memcpy(config + PCI_CLASS_REVISION, &class, sizeof(class));
        memcpy(config + PCI_SUBSYSTEM_VENDOR_ID, &vendor, sizeof(vendor));
        memcpy(config + PCI_SUBSYSTEM_ID, &device, sizeof(device));
}

/* cap_bytes: with id and next, which pci_capability_add() puts in front. */
static uint8_t capability_add(struct virtio_pci *v, const struct virtio_pci_cap *cap, size_t cap_bytes)
{
        const size_t skipped = offsetof(struct virtio_pci_cap, cap_len);

        return pci_capability_add(&v->pci, PCI_CAP_ID_VNDR, (const uint8_t *)cap + skipped,
                                  (uint8_t)(cap_bytes - skipped));
}

static void structure_add(struct virtio_pci *v, uint8_t kind, uint32_t off, uint32_t len_bytes)
{
        struct virtio_pci_notify_cap n = {
                .cap = {.cap_len = sizeof(n.cap),
                        .cfg_type = kind,
                        .bar = VIRTIO_PCI_BAR_REGISTERS,
                        .offset = off,
                        .length = len_bytes},
                .notify_off_multiplier = VIRTIO_PCI_NOTIFY_MULTIPLIER,
        };

        if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG)
                n.cap.cap_len = sizeof(n);
        capability_add(v, &n.cap, n.cap.cap_len);
}

/* The driver chooses BAR, offset and length, then reads or writes the data. */
static void window_add(struct virtio_pci *v)
{
        struct virtio_pci_cfg_cap c = {.cap = {.cap_len = sizeof(c), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG}};
        uint8_t *writable;

        v->window = capability_add(v, &c.cap, sizeof(c));
        writable = v->pci.writable + v->window;
        writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
        memset(writable + offsetof(struct virtio_pci_cap, offset), 0xff,
               sizeof(c) - offsetof(struct virtio_pci_cap, offset));
}

static void msix_add(struct virtio_pci *v)
{
        const struct {
                uint16_t control;
                uint32_t table, pba; /* offset, and the BAR in bits 0 to 2 */
        } __attribute__((packed)) body = {
                .control = (uint16_t)(v->msix.count - 1),
                .table = VIRTIO_PCI_BAR_MSIX,
                .pba = MSIX_PBA_OFF | VIRTIO_PCI_BAR_MSIX,
        };

        v->msix_capability = pci_capability_add(&v->pci, PCI_CAP_ID_MSIX, &body, sizeof(body));
        v->pci.writable[v->msix_capability + PCI_MSIX_FLAGS + 1] =
                (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

void virtio_pci_init(struct virtio_pci *v, uint16_t type, uint64_t offered, unsigned int queues,
                     unsigned int queue_size_max, const uint8_t *config, uint32_t config_bytes,
                     const struct virtio_pci_ops *ops, void *ctx)
{
        assert(queues >= 1 && queues <= VIRTIO_PCI_QUEUES_MAX && config_bytes <= VIRTIO_PCI_CONFIG_MAX);
        assert(queue_size_max >= 1 && queue_size_max <= 32768 && (queue_size_max & (queue_size_max - 1)) == 0);
        *v = (struct virtio_pci){
                .type = type,
                .queue_count = queues,
                .queue_size_max = queue_size_max,
                .offered = (offered & (~TRANSPORT_FEATURES | TRANSPORT_FEATURES_KNOWN)) | FEATURE(VIRTIO_F_VERSION_1),
                .config_bytes = config_bytes,
                .ops = ops,
                .ctx = ctx,
        };
        if (config_bytes > 0)
                memcpy(v->config, config, config_bytes);
        for (unsigned int i = 0; i < queues; i++)
                v->queues[i].vector = VIRTIO_MSI_NO_VECTOR; /* there is no change to tell */
        msix_init(&v->msix, queues + 1);
        v->msix.silent = true; /* until the guest makes it a bus master */
        virtio_pci_reset(v);

        v->pci.ops = &pci_ops;
        v->pci.ctx = v;
        v->pci.bars[VIRTIO_PCI_BAR_REGISTERS / 2].size_bytes = VIRTIO_PCI_REGISTERS_BYTES;
        v->pci.bars[VIRTIO_PCI_BAR_MSIX / 2].size_bytes = MSIX_BAR_BYTES;
        identity_set(v);
        structure_add(v, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_OFF, COMMON_BYTES);
        structure_add(v, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY_OFF, queues * VIRTIO_PCI_NOTIFY_MULTIPLIER);
        structure_add(v, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_ISR_OFF, 1);
        if (config_bytes > 0)
                structure_add(v, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_DEVICE_OFF, config_bytes);
        window_add(v);
        msix_add(v);
}

void virtio_pci_config_changed(struct virtio_pci *v, const uint8_t *config, uint32_t config_bytes)
{
        memcpy(v->config, config, config_bytes < v->config_bytes ? config_bytes : v->config_bytes);
        v->generation++;
        if ((v->status & VIRTIO_CONFIG_S_DRIVER_OK) && !v->stopping)
                virtio_pci_config_interrupt(v);
}
