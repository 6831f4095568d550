/*
 * hostile_ring: every way to break the rules of a split ring (virtio 1.2, 2.7), against a disk or the entropy device.
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           disk       the first disk, else the entropy device
 *           event      with event indices
 *           cpus=2     there is a second processor: it changes descriptors while the device reads them
 *           rounds=N   requests in that race (default 200)
 *           case=NAME  only that case
 *           stray      instead of all cases, one that breaks what the others must not: the verdict is 10
 * Prints:   ring: NAME: REACTION     completed with a length and a disk's status, needs reset, ignored, or no request
 *           ring: N rounds of a race, R resets
 *           ring: N cases, the device works
 * Verdicts: 0, 1 (no device), 3 (the second processor did not start), 10, 11, 12 (lib/hostile.h)
 * Needs:    at most 1 GiB of RAM, for lengths to be too long; for cpus=2 the in-kernel local APIC. Runs where ring 0
 *           is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/user.h"
#include "lib/verdict.h"
#include "lib/wait.h"
#include "vmm/x86_64/layout.h"

#define VERDICT_NOT_STARTED 3

#define REQUEST   512U
#define HUGE      0xffffffffU
#define FAR       (1ULL << 52)
#define DESC      16U
#define ALL_FLAGS 0xffff

#define RACE_TICKS (1ULL << 22) /* for each request of a race */

static uint64_t race_rounds;
static volatile uint32_t started; /* the second processor */
static volatile uint32_t racing;  /* 1: it is to begin, 2: to stop, 0: it has */

static uint64_t data_address(void)
{
        return (uint64_t)target.data;
}

/* A valid chain whose data descriptor is then something else. */
static void submit_data(uint64_t addr, uint32_t len)
{
        unsigned int at = hostile_chain(0);

        target.q.desc[at].addr = addr;
        target.q.desc[at].len = len;
        hostile_submit(0);
}

static void data_len(uint64_t len)
{
        submit_data(data_address(), (uint32_t)len);
}

/* The device is asked to write its own rings. */
static void data_to_ring(uint64_t which)
{
        submit_data(which == 0   ? (uint64_t)target.q.desc
                    : which == 1 ? (uint64_t)target.q.avail
                                 : (uint64_t)target.q.used,
                    REQUEST);
}

static void data_flags(uint64_t flags)
{
        unsigned int at = hostile_chain(0);

        target.q.desc[at].flags = (uint16_t)flags;
        hostile_submit(0);
}

static void data_next(uint64_t next)
{
        unsigned int at = hostile_chain(0);

        target.q.desc[at].flags |= VIRTQ_NEXT;
        target.q.desc[at].next = (uint16_t)next;
        hostile_submit(0);
}

static void self_loop(uint64_t flags)
{
        hostile_desc(0, data_address(), REQUEST, (uint16_t)(VIRTQ_NEXT | flags), 0);
        hostile_submit(0);
}

/* Every descriptor in one circle. */
static void full_loop(uint64_t flags)
{
        for (unsigned int i = 0; i < target.q.size; i++)
                hostile_desc(i, data_address(), 1, (uint16_t)(VIRTQ_NEXT | flags), (uint16_t)((i + 1) % target.q.size));
        hostile_submit(0);
}

/* Every descriptor, in a chain that ends: as long as allowed. */
static void longest_chain(uint64_t len)
{
        for (unsigned int i = 0; i < target.q.size; i++)
                hostile_desc(i, data_address(), (uint32_t)len, VIRTQ_WRITE | (i + 1U < target.q.size ? VIRTQ_NEXT : 0),
                             (uint16_t)(i + 1));
        if (target.is_disk)
                hostile_desc(0, (uint64_t)target.header, sizeof(*target.header), VIRTQ_NEXT, 1);
        hostile_submit(0);
}

/* All RAM, again and again, for the device to read: more than 32 bits can count. */
static void read_over_4g(uint64_t arg)
{
        unsigned int last = target.q.size - 1U;

        (void)arg;
        (void)hostile_chain(0);
        target.header->type = BLK_T_OUT;
        target.header->sector = 64;
        for (unsigned int i = 1; i < last; i++)
                hostile_desc(i, LAYOUT_HIGH_RAM, (uint32_t)(target.ram_end - LAYOUT_HIGH_RAM), VIRTQ_NEXT,
                             (uint16_t)(i + 1));
        hostile_desc(0, (uint64_t)target.header, sizeof(*target.header), VIRTQ_NEXT, 1);
        hostile_desc(last, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

static void write_then_read(uint64_t arg)
{
        (void)arg;
        hostile_desc(0, data_address(), REQUEST, VIRTQ_WRITE | VIRTQ_NEXT, 1);
        hostile_desc(1, (uint64_t)target.header, sizeof(*target.header), VIRTQ_NEXT, 2);
        hostile_desc(2, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

static void one_descriptor(uint64_t flags)
{
        (void)hostile_chain(0);
        hostile_desc(0, (uint64_t)target.header, sizeof(*target.header), (uint16_t)flags, 0);
        hostile_submit(0);
}

static void zero_descriptors(uint64_t arg)
{
        (void)arg;
        for (unsigned int i = 0; i < target.q.size; i++)
                hostile_desc(i, 0, 0, 0, 0);
        hostile_submit(0);
}

static void garbage_descriptors(uint64_t seed)
{
        uint64_t x = seed;

        for (unsigned int i = 0; i < target.q.size; i++) {
                x = x * 6364136223846793005ULL + 1442695040888963407ULL;
                /* Never an address in RAM that is not ours: what may be written there must be known. */
                hostile_desc(i, x | 1ULL << 63, (uint32_t)(x >> 7), (uint16_t)(x >> 13), (uint16_t)(x >> 29));
        }
        for (uint16_t head = 0; head < 8; head++)
                hostile_submit(head);
}

static void head(uint64_t value)
{
        (void)hostile_chain(0);
        hostile_submit((uint16_t)value);
}

static void same_head_often(uint64_t times)
{
        (void)hostile_chain(0);
        target.submitted = true;
        for (uint64_t i = 0; i < times; i++)
                target.q.avail->ring[(target.q.avail->idx + i) % target.q.size] = 0;
        target.q.avail->idx = (uint16_t)(target.q.avail->idx + times);
        cpu_fence();
        mmio_write16(target.q.doorbell, target.q.index);
}

static void move_avail(uint64_t by)
{
        (void)hostile_chain(0);
        target.submitted = true;
        for (unsigned int i = 0; i < target.q.size; i++)
                target.q.avail->ring[i] = 0;
        target.q.avail->idx = (uint16_t)(target.q.avail->idx + by);
        cpu_fence();
        mmio_write16(target.q.doorbell, target.q.index);
}

/* The used ring is the device's: what the driver writes there must not be believed. */
static void write_used(uint64_t idx)
{
        (void)hostile_chain(0);
        target.q.used->idx = (uint16_t)idx;
        target.q.used->flags = ALL_FLAGS;
        target.q.next_used = (uint16_t)idx;
        hostile_submit(0);
}

static void avail_flags(uint64_t flags)
{
        (void)hostile_chain(0);
        target.q.avail->flags = (uint16_t)flags;
        target.q.avail->ring[target.q.size] = (uint16_t)~flags; /* used_event */
        hostile_submit(0);
}

/* As many requests as fit are made, and nobody looks at the used ring; then once more as many. */
static void never_reaped(uint64_t rounds)
{
        unsigned int each = target.is_disk ? 3 : 1;

        target.submitted = true;
        for (uint64_t round = 0; round < rounds; round++) {
                for (unsigned int first = 0; first + each <= target.q.size; first += each) {
                        (void)hostile_chain(first);
                        target.q.avail->ring[target.q.avail->idx % target.q.size] = (uint16_t)first;
                        target.q.avail->idx++;
                }
                cpu_fence();
                mmio_write16(target.q.doorbell, target.q.index);
        }
}

/* --- indirect tables --- */

static void table_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
        target.table[i].addr = addr;
        target.table[i].len = len;
        target.table[i].flags = flags;
        target.table[i].next = next;
}

/* A valid chain in the table; returns its length. */
static unsigned int fill_table(void)
{
        unsigned int n = hostile_chain(0) + (target.is_disk ? 2 : 1);

        for (unsigned int i = 0; i < n; i++)
                table_desc(i, target.q.desc[i].addr, target.q.desc[i].len, target.q.desc[i].flags,
                           target.q.desc[i].next);
        return n;
}

static void submit_table(uint64_t addr, uint32_t len, uint16_t flags)
{
        hostile_desc(0, addr, len, flags, 1);
        hostile_desc(1, data_address(), REQUEST, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

static void indirect_len(uint64_t len)
{
        (void)fill_table();
        submit_table((uint64_t)target.table, (uint32_t)len, VIRTQ_INDIRECT);
}

static void indirect_flags(uint64_t flags)
{
        submit_table((uint64_t)target.table, fill_table() * DESC, (uint16_t)(VIRTQ_INDIRECT | flags));
}

static void indirect_at(uint64_t addr)
{
        submit_table(addr, fill_table() * DESC, VIRTQ_INDIRECT);
}

static void indirect_at_ram_end(uint64_t before)
{
        (void)fill_table();
        submit_table(target.ram_end - before, 4 * DESC, VIRTQ_INDIRECT);
}

static void indirect_is_ring(uint64_t arg)
{
        (void)arg;
        (void)hostile_chain(1);
        hostile_desc(0, (uint64_t)target.q.desc, 4 * DESC, VIRTQ_INDIRECT, 0);
        hostile_submit(0);
}

static void indirect_nested(uint64_t flags)
{
        (void)fill_table();
        table_desc(0, (uint64_t)target.table, 4 * DESC, (uint16_t)(VIRTQ_INDIRECT | flags), 1);
        submit_table((uint64_t)target.table, 4 * DESC, VIRTQ_INDIRECT);
}

static void indirect_loop(uint64_t next)
{
        unsigned int n = fill_table();

        target.table[n - 1].flags |= VIRTQ_NEXT;
        target.table[n - 1].next = (uint16_t)next;
        submit_table((uint64_t)target.table, n * DESC, VIRTQ_INDIRECT);
}

/* More descriptors than the queue has entries. */
static void indirect_long(uint64_t entries)
{
        for (unsigned int i = 0; i < entries; i++)
                table_desc(i, data_address(), 1, (uint16_t)(VIRTQ_WRITE | (i + 1 < entries ? VIRTQ_NEXT : 0)),
                           (uint16_t)(i + 1));
        if (target.is_disk)
                table_desc(0, (uint64_t)target.header, sizeof(*target.header), VIRTQ_NEXT, 1);
        submit_table((uint64_t)target.table, (uint32_t)entries * DESC, VIRTQ_INDIRECT);
}

static void indirect_zeroes(uint64_t arg)
{
        (void)arg;
        for (unsigned int i = 0; i < 4; i++)
                table_desc(i, 0, 0, 0, 0);
        submit_table((uint64_t)target.table, 4 * DESC, VIRTQ_INDIRECT);
}

static void indirect_unnegotiated(uint64_t arg)
{
        uint64_t wanted = target.wanted;

        (void)arg;
        target.wanted &= ~VIRTIO_F_INDIRECT_DESC;
        hostile_restart();
        target.wanted = wanted;
        submit_table((uint64_t)target.table, fill_table() * DESC, VIRTQ_INDIRECT);
}

/* --- a second processor --- */

/* In ring 3, on the second processor: descriptors change all the time, to what is allowed and what is not, but never to
 * memory that is not the device's. */
static uint64_t race(void *arg)
{
        static const uint32_t lens[] = {0, 1, 16, REQUEST, 0x1000, HUGE};
        volatile struct virtq_desc *desc = target.q.desc;
        uint32_t x = 1;

        (void)arg;
        while (racing == 1) {
                volatile struct virtq_desc *d;

                x = x * 1664525U + 1013904223U;
                d = x >> 31 ? &desc[x >> 28 & 3] : (volatile struct virtq_desc *)&target.table[x >> 28 & 3];
                switch (x >> 24 & 3) {
                case 0:
                        d->addr = x >> 20 & 1 ? FAR : (uint64_t)target.data;
                        break;
                case 1:
                        d->len = lens[(x >> 16 & 0xff) % 6];
                        break;
                case 2:
                        d->flags = (uint16_t)(x >> 20 & 7);
                        break;
                default:
                        d->next = x >> 20 & 1 ? (uint16_t)(x >> 16 & 3) : (uint16_t)(x >> 8);
                        break;
                }
        }
        return 0;
}

static void ap_main(void)
{
        user_init(1);
        started = 1;
        for (;;) {
                while (racing == 0) /* it may be 2 already, when this processor was not given time meanwhile */
                        cpu_pause();
                (void)user_call(1, race, NULL);
                racing = 0;
        }
}

static void race_requests(uint64_t indirect)
{
        unsigned int resets = 0;

        racing = 1;
        for (uint64_t round = 0; round < race_rounds; round++) {
                if (virtio_status(&target.dev) & VIRTIO_NEEDS_RESET) {
                        hostile_restart();
                        resets++;
                }
                if (indirect)
                        submit_table((uint64_t)target.table, fill_table() * DESC, VIRTQ_INDIRECT);
                else
                        submit_data(data_address(), REQUEST);
                hostile_wait(RACE_TICKS);
                target.q.next_used = target.q.used->idx;
        }
        racing = 2;
        while (racing != 0)
                cpu_pause();
        print("ring: %lu rounds of a race, %u resets\n", race_rounds, resets);
}

static const struct hostile_case cases[] = {
        {"good", data_len, REQUEST},
        {"data-len-0", data_len, 0},
        {"data-len-1", data_len, 1},
        {"data-len-64k", data_len, HOSTILE_DATA_BYTES},
        {"data-len-2g", data_len, 1U << 31},
        {"data-len-max", data_len, HUGE},
        {"data-to-descriptors", data_to_ring, 0},
        {"data-to-avail", data_to_ring, 1},
        {"data-to-used", data_to_ring, 2},
        {"flags-0", data_flags, 0},
        {"flags-all", data_flags, ALL_FLAGS},
        {"flags-unknown", data_flags, 0xfff8},
        {"flags-indirect-write", data_flags, VIRTQ_INDIRECT | VIRTQ_WRITE},
        {"next-out-of-range", data_next, HOSTILE_QUEUE_SIZE},
        {"next-max", data_next, 0xffff},
        {"next-self", data_next, 0},
        {"loop-self-read", self_loop, 0},
        {"loop-self-write", self_loop, VIRTQ_WRITE},
        {"loop-full-read", full_loop, 0},
        {"loop-full-write", full_loop, VIRTQ_WRITE},
        {"longest-chain", longest_chain, 1},
        {"longest-chain-max", longest_chain, HUGE},
        {"read-over-4g", read_over_4g, 0},
        {"write-then-read", write_then_read, 0},
        {"only-readable", one_descriptor, 0},
        {"only-writable", one_descriptor, VIRTQ_WRITE},
        {"zero-descriptors", zero_descriptors, 0},
        {"garbage-1", garbage_descriptors, 1},
        {"garbage-2", garbage_descriptors, 2},
        {"garbage-3", garbage_descriptors, 3},
        {"head-out-of-range", head, HOSTILE_QUEUE_SIZE},
        {"head-max", head, 0xffff},
        {"same-head-twice", same_head_often, 2},
        {"same-head-full", same_head_often, HOSTILE_QUEUE_SIZE},
        {"avail-past-full", move_avail, HOSTILE_QUEUE_SIZE + 1},
        {"avail-half", move_avail, 0x8000},
        {"avail-back-1", move_avail, 0xffff},
        {"avail-back-far", move_avail, 0xff00},
        {"used-written-0", write_used, 0},
        {"used-written-1000", write_used, 1000},
        {"used-written-max", write_used, 0xffff},
        {"avail-flags-all", avail_flags, ALL_FLAGS},
        {"avail-flags-no-interrupt", avail_flags, VIRTQ_NO_INTERRUPT},
        {"never-reaped", never_reaped, 1},
        {"never-reaped-4-times", never_reaped, 4},
        {"indirect-good", indirect_flags, 0},
        {"indirect-unnegotiated", indirect_unnegotiated, 0},
        {"indirect-and-next", indirect_flags, VIRTQ_NEXT},
        {"indirect-and-write", indirect_flags, VIRTQ_WRITE},
        {"indirect-len-0", indirect_len, 0},
        {"indirect-len-1", indirect_len, 1},
        {"indirect-len-15", indirect_len, 15},
        {"indirect-len-17", indirect_len, 17},
        {"indirect-len-16", indirect_len, 16},
        {"indirect-len-1m", indirect_len, 0x100000},
        {"indirect-len-max", indirect_len, 0xfffffff0},
        {"indirect-at-far", indirect_at, FAR},
        {"indirect-at-hole", indirect_at, LAYOUT_HOLE_START},
        {"indirect-at-lapic", indirect_at, LAYOUT_LAPIC},
        {"indirect-wraps", indirect_at, ~0xfULL},
        {"indirect-over-ram-end", indirect_at_ram_end, DESC},
        {"indirect-is-ring", indirect_is_ring, 0},
        {"indirect-nested", indirect_nested, 0},
        {"indirect-nested-next", indirect_nested, VIRTQ_NEXT},
        {"indirect-loop", indirect_loop, 0},
        {"indirect-next-out-of-table", indirect_loop, 100},
        {"indirect-next-max", indirect_loop, 0xffff},
        {"indirect-as-long-as-queue", indirect_long, HOSTILE_QUEUE_SIZE},
        {"indirect-longer-than-queue", indirect_long, HOSTILE_QUEUE_SIZE + 1},
        {"indirect-1024", indirect_long, HOSTILE_TABLE_ENTRIES},
        {"indirect-zeroes", indirect_zeroes, 0},
};

static void stray(uint64_t len)
{
        submit_data(target.guarded, (uint32_t)len);
}

static const struct hostile_case strays[] = {
        {"stray", stray, REQUEST},
};

static const struct hostile_case races[] = {
        {"race-descriptors", race_requests, 0},
        {"race-indirect", race_requests, 1},
};

unsigned int guest_main(const struct boot_info *boot)
{
        bool alone = boot_option_number(boot, "cpus", 1) < 2;
        unsigned int result;

        race_rounds = boot_option_number(boot, "rounds", 200);
        if (!hostile_init(boot, "ring", boot_option(boot, "disk"),
                          VIRTIO_F_INDIRECT_DESC | (boot_option(boot, "event") ? VIRTIO_F_EVENT_IDX : 0)))
                return VERDICT_FAILED;
        if (boot_option(boot, "stray"))
                return hostile_run(boot, strays, 1);
        if (!alone) {
                (void)lapic_enable(LAPIC_XAPIC);
                smp_prepare(ap_main);
                smp_start(1);
                if (!wait_for_count(&started, 1))
                        return VERDICT_NOT_STARTED;
        }
        result = hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
        if (result != VERDICT_PASSED || alone)
                return result;
        return hostile_run(boot, races, sizeof(races) / sizeof(races[0]));
}
