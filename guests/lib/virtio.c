#include "virtio.h"

#include <stddef.h>

#include "heap.h"
#include "memory.h"
#include "pci.h"
#include "wait.h"

#define RING_ALIGN 4096

static uint64_t capability_address(unsigned int slot, unsigned int cap)
{
        unsigned int bar = pci_read(slot, cap + VIRTIO_CAP_BAR, 1);

        if (bar >= PCI_BARS)
                return 0;
        return pci_bar_get(slot, bar).address + pci_read(slot, cap + VIRTIO_CAP_OFFSET, 4);
}

static void take_capability(struct virtio *v, unsigned int cap)
{
        uint64_t address = capability_address(v->slot, cap);
        uint32_t length = pci_read(v->slot, cap + VIRTIO_CAP_LENGTH, 4);
        uint8_t type = (uint8_t)pci_read(v->slot, cap + VIRTIO_CAP_TYPE, 1);

        if (type == VIRTIO_CFG_COMMON && !v->common) {
                v->common = address;
        } else if (type == VIRTIO_CFG_NOTIFY && !v->notify) {
                v->notify = address;
                v->notify_bytes = length;
                v->notify_multiplier = pci_read(v->slot, cap + VIRTIO_CAP_MULTIPLIER, 4);
        } else if (type == VIRTIO_CFG_ISR && !v->isr) {
                v->isr = address;
        } else if (type == VIRTIO_CFG_DEVICE && !v->device) {
                v->device = address;
                v->device_bytes = length;
        }
}

void virtio_find_again(struct virtio *v)
{
        unsigned int cap = 0;

        v->common = v->notify = v->isr = v->device = 0;
        for (unsigned int i = 0; i < PCI_MAX_CAPS; i++) {
                cap = pci_capability(v->slot, PCI_CAP_VENDOR, cap);
                if (!cap)
                        return;
                take_capability(v, cap);
        }
}

bool virtio_find(uint16_t type, unsigned int nth, struct virtio *ret)
{
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
                if (pci_read(slot, PCI_VENDOR, 2) != VIRTIO_PCI_VENDOR ||
                    pci_read(slot, PCI_DEVICE, 2) != VIRTIO_PCI_MODERN + (uint32_t)type || nth-- > 0)
                        continue;
                *ret = (struct virtio){.slot = slot};
                pci_enable(slot);
                virtio_find_again(ret);
                return ret->common && ret->notify && ret->isr;
        }
        return false;
}

uint8_t virtio_status(const struct virtio *v)
{
        return mmio_read8(v->common + VIRTIO_STATUS);
}

void virtio_set_status(const struct virtio *v, uint8_t status)
{
        mmio_write8(v->common + VIRTIO_STATUS, status);
}

bool virtio_reset(struct virtio *v)
{
        uint64_t start = rdtsc();

        virtio_set_status(v, 0);
        v->features = 0;
        while (virtio_status(v) != 0) {
                if (rdtsc() - start > WAIT_TICKS)
                        return false;
                cpu_pause();
        }
        return true;
}

uint64_t virtio_offered(const struct virtio *v)
{
        uint64_t low;

        mmio_write32(v->common + VIRTIO_DEVICE_FEATURE_SELECT, 0);
        low = mmio_read32(v->common + VIRTIO_DEVICE_FEATURE);
        mmio_write32(v->common + VIRTIO_DEVICE_FEATURE_SELECT, 1);
        return low | (uint64_t)mmio_read32(v->common + VIRTIO_DEVICE_FEATURE) << 32;
}

void virtio_write_features(const struct virtio *v, uint64_t features)
{
        mmio_write32(v->common + VIRTIO_DRIVER_FEATURE_SELECT, 0);
        mmio_write32(v->common + VIRTIO_DRIVER_FEATURE, (uint32_t)features);
        mmio_write32(v->common + VIRTIO_DRIVER_FEATURE_SELECT, 1);
        mmio_write32(v->common + VIRTIO_DRIVER_FEATURE, (uint32_t)(features >> 32));
}

bool virtio_negotiate(struct virtio *v, uint64_t wanted)
{
        uint8_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

        virtio_set_status(v, VIRTIO_ACKNOWLEDGE);
        virtio_set_status(v, status);
        v->features = virtio_offered(v) & (wanted | VIRTIO_F_VERSION_1);
        virtio_write_features(v, v->features);
        virtio_set_status(v, status | VIRTIO_FEATURES_OK);
        return virtio_status(v) & VIRTIO_FEATURES_OK;
}

static void make_rings(struct virtq *q)
{
        if (!q->desc) {
                q->desc = heap_alloc(sizeof(struct virtq_desc) * VIRTQ_SIZE_MAX, RING_ALIGN);
                q->avail = heap_alloc(sizeof(struct virtq_avail), RING_ALIGN);
                q->used = heap_alloc(sizeof(struct virtq_used), RING_ALIGN);
        }
        memset((void *)(uint64_t)q->avail, 0, sizeof(struct virtq_avail));
        memset((void *)(uint64_t)q->used, 0, sizeof(struct virtq_used));
        q->next_desc = 0;
        q->next_used = 0;
}

/* 64-bit registers are written as two of 32 bits (4.1.3.1). */
static void write_address(uint64_t at, uint64_t value)
{
        mmio_write32(at, (uint32_t)value);
        mmio_write32(at + 4, (uint32_t)(value >> 32));
}

bool virtq_prepare(struct virtq *q, struct virtio *v, uint16_t index, uint16_t size)
{
        uint16_t most;

        mmio_write16(v->common + VIRTIO_QUEUE_SELECT, index);
        most = mmio_read16(v->common + VIRTIO_QUEUE_SIZE);
        if (most == 0)
                return false;
        q->dev = v;
        q->index = index;
        q->size = size < most ? size : most;
        if (q->size > VIRTQ_SIZE_MAX)
                q->size = VIRTQ_SIZE_MAX;
        make_rings(q);
        q->doorbell = v->notify + (uint64_t)mmio_read16(v->common + VIRTIO_QUEUE_NOTIFY_OFF) * v->notify_multiplier;
        mmio_write16(v->common + VIRTIO_QUEUE_SIZE, q->size);
        write_address(v->common + VIRTIO_QUEUE_DESC, (uint64_t)q->desc);
        write_address(v->common + VIRTIO_QUEUE_DRIVER, (uint64_t)q->avail);
        write_address(v->common + VIRTIO_QUEUE_DEVICE, (uint64_t)q->used);
        return true;
}

void virtq_enable(const struct virtq *q)
{
        mmio_write16(q->dev->common + VIRTIO_QUEUE_SELECT, q->index);
        mmio_write16(q->dev->common + VIRTIO_QUEUE_ENABLE, 1);
}

bool virtq_set_up(struct virtq *q, struct virtio *v, uint16_t index, uint16_t size)
{
        if (!virtq_prepare(q, v, index, size))
                return false;
        virtq_enable(q);
        return true;
}

void virtio_go(const struct virtio *v)
{
        virtio_set_status(v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

bool virtio_start(struct virtio *v, uint64_t wanted, struct virtq *q, uint16_t size)
{
        if (!virtio_reset(v) || !virtio_negotiate(v, wanted) || !virtq_set_up(q, v, 0, size))
                return false;
        virtio_go(v);
        return true;
}

uint16_t virtq_add(struct virtq *q, const struct virtq_segment *segments, unsigned int out, unsigned int in)
{
        uint16_t head = q->next_desc, at = head;

        for (unsigned int i = 0; i < out + in; i++) {
                uint16_t next = (uint16_t)((at + 1U) % q->size);

                q->desc[at].addr = (uint64_t)segments[i].data;
                q->desc[at].len = segments[i].len;
                q->desc[at].flags = (uint16_t)((i >= out ? VIRTQ_WRITE : 0) | (i + 1 < out + in ? VIRTQ_NEXT : 0));
                q->desc[at].next = next;
                at = next;
        }
        q->next_desc = at;
        q->avail->ring[q->avail->idx % q->size] = head;
        __asm__ volatile("" : : : "memory");
        q->avail->idx++;
        return head;
}

/* The event index the device wants to hear of lies behind the used ring's last entry, wherever that is. */
static uint16_t avail_event(const struct virtq *q)
{
        return *(const volatile uint16_t *)&q->used->ring[q->size];
}

void virtq_kick(struct virtq *q)
{
        cpu_fence();
        /* With event indices, a kick too many does no harm: only "it is one of the last few" is asked. */
        if (q->dev->features & VIRTIO_F_EVENT_IDX) {
                if ((uint16_t)(q->avail->idx - 1 - avail_event(q)) >= q->size)
                        return;
        } else if (q->used->flags & VIRTQ_NO_NOTIFY) {
                return;
        }
        mmio_write16(q->doorbell, q->index);
}

bool virtq_take(struct virtq *q, uint32_t *ret_id, uint32_t *ret_len)
{
        unsigned int at = q->next_used % q->size;

        if (q->used->idx == q->next_used)
                return false;
        *ret_id = q->used->ring[at].id;
        *ret_len = q->used->ring[at].len;
        q->next_used++;
        return true;
}

bool virtq_wait(struct virtq *q, uint64_t ticks, uint32_t *ret_id, uint32_t *ret_len)
{
        uint64_t start = rdtsc();

        while (!virtq_take(q, ret_id, ret_len)) {
                if (rdtsc() - start > ticks)
                        return false;
                cpu_pause();
        }
        return true;
}

bool virtq_request(struct virtq *q, const struct virtq_segment *segments, unsigned int out, unsigned int in,
                   uint32_t *ret_len)
{
        uint16_t head = virtq_add(q, segments, out, in);
        uint32_t id;

        virtq_kick(q);
        return virtq_wait(q, WAIT_TICKS, &id, ret_len) && id == head;
}
