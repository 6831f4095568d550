/* virtio over PCI: interrupts, notifications, configuration, and the window to all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "virtio_pci_driver.h"

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
