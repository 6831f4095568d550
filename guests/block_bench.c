/*
 * block_bench: how fast a disk is, seen by a driver that only polls its ring.
 *
 * Four loads (4 KiB at random, 128 KiB in sequence, each read and written) at several depths: so many requests are
 * kept under way for some time. The loop runs in ring 3, which is fast everywhere; only notifications are made from
 * ring 0, where a device register costs less on back ends that emulate it. Nobody asks for interrupts.
 *
 * Options:  ecam[=N]  configuration space by ECAM (at N, decimal), else by ports
 *           disk=N    the Nth block device (default 0)
 *           ms=N      for each measurement, after a tenth of that for warming up (default 300)
 *           load=L    only that one: randread, randwrite, seqread, seqwrite
 *           depth=N   only that one (1..64), else 1, 8, 32, 64
 *           user      notifications from ring 3 as well
 * Prints:   block: LOAD BYTES bytes depth N: R requests, T ns, K notifications, p50 P us, p99 P us    each
 *           block: failed: why
 * Verdicts: 0, 1 (a request failed), 3 (no device)
 * Needs:    the in-kernel local APIC, whose timer must count nanoseconds, as KVM's does; a disk that may be
 *           overwritten; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/heap.h"
#include "lib/lapic.h"
#include "lib/memory.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/user.h"
#include "lib/verdict.h"
#include "lib/virtio_blk.h"
#include "lib/wait.h"

#define VERDICT_NO_DEVICE 3

#define DEPTH_MAX         64U
#define DESCRIPTORS       3U /* of a request: header, data, status */
#define BYTES_MAX         0x20000U
#define BUCKETS           16384U /* of a microsecond each; the last has everything above */
#define CALIBRATION_TICKS (1ULL << 26)
#define NOT_SOON          0x8000 /* a used index so far away is not reached before it is moved on */

/* What ends a stay in ring 3. */
enum {
        RUN_OVER,
        RUN_NOTIFY,
        RUN_FAILED,
};

struct load {
        const char *name;
        uint32_t bytes;
        bool write, random;
};

static const struct load loads[] = {
        {"randread", 0x1000, false, true},
        {"randwrite", 0x1000, true, true},
        {"seqread", BYTES_MAX, false, false},
        {"seqwrite", BYTES_MAX, true, false},
};

static struct blk disk;
static uint64_t ticks_per_us;

/* Request n has descriptors DESCRIPTORS * n on, which stay as they are throughout a measurement. */
static struct {
        volatile struct blk_header header;
        volatile uint8_t status;
        uint64_t began; /* TSC */
} requests[DEPTH_MAX];

/* One measurement, also where ring 3 goes on after a notification. */
static struct {
        const struct load *load;
        uint64_t blocks; /* of load->bytes */
        uint64_t random, next_block;
        uint64_t completed, end; /* end: TSC */
        bool notify_here;
        uint64_t notifications;
        uint32_t buckets[BUCKETS];
} run;

static uint64_t choose_sector(void)
{
        uint64_t block;

        if (run.load->random) {
                run.random = run.random * 6364136223846793005ULL + 1442695040888963407ULL;
                block = (run.random >> 32) * run.blocks >> 32;
        } else {
                block = run.next_block;
                run.next_block = block + 1 < run.blocks ? block + 1 : 0;
        }
        return block * (run.load->bytes / BLK_SECTOR);
}

/* Puts request n into the available ring behind what is there; publish() shows it. */
static uint16_t make_available(unsigned int n, uint16_t idx, uint64_t now)
{
        struct virtq *q = &disk.queue;

        requests[n].header.sector = choose_sector();
        requests[n].status = BLK_S_NONE;
        requests[n].began = now;
        q->avail->ring[idx & (q->size - 1)] = (uint16_t)(n * DESCRIPTORS);
        return (uint16_t)(idx + 1);
}

/* Shows the available ring up to idx. Does the device want to be told? */
static bool publish(uint16_t idx)
{
        struct virtq *q = &disk.queue;
        uint16_t old = q->avail->idx, event;

        __asm__ volatile("" : : : "memory");
        q->avail->idx = idx;
        cpu_fence();
        if (!(disk.dev.features & VIRTIO_F_EVENT_IDX))
                return !(q->used->flags & VIRTQ_NO_NOTIFY);
        event = *(volatile uint16_t *)&q->used->ring[q->size];
        return (uint16_t)(idx - event - 1) < (uint16_t)(idx - old);
}

static void count(uint64_t ticks)
{
        uint64_t us = ticks / ticks_per_us;

        run.buckets[us < BUCKETS ? us : BUCKETS - 1]++;
        run.completed++;
}

/* Everything completed goes out again. Returns false when one failed. */
static bool turn_round(uint16_t *idx, uint64_t now)
{
        struct virtq *q = &disk.queue;
        uint16_t used = q->used->idx;

        while (q->next_used != used) {
                unsigned int n = q->used->ring[q->next_used & (q->size - 1)].id / DESCRIPTORS;

                if (n >= DEPTH_MAX || requests[n].status != BLK_S_OK)
                        return false;
                count(now - requests[n].began);
                *idx = make_available(n, *idx, now);
                q->next_used++;
        }
        q->avail->ring[q->size] = (uint16_t)(used + NOT_SOON); /* used_event */
        return true;
}

/* In ring 3. */
static uint64_t run_requests(void *arg)
{
        struct virtq *q = &disk.queue;
        uint16_t idx = q->avail->idx;

        (void)arg;
        for (;;) {
                uint64_t now = rdtsc();

                if (now >= run.end)
                        return RUN_OVER;
                if (q->used->idx == q->next_used) {
                        cpu_pause();
                        continue;
                }
                if (!turn_round(&idx, now))
                        return RUN_FAILED;
                if (!publish(idx))
                        continue;
                run.notifications++;
                if (!run.notify_here)
                        return RUN_NOTIFY;
                mmio_write16(q->doorbell, 0);
        }
}

/* In ring 3. */
static uint64_t clear_counts(void *arg)
{
        (void)arg;
        for (unsigned int i = 0; i < BUCKETS; i++)
                run.buckets[i] = 0;
        run.completed = 0;
        run.notifications = 0;
        return 0;
}

static bool run_for(uint64_t ticks)
{
        uint64_t why;

        (void)user_call(0, clear_counts, NULL);
        run.end = rdtsc() + ticks;
        while ((why = user_call(0, run_requests, NULL)) == RUN_NOTIFY)
                mmio_write16(disk.queue.doorbell, 0);
        return why == RUN_OVER;
}

/* Percentile p of the times, in microseconds, rounded up. In ring 3. */
static uint64_t percentile(void *arg)
{
        uint64_t left = run.completed * *(const uint64_t *)arg / 100, us = 0;

        while (us < BUCKETS - 1 && left >= run.buckets[us])
                left -= run.buckets[us++];
        return us + 1;
}

static void prepare(const struct load *load, unsigned int depth, uint8_t *buffers)
{
        struct virtq *q = &disk.queue;

        for (unsigned int n = 0; n < depth; n++) {
                unsigned int at = n * DESCRIPTORS;

                requests[n].header.type = load->write ? BLK_T_OUT : BLK_T_IN;
                q->desc[at].addr = (uint64_t)&requests[n].header;
                q->desc[at].len = sizeof(struct blk_header);
                q->desc[at].flags = VIRTQ_NEXT;
                q->desc[at].next = (uint16_t)(at + 1);
                q->desc[at + 1].addr = (uint64_t)(buffers + (uint64_t)n * BYTES_MAX);
                q->desc[at + 1].len = load->bytes;
                q->desc[at + 1].flags = (uint16_t)(VIRTQ_NEXT | (load->write ? 0 : VIRTQ_WRITE));
                q->desc[at + 1].next = (uint16_t)(at + 2);
                q->desc[at + 2].addr = (uint64_t)&requests[n].status;
                q->desc[at + 2].len = 1;
                q->desc[at + 2].flags = VIRTQ_WRITE;
        }
}

/* The first requests of a measurement. */
static void begin(unsigned int depth)
{
        uint16_t idx = disk.queue.avail->idx;

        disk.queue.avail->flags = VIRTQ_NO_INTERRUPT;
        disk.queue.avail->ring[disk.queue.size] = (uint16_t)(disk.queue.next_used + NOT_SOON);
        for (unsigned int n = 0; n < depth; n++)
                idx = make_available(n, idx, rdtsc());
        if (publish(idx))
                mmio_write16(disk.queue.doorbell, 0);
}

/* The last requests come back, and stay. */
static bool drain(void)
{
        uint32_t id, len;

        while (disk.queue.next_used != disk.queue.avail->idx) {
                if (!virtq_wait(&disk.queue, WAIT_TICKS, &id, &len))
                        return false;
        }
        return true;
}

static bool measure(const struct load *load, unsigned int depth, uint64_t ms, uint8_t *buffers)
{
        uint64_t half = 50, most = 99, ticks, began;

        run.load = load;
        run.blocks = disk.capacity * BLK_SECTOR / load->bytes;
        run.random = 1;
        run.next_block = 0;
        prepare(load, depth, buffers);
        begin(depth);
        if (!run_for(ms * 100 * ticks_per_us))
                return false;
        began = rdtsc();
        if (!run_for(ms * 1000 * ticks_per_us))
                return false;
        ticks = rdtsc() - began;
        if (!drain())
                return false;
        print("block: %s %u bytes depth %u: %lu requests, %lu ns, %lu notifications, p50 %lu us, p99 %lu us\n",
              load->name, load->bytes, depth, run.completed, ticks * 1000 / ticks_per_us, run.notifications,
              user_call(0, percentile, &half), user_call(0, percentile, &most));
        return true;
}

/* Counts nanoseconds down beside the TSC. */
static void calibrate(void)
{
        uint64_t begin_ticks, ticks;
        uint32_t left;

        (void)lapic_enable(LAPIC_XAPIC);
        lapic_timer_set_up(LAPIC_TIMER_ONE_SHOT | LAPIC_LVT_MASKED, 0);
        lapic_write(LAPIC_TIMER_INITIAL, ~0U);
        begin_ticks = rdtsc();
        while (rdtsc() - begin_ticks < CALIBRATION_TICKS)
                cpu_pause();
        left = lapic_read(LAPIC_TIMER_CURRENT);
        ticks = rdtsc() - begin_ticks;
        lapic_write(LAPIC_TIMER_INITIAL, 0);
        ticks_per_us = (ticks * 1000 + (~left) / 2) / ~left;
}

static bool is_word(const char *word, const char *name)
{
        while (*name && *word == *name) {
                word++;
                name++;
        }
        return !*name && (!*word || *word == ' ');
}

static bool measure_all(const struct boot_info *boot, uint8_t *buffers)
{
        static const uint8_t depths[] = {1, 8, 32, 64};
        uint64_t ms = boot_option_number(boot, "ms", 300), depth = boot_option_number(boot, "depth", 0);
        const char *only = boot_option(boot, "load");

        for (unsigned int i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
                if (only && !is_word(only, loads[i].name))
                        continue;
                for (unsigned int j = 0; j < (depth ? 1 : sizeof(depths)); j++) {
                        if (!measure(&loads[i], depth ? (unsigned int)depth : depths[j], ms, buffers))
                                return false;
                }
        }
        return true;
}

unsigned int guest_main(const struct boot_info *boot)
{
        heap_init(boot);
        pci_init(boot);
        user_init(0);
        calibrate();
        if (boot_option_number(boot, "depth", 1) > DEPTH_MAX)
                return VERDICT_FAILED;
        if (!virtio_find(VIRTIO_TYPE_BLOCK, (unsigned int)boot_option_number(boot, "disk", 0), &disk.dev))
                return VERDICT_NO_DEVICE;
        if (!blk_start(&disk, (unsigned int)boot_option_number(boot, "disk", 0), VIRTIO_F_EVENT_IDX | BLK_F_FLUSH) ||
            disk.queue.size < DEPTH_MAX * DESCRIPTORS) {
                print("block: failed: no queue of %u entries\n", DEPTH_MAX * DESCRIPTORS);
                return VERDICT_FAILED;
        }
        run.notify_here = boot_option(boot, "user");
        if (!measure_all(boot, heap_alloc((uint64_t)DEPTH_MAX * BYTES_MAX, 4096))) {
                print("block: failed: a request\n");
                return VERDICT_FAILED;
        }
        return VERDICT_PASSED;
}
