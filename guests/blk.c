/*
 * blk: a disk keeps what is written to it.
 *
 * It writes a pattern over the disk in large requests, flushes, reads it back and compares; then zeroes and discards
 * the start of the disk where the device offers that, reads what is there now, and writes the pattern again: a later
 * run with "verify" finds it. Patterns are made and compared in ring 3.
 *
 * Options:  ecam[=N]   configuration space by ECAM (at N, decimal), else by ports
 *           disk=N     the Nth block device (default 0)
 *           sectors=N  no more than so many (default: all)
 *           seed=N     of the pattern (default 1)
 *           verify     only reads and compares
 *           ro         the device must be read-only: writes must fail
 *           id=TEXT    what GET_ID must answer
 *           fails      an I/O error is what must happen: the first one ends the guest with verdict 0
 * Prints:   blk: slot S, features F, N sectors, id "ID"
 *           blk: WHAT ok, N sectors             WHAT: write, flush, read, write-zeroes, discard, read-only
 *           blk: WHAT failed: sector N: why
 * Verdicts: 0, 1 (a check failed), 3 (no device)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/heap.h"
#include "lib/memory.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/user.h"
#include "lib/verdict.h"
#include "lib/virtio_blk.h"

#define VERDICT_NO_DEVICE 3

#define CHUNK_SECTORS 256U /* 128 KiB in a request */
#define ZERO_SECTORS  64U

static struct blk disk;
static uint64_t sectors, seed;
static bool fails;

/* A part of the disk's pattern in memory. */
struct part {
        uint64_t *words;
        uint64_t sector, sectors, seed;
};

static struct part part;

static uint64_t pattern(uint64_t sector, uint64_t word, uint64_t s)
{
        return (sector * 64 + word + s * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
}

/* In ring 3. */
static uint64_t fill_part(void *arg)
{
        const struct part *p = arg;

        for (uint64_t i = 0; i < p->sectors * 64; i++)
                p->words[i] = pattern(p->sector + i / 64, i % 64, p->seed);
        return 0;
}

/* In ring 3. Returns how many sectors from the start are right. */
static uint64_t compare_part(void *arg)
{
        const struct part *p = arg;

        for (uint64_t i = 0; i < p->sectors * 64; i++) {
                if (p->words[i] != pattern(p->sector + i / 64, i % 64, p->seed))
                        return i / 64;
        }
        return p->sectors;
}

/* In ring 3. The same for zeroes. */
static uint64_t compare_zeroes(void *arg)
{
        const struct part *p = arg;

        for (uint64_t i = 0; i < p->sectors * 64; i++) {
                if (p->words[i] != 0)
                        return i / 64;
        }
        return p->sectors;
}

/* In ring 3: leaves nothing that a read which wrote nothing could be mistaken for. */
static uint64_t spoil_part(void *arg)
{
        const struct part *p = arg;

        for (uint64_t i = 0; i < p->sectors * 64; i++)
                p->words[i] = 0x5555555555555555ULL;
        return 0;
}

static bool failed(const char *what, uint64_t sector, const char *why)
{
        print("blk: %s failed: sector %lu: %s\n", what, sector, why);
        return false;
}

static bool passed(const char *what, uint64_t count)
{
        print("blk: %s ok, %lu sectors\n", what, count);
        return true;
}

static bool status_ok(const char *what, uint64_t sector, int status)
{
        if (status == BLK_S_OK)
                return true;
        if (status == BLK_S_IOERR && fails) {
                print("blk: %s: sector %lu: I/O error\n", what, sector);
                verdict(VERDICT_PASSED);
        }
        return failed(what, sector,
                      status == BLK_S_IOERR       ? "I/O error"
                      : status == BLK_S_UNSUPP    ? "unsupported"
                      : status == BLK_S_NONE      ? "no status"
                      : status == BLK_S_NO_ANSWER ? "no answer"
                                                  : "unknown status");
}

static bool write_all(void)
{
        for (part.sector = 0; part.sector < sectors; part.sector += part.sectors) {
                part.sectors = sectors - part.sector < CHUNK_SECTORS ? sectors - part.sector : CHUNK_SECTORS;
                (void)user_call(0, fill_part, &part);
                if (!status_ok("write", part.sector,
                               blk_request(&disk, BLK_T_OUT, part.sector, part.words,
                                           (uint32_t)part.sectors * BLK_SECTOR)))
                        return false;
        }
        return passed("write", sectors);
}

static bool flush(void)
{
        if (!(disk.dev.features & BLK_F_FLUSH))
                return true;
        return status_ok("flush", 0, blk_request(&disk, BLK_T_FLUSH, 0, NULL, 0)) && passed("flush", sectors);
}

/* Reads [first, first + count) and compares it. */
static bool read_range(const char *what, uint64_t first, uint64_t count, uint64_t (*compare)(void *))
{
        for (part.sector = first; part.sector < first + count; part.sector += part.sectors) {
                uint64_t left = first + count - part.sector, good;

                part.sectors = left < CHUNK_SECTORS ? left : CHUNK_SECTORS;
                (void)user_call(0, spoil_part, &part);
                if (!status_ok(what, part.sector,
                               blk_request(&disk, BLK_T_IN, part.sector, part.words,
                                           (uint32_t)part.sectors * BLK_SECTOR)))
                        return false;
                good = user_call(0, compare, &part);
                if (good != part.sectors)
                        return failed(what, part.sector + good, "wrong data");
        }
        return passed(what, count);
}

/* The start of the disk becomes zeroes, the rest stays. Discard promises nothing about what is read then. */
static bool zero_start(void)
{
        uint32_t count = sectors / 2 < ZERO_SECTORS ? (uint32_t)sectors / 2 : ZERO_SECTORS;

        if (count == 0)
                return true;
        if (disk.dev.features & BLK_F_WRITE_ZEROES) {
                if (!status_ok("write-zeroes", 0,
                               blk_range_request(&disk, BLK_T_WRITE_ZEROES, 0, count, BLK_RANGE_UNMAP)) ||
                    !read_range("write-zeroes", 0, count, compare_zeroes))
                        return false;
        }
        if (disk.dev.features & BLK_F_DISCARD) {
                if (!status_ok("discard", 0, blk_range_request(&disk, BLK_T_DISCARD, 0, count, 0)))
                        return false;
                (void)passed("discard", count);
        }
        return read_range("read", count, sectors - count, compare_part);
}

static bool check_id(const struct boot_info *boot)
{
        static volatile char id[BLK_ID_BYTES + 1];
        const char *wanted = boot_option(boot, "id");
        int status = blk_request(&disk, BLK_T_GET_ID, 0, id, BLK_ID_BYTES);
        size_t i = 0;

        if (!status_ok("id", 0, status))
                return false;
        print("blk: slot %u, features 0x%lx, %lu sectors, id \"%s\"\n", disk.dev.slot, disk.dev.features, disk.capacity,
              (const char *)(uint64_t)id);
        if (!wanted)
                return true;
        while (id[i] && id[i] == wanted[i])
                i++;
        return (!id[i] && (!wanted[i] || wanted[i] == ' ')) || failed("id", 0, "another one");
}

/* Every request that would change a read-only disk fails. */
static bool check_read_only(void)
{
        if (!(disk.dev.features & BLK_F_RO))
                return failed("read-only", 0, "feature not offered");
        if (blk_request(&disk, BLK_T_OUT, 0, part.words, BLK_SECTOR) == BLK_S_OK ||
            blk_range_request(&disk, BLK_T_WRITE_ZEROES, 0, 1, 0) == BLK_S_OK ||
            blk_range_request(&disk, BLK_T_DISCARD, 0, 1, 0) == BLK_S_OK)
                return failed("read-only", 0, "a write is taken");
        return passed("read-only", sectors);
}

static bool run(const struct boot_info *boot)
{
        if (!check_id(boot))
                return false;
        if (boot_option(boot, "verify"))
                return read_range("read", 0, sectors, compare_part);
        if (boot_option(boot, "ro"))
                return check_read_only();
        return write_all() && flush() && read_range("read", 0, sectors, compare_part) && zero_start() && write_all() &&
               flush();
}

unsigned int guest_main(const struct boot_info *boot)
{
        heap_init(boot);
        pci_init(boot);
        user_init(0);
        seed = boot_option_number(boot, "seed", 1);
        fails = boot_option(boot, "fails");
        if (!virtio_find(VIRTIO_TYPE_BLOCK, (unsigned int)boot_option_number(boot, "disk", 0), &disk.dev))
                return VERDICT_NO_DEVICE;
        if (!blk_start(&disk, (unsigned int)boot_option_number(boot, "disk", 0),
                       VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | BLK_F_RO | BLK_F_FLUSH | BLK_F_DISCARD |
                               BLK_F_WRITE_ZEROES))
                return VERDICT_FAILED;
        sectors = boot_option_number(boot, "sectors", disk.capacity);
        if (sectors > disk.capacity)
                sectors = disk.capacity;
        part = (struct part){.words = heap_alloc(CHUNK_SECTORS * BLK_SECTOR, 4096), .seed = seed};
        if (!run(boot))
                return VERDICT_FAILED;
        if (fails)
                return VERDICT_FAILED; /* no error happened */
        return virtio_reset(&disk.dev) ? VERDICT_PASSED : VERDICT_FAILED;
}
