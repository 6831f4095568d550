/*
 * memory: all RAM of the memory map is there, and no two addresses are the same memory.
 *
 * Every word tested gets a value made from its address; when all are written, all are read back. Tested are
 * the first and the last 4 KiB of every usable entry, and one word in every Nth page between them. The
 * guest's own image is left out.
 *
 * Options:  stride=N  default: so that at most 256 Ki pages, 1 GiB of the host's memory, are touched
 *           full      every word: for 128 MiB it takes three minutes where ring 0 is emulated
 * Prints:   memory: ADDR..END usable         for each usable entry
 *           memory: at ADDR read VALUE       for the first words that differ
 *           memory: N words, M wrong
 * Verdicts: 0, 1 (a word differs), 3 (the memory map has no usable entry)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/verdict.h"

#define VERDICT_NO_RAM 3

#define PAGE        4096ULL
#define TOUCHED_MAX (256 * 1024) /* pages */
#define REPORTS_MAX 16
#define PATTERN     0x9e3779b97f4a7c15ULL /* odd, so that different addresses give different values */
#define GIB         0x40000000ULL

extern const uint8_t image_start[], image_end[]; /* guest.lds */

struct test {
        bool reading;
        uint64_t words, wrong;
};

static void test_word(struct test *t, volatile uint64_t *word, uint64_t gpa)
{
        uint64_t expected = gpa * PATTERN, value;

        t->words++;
        if (!t->reading) {
                *word = expected;
                return;
        }
        value = *word;
        if (value != expected && t->wrong++ < REPORTS_MAX)
                print("memory: at 0x%lx read 0x%lx\n", gpa, value);
}

/* Tests one word in every step bytes of start..end. */
static void test_range(struct test *t, uint64_t start, uint64_t end, uint64_t step)
{
        while (start < end) {
                uint64_t chunk_end = (start & ~(GIB - 1)) + GIB; /* what paging_address() promises */
                uint64_t offset = (uint64_t)paging_address(start) - start;

                if (chunk_end > end)
                        chunk_end = end;
                for (; start < chunk_end; start += step)
                        test_word(t, (volatile uint64_t *)(start + offset), start);
        }
}

static void test_around_image(struct test *t, uint64_t start, uint64_t end, uint64_t step)
{
        uint64_t own_start = (uint64_t)image_start, own_end = ((uint64_t)image_end + PAGE - 1) & ~(PAGE - 1);

        if (start >= own_end || end <= own_start) {
                test_range(t, start, end, step);
                return;
        }
        if (start < own_start)
                test_range(t, start, own_start, step);
        if (end > own_end)
                test_range(t, own_end, end, step);
}

static void test_entry(struct test *t, uint64_t start, uint64_t end, uint64_t step)
{
        uint64_t edge = end - start < PAGE ? end - start : PAGE;

        /* Words where these overlap are tested twice; the value depends on the address only. */
        test_around_image(t, start, start + edge, sizeof(uint64_t));
        test_around_image(t, start, end, step);
        test_around_image(t, end - edge, end, sizeof(uint64_t));
}

static unsigned int test_all(const struct boot_info *boot, struct test *t, uint64_t step)
{
        unsigned int entries = 0;

        for (unsigned int i = 0; i < boot->memmap_entries; i++) {
                const struct boot_memmap_entry *m = &boot->memmap[i];
                uint64_t start = (m->addr + 7) & ~7ULL, end = (m->addr + m->size) & ~7ULL;

                if (m->type != BOOT_MEMMAP_RAM || end <= start)
                        continue;
                entries++;
                if (!t->reading)
                        print("memory: 0x%lx..0x%lx usable\n", start, end);
                test_entry(t, start, end, step);
        }
        return entries;
}

static uint64_t choose_step(const struct boot_info *boot)
{
        uint64_t pages = boot_ram_bytes(boot) / PAGE, stride;

        if (boot_option(boot, "full"))
                return sizeof(uint64_t);
        stride = boot_option_number(boot, "stride", 0);
        if (stride == 0)
                stride = (pages + TOUCHED_MAX - 1) / TOUCHED_MAX;
        return (stride ? stride : 1) * PAGE;
}

unsigned int guest_main(const struct boot_info *boot)
{
        struct test writing = {.reading = false}, reading = {.reading = true};
        uint64_t step = choose_step(boot);

        if (test_all(boot, &writing, step) == 0)
                return VERDICT_NO_RAM;
        (void)test_all(boot, &reading, step);
        print("memory: %lu words, %lu wrong\n", reading.words, reading.wrong);
        return reading.wrong ? VERDICT_FAILED : VERDICT_PASSED;
}
