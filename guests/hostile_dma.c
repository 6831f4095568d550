/*
 * hostile_dma: a disk or the entropy device is given addresses that are not RAM, or only partly: for its data, in both
 * directions, and for its rings. None of it may be served, and the devices and controllers there stay as they are.
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           disk       the first disk, else the entropy device
 *           lenient    requests outside RAM may succeed: for machines whose devices reach each other
 *           case=NAME  only that case
 * Prints:   dma: NAME: REACTION     completed with a length and a disk's status, needs reset, ignored, or no request
 *           dma: N cases, the device works
 * Verdicts: 0, 1 (no device), 10, 11, 12, 13 (lib/hostile.h), 14 (an interrupt controller or the bus changed)
 * Needs:    at most 2 GiB of RAM, for lengths to be too long; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/lapic.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

#define VERDICT_CHANGED 14

#define REQUEST     512U
#define HUGE        0xfffffe00U
#define FAR         (1ULL << 52)
#define OUR_SECTOR  64 /* of the disk, for what is written from elsewhere */
#define WATCHED_MAX 8

static const struct boot_info *info;

/* Registers that nothing here changes on purpose. */
static uint32_t watched[WATCHED_MAX];

static void watch(uint32_t *ret)
{
        unsigned int n = 0;

        mmio_write32(LAYOUT_IOAPIC, 0x10 + 2 * LAYOUT_UART_GSI); /* a redirection entry */
        ret[n++] = mmio_read32(LAYOUT_IOAPIC + 0x10);
        mmio_write32(LAYOUT_IOAPIC, 1); /* version */
        ret[n++] = mmio_read32(LAYOUT_IOAPIC + 0x10);
        ret[n++] = mmio_read32(LAYOUT_LAPIC + LAPIC_ID);
        ret[n++] = mmio_read32(LAYOUT_LAPIC + LAPIC_SVR);
        ret[n++] = mmio_read32(LAYOUT_LAPIC + LAPIC_LVT_TIMER);
        for (unsigned int bar = 0; n < WATCHED_MAX; bar++)
                ret[n++] = pci_read(target.dev.slot, PCI_BAR0 + 4 * bar, 4);
}

/* Is every byte of it RAM? Below 1 MiB what the memory map reserves is RAM as well. */
static bool is_ram(uint64_t addr, uint64_t len)
{
        if (addr + len < addr)
                return false;
        if (addr + len <= target.ram_end)
                return true;
        for (unsigned int i = 0; i < info->memmap_entries; i++) {
                const struct boot_memmap_entry *e = &info->memmap[i];

                if (e->type == BOOT_MEMMAP_RAM && e->addr <= addr && addr + len <= e->addr + e->size)
                        return true;
        }
        return false;
}

/* The device is to write there. */
static void write_at(uint64_t addr, uint32_t len)
{
        unsigned int at = hostile_chain(0);

        target.must_fail = !is_ram(addr, len);
        target.q.desc[at].addr = addr;
        target.q.desc[at].len = len;
        hostile_submit(0);
}

/* The device is to read there: a disk writes it to a sector. */
static void read_at(uint64_t addr, uint32_t len)
{
        unsigned int at = hostile_chain(0);

        target.must_fail = !is_ram(addr, len);
        target.header->type = BLK_T_OUT;
        target.header->sector = OUR_SECTOR;
        target.q.desc[at].addr = addr;
        target.q.desc[at].len = len;
        target.q.desc[at].flags &= (uint16_t)~VIRTQ_WRITE;
        hostile_submit(0);
}

static void data_in(uint64_t addr)
{
        write_at(addr, REQUEST);
}

static void data_out(uint64_t addr)
{
        read_at(addr, REQUEST);
}

/* The same from the end of RAM on: REQUEST bytes that many bytes behind where they would end with it. */
static void ram_end_in(uint64_t beyond)
{
        write_at(target.ram_end - REQUEST + beyond, REQUEST);
}

static void ram_end_out(uint64_t beyond)
{
        read_at(target.ram_end - REQUEST + beyond, REQUEST);
}

static void below_end_in(uint64_t end)
{
        write_at(end - REQUEST / 2, REQUEST);
}

static void below_end_out(uint64_t end)
{
        read_at(end - REQUEST / 2, REQUEST);
}

static void bar_in(uint64_t off)
{
        write_at(target.dev.common + off, REQUEST);
}

static void bar_out(uint64_t off)
{
        read_at(target.dev.common + off, REQUEST);
}

static void doorbell_in(uint64_t len)
{
        write_at(target.q.doorbell, (uint32_t)len);
}

/* A long length from an address that is RAM. */
static void long_in(uint64_t len)
{
        write_at((uint64_t)target.data, (uint32_t)len);
}

static void long_out(uint64_t len)
{
        read_at((uint64_t)target.data, (uint32_t)len);
}

static void wrap_in(uint64_t len)
{
        write_at(0 - len / 2, (uint32_t)len);
}

static void wrap_out(uint64_t len)
{
        read_at(0 - len / 2, (uint32_t)len);
}

/* The first half is RAM, in a descriptor of its own. */
static void half_in(uint64_t addr)
{
        unsigned int at = hostile_chain(0), extra = 4;

        target.must_fail = !is_ram(addr, REQUEST);
        hostile_desc(extra, addr, REQUEST, target.q.desc[at].flags, target.q.desc[at].next);
        target.q.desc[at].flags = VIRTQ_WRITE | VIRTQ_NEXT;
        target.q.desc[at].next = (uint16_t)extra;
        hostile_submit(0);
}

enum ring {
        RING_DESC = 1,
        RING_DRIVER = 2,
        RING_DEVICE = 4,
        RING_ALL = 7,
};

static void write_ring(uint64_t reg, uint64_t addr)
{
        mmio_write32(target.dev.common + reg, (uint32_t)addr);
        mmio_write32(target.dev.common + reg + 4, (uint32_t)(addr >> 32));
}

/* Starts with the rings in the mask at that address, and makes one request. */
static void start_with_rings(unsigned int mask, uint64_t addr)
{
        (void)virtio_reset(&target.dev);
        (void)virtio_negotiate(&target.dev, target.wanted);
        (void)virtq_prepare(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        if (mask & RING_DESC)
                write_ring(VIRTIO_QUEUE_DESC, addr);
        if (mask & RING_DRIVER)
                write_ring(VIRTIO_QUEUE_DRIVER, addr);
        if (mask & RING_DEVICE)
                write_ring(VIRTIO_QUEUE_DEVICE, addr);
        virtq_enable(&target.q);
        virtio_go(&target.dev);
        (void)hostile_chain(0);
        hostile_submit(0);
}

static void rings_at_zero(uint64_t mask)
{
        start_with_rings((unsigned int)mask, 0);
}

static void rings_in_hole(uint64_t mask)
{
        start_with_rings((unsigned int)mask, LAYOUT_HOLE_START);
}

static void rings_far(uint64_t mask)
{
        start_with_rings((unsigned int)mask, FAR);
}

static void rings_wrap(uint64_t mask)
{
        start_with_rings((unsigned int)mask, ~0xfULL);
}

static void rings_in_bar(uint64_t mask)
{
        start_with_rings((unsigned int)mask, target.dev.common & ~0xfffULL);
}

static void rings_in_lapic(uint64_t mask)
{
        start_with_rings((unsigned int)mask, LAYOUT_LAPIC);
}

static void rings_at_ram_end(uint64_t mask)
{
        start_with_rings((unsigned int)mask, target.ram_end - 16);
}

static void rings_past_ram_end(uint64_t mask)
{
        start_with_rings((unsigned int)mask, target.ram_end);
}

static void rings_unaligned(uint64_t mask)
{
        start_with_rings((unsigned int)mask, (uint64_t)target.data + 1);
}

/* All three at the same place. */
static void rings_overlap(uint64_t off)
{
        start_with_rings(RING_ALL, (uint64_t)target.data + off);
}

static void ring_device_over(uint64_t driver)
{
        start_with_rings(RING_DEVICE, driver ? (uint64_t)target.q.avail : (uint64_t)target.q.desc);
}

#define ADDRESS(name, addr)                                         \
        {name "-in", data_in, addr}, {name "-out", data_out, addr}, \
        {                                                           \
                name "-half", half_in, addr                         \
        }
#define RINGS(name, fn)                                                                                \
        {name, fn, RING_ALL}, {name "-descriptors", fn, RING_DESC}, {name "-driver", fn, RING_DRIVER}, \
        {                                                                                              \
                name "-device", fn, RING_DEVICE                                                        \
        }

static const struct hostile_case cases[] = {
        {"ram-end-in", ram_end_in, 0},
        {"ram-end-out", ram_end_out, 0},
        {"over-ram-end-1-in", ram_end_in, 1},
        {"over-ram-end-1-out", ram_end_out, 1},
        {"over-ram-end-511-in", ram_end_in, REQUEST - 1},
        {"over-ram-end-511-out", ram_end_out, REQUEST - 1},
        {"past-ram-end-in", ram_end_in, REQUEST},
        {"past-ram-end-out", ram_end_out, REQUEST},
        {"page-past-ram-end-in", ram_end_in, REQUEST + 4096},
        {"page-past-ram-end-out", ram_end_out, REQUEST + 4096},
        ADDRESS("hole", LAYOUT_HOLE_START),
        {"hole-start-in", below_end_in, LAYOUT_HOLE_START},
        {"hole-start-out", below_end_out, LAYOUT_HOLE_START},
        {"hole-end-in", below_end_in, LAYOUT_HOLE_END},
        {"hole-end-out", below_end_out, LAYOUT_HOLE_END},
        ADDRESS("window", LAYOUT_PCI_WINDOW),
        ADDRESS("ecam", LAYOUT_ECAM),
        ADDRESS("ioapic", LAYOUT_IOAPIC),
        ADDRESS("identity-map", LAYOUT_IDENTITY_MAP),
        ADDRESS("tss", LAYOUT_TSS),
        ADDRESS("4g", LAYOUT_HOLE_END),
        ADDRESS("1t", 1ULL << 40),
        ADDRESS("2-52", FAR),
        ADDRESS("2-63", 1ULL << 63),
        ADDRESS("user-mapping", 0x7fff00000000ULL),
        ADDRESS("kernel-mapping", 0xffff888000000000ULL),
        ADDRESS("last-byte", ~0ULL),
        ADDRESS("last-request", 0ULL - REQUEST),
        {"bar-in", bar_in, 0},
        {"bar-out", bar_out, 0},
        {"doorbell-in", doorbell_in, 4},
        {"wrap-in", wrap_in, REQUEST},
        {"wrap-out", wrap_out, REQUEST},
        {"wrap-2g-in", wrap_in, 1U << 31},
        {"wrap-2g-out", wrap_out, 1U << 31},
        {"long-2g-in", long_in, 1U << 31},
        {"long-2g-out", long_out, 1U << 31},
        {"long-4g-in", long_in, HUGE},
        {"long-4g-out", long_out, HUGE},
        RINGS("rings-hole", rings_in_hole),
        RINGS("rings-bar", rings_in_bar),
        RINGS("rings-far", rings_far),
        RINGS("rings-wrap", rings_wrap),
        RINGS("rings-ram-end", rings_at_ram_end),
        RINGS("rings-past-ram-end", rings_past_ram_end),
        RINGS("rings-unaligned", rings_unaligned),
        {"rings-same-place", rings_overlap, 0},
        {"ring-device-over-descriptors", ring_device_over, 0},
        {"ring-device-over-driver", ring_device_over, 1},
        {"ring-driver-at-0", rings_at_zero, RING_DRIVER},
};

/* Where a device reaches the local APIC, what it writes there are interrupts of any kind: nothing for "lenient". */
static const struct hostile_case lapic_cases[] = {
        ADDRESS("lapic", LAYOUT_LAPIC),
        RINGS("rings-lapic", rings_in_lapic),
};

unsigned int guest_main(const struct boot_info *boot)
{
        uint32_t now[WATCHED_MAX];
        unsigned int result;

        info = boot;
        if (!hostile_init(boot, "dma", boot_option(boot, "disk"), VIRTIO_F_INDIRECT_DESC))
                return VERDICT_FAILED;
        watch(watched);
        result = hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
        if (result == VERDICT_PASSED && !target.lenient)
                result = hostile_run(boot, lapic_cases, sizeof(lapic_cases) / sizeof(lapic_cases[0]));
        watch(now);
        for (unsigned int i = 0; i < WATCHED_MAX; i++) {
                if (now[i] != watched[i]) {
                        print("dma: register %u was 0x%x, is 0x%x\n", i, watched[i], now[i]);
                        return VERDICT_CHANGED;
                }
        }
        return result;
}
