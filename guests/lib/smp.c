#include "smp.h"

#include <stddef.h>

#include "cpu.h"
#include "lapic.h"
#include "trap.h"

#define TRAMPOLINE 0x8000ULL /* usable RAM below 1 MiB; nothing the guest still needs is there */

/* From smp_entry.S and start.S. */
extern const uint8_t smp_trampoline[], smp_trampoline_end[], smp_trampoline_gdt[];
extern const uint8_t gdt_pointer[6];

static void (*volatile smp_function)(void);

/* Called by smp_entry.S on the new processor. */
void smp_ap_start(void);

void smp_ap_start(void)
{
        trap_load_idt();
        smp_function();
        cpu_halt_forever();
}

static void copy(uint64_t dst, const uint8_t *src, size_t len)
{
        for (size_t i = 0; i < len; i++)
                ((volatile uint8_t *)dst)[i] = src[i];
}

void smp_prepare(void (*ap_function)(void))
{
        smp_function = ap_function;
        copy(TRAMPOLINE, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
        copy(TRAMPOLINE + (uint64_t)(smp_trampoline_gdt - smp_trampoline), gdt_pointer, sizeof(gdt_pointer));
}

void smp_start(uint32_t apic_id)
{
        /* The waits of 10 ms and 200 us that the MP specification (B.4) asks for are for real hardware; a KVM
         * vCPU takes the start-up IPI right after INIT, and one is enough. */
        lapic_send_ipi(apic_id, LAPIC_ICR_INIT);
        lapic_send_ipi(apic_id, LAPIC_ICR_STARTUP | (uint32_t)(TRAMPOLINE >> 12));
}
