/*
 * hostile_rng: requests that an entropy device must serve in part, or refuse (virtio 1.2, 5.4).
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           case=NAME  only that case
 * Prints:   rng: NAME: REACTION     completed with a length, needs reset, ignored, or no request
 *           rng: N cases, the device works
 * Verdicts: 0, 1 (no device), 10, 11 (lib/hostile.h)
 * Needs:    at most 2 GiB of RAM, for lengths to be too long; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/verdict.h"

static void len(uint64_t bytes)
{
        (void)hostile_chain(0);
        target.q.desc[0].len = (uint32_t)bytes;
        hostile_submit(0);
}

/* All descriptors of the queue, each of so many bytes of the same memory. */
static void chain(uint64_t bytes)
{
        for (unsigned int i = 0; i < target.q.size; i++)
                hostile_desc(i, (uint64_t)target.data, (uint32_t)bytes,
                             (uint16_t)(VIRTQ_WRITE | (i + 1U < target.q.size ? VIRTQ_NEXT : 0)), (uint16_t)(i + 1));
        hostile_submit(0);
}

/* The same from a table, which may be longer than the queue. */
static void table(uint64_t bytes)
{
        for (unsigned int i = 0; i < HOSTILE_TABLE_ENTRIES; i++) {
                target.table[i].addr = (uint64_t)target.data;
                target.table[i].len = (uint32_t)bytes;
                target.table[i].flags = (uint16_t)(VIRTQ_WRITE | (i + 1 < HOSTILE_TABLE_ENTRIES ? VIRTQ_NEXT : 0));
                target.table[i].next = (uint16_t)(i + 1);
        }
        hostile_desc(0, (uint64_t)target.table, HOSTILE_TABLE_ENTRIES * sizeof(struct virtq_desc), VIRTQ_INDIRECT, 0);
        hostile_submit(0);
}

/* The device is only given bytes to read; with mixed, some to write behind them. */
static void readable(uint64_t mixed)
{
        (void)hostile_chain(0);
        hostile_desc(0, (uint64_t)target.data, 64, mixed ? VIRTQ_NEXT : 0, 1);
        hostile_desc(1, (uint64_t)target.data + 64, 64, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

/* Requests in every slot of the ring, the longest allowed, round after round, without a look at the answers. */
static void flood(uint64_t rounds)
{
        (void)hostile_chain(0);
        target.q.desc[0].len = HOSTILE_DATA_BYTES;
        for (uint64_t round = 0; round < rounds; round++) {
                for (unsigned int i = 0; i < target.q.size; i++)
                        target.q.avail->ring[i] = 0;
                target.q.avail->idx = (uint16_t)(target.q.avail->idx + target.q.size);
                cpu_fence();
                mmio_write16(target.q.doorbell, target.q.index);
                hostile_wait(HOSTILE_TICKS);
                target.q.next_used = target.q.used->idx;
        }
}

static const struct hostile_case cases[] = {
        {"len-0", len, 0},
        {"len-1", len, 1},
        {"len-64k", len, HOSTILE_DATA_BYTES},
        {"len-2g", len, 1U << 31},
        {"len-4g", len, 0xffffffffU},
        {"chain-of-0", chain, 0},
        {"chain-of-1", chain, 1},
        {"chain-of-64k", chain, HOSTILE_DATA_BYTES},
        {"chain-of-4g", chain, 0xffffffffU},
        {"table-of-0", table, 0},
        {"table-of-1", table, 1},
        {"table-of-64k", table, HOSTILE_DATA_BYTES},
        {"readable", readable, 0},
        {"readable-then-writable", readable, 1},
        {"flood", flood, 8},
};

unsigned int guest_main(const struct boot_info *boot)
{
        if (!hostile_init(boot, "rng", false, VIRTIO_F_INDIRECT_DESC))
                return VERDICT_FAILED;
        return hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
}
