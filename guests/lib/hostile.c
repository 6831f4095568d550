#include "hostile.h"

#include <stddef.h>

#include "heap.h"
#include "memory.h"
#include "pci.h"
#include "print.h"
#include "user.h"
#include "verdict.h"
#include "wait.h"

#define GUARD_BYTES    0x4000U
#define GUARDS         5U
#define SENTINELS      8U /* sectors at both ends of a disk */
#define SETTLE_TICKS   (1ULL << 20)
#define REQUEST_BYTES  512U
#define HEADER_BYTES   8192U /* whatever of up to 4096 begins at the header or the status stays inside */
#define SPOIL          0xa5
#define PATTERN_FACTOR 0x9e3779b97f4a7c15ULL

struct hostile target;

/* Memory that the device is never given: guards, and all RAM behind what the guest uses. */
struct span {
        uint64_t *start, *end;
};

static struct span guarded[GUARDS + 1];
static unsigned int guarded_count;

/* In ring 3. Every word says where it is. */
static uint64_t fill_span(void *arg)
{
        const struct span *s = arg;

        for (uint64_t *word = s->start; word < s->end; word++)
                *word = (uint64_t)word * PATTERN_FACTOR;
        return 0;
}

/* In ring 3. Returns the first address that is wrong, or 0. */
static uint64_t check_span(void *arg)
{
        const struct span *s = arg;

        for (const uint64_t *word = s->start; word < s->end; word++) {
                if (*(const volatile uint64_t *)word != (uint64_t)word * PATTERN_FACTOR)
                        return (uint64_t)word;
        }
        return 0;
}

static void guard(uint64_t start, uint64_t end)
{
        struct span *s = &guarded[guarded_count++];

        s->start = (uint64_t *)start;
        s->end = (uint64_t *)end;
        (void)user_call(0, fill_span, s);
}

static void guard_here(void)
{
        uint64_t start = (uint64_t)heap_alloc(GUARD_BYTES, 4096);

        guard(start, start + GUARD_BYTES);
}

static void check_memory(const char *when, unsigned int count)
{
        for (unsigned int i = 0; i < count; i++) {
                uint64_t wrong = user_call(0, check_span, &guarded[i]);

                if (wrong) {
                        print("%s: %s: memory at 0x%lx is not as it was: 0x%lx\n", target.family, when, wrong,
                              *(uint64_t *)wrong);
                        verdict(VERDICT_HOSTILE_MEMORY);
                }
        }
}

void hostile_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
        target.q.desc[i].addr = addr;
        target.q.desc[i].len = len;
        target.q.desc[i].flags = flags;
        target.q.desc[i].next = next;
}

unsigned int hostile_chain(unsigned int first)
{
        unsigned int data = first;

        target.header->type = BLK_T_IN;
        target.header->reserved = 0;
        target.header->sector = 0;
        *target.status = BLK_S_NONE;
        if (!target.is_disk) {
                hostile_desc(data, (uint64_t)target.data, REQUEST_BYTES, VIRTQ_WRITE, 0);
                return data;
        }
        data = first + 1;
        hostile_desc(first, (uint64_t)target.header, sizeof(*target.header), VIRTQ_NEXT, (uint16_t)data);
        hostile_desc(data, (uint64_t)target.data, REQUEST_BYTES, VIRTQ_NEXT | VIRTQ_WRITE, (uint16_t)(data + 1));
        hostile_desc(data + 1, (uint64_t)target.status, 1, VIRTQ_WRITE, 0);
        return data;
}

void hostile_submit(uint16_t head)
{
        target.submitted = true;
        target.q.avail->ring[target.q.avail->idx % target.q.size] = head;
        __asm__ volatile("" : : : "memory");
        target.q.avail->idx++;
        cpu_fence();
        mmio_write16(target.q.doorbell, target.q.index);
}

static bool reacted(void)
{
        return target.q.used->idx != target.q.next_used || (virtio_status(&target.dev) & VIRTIO_NEEDS_RESET);
}

void hostile_wait(uint64_t ticks)
{
        uint64_t start = rdtsc();

        while (!reacted()) {
                if (rdtsc() - start > ticks)
                        return;
                cpu_pause();
        }
        for (start = rdtsc(); rdtsc() - start < SETTLE_TICKS;)
                cpu_pause();
}

static _Noreturn void dead(const char *why)
{
        print("%s: the device does not come back: %s\n", target.family, why);
        verdict(VERDICT_HOSTILE_DEAD);
}

static bool all_spoiled(void)
{
        for (unsigned int i = 0; i < REQUEST_BYTES; i++) {
                if (target.data[i] != SPOIL)
                        return false;
        }
        return true;
}

/* A normal request, that is seen to have been served. */
static void prove(void)
{
        uint32_t id, len;

        memset(target.data, SPOIL, REQUEST_BYTES);
        (void)hostile_chain(0);
        hostile_submit(0);
        if (!virtq_wait(&target.q, WAIT_TICKS, &id, &len))
                dead(virtio_status(&target.dev) & VIRTIO_NEEDS_RESET ? "it needs a reset again" : "no answer");
        if (id != 0 || len == 0 || all_spoiled())
                dead("a normal request is not served");
        if (target.is_disk && *target.status != BLK_S_OK)
                dead("a normal request fails");
}

void hostile_restart(void)
{
        if (!virtio_reset(&target.dev))
                dead("no reset");
        if (!virtio_negotiate(&target.dev, target.wanted))
                dead("no features");
        if (!virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE))
                dead("no queue");
        virtio_go(&target.dev);
}

static uint64_t sentinel(uint64_t sector, unsigned int word)
{
        return ~(sector * 64 + word) * PATTERN_FACTOR;
}

static int sentinel_request(uint32_t type, uint64_t sector)
{
        struct virtq_segment segments[] = {{target.header, sizeof(*target.header)},
                                           {target.data, BLK_SECTOR},
                                           {target.status, 1}};
        uint32_t len;

        target.header->type = type;
        target.header->sector = sector;
        *target.status = BLK_S_NONE;
        if (!virtq_request(&target.q, segments, type == BLK_T_OUT ? 2 : 1, type == BLK_T_OUT ? 1 : 2, &len))
                return BLK_S_NO_ANSWER;
        return *target.status;
}

static bool write_sentinel(uint64_t sector)
{
        for (unsigned int word = 0; word < BLK_SECTOR / 8; word++)
                ((uint64_t *)target.data)[word] = sentinel(sector, word);
        return sentinel_request(BLK_T_OUT, sector) == BLK_S_OK;
}

static bool check_sentinel(uint64_t sector)
{
        if (sentinel_request(BLK_T_IN, sector) != BLK_S_OK)
                return false;
        for (unsigned int word = 0; word < BLK_SECTOR / 8; word++) {
                if (((uint64_t *)target.data)[word] != sentinel(sector, word))
                        return false;
        }
        return true;
}

static bool at_both_ends(bool (*fn)(uint64_t sector))
{
        for (unsigned int i = 0; i < SENTINELS; i++) {
                if (!fn(i) || !fn(target.capacity - 1 - i))
                        return false;
        }
        return true;
}

static bool find_device(bool disk)
{
        target.is_disk = disk;
        if (!virtio_find(disk ? VIRTIO_TYPE_BLOCK : VIRTIO_TYPE_RNG, 0, &target.dev)) {
                print("%s: no device\n", target.family);
                return false;
        }
        if (disk)
                target.capacity = mmio_read32(target.dev.device + BLK_CFG_CAPACITY);
        return true;
}

/* Rings, data, header and table, with guards before, between and behind. */
static void lay_out_memory(const struct boot_info *boot)
{
        guard_here();
        (void)virtq_set_up(&target.q, &target.dev, 0, HOSTILE_QUEUE_SIZE);
        guard_here();
        target.guarded = (uint64_t)guarded[0].start;
        target.data = heap_alloc(HOSTILE_DATA_BYTES, 4096);
        guard_here();
        target.table = heap_alloc(HOSTILE_TABLE_ENTRIES * sizeof(struct virtq_desc), 4096);
        guard_here();
        target.header = heap_alloc(HEADER_BYTES, 4096);
        target.status = (volatile uint8_t *)(target.header + 1);
        guard_here();
        for (unsigned int i = 0; i < boot->memmap_entries; i++) {
                const struct boot_memmap_entry *e = &boot->memmap[i];

                if (e->type == BOOT_MEMMAP_RAM && e->addr + e->size > target.ram_end && e->addr < 1ULL << 32)
                        target.ram_end = e->addr + e->size;
        }
        target.passed_over = target.ram_end - 0x4000;
        guard((uint64_t)heap_alloc(0, 4096), target.passed_over);
}

bool hostile_init(const struct boot_info *boot, const char *family, bool disk, uint64_t wanted)
{
        target.family = family;
        target.wanted = wanted;
        target.lenient = boot_option(boot, "lenient");
        heap_init(boot);
        pci_init(boot);
        user_init(0);
        if (!find_device(disk))
                return false;
        lay_out_memory(boot);
        hostile_restart();
        if (disk && !target.read_only && !at_both_ends(write_sentinel)) {
                print("%s: the disk cannot be written\n", family);
                return false;
        }
        prove();
        return true;
}

static void report(const char *name)
{
        uint16_t completed = (uint16_t)(target.q.used->idx - target.q.next_used);
        uint32_t len = target.q.used->ring[(uint16_t)(target.q.next_used + completed - 1) % target.q.size].len;
        bool needs_reset = virtio_status(&target.dev) & VIRTIO_NEEDS_RESET;

        print("%s: %s: ", target.family, name);
        if (completed)
                print("%u completed, length %u", completed, len);
        if (completed && target.is_disk)
                print(", status %u", *target.status);
        print("%s\n", needs_reset        ? completed ? ", needs reset" : "needs reset"
                      : completed        ? ""
                      : target.submitted ? "ignored"
                                         : "no request");
        if (target.must_fail && !target.lenient && completed &&
            (target.is_disk ? *target.status == BLK_S_OK : len > 0)) {
                print("%s: %s must not succeed\n", target.family, name);
                verdict(VERDICT_HOSTILE_SERVED);
        }
}

static void run_case(const struct hostile_case *c)
{
        target.submitted = false;
        target.must_fail = false;
        c->run(c->arg);
        hostile_wait(target.submitted ? HOSTILE_TICKS : SETTLE_TICKS);
        report(c->name);
        hostile_restart();
        prove();
        check_memory(c->name, GUARDS);
}

static bool is_word(const char *word, const char *name)
{
        while (*name && *word == *name) {
                word++;
                name++;
        }
        return !*name && (!*word || *word == ' ');
}

unsigned int hostile_run(const struct boot_info *boot, const struct hostile_case *cases, unsigned int count)
{
        const char *only = boot_option(boot, "case");
        unsigned int done = 0;

        for (unsigned int i = 0; i < count; i++) {
                if (only && !is_word(only, cases[i].name))
                        continue;
                run_case(&cases[i]);
                done++;
        }
        check_memory("at the end", guarded_count);
        if (target.is_disk && !target.read_only && !at_both_ends(check_sentinel)) {
                print("%s: sectors are not as they were\n", target.family);
                return VERDICT_HOSTILE_DISK;
        }
        print("%s: %u cases, the device works\n", target.family, done);
        return done ? VERDICT_PASSED : VERDICT_FAILED;
}
