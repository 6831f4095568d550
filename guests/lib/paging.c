#include "paging.h"

#define GIB            0x40000000ULL
#define LARGE_PAGE     0x200000ULL
#define WINDOW         0x100000000ULL /* the virtual address; also the first gpa that is not identity mapped */
#define PDPT_WINDOW    4
#define PTE_TABLE      0x03 /* present, writable */
#define PTE_LARGE_PAGE 0x83 /* present, writable, 2 MiB */

extern uint64_t page_directory_pointers[512]; /* start.S */

void *paging_address(uint64_t gpa)
{
        static uint64_t directory[512] __attribute__((aligned(4096)));
        static uint64_t shown; /* the GiB in the window; 0, which it never shows, before the first use */
        uint64_t base = gpa & ~(GIB - 1), cr3;

        if (gpa < WINDOW)
                return (void *)gpa;
        if (base != shown) {
                for (unsigned int i = 0; i < 512; i++)
                        directory[i] = (base + i * LARGE_PAGE) | PTE_LARGE_PAGE;
                page_directory_pointers[PDPT_WINDOW] = (uint64_t)directory | PTE_TABLE;
                __asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(cr3) : : "memory"); /* flush the TLB */
                shown = base;
        }
        return (void *)(WINDOW + (gpa - base));
}
