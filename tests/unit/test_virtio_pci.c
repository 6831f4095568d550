/* virtio over PCI: what a device is, and its life: features, status, queues, reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "virtio_pci_driver.h"

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
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
