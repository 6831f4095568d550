#include "heap.h"

#include <stdint.h>

#include "print.h"
#include "verdict.h"

#define MAPPED_END 0x100000000ULL

extern const uint8_t image_end[]; /* guest.lds */

static uint64_t heap_next, heap_end;

void heap_init(const struct boot_info *boot)
{
        heap_next = (uint64_t)image_end;
        for (unsigned int i = 0; i < boot->memmap_entries; i++) {
                const struct boot_memmap_entry *e = &boot->memmap[i];

                if (e->type == BOOT_MEMMAP_RAM && e->addr <= heap_next && heap_next < e->addr + e->size)
                        heap_end = e->addr + e->size < MAPPED_END ? e->addr + e->size : MAPPED_END;
        }
}

void *heap_alloc(size_t len, size_t align)
{
        uint64_t start = (heap_next + align - 1) & ~(uint64_t)(align - 1);

        if (start > heap_end || len > heap_end - start) {
                print("heap: no RAM for %lu bytes\n", len);
                verdict(VERDICT_FAILED);
        }
        heap_next = start + len;
        return (void *)start;
}
