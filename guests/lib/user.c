#include "user.h"

#include "gdt.h"

#define STACK_BYTES   4096
#define TSS_AVAILABLE 0x89ULL /* present, 64-bit TSS */

/* Intel SDM volume 3, 8.7. */
struct __attribute__((packed)) tss {
        uint32_t reserved;
        uint64_t rsp0;
        uint8_t rest[90];
        uint16_t io_map;
};

extern uint64_t gdt_tss[2 * USER_CPUS_MAX]; /* start.S */

/* user_entry.S: *rsp0 becomes the stack on which traps from ring 3 arrive. */
uint64_t user_enter(uint64_t (*fn)(void *), void *arg, void *rsp0, uint8_t *stack_end);

static struct tss tss[USER_CPUS_MAX];
static uint8_t stacks[USER_CPUS_MAX][STACK_BYTES] __attribute__((aligned(16)));

void user_init(unsigned int cpu)
{
        uint64_t base = (uint64_t)&tss[cpu];

        tss[cpu].io_map = sizeof(tss[cpu]);
        gdt_tss[2 * cpu] =
                (sizeof(tss[cpu]) - 1) | (base & 0xffffff) << 16 | TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
        gdt_tss[2 * cpu + 1] = base >> 32;
        __asm__ volatile("ltr %w0" : : "r"(GDT_TSS + 16 * cpu));
}

uint64_t user_call(unsigned int cpu, uint64_t (*fn)(void *), void *arg)
{
        return user_enter(fn, arg, (uint8_t *)&tss[cpu] + 4, stacks[cpu] + STACK_BYTES);
}
