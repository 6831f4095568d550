/* The common configuration structure and the device status (virtio 1.2, 4.1.4.3, 2.1, 3.1.1). */
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>

#include "vmm/pci/virtio_pci_internal.h"

#define FEATURE(bit) (1ULL << (bit))

/* Alignment of a split queue's parts, and their sizes for n entries: virtio 1.2, 2.7. */
#define DESCRIPTORS_ALIGN  16
#define DRIVER_ALIGN       2
#define DEVICE_ALIGN       4
#define DESCRIPTORS_LEN(n) (16ULL * (n))
#define DRIVER_LEN(n)      (6 + 2ULL * (n))
#define DEVICE_LEN(n)      (6 + 8ULL * (n))

/* The width each field must be accessed with (4.1.3.1); 0: no field starts here. Addresses are two halves. */
static const uint8_t field_width[COMMON_BYTES] = {
        [VIRTIO_PCI_COMMON_DFSELECT] = 4,  [VIRTIO_PCI_COMMON_DF] = 4,
        [VIRTIO_PCI_COMMON_GFSELECT] = 4,  [VIRTIO_PCI_COMMON_GF] = 4,
        [VIRTIO_PCI_COMMON_MSIX] = 2,      [VIRTIO_PCI_COMMON_NUMQ] = 2,
        [VIRTIO_PCI_COMMON_STATUS] = 1,    [VIRTIO_PCI_COMMON_CFGGENERATION] = 1,
        [VIRTIO_PCI_COMMON_Q_SELECT] = 2,  [VIRTIO_PCI_COMMON_Q_SIZE] = 2,
        [VIRTIO_PCI_COMMON_Q_MSIX] = 2,    [VIRTIO_PCI_COMMON_Q_ENABLE] = 2,
        [VIRTIO_PCI_COMMON_Q_NOFF] = 2,    [VIRTIO_PCI_COMMON_Q_DESCLO] = 4,
        [VIRTIO_PCI_COMMON_Q_DESCHI] = 4,  [VIRTIO_PCI_COMMON_Q_AVAILLO] = 4,
        [VIRTIO_PCI_COMMON_Q_AVAILHI] = 4, [VIRTIO_PCI_COMMON_Q_USEDLO] = 4,
        [VIRTIO_PCI_COMMON_Q_USEDHI] = 4,
};

/* One access of 8 bytes to a whole address counts as its two halves. */
static bool is_whole_address(uint32_t off, unsigned int width)
{
        return width == 8 && off >= VIRTIO_PCI_COMMON_Q_DESCLO && off < COMMON_BYTES && off % 8 == 0;
}

static bool is_field(uint32_t off, unsigned int width)
{
        return off < COMMON_BYTES && field_width[off] == width;
}

/* Feature bits are seen 32 at a time. */
static uint32_t features_word(uint64_t features, uint32_t select)
{
        return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* ---- queues ---- */

static const struct virtio_pci_queue *selected(const struct virtio_pci *v)
{
        return v->queue_select < v->queue_count ? &v->queues[v->queue_select] : NULL;
}

static const uint64_t *queue_address(const struct virtio_pci_queue *q, uint32_t off)
{
        const uint64_t *const parts[] = {&q->descriptors, &q->driver, &q->device};

        return parts[(off - VIRTIO_PCI_COMMON_Q_DESCLO) / 8];
}

static uint64_t queue_read(const struct virtio_pci *v, uint32_t off)
{
        const struct virtio_pci_queue *q = selected(v);

        if (!q) /* queue_size 0: no such queue */
                return off == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
        switch (off) {
        case VIRTIO_PCI_COMMON_Q_SIZE:
                return q->size;
        case VIRTIO_PCI_COMMON_Q_MSIX:
                return q->vector;
        case VIRTIO_PCI_COMMON_Q_ENABLE:
                return q->enabled;
        case VIRTIO_PCI_COMMON_Q_NOFF:
                return v->queue_select;
        default:
                return (uint32_t)(*queue_address(q, off) >> (off % 8 * 8));
        }
}

static void queue_vector_set(struct virtio_pci *v, unsigned int queue, uint16_t vector)
{
        if (vector >= v->msix.count)
                vector = VIRTIO_MSI_NO_VECTOR;
        if (v->queues[queue].vector == vector)
                return;
        v->queues[queue].vector = vector;
        v->ops->queue_vector_changed(v->ctx, queue);
}

static bool part_is_sound(uint64_t address, uint64_t align, uint64_t len_bytes)
{
        return address % align == 0 && address <= UINT64_MAX - len_bytes;
}

/* Whether its parts are in RAM is for whoever maps them to say. */
static bool queue_is_sound(const struct virtio_pci *v, const struct virtio_pci_queue *q)
{
        return q->size > 0 && q->size <= v->queue_size_max && (q->size & (q->size - 1)) == 0 &&
               part_is_sound(q->descriptors, DESCRIPTORS_ALIGN, DESCRIPTORS_LEN(q->size)) &&
               part_is_sound(q->driver, DRIVER_ALIGN, DRIVER_LEN(q->size)) &&
               part_is_sound(q->device, DEVICE_ALIGN, DEVICE_LEN(q->size));
}

static void queue_enable(struct virtio_pci *v, struct virtio_pci_queue *q, uint16_t value)
{
        if (value != 1) /* 4.1.4.3.2: the driver must not write 0 */
                return;
        if (queue_is_sound(v, q))
                q->enabled = true;
        else
                virtio_pci_needs_reset(v);
}

/* 4.1.4.3: the vector may change at any time; all else is set up before the queue is enabled, and that before
 * DRIVER_OK. */
static void queue_write(struct virtio_pci *v, uint32_t off, uint32_t value)
{
        struct virtio_pci_queue *q = v->queue_select < v->queue_count ? &v->queues[v->queue_select] : NULL;
        uint64_t *address, half;

        if (!q)
                return;
        if (off == VIRTIO_PCI_COMMON_Q_MSIX)
                queue_vector_set(v, v->queue_select, (uint16_t)value);
        if (off == VIRTIO_PCI_COMMON_Q_MSIX || off == VIRTIO_PCI_COMMON_Q_NOFF || q->enabled ||
            (v->status & VIRTIO_CONFIG_S_DRIVER_OK))
                return;
        switch (off) {
        case VIRTIO_PCI_COMMON_Q_SIZE:
                q->size = (uint16_t)value;
                break;
        case VIRTIO_PCI_COMMON_Q_ENABLE:
                queue_enable(v, q, (uint16_t)value);
                break;
        default:
                address = (uint64_t *)queue_address(q, off);
                half = 0xffffffffULL << (off % 8 * 8);
                *address = (*address & ~half) | (uint64_t)value << (off % 8 * 8);
                break;
        }
}

/* ---- status ---- */

void virtio_pci_reset(struct virtio_pci *v)
{
        v->status = 0;
        v->started = v->stopping = false;
        v->negotiated = 0;
        v->offered_select = v->negotiated_select = 0;
        v->queue_select = 0;
        v->isr = 0;
        v->msix.pending = 0;
        v->config_vector = VIRTIO_MSI_NO_VECTOR;
        for (unsigned int i = 0; i < v->queue_count; i++) {
                uint16_t vector = v->queues[i].vector;

                v->queues[i] = (struct virtio_pci_queue){.size = (uint16_t)v->queue_size_max, .vector = vector};
                queue_vector_set(v, i, VIRTIO_MSI_NO_VECTOR);
        }
}

static bool features_are_sound(const struct virtio_pci *v)
{
        return (v->negotiated & ~v->offered) == 0 && (v->negotiated & FEATURE(VIRTIO_F_VERSION_1));
}

static void driver_ok(struct virtio_pci *v)
{
        if (!(v->status & VIRTIO_CONFIG_S_FEATURES_OK) || (v->status & VIRTIO_CONFIG_S_FAILED))
                return;
        v->status |= VIRTIO_CONFIG_S_DRIVER_OK;
        if (v->status & VIRTIO_CONFIG_S_NEEDS_RESET) /* what it has set up cannot be run */
                return;
        v->started = true;
        v->ops->start(v->ctx);
}

/* 2.1.1: a driver does not take bits back but by 0, which is a reset; DEVICE_NEEDS_RESET is not its to set. */
static void status_write(struct virtio_pci *v, uint8_t value)
{
        uint8_t added = value & (uint8_t)~v->status;

        if (value == 0 && v->started) {
                v->stopping = true;
                v->ops->stop(v->ctx);
                return;
        }
        if (value == 0) {
                virtio_pci_reset(v);
                return;
        }
        v->status |= added & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED);
        if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && features_are_sound(v))
                v->status |= VIRTIO_CONFIG_S_FEATURES_OK;
        if (added & VIRTIO_CONFIG_S_DRIVER_OK)
                driver_ok(v);
}

void virtio_pci_started(struct virtio_pci *v, bool ok)
{
        if (v->started && !v->stopping && !ok)
                virtio_pci_needs_reset(v);
}

void virtio_pci_stopped(struct virtio_pci *v)
{
        if (v->stopping)
                virtio_pci_reset(v);
}

void virtio_pci_needs_reset(struct virtio_pci *v)
{
        if (v->status == 0 || v->stopping || (v->status & VIRTIO_CONFIG_S_NEEDS_RESET))
                return;
        v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
                virtio_pci_config_interrupt(v);
}

/* ---- registers ---- */

static uint32_t field_read(const struct virtio_pci *v, uint32_t off)
{
        switch (off) {
        case VIRTIO_PCI_COMMON_DFSELECT:
                return v->offered_select;
        case VIRTIO_PCI_COMMON_DF:
                return features_word(v->offered, v->offered_select);
        case VIRTIO_PCI_COMMON_GFSELECT:
                return v->negotiated_select;
        case VIRTIO_PCI_COMMON_GF:
                return features_word(v->negotiated, v->negotiated_select);
        case VIRTIO_PCI_COMMON_MSIX:
                return v->config_vector;
        case VIRTIO_PCI_COMMON_NUMQ:
                return v->queue_count;
        case VIRTIO_PCI_COMMON_STATUS:
                return v->status;
        case VIRTIO_PCI_COMMON_CFGGENERATION:
                return v->generation;
        case VIRTIO_PCI_COMMON_Q_SELECT:
                return v->queue_select;
        default:
                return (uint32_t)queue_read(v, off);
        }
}

static void negotiated_write(struct virtio_pci *v, uint32_t value)
{
        const unsigned int shift = 32 * v->negotiated_select;

        if (v->negotiated_select >= 2 || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
                return;
        v->negotiated = (v->negotiated & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
}

static void field_write(struct virtio_pci *v, uint32_t off, uint32_t value)
{
        switch (off) {
        case VIRTIO_PCI_COMMON_DFSELECT:
                v->offered_select = value;
                break;
        case VIRTIO_PCI_COMMON_GFSELECT:
                v->negotiated_select = value;
                break;
        case VIRTIO_PCI_COMMON_GF:
                negotiated_write(v, value);
                break;
        case VIRTIO_PCI_COMMON_MSIX:
                v->config_vector = value < v->msix.count ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
                break;
        case VIRTIO_PCI_COMMON_STATUS:
                status_write(v, (uint8_t)value);
                break;
        case VIRTIO_PCI_COMMON_Q_SELECT:
                v->queue_select = (uint16_t)value;
                break;
        case VIRTIO_PCI_COMMON_DF:
        case VIRTIO_PCI_COMMON_NUMQ:
        case VIRTIO_PCI_COMMON_CFGGENERATION:
                break; /* read only */
        default:
                queue_write(v, off, value);
                break;
        }
}

uint64_t virtio_pci_common_read(const struct virtio_pci *v, uint32_t off, unsigned int width)
{
        if (is_whole_address(off, width))
                return (uint64_t)field_read(v, off + 4) << 32 | field_read(v, off);
        return is_field(off, width) ? field_read(v, off) : 0;
}

void virtio_pci_common_write(struct virtio_pci *v, uint32_t off, unsigned int width, uint64_t value)
{
        if (v->stopping)
                return;
        if (is_whole_address(off, width)) {
                field_write(v, off, (uint32_t)value);
                field_write(v, off + 4, (uint32_t)(value >> 32));
        } else if (is_field(off, width)) {
                field_write(v, off, (uint32_t)value);
        }
}
