/*
 * hostile_transport: every register of virtio over PCI (virtio 1.2, 4.1) at every width and in every state, and what a
 * driver must never do with them: storms of resets and notifications, queues set up again while they run.
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           disk       the first disk, else the entropy device
 *           rounds=N   of each storm (default 500)
 *           case=NAME  only that case
 * Prints:   transport: NAME: REACTION     completed with a length and a disk's status, needs reset, ignored, or no
 * request transport: N cases, the device works Verdicts: 0, 1 (no device), 10, 11, 12 (lib/hostile.h) Needs:    nothing
 * of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/verdict.h"

#define WIDTHS    4U
#define COMMON    (VIRTIO_COMMON_BYTES + 8U) /* and a little of what follows */
#define EDGE      64U                        /* bytes at each end of a window of registers */
#define FAR       (1ULL << 52)
#define RUNNING   (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)
#define BAR_BYTES 0x10000U

static uint64_t rounds;

static const uint64_t values[] = {0, 1, 2, 0x8000, 0x5a5a5a5a5a5a5a5a, ~0ULL};

#define VALUES (sizeof(values) / sizeof(values[0]))

static void write_width(uint64_t at, unsigned int width, uint64_t value)
{
        if (width == 1)
                mmio_write8(at, (uint8_t)value);
        else if (width == 2)
                mmio_write16(at, (uint16_t)value);
        else if (width == 4)
                mmio_write32(at, (uint32_t)value);
        else
                mmio_write64(at, value);
}

static void read_width(uint64_t at, unsigned int width)
{
        if (width == 1)
                (void)mmio_read8(at);
        else if (width == 2)
                (void)mmio_read16(at);
        else if (width == 4)
                (void)mmio_read32(at);
        else
                (void)mmio_read64(at);
}

static void write_common(unsigned int reg, unsigned int width, uint64_t value)
{
        write_width(target.dev.common + reg, width, value);
}

/* From reset to that status, the queue set up on the way. */
static void enter(uint8_t status)
{
        (void)virtio_reset(&target.dev);
        if (status >= VIRTIO_FEATURES_OK)
                (void)virtio_negotiate(&target.dev, target.wanted);
        else
                virtio_set_status(&target.dev, status);
        if (status == RUNNING) {
                (void)virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
                virtio_go(&target.dev);
        }
}

/* Every offset, width and value; after each the state is entered again when it was left. */
static void sweep_common(uint64_t status)
{
        enter((uint8_t)status);
        for (unsigned int i = 0; i < COMMON * WIDTHS * VALUES; i++) {
                uint64_t at = target.dev.common + i / (WIDTHS * VALUES);
                unsigned int width = 1U << i / VALUES % WIDTHS;

                read_width(at, width);
                write_width(at, width, values[i % VALUES]);
                if (virtio_status(&target.dev) != status)
                        enter((uint8_t)status);
        }
}

static void sweep(uint64_t start, uint64_t len)
{
        for (uint64_t off = 0; off < len; off++) {
                if (off == EDGE && len > 2ULL * EDGE)
                        off = len - EDGE;
                for (unsigned int i = 0; i < WIDTHS * VALUES; i++) {
                        read_width(start + off, 1U << i / VALUES);
                        write_width(start + off, 1U << i / VALUES, values[i % VALUES]);
                }
        }
}

static void sweep_notify(uint64_t status)
{
        enter((uint8_t)status);
        sweep(target.dev.notify, target.dev.notify_bytes);
}

static void sweep_isr(uint64_t status)
{
        enter((uint8_t)status);
        sweep(target.dev.isr, 8);
}

static void sweep_device(uint64_t status)
{
        enter((uint8_t)status);
        if (target.dev.device)
                sweep(target.dev.device, target.dev.device_bytes + 8ULL);
}

static void sweep_msix(uint64_t enabled)
{
        struct pci_msix m = pci_msix_get(target.dev.slot);

        if (m.count == 0)
                return;
        pci_msix_control(&m, enabled ? PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK : 0);
        sweep(m.table, (uint64_t)m.count * PCI_MSIX_ENTRY_BYTES);
        sweep(m.pba, 16);
        pci_msix_control(&m, 0);
}

/* Reads and writes across all of each BAR, and over its end. Not its status: that is what sweep_common() is for. */
static void sweep_bars(uint64_t stride)
{
        for (unsigned int bar = 0; bar < PCI_BARS; bar++) {
                struct pci_bar b = pci_bar_get(target.dev.slot, bar);

                for (uint64_t off = 0; off < b.size && off < BAR_BYTES; off += stride) {
                        write_width(b.address + off, 1U << off % WIDTHS, ~off);
                        read_width(b.address + off, 1U << off % WIDTHS);
                }
                for (uint64_t back = 1; b.size && back < 8; back++) {
                        write_width(b.address + b.size - back, 8, 0);
                        read_width(b.address + b.size - back, 8);
                }
                bar += b.wide;
        }
}

static void status_from_reset(uint64_t arg)
{
        (void)arg;
        for (unsigned int status = 0; status < 256; status++) {
                virtio_set_status(&target.dev, (uint8_t)status);
                (void)virtio_reset(&target.dev);
        }
}

static void status_walk(uint64_t step)
{
        for (unsigned int i = 0; i < 256; i++)
                virtio_set_status(&target.dev, (uint8_t)(i * step));
}

static void queue_size(uint64_t size)
{
        enter(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
        (void)virtq_prepare(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        (void)hostile_chain(0);
        write_common(VIRTIO_QUEUE_SIZE, 2, size);
        virtq_enable(&target.q);
        virtio_go(&target.dev);
        hostile_submit(0);
}

/* Enabled before it has addresses. */
static void queue_of_nothing(uint64_t enable)
{
        enter(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
        write_common(VIRTIO_QUEUE_SELECT, 2, 0);
        write_common(VIRTIO_QUEUE_ENABLE, 2, enable);
        virtio_go(&target.dev);
        hostile_submit(0);
}

static void queue_select(uint64_t index)
{
        write_common(VIRTIO_QUEUE_SELECT, 2, index);
        for (unsigned int reg = VIRTIO_QUEUE_SIZE; reg < VIRTIO_COMMON_BYTES; reg += 2) {
                write_common(reg, 2, ~0ULL);
                read_width(target.dev.common + reg, 2);
        }
        (void)hostile_chain(0);
        hostile_submit(0);
}

/* The queue runs: none of this may have an effect, and the request that follows must be served as ever. */
static void reconfigure(uint64_t value)
{
        static const uint8_t registers[] = {VIRTIO_QUEUE_SIZE, VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_DRIVER,
                                            VIRTIO_QUEUE_DEVICE};

        write_common(VIRTIO_QUEUE_SELECT, 2, 0);
        for (unsigned int i = 0; i < sizeof(registers); i++) {
                write_common(registers[i], 2, value);
                if (registers[i] != VIRTIO_QUEUE_SIZE) {
                        write_common(registers[i], 4, value);
                        write_common(registers[i] + 4U, 4, value >> 32);
                }
        }
        virtio_write_features(&target.dev, value);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void reconfigure_under_way(uint64_t value)
{
        for (uint64_t i = 0; i < 16; i++)
                reconfigure(value);
}

static void disable_queue(uint64_t value)
{
        write_common(VIRTIO_QUEUE_SELECT, 2, 0);
        write_common(VIRTIO_QUEUE_ENABLE, 2, value);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void start_with_features(uint64_t features, bool features_ok)
{
        uint8_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

        (void)virtio_reset(&target.dev);
        virtio_set_status(&target.dev, status);
        virtio_write_features(&target.dev, features);
        if (features_ok)
                status |= VIRTIO_FEATURES_OK;
        virtio_set_status(&target.dev, status);
        (void)virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        virtio_set_status(&target.dev, status | VIRTIO_DRIVER_OK);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void features(uint64_t mask)
{
        start_with_features(mask, true);
}

static void features_not_confirmed(uint64_t mask)
{
        start_with_features(mask, false);
}

static void features_late(uint64_t mask)
{
        enter(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
        virtio_write_features(&target.dev, mask);
        (void)virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        virtio_go(&target.dev);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void feature_select(uint64_t select)
{
        write_common(VIRTIO_DEVICE_FEATURE_SELECT, 4, select);
        read_width(target.dev.common + VIRTIO_DEVICE_FEATURE, 4);
        enter(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
        write_common(VIRTIO_DRIVER_FEATURE_SELECT, 4, select);
        write_common(VIRTIO_DRIVER_FEATURE, 4, ~0ULL);
}

static void notify_storm(uint64_t value)
{
        for (uint64_t i = 0; i < rounds * 4; i++)
                mmio_write16(target.q.doorbell, (uint16_t)value);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void notify_in_state(uint64_t status)
{
        enter((uint8_t)status);
        (void)hostile_chain(0);
        for (uint64_t i = 0; i < rounds; i++)
                mmio_write16(target.q.doorbell, 0);
}

static void reset_storm(uint64_t arg)
{
        (void)arg;
        for (uint64_t i = 0; i < rounds / 10; i++) {
                hostile_restart();
                (void)hostile_chain(0);
                hostile_submit(0);
        }
}

/* Does not wait for a reset to happen before it goes on. */
static void impatient_storm(uint64_t request)
{
        for (uint64_t i = 0; i < rounds; i++) {
                virtio_set_status(&target.dev, 0);
                virtio_set_status(&target.dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
                virtio_set_status(&target.dev, RUNNING);
                if (request)
                        mmio_write16(target.q.doorbell, 0);
        }
}

static void status_flapping(uint64_t other)
{
        for (uint64_t i = 0; i < rounds; i++) {
                virtio_set_status(&target.dev, (uint8_t)other);
                virtio_set_status(&target.dev, RUNNING);
        }
}

/* Full queue, then reset at once, again and again. */
static void reset_under_way(uint64_t arg)
{
        unsigned int each = target.is_disk ? 3 : 1;

        (void)arg;
        for (uint64_t i = 0; i < rounds / 10; i++) {
                for (unsigned int first = 0; first + each <= target.q.size; first += each) {
                        (void)hostile_chain(first);
                        hostile_submit((uint16_t)first);
                }
                hostile_restart();
        }
}

static void msix_message(uint64_t address)
{
        struct pci_msix m = pci_msix_get(target.dev.slot);

        if (m.count == 0)
                return;
        (void)virtio_reset(&target.dev);
        (void)virtio_negotiate(&target.dev, target.wanted);
        (void)virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        pci_msix_set(&m, 0, 0, 0);
        write_width(m.table, 4, address);
        write_width(m.table + 4, 4, address >> 32);
        write_width(m.table + 8, 4, 0xffff00ff);
        pci_msix_control(&m, PCI_MSIX_CONTROL_ENABLE);
        write_common(VIRTIO_QUEUE_VECTOR, 2, 0);
        write_common(VIRTIO_CONFIG_VECTOR, 2, 0);
        virtio_go(&target.dev);
        (void)hostile_chain(0);
        hostile_submit(0);
        hostile_wait(HOSTILE_TICKS);
        pci_msix_control(&m, 0);
}

/* Masked and unmasked, on and off, while requests complete. No processor has the number it is for. */
static void msix_flapping(uint64_t whole)
{
        struct pci_msix m = pci_msix_get(target.dev.slot);

        if (m.count == 0)
                return;
        pci_msix_set(&m, 0, 0x50, 0xfe);
        pci_msix_control(&m, PCI_MSIX_CONTROL_ENABLE);
        write_common(VIRTIO_QUEUE_SELECT, 2, 0);
        write_common(VIRTIO_QUEUE_VECTOR, 2, 0);
        for (uint64_t i = 0; i < rounds; i++) {
                if (i % 8 == 0) {
                        (void)hostile_chain(0);
                        hostile_submit(0);
                }
                if (whole)
                        pci_msix_control(&m, i % 2 ? PCI_MSIX_CONTROL_ENABLE : 0);
                else
                        pci_msix_mask(&m, 0, i % 2);
        }
        pci_msix_control(&m, 0);
}

static void vectors(uint64_t vector)
{
        write_common(VIRTIO_CONFIG_VECTOR, 2, vector);
        read_width(target.dev.common + VIRTIO_CONFIG_VECTOR, 2);
        write_common(VIRTIO_QUEUE_SELECT, 2, 0);
        write_common(VIRTIO_QUEUE_VECTOR, 2, vector);
        (void)hostile_chain(0);
        hostile_submit(0);
}

#define STATES(name, fn)                                                                            \
        {name "-reset", fn, 0}, {name "-acknowledge", fn, VIRTIO_ACKNOWLEDGE},                      \
                {name "-driver", fn, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER},                           \
                {name "-features-ok", fn, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK}, \
        {                                                                                           \
                name "-running", fn, RUNNING                                                        \
        }

static const struct hostile_case cases[] = {
        STATES("common", sweep_common),
        STATES("notify", sweep_notify),
        STATES("isr", sweep_isr),
        STATES("device", sweep_device),
        {"msix-off", sweep_msix, 0},
        {"msix-on", sweep_msix, 1},
        {"bars", sweep_bars, 61},
        {"status-from-reset", status_from_reset, 0},
        {"status-up", status_walk, 1},
        {"status-down", status_walk, 255},
        {"status-walk", status_walk, 77},
        {"queue-size-0", queue_size, 0},
        {"queue-size-1", queue_size, 1},
        {"queue-size-3", queue_size, 3},
        {"queue-size-63", queue_size, 63},
        {"queue-size-2048", queue_size, 2048},
        {"queue-size-32768", queue_size, 32768},
        {"queue-size-32769", queue_size, 32769},
        {"queue-size-max", queue_size, 0xffff},
        {"queue-without-addresses", queue_of_nothing, 1},
        {"queue-not-enabled", queue_of_nothing, 0},
        {"queue-select-1", queue_select, 1},
        {"queue-select-16", queue_select, 16},
        {"queue-select-64", queue_select, 64},
        {"queue-select-max", queue_select, 0xffff},
        {"reconfigure-0", reconfigure, 0},
        {"reconfigure-far", reconfigure, FAR},
        {"reconfigure-max", reconfigure, ~0ULL},
        {"reconfigure-under-way", reconfigure_under_way, 0x1000},
        {"queue-disable", disable_queue, 0},
        {"queue-enable-again", disable_queue, 1},
        {"queue-enable-2", disable_queue, 2},
        {"features-none", features, 0},
        {"features-all", features, ~0ULL},
        {"features-packed", features, VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED},
        {"features-access-platform", features, VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM},
        {"features-no-version", features, VIRTIO_F_INDIRECT_DESC},
        {"features-unoffered", features, VIRTIO_F_VERSION_1 | 1ULL << 63 | 1ULL << 23},
        {"features-not-confirmed", features_not_confirmed, VIRTIO_F_VERSION_1},
        {"features-none-not-confirmed", features_not_confirmed, 0},
        {"features-late", features_late, ~0ULL},
        {"features-late-none", features_late, 0},
        {"feature-select-2", feature_select, 2},
        {"feature-select-max", feature_select, ~0ULL},
        {"notify-storm", notify_storm, 0},
        {"notify-storm-queue-1", notify_storm, 1},
        {"notify-storm-queue-max", notify_storm, 0xffff},
        STATES("notify-storm", notify_in_state),
        {"reset-storm", reset_storm, 0},
        {"reset-under-way", reset_under_way, 0},
        {"impatient-storm", impatient_storm, 0},
        {"impatient-storm-notify", impatient_storm, 1},
        {"status-flapping-driver", status_flapping, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER},
        {"status-flapping-failed", status_flapping, RUNNING | VIRTIO_FAILED},
        {"status-flapping-needs-reset", status_flapping, RUNNING | VIRTIO_NEEDS_RESET},
        {"msix-message-0", msix_message, 0},
        {"msix-message-far", msix_message, FAR},
        {"msix-message-max", msix_message, ~0ULL},
        {"msix-message-absent-cpu", msix_message, 0xfeefe000},
        {"msix-message-ioapic", msix_message, 0xfec00000},
        {"msix-flapping", msix_flapping, 0},
        {"msix-flapping-whole", msix_flapping, 1},
        {"vector-1", vectors, 1},
        {"vector-past-table", vectors, 32},
        {"vector-max", vectors, 0xfffe},
};

unsigned int guest_main(const struct boot_info *boot)
{
        rounds = boot_option_number(boot, "rounds", 500);
        if (!hostile_init(boot, "transport", boot_option(boot, "disk"), VIRTIO_F_INDIRECT_DESC))
                return VERDICT_FAILED;
        return hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
}
