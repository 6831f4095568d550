#include "virtio_pci_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct pci_bus bus;
struct virtio_pci v;
uint8_t config[CONFIG_LEN];

struct told told;

static void on_start(void *ctx)
{
        assert_ptr_equal(ctx, &told);
        assert_true(v.status & DRIVER_OK);
        told.starts++;
}

static void on_stop(void *ctx)
{
        told.stops++;
}

static void on_config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        told.writes++;
        told.write_off = off_bytes;
        told.write_len = len_bytes;
        memcpy(told.write_data, data, len_bytes);
}

static void on_notify_window(void *ctx, uint64_t base, bool decoded)
{
        told.windows++;
        told.window = base;
        told.window_decoded = decoded;
}

static void on_notify(void *ctx, unsigned int queue)
{
        told.notifies++;
        told.notified = queue;
}

static void on_vector_changed(void *ctx, unsigned int vector)
{
        told.vectors++;
        told.vector = vector;
}

static void on_queue_vector_changed(void *ctx, unsigned int queue)
{
        told.queue_vectors++;
        told.queue = queue;
}

static bool on_vector_pending(void *ctx, unsigned int vector)
{
        return told.pending >> vector & 1;
}

static void on_vector_send(void *ctx, unsigned int vector)
{
        struct msix_message message;

        assert_true(msix_get(&v.msix, vector, &message));
        told.sends++;
        told.sent = vector;
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

/* ---- a driver ---- */

uint64_t bar_base(unsigned int bar)
{
        return v.pci.bars[bar].base;
}

uint64_t mmio_get(uint64_t address, unsigned int width)
{
        uint64_t value = 0;

        assert_true(pci_mmio_read(&bus, address, (uint8_t *)&value, width));
        return value;
}

void mmio_set(uint64_t address, unsigned int width, uint64_t value)
{
        assert_true(pci_mmio_write(&bus, address, (const uint8_t *)&value, width));
}

uint64_t get(uint32_t off, unsigned int width)
{
        return mmio_get(bar_base(0) + off, width);
}

void set(uint32_t off, unsigned int width, uint64_t value)
{
        mmio_set(bar_base(0) + off, width, value);
}

uint64_t config_get(uint32_t off, unsigned int width)
{
        return mmio_get(LAYOUT_ECAM + (SLOT << 15 | off), width);
}

void config_set(uint32_t off, unsigned int width, uint64_t value)
{
        mmio_set(LAYOUT_ECAM + (SLOT << 15 | off), width, value);
}

void device_new(uint16_t type, uint64_t offered, uint32_t config_bytes)
{
        memset(&told, 0, sizeof(told));
        for (unsigned int i = 0; i < sizeof(config); i++)
                config[i] = (uint8_t)(0x80 + i);
        pci_init(&bus);
        virtio_pci_init(&v, type, offered, QUEUES, SIZE_MAX_, config, config_bytes, &ops, &told);
        assert_int_equal(pci_add(&bus, &v.pci, SLOT), 0);
        config_set(4, 2, 6); /* memory space, bus master */
}

int setup(void **state)
{
        device_new(TYPE_BLOCK, OWN | INDIRECT | EVENT_IDX, CONFIG_LEN);
        return 0;
}

void status_is(uint8_t want)
{
        assert_int_equal(get(DSTATUS, 1), want);
}

void features_set(uint64_t features)
{
        set(GFSELECT, 4, 0);
        set(GF, 4, (uint32_t)features);
        set(GFSELECT, 4, 1);
        set(GF, 4, (uint32_t)(features >> 32));
}

uint64_t features_get(uint32_t select, uint32_t word)
{
        uint64_t features;

        set(select, 4, 0);
        features = get(word, 4);
        set(select, 4, 1);
        return features | get(word, 4) << 32;
}

void negotiate(void)
{
        set(DSTATUS, 1, ACK);
        set(DSTATUS, 1, ACK | DRIVER);
        features_set(VERSION_1 | INDIRECT);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK);
        status_is(ACK | DRIVER | FEATURES_OK);
}

void queue_set_up(unsigned int queue, uint16_t size)
{
        set(QSELECT, 2, queue);
        set(QSIZE, 2, size);
        set(QDESC, 8, 0x10000 * (queue + 1));
        set(QDRIVER, 8, 0x10000 * (queue + 1) + 0x8000);
        set(QDEVICE, 8, 0x10000 * (queue + 1) + 0xc000);
        set(QENABLE, 2, 1);
}

void start(void)
{
        negotiate();
        queue_set_up(0, 64);
        queue_set_up(2, SIZE_MAX_);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_int_equal(told.starts, 1);
        virtio_pci_started(&v, true);
}

uint32_t capability(uint8_t id, uint8_t kind)
{
        uint32_t at = (uint32_t)config_get(0x34, 1);

        for (unsigned int i = 0; at != 0 && i < 32; i++) {
                if (config_get(at, 1) == id && (id != 9 || config_get(at + 3, 1) == kind))
                        return at;
                at = (uint32_t)config_get(at + 1, 1);
        }
        return 0;
}

uint64_t table_entry(unsigned int vector)
{
        return bar_base(1) + 16 * vector;
}

void msix_control(uint16_t value)
{
        config_set(capability(0x11, 0) + 2, 2, value);
}

void vector_set_up(unsigned int vector)
{
        mmio_set(table_entry(vector), 8, 0xfee00000);
        mmio_set(table_entry(vector) + 8, 4, 0x30 + vector);
        mmio_set(table_entry(vector) + 12, 4, 0);
}
