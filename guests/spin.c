/*
 * spin: runs for ever in ring 0 with interrupts off and makes no exit. Only a kick from the host ends it.
 *
 * Options:  cpus=N    start processors 1..N-1, which then spin as well (1..64, default 1)
 * Prints:   spinning
 * Verdicts: 3 (a processor did not start), 6 (a bad cpus=)
 * Needs:    nothing of KVM, more processors the in-kernel local APIC; runs where ring 0 is emulated.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/trap.h"
#include "lib/verdict.h"
#include "lib/wait.h"

#define VERDICT_NOT_STARTED 3
#define VERDICT_BAD_OPTION  6

#define VECTOR_GO 0x40

static volatile uint32_t started; /* processors one by one */

static _Noreturn void spin(void)
{
        cpu_interrupts_off();
        for (;;)
                __asm__ volatile("");
}

static void on_go(void)
{
        lapic_eoi();
}

/* Halted until all are there: one that already spins would slow down the start of the others. */
static void ap_main(void)
{
        (void)lapic_enable(LAPIC_XAPIC);
        started++;
        cpu_wait_for_interrupt();
        spin();
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t cpus = boot_option_number(boot, "cpus", 1);

        if (cpus < 1 || cpus > SMP_CPUS_MAX)
                return VERDICT_BAD_OPTION;
        if (cpus > 1) {
                (void)lapic_enable(LAPIC_XAPIC);
                trap_set_irq(VECTOR_GO, on_go);
                smp_prepare(ap_main);
        }
        for (uint32_t cpu = 1; cpu < cpus; cpu++) {
                smp_start(cpu);
                if (!wait_for_count(&started, cpu))
                        return VERDICT_NOT_STARTED;
        }
        for (uint32_t cpu = 1; cpu < cpus; cpu++)
                lapic_send_ipi(cpu, LAPIC_ICR_FIXED | VECTOR_GO);
        print("spinning\n");
        spin();
}
