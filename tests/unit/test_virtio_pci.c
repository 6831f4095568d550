#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/pci/virtio_pci.h"

/* The specification's own numbers (virtio 1.2, 4.1.4.3, 2.1, 2.2, 5). */
#define DFSELECT   0x00
#define DF         0x04
#define GFSELECT   0x08
#define GF         0x0c
#define CVECTOR    0x10
#define NUMQ       0x12
#define DSTATUS    0x14
#define GENERATION 0x15
#define QSELECT    0x16
#define QSIZE      0x18
#define QVECTOR    0x1a
#define QENABLE    0x1c
#define QNOFF      0x1e
#define QDESC      0x20
#define QDRIVER    0x28
#define QDEVICE    0x30

#define ACK         1
#define DRIVER      2
#define DRIVER_OK   4
#define FEATURES_OK 8
#define NEEDS_RESET 0x40
#define FAILED      0x80

#define VERSION_1  (1ULL << 32)
#define EVENT_IDX  (1ULL << 29)
#define INDIRECT   (1ULL << 28)
#define PLATFORM   (1ULL << 33)
#define OWN        (1ULL << 9 | 1ULL << 50) /* of the device */
#define NO_VECTOR  0xffff
#define TYPE_BLOCK 2
#define TYPE_RNG   4
#define QUEUES     3
#define SIZE_MAX_  256
#define SLOT       5
#define CONFIG_LEN 60

static struct pci_bus bus;
static struct virtio_pci v;
static uint8_t config[CONFIG_LEN];

/* What the device was told. */
static struct {
        unsigned int starts, stops, writes, windows, notifies, vectors, queue_vectors, sends;
        uint32_t write_off, write_len;
        uint8_t write_data[8];
        uint64_t window;
        bool window_decoded;
        unsigned int notified, vector, queue, sent;
        uint32_t pending; /* what vector_pending() answers */
} told;

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

static uint64_t bar_base(unsigned int bar)
{
        return v.pci.bars[bar].base;
}

static uint64_t mmio_get(uint64_t address, unsigned int width)
{
        uint64_t value = 0;

        assert_true(pci_mmio_read(&bus, address, (uint8_t *)&value, width));
        return value;
}

static void mmio_set(uint64_t address, unsigned int width, uint64_t value)
{
        assert_true(pci_mmio_write(&bus, address, (const uint8_t *)&value, width));
}

static uint64_t get(uint32_t off, unsigned int width)
{
        return mmio_get(bar_base(0) + off, width);
}

static void set(uint32_t off, unsigned int width, uint64_t value)
{
        mmio_set(bar_base(0) + off, width, value);
}

static uint64_t config_get(uint32_t off, unsigned int width)
{
        return mmio_get(LAYOUT_ECAM + (SLOT << 15 | off), width);
}

static void config_set(uint32_t off, unsigned int width, uint64_t value)
{
        mmio_set(LAYOUT_ECAM + (SLOT << 15 | off), width, value);
}

static void device_new(uint16_t type, uint64_t offered, uint32_t config_bytes)
{
        memset(&told, 0, sizeof(told));
        for (unsigned int i = 0; i < sizeof(config); i++)
                config[i] = (uint8_t)(0x80 + i);
        pci_init(&bus);
        virtio_pci_init(&v, type, offered, QUEUES, SIZE_MAX_, config, config_bytes, &ops, &told);
        assert_int_equal(pci_add(&bus, &v.pci, SLOT), 0);
        config_set(4, 2, 6); /* memory space, bus master */
}

static int setup(void **state)
{
        device_new(TYPE_BLOCK, OWN | INDIRECT | EVENT_IDX, CONFIG_LEN);
        return 0;
}

static void status_is(uint8_t want)
{
        assert_int_equal(get(DSTATUS, 1), want);
}

static void features_set(uint64_t features)
{
        set(GFSELECT, 4, 0);
        set(GF, 4, (uint32_t)features);
        set(GFSELECT, 4, 1);
        set(GF, 4, (uint32_t)(features >> 32));
}

static uint64_t features_get(uint32_t select, uint32_t word)
{
        uint64_t features;

        set(select, 4, 0);
        features = get(word, 4);
        set(select, 4, 1);
        return features | get(word, 4) << 32;
}

static void negotiate(void)
{
        set(DSTATUS, 1, ACK);
        set(DSTATUS, 1, ACK | DRIVER);
        features_set(VERSION_1 | INDIRECT);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK);
        status_is(ACK | DRIVER | FEATURES_OK);
}

static void queue_set_up(unsigned int queue, uint16_t size)
{
        set(QSELECT, 2, queue);
        set(QSIZE, 2, size);
        set(QDESC, 8, 0x10000 * (queue + 1));
        set(QDRIVER, 8, 0x10000 * (queue + 1) + 0x8000);
        set(QDEVICE, 8, 0x10000 * (queue + 1) + 0xc000);
        set(QENABLE, 2, 1);
}

static void start(void)
{
        negotiate();
        queue_set_up(0, 64);
        queue_set_up(2, SIZE_MAX_);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_int_equal(told.starts, 1);
        virtio_pci_started(&v, true);
}

static uint32_t capability(uint8_t id, uint8_t kind)
{
        uint32_t at = (uint32_t)config_get(0x34, 1);

        for (unsigned int i = 0; at != 0 && i < 32; i++) {
                if (config_get(at, 1) == id && (id != 9 || config_get(at + 3, 1) == kind))
                        return at;
                at = (uint32_t)config_get(at + 1, 1);
        }
        return 0;
}

static uint64_t table_entry(unsigned int vector)
{
        return bar_base(1) + 16 * vector;
}

static void msix_control(uint16_t value)
{
        config_set(capability(0x11, 0) + 2, 2, value);
}

static void vector_set_up(unsigned int vector)
{
        mmio_set(table_entry(vector), 8, 0xfee00000);
        mmio_set(table_entry(vector) + 8, 4, 0x30 + vector);
        mmio_set(table_entry(vector) + 12, 4, 0);
}

/* ---- identity and capabilities ---- */

static void identity(void **state)
{
        static const struct {
                uint16_t type;
                uint32_t class;
        } types[] = {{1, 0x020000}, {2, 0x010000}, {3, 0x078000}, {4, 0x00ff00}, {8, 0x010000}, {26, 0x00ff00}};

        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
                device_new(types[i].type, 0, CONFIG_LEN);
                assert_int_equal(config_get(0, 2), 0x1af4);
                assert_int_equal(config_get(2, 2), 0x1040 + types[i].type);
                assert_int_equal(config_get(8, 1), 1);
                assert_int_equal(config_get(8, 4) >> 8, types[i].class);
                assert_int_equal(config_get(0x0e, 1), 0);
                assert_int_equal(config_get(0x2c, 2), 0x1af4);
                assert_int_equal(config_get(0x2e, 2), 0x1040 + types[i].type);
                assert_int_equal(config_get(0x3d, 1), 0);
                assert_int_equal(config_get(6, 2), 0x10);
        }
}

static void structure_is(uint8_t kind, uint8_t cap_len, uint32_t off, uint32_t len)
{
        uint32_t at = capability(9, kind);

        assert_true(at >= 0x40 && at % 4 == 0);
        assert_int_equal(config_get(at + 2, 1), cap_len);
        assert_int_equal(config_get(at + 4, 4), 0); /* BAR, id */
        assert_int_equal(config_get(at + 8, 4), off);
        assert_int_equal(config_get(at + 12, 4), len);
}

static void capabilities(void **state)
{
        uint32_t at;

        structure_is(1, 16, VIRTIO_PCI_COMMON_OFF, 56);
        structure_is(2, 20, VIRTIO_PCI_NOTIFY_OFF, 4 * QUEUES);
        structure_is(3, 16, VIRTIO_PCI_ISR_OFF, 1);
        structure_is(4, 16, VIRTIO_PCI_DEVICE_OFF, CONFIG_LEN);
        structure_is(5, 20, 0, 0);
        assert_int_equal(config_get(capability(9, 2) + 16, 4), 4); /* multiplier */
        at = capability(0x11, 0);
        assert_int_equal(config_get(at + 2, 2), QUEUES); /* vectors less one */
        assert_int_equal(config_get(at + 4, 4), 2);      /* table: BAR 2, at 0 */
        assert_int_equal(config_get(at + 8, 4), MSIX_PBA_OFF | 2);
        assert_true(v.pci.bars[0].size_bytes >= VIRTIO_PCI_NOTIFY_OFF + 4 * VIRTIO_PCI_QUEUES_MAX);

        device_new(TYPE_RNG, 0, 0);
        assert_int_equal(capability(9, 4), 0); /* nothing to configure */
        assert_int_equal(get(VIRTIO_PCI_DEVICE_OFF, 4), 0);
}

/* ---- features and status ---- */

static void features_offered(void **state)
{
        assert_true(features_get(DFSELECT, DF) == (OWN | INDIRECT | EVENT_IDX | VERSION_1));
        set(DFSELECT, 4, 2);
        assert_int_equal(get(DF, 4), 0);
        set(DFSELECT, 4, 0xffffffff);
        assert_int_equal(get(DF, 4), 0);
        assert_int_equal(get(DFSELECT, 4), 0xffffffff);
        set(DF, 4, 0); /* read only */
        assert_true(features_get(DFSELECT, DF) == (OWN | INDIRECT | EVENT_IDX | VERSION_1));
        /* Whatever the device says, no bit of a transport or ring that is not understood. */
        device_new(TYPE_BLOCK, UINT64_MAX, CONFIG_LEN);
        assert_true(features_get(DFSELECT, DF) ==
                    ((UINT64_MAX & ~0x3ffff000000ULL) | INDIRECT | EVENT_IDX | VERSION_1));
}

static void features_ok_is_earned(void **state)
{
        static const struct {
                uint64_t features;
                bool ok;
        } cases[] = {
                {0, false},
                {INDIRECT, false},
                {VERSION_1, true},
                {VERSION_1 | OWN | INDIRECT | EVENT_IDX, true},
                {VERSION_1 | PLATFORM, false},
                {VERSION_1 | 1, false},
                {VERSION_1 | 1ULL << 63, false},
                {VERSION_1 | 1ULL << 34, false}, /* packed ring */
                {UINT64_MAX, false},
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                set(DSTATUS, 1, 0);
                set(DSTATUS, 1, ACK | DRIVER);
                features_set(cases[i].features);
                assert_true(features_get(GFSELECT, GF) == cases[i].features);
                set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK);
                status_is(ACK | DRIVER | (cases[i].ok ? FEATURES_OK : 0));
                set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
                status_is(ACK | DRIVER | (cases[i].ok ? FEATURES_OK | DRIVER_OK : 0));
                assert_int_equal(told.starts, cases[i].ok);
                if (cases[i].ok) {
                        told.starts = 0;
                        set(DSTATUS, 1, 0);
                        virtio_pci_stopped(&v);
                }
        }
}

static void features_freeze(void **state)
{
        negotiate();
        features_set(VERSION_1 | OWN);
        assert_true(features_get(GFSELECT, GF) == (VERSION_1 | INDIRECT));
        assert_true(v.negotiated == (VERSION_1 | INDIRECT));
        set(GFSELECT, 4, 2); /* bits that nobody has */
        set(GF, 4, 0xffffffff);
        assert_int_equal(get(GF, 4), 0);
        set(DSTATUS, 1, 0);
        assert_true(features_get(GFSELECT, GF) == 0);
        set(GFSELECT, 4, 32);
        set(GF, 4, 0xffffffff);
        assert_true(features_get(GFSELECT, GF) == 0);
}

static void status_bits(void **state)
{
        status_is(0);
        set(DSTATUS, 1, ACK);
        set(DSTATUS, 1, DRIVER); /* nothing is taken back */
        status_is(ACK | DRIVER);
        set(DSTATUS, 1, 0x30 | NEEDS_RESET); /* not the driver's */
        status_is(ACK | DRIVER);
        set(DSTATUS, 1, DRIVER_OK);
        status_is(ACK | DRIVER);
        set(DSTATUS, 1, FAILED);
        status_is(ACK | DRIVER | FAILED);
        features_set(VERSION_1);
        set(DSTATUS, 1, FEATURES_OK | DRIVER_OK); /* a driver that has given up starts nothing */
        status_is(ACK | DRIVER | FAILED | FEATURES_OK);
        assert_int_equal(told.starts + told.stops, 0);
        set(DSTATUS, 1, 0);
        status_is(0);
        assert_int_equal(told.stops, 0); /* nothing ran */
}

static void all_at_once(void **state)
{
        features_set(VERSION_1);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_int_equal(told.starts, 1);
}

/* ---- queues ---- */

static void queues_at_reset(void **state)
{
        assert_int_equal(get(NUMQ, 2), QUEUES);
        for (unsigned int i = 0; i < QUEUES; i++) {
                set(QSELECT, 2, i);
                assert_int_equal(get(QSELECT, 2), i);
                assert_int_equal(get(QSIZE, 2), SIZE_MAX_);
                assert_int_equal(get(QVECTOR, 2), NO_VECTOR);
                assert_int_equal(get(QENABLE, 2), 0);
                assert_int_equal(get(QNOFF, 2), i);
                assert_true(get(QDESC, 8) == 0 && get(QDRIVER, 8) == 0 && get(QDEVICE, 8) == 0);
        }
}

static void no_such_queue(void **state)
{
        static const uint16_t beyond[] = {QUEUES, VIRTIO_PCI_QUEUES_MAX, 0x8000, 0xffff};

        negotiate();
        for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
                struct virtio_pci before;

                set(QSELECT, 2, beyond[i]);
                before = v;
                assert_int_equal(get(QSELECT, 2), beyond[i]);
                assert_int_equal(get(QSIZE, 2), 0);
                assert_int_equal(get(QVECTOR, 2), NO_VECTOR);
                for (uint32_t off = QENABLE; off < QDESC; off += 2)
                        assert_int_equal(get(off, 2), 0);
                for (uint32_t off = QDESC; off < 56; off += 8)
                        assert_int_equal(get(off, 8), 0);
                set(QSIZE, 2, 4);
                set(QVECTOR, 2, 0);
                set(QDESC, 8, 16);
                set(QENABLE, 2, 1);
                assert_memory_equal(&v, &before, sizeof(v));
        }
        status_is(ACK | DRIVER | FEATURES_OK);
}

static void queue_fields_remember(void **state)
{
        negotiate();
        set(QSELECT, 2, 1);
        set(QSIZE, 2, 8);
        set(QDESC, 4, 0x11111110);
        set(QDESC + 4, 4, 1);
        set(QDRIVER + 4, 4, 2);
        set(QDRIVER, 4, 0x22222222);
        set(QDEVICE, 8, 0x333333334ULL);
        set(QNOFF, 2, 9);
        set(NUMQ, 2, 9);
        assert_int_equal(get(QSIZE, 2), 8);
        assert_true(get(QDESC, 8) == 0x111111110ULL);
        assert_int_equal(get(QDESC, 4), 0x11111110);
        assert_int_equal(get(QDESC + 4, 4), 1);
        assert_true(get(QDRIVER, 8) == 0x222222222ULL);
        assert_true(get(QDEVICE, 8) == 0x333333334ULL);
        assert_int_equal(get(QNOFF, 2), 1);
        assert_int_equal(get(NUMQ, 2), QUEUES);
        set(QENABLE, 2, 2); /* only 1 enables */
        set(QENABLE, 2, 0);
        assert_int_equal(get(QENABLE, 2), 0);
        set(QENABLE, 2, 1);
        assert_int_equal(get(QENABLE, 2), 1);
        assert_true(v.queues[1].enabled && v.queues[1].size == 8 && v.queues[1].descriptors == 0x111111110ULL);
        assert_false(v.queues[0].enabled || v.queues[2].enabled);
        /* enabled: it stays as it is */
        set(QSIZE, 2, 16);
        set(QDESC, 8, 0);
        set(QENABLE, 2, 0);
        assert_int_equal(get(QSIZE, 2), 8);
        assert_true(get(QDESC, 8) == 0x111111110ULL);
        assert_int_equal(get(QENABLE, 2), 1);
        status_is(ACK | DRIVER | FEATURES_OK);
}

static void unsound_queues(void **state)
{
        static const struct {
                uint16_t size;
                uint64_t descriptors, driver, device;
                bool sound;
        } cases[] = {
                {1, 0x10, 2, 4, true},
                {SIZE_MAX_, 0, 0, 0, true}, /* whether there is RAM is not asked here */
                {0, 0x10, 2, 4, false},
                {3, 0x10, 2, 4, false},
                {SIZE_MAX_ - 1, 0x10, 2, 4, false},
                {2 * SIZE_MAX_, 0x10, 2, 4, false},
                {0x8000, 0x10, 2, 4, false},
                {4, 8, 2, 4, false},
                {4, 0x10, 1, 4, false},
                {4, 0x10, 2, 2, false},
                {4, 0xfffffffffffffff0, 2, 4, false}, /* it would wrap */
                {4, 0x10, 0xfffffffffffffffe, 4, false},
                {4, 0x10, 2, 0xfffffffffffffffc, false},
                {4, 0xffffffffffffffb0, 0xfffffffffffffff0, 0xffffffffffffffd8, true}, /* ends just before */
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                set(DSTATUS, 1, 0);
                negotiate();
                set(QSELECT, 2, 2);
                set(QSIZE, 2, cases[i].size);
                set(QDESC, 8, cases[i].descriptors);
                set(QDRIVER, 8, cases[i].driver);
                set(QDEVICE, 8, cases[i].device);
                set(QENABLE, 2, 1);
                assert_int_equal(get(QENABLE, 2), cases[i].sound);
                status_is(ACK | DRIVER | FEATURES_OK | (cases[i].sound ? 0 : NEEDS_RESET));
                if (cases[i].sound)
                        continue;
                set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
                assert_int_equal(told.starts, 0);
                status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
                set(DSTATUS, 1, 0); /* at once: nothing ran */
                status_is(0);
        }
        assert_int_equal(told.stops, 0);
}

static void frozen_at_driver_ok(void **state)
{
        struct virtio_pci_queue before[QUEUES];

        start();
        memcpy(before, v.queues, sizeof(before));
        for (unsigned int i = 0; i < QUEUES; i++)
                queue_set_up(i, 2);
        features_set(0);
        assert_memory_equal(before, v.queues, sizeof(before));
        assert_true(v.negotiated == (VERSION_1 | INDIRECT));
        assert_int_equal(told.starts, 1);
}

/* ---- reset ---- */

static void fresh(void)
{
        status_is(0);
        assert_int_equal(get(QSELECT, 2), 0);
        assert_int_equal(get(CVECTOR, 2), NO_VECTOR);
        assert_int_equal(get(DFSELECT, 4), 0);
        assert_int_equal(get(GFSELECT, 4), 0);
        assert_true(features_get(GFSELECT, GF) == 0);
        queues_at_reset(NULL);
}

static void reset_waits_for_the_device(void **state)
{
        start();
        set(CVECTOR, 2, 1);
        set(DSTATUS, 1, 0);
        assert_int_equal(told.stops, 1);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK); /* not yet */
        /* Meanwhile the guest's writes are lost. */
        set(DSTATUS, 1, 0);
        set(DSTATUS, 1, ACK);
        set(CVECTOR, 2, 2);
        set(QSELECT, 2, 1);
        set(VIRTIO_PCI_DEVICE_OFF, 4, 1);
        set(VIRTIO_PCI_NOTIFY_OFF, 2, 0);
        virtio_pci_needs_reset(&v);
        assert_int_equal(told.stops, 1);
        assert_int_equal(told.writes + told.notifies, 0);
        assert_int_equal(get(CVECTOR, 2), 1);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        virtio_pci_stopped(&v);
        fresh();
        told.starts = 0;
        start(); /* and it can be driven again */
        assert_int_equal(told.stops, 1);
}

static void reset_while_starting(void **state)
{
        negotiate();
        queue_set_up(0, 4);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        set(DSTATUS, 1, 0);
        assert_int_equal(told.stops, 1);
        virtio_pci_started(&v, false); /* too late to matter */
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        virtio_pci_stopped(&v);
        fresh();
        virtio_pci_started(&v, false);
        virtio_pci_stopped(&v);
        status_is(0);
        assert_int_equal(told.stops, 1);
}

static void answers_that_nobody_waits_for(void **state)
{
        virtio_pci_started(&v, true);
        virtio_pci_started(&v, false);
        virtio_pci_stopped(&v);
        virtio_pci_needs_reset(&v);
        status_is(0);
        start();
        virtio_pci_stopped(&v);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_true(v.queues[0].enabled);
}

static void failed_start(void **state)
{
        vector_set_up(QUEUES);
        msix_control(0x8000);
        negotiate();
        set(CVECTOR, 2, QUEUES);
        set(DSTATUS, 1, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
        virtio_pci_started(&v, false);
        status_is(ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
        assert_int_equal(told.sends, 1);
        assert_int_equal(told.sent, QUEUES);
        virtio_pci_needs_reset(&v); /* it is known already */
        assert_int_equal(told.sends, 1);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 2);
        set(DSTATUS, 1, 0);
        assert_int_equal(told.stops, 1);
        virtio_pci_stopped(&v);
        fresh();
}

static void needs_reset_before_driver_ok(void **state)
{
        set(DSTATUS, 1, ACK);
        virtio_pci_needs_reset(&v);
        status_is(ACK | NEEDS_RESET);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 0); /* no interrupt before DRIVER_OK */
        set(DSTATUS, 1, 0);
        status_is(0);
}

/* ---- interrupts ---- */

static void vectors_are_checked(void **state)
{
        negotiate();
        for (unsigned int vector = 0; vector <= 0xffff; vector += vector < 20 ? 1 : 0x1fff) {
                uint16_t want = vector <= QUEUES ? (uint16_t)vector : NO_VECTOR;

                set(CVECTOR, 2, vector);
                assert_int_equal(get(CVECTOR, 2), want);
                set(QSELECT, 2, 1);
                set(QVECTOR, 2, vector);
                assert_int_equal(get(QVECTOR, 2), want);
                assert_int_equal(v.queues[1].vector, want);
        }
}

static void queue_vectors_are_told(void **state)
{
        set(QSELECT, 2, 1);
        set(QVECTOR, 2, 2);
        assert_int_equal(told.queue_vectors, 1);
        assert_int_equal(told.queue, 1);
        set(QVECTOR, 2, 2);
        assert_int_equal(told.queue_vectors, 1);
        set(QVECTOR, 2, 100);
        assert_int_equal(told.queue_vectors, 2);
        set(QVECTOR, 2, NO_VECTOR);
        assert_int_equal(told.queue_vectors, 2);
        start();
        set(QSELECT, 2, 2);
        set(QVECTOR, 2, 3); /* also while it runs */
        assert_int_equal(told.queue_vectors, 3);
        set(DSTATUS, 1, 0);
        assert_int_equal(told.queue_vectors, 3);
        virtio_pci_stopped(&v);
        assert_int_equal(told.queue_vectors, 4);
        assert_int_equal(told.queue, 2);
        assert_int_equal(v.queues[2].vector, NO_VECTOR);
}

static void messages_are_told(void **state)
{
        struct msix_message message;

        vector_set_up(1);
        assert_int_equal(told.vectors, 0); /* disabled: there is none */
        msix_control(0x8000);
        assert_int_equal(told.vectors, QUEUES + 1); /* those that are masked, too: what they signal waits now */
        assert_int_equal(told.vector, 1);
        told.vectors = 1;
        assert_true(msix_get(&v.msix, 1, &message));
        assert_int_equal(message.data, 0x31);
        msix_control(0x8000);
        mmio_set(table_entry(1) + 8, 4, 0x31);
        assert_int_equal(told.vectors, 1);
        mmio_set(table_entry(1) + 8, 4, 0x41); /* another message */
        assert_int_equal(told.vectors, 2);
        mmio_set(table_entry(1), 4, 0xfee01000);
        assert_int_equal(told.vectors, 3);
        mmio_set(table_entry(1) + 12, 4, 1);
        assert_int_equal(told.vectors, 4);
        mmio_set(table_entry(1) + 8, 4, 0x51); /* while masked */
        assert_int_equal(told.vectors, 4);
        mmio_set(table_entry(1) + 8, 8, 0x61); /* message and mask at once */
        assert_int_equal(told.vectors, 5);
        msix_control(0xc000); /* function mask */
        assert_int_equal(told.vectors, 6);
        assert_false(msix_get(&v.msix, 1, &message));
        msix_control(0x8000);
        assert_int_equal(told.vectors, 7);
        assert_true(msix_get(&v.msix, 1, &message));
        assert_int_equal(message.data, 0x61);
        config_set(4, 2, 2); /* no bus master */
        assert_int_equal(told.vectors, 8);
        assert_false(msix_get(&v.msix, 1, &message));
        config_set(4, 2, 6);
        assert_int_equal(told.vectors, 9);
        config_set(capability(0x11, 0) + 3, 1, 0); /* by the byte */
        assert_int_equal(told.vectors, 10 + QUEUES);
        assert_int_equal(config_get(capability(0x11, 0) + 2, 2), QUEUES);
}

static void config_changes_interrupt(void **state)
{
        uint8_t changed[CONFIG_LEN] = {1, 2, 3, 4};

        vector_set_up(2);
        msix_control(0x8000);
        set(CVECTOR, 2, 2);
        virtio_pci_config_changed(&v, changed, sizeof(changed));
        assert_int_equal(get(GENERATION, 1), 1);
        assert_int_equal(get(VIRTIO_PCI_DEVICE_OFF, 4), 0x04030201);
        assert_int_equal(told.sends, 0); /* nobody drives it yet */
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 0);
        start();
        virtio_pci_config_changed(&v, changed, sizeof(changed));
        assert_int_equal(told.sends, 1);
        assert_int_equal(told.sent, 2);
        assert_int_equal(get(GENERATION, 1), 2);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 2);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 0); /* reading clears */
        set(CVECTOR, 2, NO_VECTOR);
        virtio_pci_config_changed(&v, config, 2); /* less than there is */
        assert_int_equal(told.sends, 1);
        assert_int_equal(get(VIRTIO_PCI_DEVICE_OFF, 4), 0x04038180);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 2), 0); /* one byte, not two: nothing is cleared */
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF + 1, 1), 0);
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 2);
        set(GENERATION, 1, 77);
        assert_int_equal(get(GENERATION, 1), 3);
        set(DSTATUS, 1, 0);
        virtio_pci_config_changed(&v, changed, sizeof(changed));
        assert_int_equal(get(VIRTIO_PCI_ISR_OFF, 1), 0);
        virtio_pci_stopped(&v);
        assert_int_equal(get(GENERATION, 1), 4); /* a reset does not turn it back */
}

static void masked_config_interrupts_wait(void **state)
{
        const uint64_t pba = bar_base(1) + MSIX_PBA_OFF;

        msix_control(0x8000);
        set(CVECTOR, 2, 3);
        start();
        virtio_pci_config_changed(&v, config, sizeof(config));
        virtio_pci_config_changed(&v, config, sizeof(config));
        assert_int_equal(told.sends, 0);
        assert_int_equal(mmio_get(pba, 8), 1 << 3);
        vector_set_up(3);
        assert_int_equal(told.sends, 1); /* once */
        assert_int_equal(told.sent, 3);
        assert_int_equal(mmio_get(pba, 8), 0);
        config_set(4, 2, 2);
        virtio_pci_config_changed(&v, config, sizeof(config));
        assert_int_equal(mmio_get(pba, 4), 1 << 3);
        msix_control(0xc000);
        config_set(4, 2, 6);
        assert_int_equal(told.sends, 1);
        msix_control(0x8000);
        assert_int_equal(told.sends, 2);
        /* Disabled, it is lost; a reset forgets it too. */
        msix_control(0);
        virtio_pci_config_changed(&v, config, sizeof(config));
        msix_control(0x8000);
        assert_int_equal(told.sends, 2);
        msix_control(0xc000);
        virtio_pci_config_changed(&v, config, sizeof(config));
        set(DSTATUS, 1, 0);
        virtio_pci_stopped(&v);
        msix_control(0x8000);
        assert_int_equal(told.sends, 2);
}

static void pending_bits_of_queues(void **state)
{
        const uint64_t pba = bar_base(1) + MSIX_PBA_OFF;

        told.pending = 0xffffffff;
        vector_set_up(1);
        msix_control(0x8000);
        assert_int_equal(mmio_get(pba, 8), 0xd); /* four vectors; what is not masked does not wait */
        assert_int_equal(mmio_get(pba, 4), 0xd);
        assert_int_equal(mmio_get(pba + 4, 4), 0);
        assert_int_equal(mmio_get(pba, 1), 0);
        mmio_set(pba, 8, 0);
        told.pending = 1;
        assert_int_equal(mmio_get(pba, 8), 1);
}

/* ---- the other structures ---- */

static void device_configuration(void **state)
{
        for (unsigned int width = 1; width <= 8; width *= 2)
                for (uint32_t off = 0; off < CONFIG_LEN + 16; off++) {
                        uint64_t want = 0;

                        if (off < CONFIG_LEN)
                                memcpy(&want, config + off, off + width > CONFIG_LEN ? CONFIG_LEN - off : width);
                        assert_true(get(VIRTIO_PCI_DEVICE_OFF + off, width) == want);
                }
        assert_int_equal(get(VIRTIO_PCI_NOTIFY_OFF - 8, 8), 0);
        set(VIRTIO_PCI_DEVICE_OFF, 4, 1);
        assert_int_equal(told.writes, 0); /* the features are not settled */
        negotiate();
        set(VIRTIO_PCI_DEVICE_OFF + 4, 2, 0x1234);
        assert_int_equal(told.writes, 1);
        assert_int_equal(told.write_off, 4);
        assert_int_equal(told.write_len, 2);
        assert_memory_equal(told.write_data, "\x34\x12", 2);
        set(VIRTIO_PCI_DEVICE_OFF + CONFIG_LEN - 8, 8, 0x0102030405060708);
        assert_int_equal(told.writes, 2);
        assert_memory_equal(told.write_data, "\10\7\6\5\4\3\2\1", 8);
        set(VIRTIO_PCI_DEVICE_OFF + CONFIG_LEN - 1, 2, 0);
        set(VIRTIO_PCI_DEVICE_OFF + CONFIG_LEN, 1, 0);
        set(VIRTIO_PCI_NOTIFY_OFF - 1, 1, 0);
        assert_int_equal(told.writes, 2);
        assert_memory_equal(v.config, config, CONFIG_LEN); /* the device says what became of it */
}

static void notifications(void **state)
{
        set(VIRTIO_PCI_NOTIFY_OFF, 2, 0);
        assert_int_equal(told.notifies, 0); /* nothing runs */
        start();
        set(VIRTIO_PCI_NOTIFY_OFF + 8, 2, 2);
        assert_int_equal(told.notifies, 1);
        assert_int_equal(told.notified, 2);
        set(VIRTIO_PCI_NOTIFY_OFF, 4, 0);
        assert_int_equal(told.notifies, 2);
        assert_int_equal(told.notified, 0);
        set(VIRTIO_PCI_NOTIFY_OFF + 4, 2, 1); /* not enabled */
        set(VIRTIO_PCI_NOTIFY_OFF + 2, 2, 0); /* nobody's address */
        for (uint32_t off = 4 * QUEUES; off < 0x1000; off += 4)
                set(VIRTIO_PCI_NOTIFY_OFF + off, 2, 0);
        assert_int_equal(told.notifies, 2);
        assert_int_equal(get(VIRTIO_PCI_NOTIFY_OFF, 4), 0);
}

static void the_window_of_notifications_moves(void **state)
{
        const uint64_t place = LAYOUT_PCI_WINDOW + 0x40000;

        assert_int_equal(told.windows, 1);
        assert_true(told.window_decoded && told.window == bar_base(0) + VIRTIO_PCI_NOTIFY_OFF);
        config_set(0x10, 4, place);
        assert_int_equal(told.windows, 3);
        assert_true(told.window_decoded && told.window == place + VIRTIO_PCI_NOTIFY_OFF);
        config_set(0x18, 4, place + 0x10000); /* MSI-X: not of interest */
        assert_int_equal(told.windows, 3);
        config_set(4, 2, 0);
        assert_int_equal(told.windows, 4);
        assert_false(told.window_decoded);
        assert_true(told.window == place + VIRTIO_PCI_NOTIFY_OFF);
}

/* Each field in its own width, and nothing else; 8 bytes for a whole address. */
static void other_accesses_do_nothing(void **state)
{
        static const uint8_t widths[56] = {
                [DFSELECT] = 4, [DF] = 4,          [GFSELECT] = 4,   [GF] = 4,          [CVECTOR] = 2,
                [NUMQ] = 2,     [DSTATUS] = 1,     [GENERATION] = 1, [QSELECT] = 2,     [QSIZE] = 2,
                [QVECTOR] = 2,  [QENABLE] = 2,     [QNOFF] = 2,      [QDESC] = 4,       [QDESC + 4] = 4,
                [QDRIVER] = 4,  [QDRIVER + 4] = 4, [QDEVICE] = 4,    [QDEVICE + 4] = 4,
        };

        negotiate();
        queue_set_up(0, 8);
        set(QSELECT, 2, 0);
        for (unsigned int width = 1; width <= 8; width *= 2)
                for (uint32_t off = 0; off < VIRTIO_PCI_ISR_OFF; off++) {
                        struct virtio_pci before = v;

                        if (off < sizeof(widths) &&
                            (widths[off] == width || (width == 8 && off >= QDESC && off % 8 == 0)))
                                continue;
                        assert_true(get(off, width) == 0);
                        set(off, width, UINT64_MAX);
                        assert_memory_equal(&v, &before, sizeof(v));
                }
        assert_int_equal(told.starts + told.stops, 0);
}

/* ---- PCI configuration access (4.1.4.9) ---- */

static void window_aim(uint8_t bar, uint32_t off, uint32_t len)
{
        uint32_t at = capability(9, 5);

        config_set(at + 4, 1, bar);
        config_set(at + 8, 4, off);
        config_set(at + 12, 4, len);
}

static void configuration_access(void **state)
{
        const uint32_t data = capability(9, 5) + 16;

        config_set(4, 2, 0); /* it needs no BAR that is decoded */
        config_set(data, 4, 0x12345678);
        assert_int_equal(config_get(data, 4), 0); /* not aimed */
        window_aim(0, NUMQ, 2);
        assert_int_equal(config_get(data, 4), QUEUES);
        assert_int_equal(config_get(data, 2), QUEUES);
        window_aim(0, DSTATUS, 1);
        config_set(data, 1, ACK);
        assert_int_equal(v.status, ACK);
        config_set(data, 4, ACK | DRIVER | 0xffffff00);
        assert_int_equal(v.status, ACK | DRIVER);
        assert_int_equal(config_get(data, 1), ACK | DRIVER);
        window_aim(0, QSELECT, 2);
        config_set(data, 2, 2);
        assert_int_equal(v.queue_select, 2);
        window_aim(2, 16, 4);
        config_set(data, 4, 0xfee03000);
        assert_int_equal(v.msix.table[1].address_lo, 0xfee03000);
        assert_int_equal(config_get(data, 4), 0xfee03000);
        window_aim(0, VIRTIO_PCI_DEVICE_OFF + 1, 1);
        assert_int_equal(config_get(data, 1), 0x81);
}

static void configuration_access_notifies(void **state)
{
        const uint32_t data = capability(9, 5) + 16;

        start();
        window_aim(0, VIRTIO_PCI_NOTIFY_OFF + 8, 2);
        config_set(data, 2, 2);
        assert_int_equal(told.notifies, 1);
        assert_int_equal(told.notified, 2);
}

static void configuration_access_is_bounded(void **state)
{
        static const struct {
                uint8_t bar;
                uint32_t off, len;
        } bad[] = {
                {0, 0, 0},
                {0, 0, 3},
                {0, 0, 8},
                {0, 0, 0xffffffff},
                {0, 1, 2},
                {0, 2, 4},
                {0, VIRTIO_PCI_REGISTERS_BYTES, 1},
                {0, 0xffffffff, 1},
                {0, 0xfffffffc, 4},
                {1, 0, 4},
                {2, MSIX_BAR_BYTES, 4},
                {3, 0, 4},
                {4, 0, 4},
                {0xff, 0, 4},
        };
        const uint32_t data = capability(9, 5) + 16;

        set(DFSELECT, 4, 1);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                window_aim(bad[i].bar, bad[i].off, bad[i].len);
                config_set(data, 4, 0x55555555);
                assert_int_equal(config_get(data, 4), 0);
                assert_int_equal(get(DFSELECT, 4), 1);
        }
        window_aim(0, VIRTIO_PCI_REGISTERS_BYTES - 4, 4);
        assert_int_equal(config_get(data, 4), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(identity, setup),
                cmocka_unit_test_setup(capabilities, setup),
                cmocka_unit_test_setup(features_offered, setup),
                cmocka_unit_test_setup(features_ok_is_earned, setup),
                cmocka_unit_test_setup(features_freeze, setup),
                cmocka_unit_test_setup(status_bits, setup),
                cmocka_unit_test_setup(all_at_once, setup),
                cmocka_unit_test_setup(queues_at_reset, setup),
                cmocka_unit_test_setup(no_such_queue, setup),
                cmocka_unit_test_setup(queue_fields_remember, setup),
                cmocka_unit_test_setup(unsound_queues, setup),
                cmocka_unit_test_setup(frozen_at_driver_ok, setup),
                cmocka_unit_test_setup(reset_waits_for_the_device, setup),
                cmocka_unit_test_setup(reset_while_starting, setup),
                cmocka_unit_test_setup(answers_that_nobody_waits_for, setup),
                cmocka_unit_test_setup(failed_start, setup),
                cmocka_unit_test_setup(needs_reset_before_driver_ok, setup),
                cmocka_unit_test_setup(vectors_are_checked, setup),
                cmocka_unit_test_setup(queue_vectors_are_told, setup),
                cmocka_unit_test_setup(messages_are_told, setup),
                cmocka_unit_test_setup(config_changes_interrupt, setup),
                cmocka_unit_test_setup(masked_config_interrupts_wait, setup),
                cmocka_unit_test_setup(pending_bits_of_queues, setup),
                cmocka_unit_test_setup(device_configuration, setup),
                cmocka_unit_test_setup(notifications, setup),
                cmocka_unit_test_setup(the_window_of_notifications_moves, setup),
                cmocka_unit_test_setup(other_accesses_do_nothing, setup),
                cmocka_unit_test_setup(configuration_access, setup),
                cmocka_unit_test_setup(configuration_access_notifies, setup),
                cmocka_unit_test_setup(configuration_access_is_bounded, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
