/*
 * hostile_pci: configuration space of a virtio device, at every offset and width, BARs where they must not be, and the
 * window into the device through configuration space (virtio 1.2, 4.1.4.9).
 *
 * Options:  ecam[=N]   configuration space by ECAM alone (at N, decimal), else by ports and ECAM
 *           noecam     by ports alone
 *           disk       the first disk, else the entropy device
 *           rounds=N   of each storm (default 200)
 *           case=NAME  only that case
 * Prints:   pci: NAME: REACTION     completed with a length and a disk's status, needs reset, ignored, or no request
 *           pci: N cases, the device works
 * Verdicts: 0, 1 (no device), 10, 11, 12 (lib/hostile.h), 14 (RAM gave way to a BAR)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

#define VERDICT_RAM 14

#define CONFIG_BYTES 256U
#define HEADER_BYTES 64U
#define WIDTHS       3U
#define RAM_VALUE    0x600df00dU

static uint64_t rounds, ecam;
static bool by_ports, by_ecam;

static uint32_t saved[HEADER_BYTES / 4];
static unsigned int msix; /* its capability */

static void save(void)
{
        for (unsigned int off = 0; off < HEADER_BYTES; off += 4)
                saved[off / 4] = pci_read(target.dev.slot, off, 4);
        msix = pci_capability(target.dev.slot, PCI_CAP_MSIX, 0);
}

/* BARs first: nothing is decoded meanwhile. */
static void restore(void)
{
        pci_write(target.dev.slot, PCI_COMMAND, 2, 0);
        for (unsigned int off = PCI_BAR0; off < HEADER_BYTES; off += 4)
                pci_write(target.dev.slot, off, 4, saved[off / 4]);
        if (msix)
                pci_write(target.dev.slot, msix + PCI_MSIX_CONTROL, 2, 0);
        pci_write(target.dev.slot, PCI_COMMAND, 2, saved[PCI_COMMAND / 4] & 0xffff);
}

/* Every offset, aligned or not, and every width. With memory decoding off, so that BARs are nowhere meanwhile; a
 * write that turned it on is undone at once. */
static void sweep(unsigned int slot, unsigned int bytes, uint32_t value)
{
        for (unsigned int off = 0; off < bytes; off++) {
                for (unsigned int width = 1; width <= 4; width *= 2) {
                        pci_write(slot, off, width, value);
                        (void)pci_read(slot, off, width);
                        pci_write(slot, PCI_COMMAND, 2, 0);
                }
        }
}

static void sweep_config(uint64_t value)
{
        save();
        pci_write(target.dev.slot, PCI_COMMAND, 2, 0);
        if (by_ports) {
                pci_use_ecam(0);
                sweep(target.dev.slot, CONFIG_BYTES, (uint32_t)value);
        }
        if (by_ecam) {
                pci_use_ecam(ecam);
                sweep(target.dev.slot, CONFIG_BYTES, (uint32_t)value);
        }
        pci_use_ecam(by_ports ? 0 : ecam);
        restore();
}

/* Functions that are not there, and the bridge. */
static void sweep_others(uint64_t value)
{
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
                if (slot != 0 && pci_read(slot, PCI_VENDOR, 2) != PCI_NOTHING)
                        continue;
                for (unsigned int off = 0; off < CONFIG_BYTES; off += 8) {
                        pci_write(slot, off, 4, (uint32_t)value);
                        (void)pci_read(slot, off, 4);
                }
        }
}

/* The ports in every width, with every kind of address. */
static void sweep_ports(uint64_t arg)
{
        static const uint32_t addresses[] = {0, 0x80000000, 0x80000003, 0x8000ff00, 0x80ffffff, 0xffffffff, 0x7fffffff};

        (void)arg;
        for (unsigned int i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
                outl(LAYOUT_PCI_PORT, addresses[i]);
                for (uint16_t port = LAYOUT_PCI_PORT; port < LAYOUT_PCI_PORT + LAYOUT_PCI_PORTS; port++) {
                        (void)inb(port);
                        (void)inw(port);
                        (void)inl(port);
                        outb(port, 0xff);
                        outl(LAYOUT_PCI_PORT, addresses[i]);
                }
        }
        outl(LAYOUT_PCI_PORT, 0);
}

/* The BAR that has the common configuration. */
static unsigned int main_bar(void)
{
        for (unsigned int bar = 0; bar < PCI_BARS; bar++) {
                struct pci_bar b = pci_bar_get(target.dev.slot, bar);

                if (b.size && target.dev.common - b.address < b.size)
                        return bar;
                bar += b.wide;
        }
        return 0;
}

static void bar_at(uint64_t address)
{
        unsigned int bar = main_bar();
        uint64_t old = pci_bar_get(target.dev.slot, bar).address;

        pci_bar_set(target.dev.slot, bar, address);
        (void)hostile_chain(0);
        hostile_submit(0); /* to where the doorbell was */
        pci_bar_set(target.dev.slot, bar, old);
}

/* RAM stays RAM when a BAR is put over it. */
static void bar_over_ram(uint64_t page)
{
        unsigned int bar = main_bar();
        uint64_t old = pci_bar_get(target.dev.slot, bar).address, at = (uint64_t)target.data & ~0x3fffULL;
        uint32_t seen;

        if (page)
                at = page;
        mmio_write32(at, RAM_VALUE);
        pci_bar_set(target.dev.slot, bar, at);
        seen = mmio_read32(at);
        mmio_write32(at, ~RAM_VALUE);
        pci_bar_set(target.dev.slot, bar, old);
        if (seen != RAM_VALUE || mmio_read32(at) != ~RAM_VALUE) {
                print("pci: RAM at 0x%lx gave way to a BAR\n", at);
                verdict(VERDICT_RAM);
        }
}

/* Over the other BAR, or over that of another device. */
static void bar_over_bar(uint64_t other_slot)
{
        unsigned int bar = main_bar();
        uint64_t old = pci_bar_get(target.dev.slot, bar).address;

        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
                if ((slot == target.dev.slot) == (other_slot != 0) || pci_read(slot, PCI_VENDOR, 2) == PCI_NOTHING)
                        continue;
                for (unsigned int other = 0; other < PCI_BARS; other++) {
                        struct pci_bar b = pci_bar_get(slot, other);

                        if (b.size && (slot != target.dev.slot || other != bar)) {
                                pci_bar_set(target.dev.slot, bar, b.address);
                                (void)mmio_read32(b.address);
                        }
                        other += b.wide;
                }
        }
        pci_bar_set(target.dev.slot, bar, old);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void bar_storm(uint64_t request)
{
        unsigned int bar = main_bar();
        struct pci_bar b = pci_bar_get(target.dev.slot, bar);
        uint64_t place = pci_place(b.size);

        for (uint64_t i = 0; i < rounds; i++) {
                if (request && i % 8 == 0) {
                        (void)hostile_chain(0);
                        hostile_submit(0);
                }
                pci_bar_set(target.dev.slot, bar, i % 2 ? b.address : place);
        }
        pci_bar_set(target.dev.slot, bar, b.address);
}

static void command_storm(uint64_t command)
{
        uint32_t old = pci_read(target.dev.slot, PCI_COMMAND, 2);

        for (uint64_t i = 0; i < rounds; i++) {
                pci_write(target.dev.slot, PCI_COMMAND, 2, old ^ (uint32_t)command);
                if (i % 8 == 0) {
                        (void)hostile_chain(0);
                        hostile_submit(0);
                }
                pci_write(target.dev.slot, PCI_COMMAND, 2, old);
        }
}

/* No bus master: whether the device still serves is its own business. */
static void command(uint64_t value)
{
        uint32_t old = pci_read(target.dev.slot, PCI_COMMAND, 2);

        pci_write(target.dev.slot, PCI_COMMAND, 2, (uint32_t)value);
        (void)hostile_chain(0);
        hostile_submit(0);
        pci_write(target.dev.slot, PCI_COMMAND, 2, old);
}

/* --- the window --- */

static unsigned int window_capability(void)
{
        unsigned int cap = pci_capability(target.dev.slot, PCI_CAP_VENDOR, 0);

        while (cap && pci_read(target.dev.slot, cap + VIRTIO_CAP_TYPE, 1) != VIRTIO_CFG_PCI)
                cap = pci_capability(target.dev.slot, PCI_CAP_VENDOR, cap);
        return cap;
}

/* Accesses of every width through a window of that length. */
static void window(unsigned int bar, uint32_t off, uint32_t len)
{
        unsigned int cap = window_capability();

        if (!cap)
                return;
        pci_write(target.dev.slot, cap + VIRTIO_CAP_BAR, 1, bar);
        pci_write(target.dev.slot, cap + VIRTIO_CAP_OFFSET, 4, off);
        pci_write(target.dev.slot, cap + VIRTIO_CAP_LENGTH, 4, len);
        for (unsigned int width = 1; width <= 4; width *= 2) {
                for (unsigned int at = cap + VIRTIO_CAP_DATA; at < cap + VIRTIO_CAP_DATA + 4; at++) {
                        (void)pci_read(target.dev.slot, at, width);
                        pci_write(target.dev.slot, at, width, 1);
                }
        }
}

static void window_len(uint64_t len)
{
        window(main_bar(), 0, (uint32_t)len);
}

static void window_bar(uint64_t bar)
{
        window((unsigned int)bar, 0, 4);
}

static void window_offset(uint64_t off)
{
        window(main_bar(), (uint32_t)off, 4);
}

/* Every register through the window, unaligned ones as well. */
static void window_sweep(uint64_t len)
{
        for (uint32_t off = 0; off < VIRTIO_COMMON_BYTES; off++)
                window(main_bar(), off, (uint32_t)len);
}

static const struct hostile_case cases[] = {
        {"config-0", sweep_config, 0},
        {"config-ones", sweep_config, 0xffffffff},
        {"config-pattern", sweep_config, 0x5a5a5a5a},
        {"config-of-others-0", sweep_others, 0},
        {"config-of-others-ones", sweep_others, 0xffffffff},
        {"bar-at-0", bar_at, 0},
        {"bar-at-1m", bar_at, LAYOUT_HIGH_RAM},
        {"bar-at-hole", bar_at, LAYOUT_HOLE_START},
        {"bar-at-ecam", bar_at, LAYOUT_ECAM},
        {"bar-at-ioapic", bar_at, LAYOUT_IOAPIC},
        {"bar-at-lapic", bar_at, LAYOUT_LAPIC},
        {"bar-at-tss", bar_at, LAYOUT_TSS},
        {"bar-at-hole-end", bar_at, LAYOUT_HOLE_END - 0x4000},
        {"bar-at-4g", bar_at, LAYOUT_HOLE_END},
        {"bar-at-1t", bar_at, 1ULL << 40},
        {"bar-at-2-52", bar_at, 1ULL << 52},
        {"bar-at-max", bar_at, ~0ULL},
        {"bar-over-ram", bar_over_ram, 0},
        {"bar-over-ram-1m-on", bar_over_ram, 0x10000},
        {"bar-over-own-bar", bar_over_bar, 0},
        {"bar-over-other-bar", bar_over_bar, 1},
        {"bar-storm", bar_storm, 0},
        {"bar-storm-under-way", bar_storm, 1},
        {"memory-storm", command_storm, PCI_COMMAND_MEMORY},
        {"master-storm", command_storm, PCI_COMMAND_MASTER},
        {"command-0", command, 0},
        {"command-ones", command, 0xffff},
        {"command-no-master", command, PCI_COMMAND_MEMORY},
        {"window-len-0", window_len, 0},
        {"window-len-3", window_len, 3},
        {"window-len-5", window_len, 5},
        {"window-len-8", window_len, 8},
        {"window-len-max", window_len, 0xffffffff},
        {"window-bar-1", window_bar, 1},
        {"window-bar-5", window_bar, 5},
        {"window-bar-6", window_bar, 6},
        {"window-bar-255", window_bar, 255},
        {"window-offset-bar-end", window_offset, 0x3ffe},
        {"window-offset-past-bar", window_offset, 0x100000},
        {"window-offset-max", window_offset, 0xfffffffe},
        {"window-sweep-1", window_sweep, 1},
        {"window-sweep-2", window_sweep, 2},
        {"window-sweep-4", window_sweep, 4},
};

static const struct hostile_case port_cases[] = {
        {"ports", sweep_ports, 0},
};

unsigned int guest_main(const struct boot_info *boot)
{
        unsigned int result;

        rounds = boot_option_number(boot, "rounds", 200);
        by_ports = !boot_option(boot, "ecam");
        by_ecam = !boot_option(boot, "noecam");
        ecam = boot_option_number(boot, "ecam", LAYOUT_ECAM);
        if (!hostile_init(boot, "pci", boot_option(boot, "disk"), VIRTIO_F_INDIRECT_DESC))
                return VERDICT_FAILED;
        result = hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
        if (result != VERDICT_PASSED || !by_ports)
                return result;
        return hostile_run(boot, port_cases, sizeof(port_cases) / sizeof(port_cases[0]));
}
