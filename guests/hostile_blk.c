/*
 * hostile_blk: requests that a disk must refuse, or serve without harm (virtio 1.2, 5.2.6).
 *
 * The disk's first and last eight sectors have a pattern that must survive; requests that may be valid go to sectors
 * between them.
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           ro         the disk is read-only: its ends are not written first, and every write must fail
 *           lenient    requests that must fail may succeed: for other machines
 *           case=NAME  only that case
 * Prints:   blk: NAME: REACTION     completed with a length and a status (255: none written), needs reset, ignored, or
 * no request blk: N cases, the device works Verdicts: 0, 1 (no device), 10, 11, 12, 13 (lib/hostile.h) Needs:    a disk
 * of 1 MiB or more; at most 2 GiB of RAM, for lengths to be too long; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hostile.h"
#include "lib/verdict.h"

#define SECTOR       128 /* where a request does no harm */
#define UNKNOWN_FLAG 0x80000000U
#define RANGES_MAX   256U
#define HEADER_BYTES 16U

/* The parts of a request, each of any length. */
struct parts {
        uint32_t type, header_len, data_len, status_len;
        uint64_t sector;
        bool data_in; /* the device writes the data */
        bool must_fail;
};

static void submit_parts(const struct parts *p)
{
        uint64_t header = (uint64_t)target.header;
        unsigned int n = 0;

        target.must_fail = p->must_fail;
        target.header->type = p->type;
        target.header->reserved = 0;
        target.header->sector = p->sector;
        *target.status = BLK_S_NONE;
        if (p->header_len) {
                hostile_desc(n, header, p->header_len, VIRTQ_NEXT, (uint16_t)(n + 1));
                n++;
        }
        if (p->data_len) {
                hostile_desc(n, (uint64_t)target.data, p->data_len,
                             (uint16_t)(VIRTQ_NEXT | (p->data_in ? VIRTQ_WRITE : 0)), (uint16_t)(n + 1));
                n++;
        }
        if (p->status_len) {
                hostile_desc(n, (uint64_t)target.status, p->status_len, VIRTQ_WRITE, 0);
                n++;
        }
        if (n == 0)
                return;
        target.q.desc[n - 1].flags &= (uint16_t)~VIRTQ_NEXT;
        hostile_submit(0);
}

/* An ordinary request but for type, sector and length of the data. */
static void submit(uint32_t type, uint64_t sector, uint32_t len, bool in, bool must_fail)
{
        submit_parts(&(struct parts){type, HEADER_BYTES, len, 1, sector, in, must_fail});
}

static void in_sector(uint64_t sector)
{
        submit(BLK_T_IN, sector, BLK_SECTOR, true, true);
}

static void out_sector(uint64_t sector)
{
        submit(BLK_T_OUT, sector, BLK_SECTOR, false, true);
}

static void in_at_end(uint64_t sectors)
{
        submit(BLK_T_IN, target.capacity - 1, (uint32_t)sectors * BLK_SECTOR, true, sectors > 1);
}

static void out_at_end(uint64_t sectors)
{
        submit(BLK_T_OUT, target.capacity - 1, (uint32_t)sectors * BLK_SECTOR, false, true);
}

static void in_past_end(uint64_t beyond)
{
        submit(BLK_T_IN, target.capacity + beyond, BLK_SECTOR, true, true);
}

static void out_past_end(uint64_t beyond)
{
        submit(BLK_T_OUT, target.capacity + beyond, BLK_SECTOR, false, true);
}

static void in_len(uint64_t len)
{
        submit(BLK_T_IN, SECTOR, (uint32_t)len, true, len % BLK_SECTOR != 0);
}

static void out_len(uint64_t len)
{
        submit(BLK_T_OUT, SECTOR, (uint32_t)len, false, len % BLK_SECTOR != 0);
}

static void wrong_direction(uint64_t type)
{
        submit((uint32_t)type, SECTOR, BLK_SECTOR, type == BLK_T_OUT, false);
}

static void type_out(uint64_t type)
{
        submit((uint32_t)type, SECTOR, BLK_SECTOR, false, true);
}

static void type_in(uint64_t type)
{
        submit((uint32_t)type, SECTOR, BLK_SECTOR, true, true);
}

static void type_alone(uint64_t type)
{
        submit((uint32_t)type, SECTOR, 0, false, true);
}

static void header_len(uint64_t len)
{
        submit_parts(&(struct parts){BLK_T_IN, (uint32_t)len, BLK_SECTOR, 1, 0, true, false});
}

static void status_len(uint64_t len)
{
        submit_parts(&(struct parts){BLK_T_IN, HEADER_BYTES, BLK_SECTOR, (uint32_t)len, 0, true, false});
}

/* A write whose status cannot be told. */
static void out_no_status(uint64_t arg)
{
        (void)arg;
        submit_parts(&(struct parts){BLK_T_OUT, HEADER_BYTES, BLK_SECTOR, 0, SECTOR, false, false});
}

static void reserved_set(uint64_t value)
{
        (void)hostile_chain(0);
        target.header->reserved = (uint32_t)value;
        hostile_submit(0);
}

/* The header in descriptors of one byte each, then data and status: valid. */
static void header_in_bytes(uint64_t arg)
{
        (void)arg;
        (void)hostile_chain(0);
        for (unsigned int i = 0; i < HEADER_BYTES; i++)
                hostile_desc(i, (uint64_t)target.header + i, 1, VIRTQ_NEXT, (uint16_t)(i + 1));
        hostile_desc(HEADER_BYTES, (uint64_t)target.data, BLK_SECTOR, VIRTQ_WRITE | VIRTQ_NEXT, HEADER_BYTES + 1);
        hostile_desc(HEADER_BYTES + 1, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

/* Header and data in one descriptor; with in, data and status in one. Valid: framing is the driver's choice. */
static void merged(uint64_t in)
{
        (void)hostile_chain(0);
        if (in) {
                hostile_desc(1, (uint64_t)target.data, BLK_SECTOR + 1, VIRTQ_WRITE, 0);
        } else {
                target.header->type = BLK_T_OUT;
                target.header->sector = SECTOR;
                hostile_desc(0, (uint64_t)target.header, HEADER_BYTES + BLK_SECTOR, VIRTQ_NEXT, 1);
                hostile_desc(1, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        }
        hostile_submit(0);
}

/* As many descriptors of one byte as the queue has: no whole sector. */
static void data_in_bytes(uint64_t type)
{
        unsigned int last = target.q.size - 1U;

        target.must_fail = true;
        (void)hostile_chain(0);
        target.header->type = (uint32_t)type;
        target.header->sector = SECTOR;
        hostile_desc(0, (uint64_t)target.header, HEADER_BYTES, VIRTQ_NEXT, 1);
        for (unsigned int i = 1; i < last; i++)
                hostile_desc(i, (uint64_t)target.data + i, 1,
                             (uint16_t)(VIRTQ_NEXT | (type == BLK_T_IN ? VIRTQ_WRITE : 0)), (uint16_t)(i + 1));
        hostile_desc(last, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        hostile_submit(0);
}

static void id_len(uint64_t len)
{
        submit(BLK_T_GET_ID, 0, (uint32_t)len, true, false);
}

static void id_out(uint64_t len)
{
        submit(BLK_T_GET_ID, 0, (uint32_t)len, false, false);
}

static void flush_data(uint64_t in)
{
        submit(BLK_T_FLUSH, 0, BLK_SECTOR, in, false);
}

static void flush_sector(uint64_t sector)
{
        submit(BLK_T_FLUSH, sector, 0, false, false);
}

static void set_range(unsigned int i, uint64_t sector, uint32_t sectors, uint32_t flags)
{
        struct blk_range *r = (struct blk_range *)target.data + i;

        r->sector = sector;
        r->sectors = sectors;
        r->flags = flags;
}

/* Both kinds of one range: the disk refuses it. */
static void submit_range(uint64_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
        set_range(0, sector, sectors, flags);
        submit((uint32_t)type, 0, sizeof(struct blk_range), false, true);
}

static void range_past_end(uint64_t type)
{
        submit_range(type, target.capacity - 4, 8, 0);
}

static void range_far(uint64_t type)
{
        submit_range(type, 1ULL << 55, 8, 0);
}

static void range_wraps(uint64_t type)
{
        submit_range(type, ~0ULL - 3, 8, 0);
}

static void range_wraps_bytes(uint64_t type)
{
        submit_range(type, 1ULL << 55, 0xffffffffU, 0);
}

static void range_long(uint64_t type)
{
        submit_range(type, SECTOR, 0xffffffffU, 0);
}

static void range_flags(uint64_t type)
{
        submit_range(type, SECTOR, 8, UNKNOWN_FLAG);
}

static void discard_unmap(uint64_t arg)
{
        (void)arg;
        submit_range(BLK_T_DISCARD, SECTOR, 8, BLK_RANGE_UNMAP);
}

static void range_bytes(uint64_t type, uint32_t len)
{
        set_range(0, SECTOR, 8, 0);
        submit((uint32_t)type, 0, len, false, true);
}

static void range_15(uint64_t type)
{
        range_bytes(type, 15);
}

static void range_17(uint64_t type)
{
        range_bytes(type, 17);
}

static void range_none(uint64_t type)
{
        submit((uint32_t)type, 0, 0, false, false);
}

static void range_empty(uint64_t type)
{
        set_range(0, SECTOR, 0, 0);
        submit((uint32_t)type, 0, sizeof(struct blk_range), false, false);
}

static void range_many(uint64_t type)
{
        for (unsigned int i = 0; i < RANGES_MAX; i++)
                set_range(i, SECTOR, 8, 0);
        submit((uint32_t)type, 0, RANGES_MAX * (uint32_t)sizeof(struct blk_range), false, false);
}

/* A good range, then one that is not: nothing promises that the good one is done, but the request fails. */
static void range_second_bad(uint64_t type)
{
        set_range(0, SECTOR, 8, 0);
        set_range(1, target.capacity, 8, 0);
        submit((uint32_t)type, 0, 2 * sizeof(struct blk_range), false, true);
}

static void range_in(uint64_t type)
{
        set_range(0, SECTOR, 8, 0);
        submit((uint32_t)type, 0, sizeof(struct blk_range), true, false);
}

/* Everything in configuration space is written; only the cache mode may be taken, and only if it is offered. */
static void config_write(uint64_t value)
{
        for (uint32_t off = 0; off < target.dev.device_bytes; off++)
                mmio_write8(target.dev.device + off, (uint8_t)value);
        for (uint32_t off = 0; off + 4 <= target.dev.device_bytes; off += 4)
                mmio_write32(target.dev.device + off, (uint32_t)value);
        (void)hostile_chain(0);
        hostile_submit(0);
}

#define BOTH(name, fn)                                       \
        {"discard-" name, fn, BLK_T_DISCARD},                \
        {                                                    \
                "write-zeroes-" name, fn, BLK_T_WRITE_ZEROES \
        }
#define TYPE(name, type)                                            \
        {name "-out", type_out, type}, {name "-in", type_in, type}, \
        {                                                           \
                name "-alone", type_alone, type                     \
        }

static const struct hostile_case cases[] = {
        {"in-sector-max", in_sector, ~0ULL},
        {"in-sector-wraps", in_sector, 1ULL << 55},
        {"in-sector-sign-bit", in_sector, 1ULL << 63},
        {"in-at-end", in_at_end, 1},
        {"in-over-end", in_at_end, 2},
        {"in-far-over-end", in_at_end, 128},
        {"in-past-end", in_past_end, 0},
        {"in-far-past-end", in_past_end, 1U << 20},
        {"out-sector-max", out_sector, ~0ULL},
        {"out-sector-wraps", out_sector, 1ULL << 55},
        {"out-sector-sign-bit", out_sector, 1ULL << 63},
        {"out-over-end", out_at_end, 2},
        {"out-far-over-end", out_at_end, 128},
        {"out-past-end", out_past_end, 0},
        {"out-far-past-end", out_past_end, 1U << 20},
        {"in-len-0", in_len, 0},
        {"in-len-1", in_len, 1},
        {"in-len-511", in_len, 511},
        {"in-len-513", in_len, 513},
        {"in-len-64k", in_len, HOSTILE_DATA_BYTES},
        {"in-len-max", in_len, 0xffffffffU},
        {"out-len-0", out_len, 0},
        {"out-len-1", out_len, 1},
        {"out-len-513", out_len, 513},
        {"out-len-64k", out_len, HOSTILE_DATA_BYTES},
        {"out-len-max", out_len, 0xffffffffU},
        {"in-with-readable-data", wrong_direction, BLK_T_IN},
        {"out-with-writable-data", wrong_direction, BLK_T_OUT},
        TYPE("scsi", 2),
        TYPE("scsi-out", 3),
        TYPE("flush-out", 5),
        TYPE("lifetime", 10),
        TYPE("secure-erase", 14),
        TYPE("zone-append", 15),
        TYPE("zone-report", 16),
        TYPE("barrier-bit", 0x80000000U),
        TYPE("type-max", 0xffffffffU),
        {"header-len-0", header_len, 0},
        {"header-len-1", header_len, 1},
        {"header-len-15", header_len, 15},
        {"header-len-17", header_len, 17},
        {"header-len-4096", header_len, 4096},
        {"header-reserved", reserved_set, 0xffffffffU},
        {"header-in-bytes", header_in_bytes, 0},
        {"header-and-data-merged", merged, 0},
        {"data-and-status-merged", merged, 1},
        {"in-data-in-bytes", data_in_bytes, BLK_T_IN},
        {"out-data-in-bytes", data_in_bytes, BLK_T_OUT},
        {"status-len-0", status_len, 0},
        {"status-len-2", status_len, 2},
        {"status-len-513", status_len, 513},
        {"out-no-status", out_no_status, 0},
        {"id-len-0", id_len, 0},
        {"id-len-1", id_len, 1},
        {"id-len-19", id_len, 19},
        {"id-len-21", id_len, 21},
        {"id-len-4096", id_len, 4096},
        {"id-out", id_out, BLK_ID_BYTES},
        {"flush-with-data", flush_data, 0},
        {"flush-with-buffer", flush_data, 1},
        {"flush-sector-max", flush_sector, ~0ULL},
        BOTH("past-end", range_past_end),
        BOTH("far", range_far),
        BOTH("wraps", range_wraps),
        BOTH("wraps-in-bytes", range_wraps_bytes),
        BOTH("long", range_long),
        BOTH("unknown-flags", range_flags),
        BOTH("15-bytes", range_15),
        BOTH("17-bytes", range_17),
        BOTH("no-range", range_none),
        BOTH("empty-range", range_empty),
        BOTH("256-ranges", range_many),
        BOTH("second-range-bad", range_second_bad),
        BOTH("writable", range_in),
        {"discard-unmap", discard_unmap, 0},
        {"config-write-0", config_write, 0},
        {"config-write-all", config_write, 0xffffffffU},
};

static void out_read_only(uint64_t sector)
{
        submit(BLK_T_OUT, sector, BLK_SECTOR, false, true);
}

static void range_read_only(uint64_t type)
{
        submit_range(type, SECTOR, 8, 0);
}

static const struct hostile_case read_only_cases[] = {
        {"ro-out", out_read_only, SECTOR},
        {"ro-out-0", out_read_only, 0},
        BOTH("ro", range_read_only),
};

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t wanted = VIRTIO_F_INDIRECT_DESC | BLK_F_FLUSH | BLK_F_DISCARD | BLK_F_WRITE_ZEROES | BLK_F_RO;

        target.read_only = boot_option(boot, "ro");
        if (!hostile_init(boot, "blk", true, wanted))
                return VERDICT_FAILED;
        if (target.read_only)
                return hostile_run(boot, read_only_cases, sizeof(read_only_cases) / sizeof(read_only_cases[0]));
        return hostile_run(boot, cases, sizeof(cases) / sizeof(cases[0]));
}
