/*
 * smp: every processor starts, knows who it is, and interrupts reach it.
 *
 * INIT and start-up IPI to the APIC ids 1..N-1, one after the other. Each processor reports its APIC id as
 * CPUID leaf 1, CPUID leaf 0xb (where there is one) and its local APIC tell it. Then an IPI goes to each and
 * one comes back.
 *
 * Options:  cpus=N    how many processors the machine has (1..64, default 1); their APIC ids are 0..N-1
 *           x2apic    use the local APICs in x2APIC mode
 * Prints:   smp: cpu N: CPUID.1 says A, CPUID.0xb says B, APIC says C        when they do not agree
 *           smp: N of M processors, IPI there and back                       when all is well
 * Verdicts: 0, 1 (an id is wrong), 3 (a processor did not start), 4 (an IPI did not arrive), 5 (no x2APIC),
 *           6 (a bad cpus=)
 * Needs:    the in-kernel local APIC; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/trap.h"
#include "lib/verdict.h"
#include "lib/wait.h"

#define VERDICT_NOT_STARTED 3
#define VERDICT_NO_IPI      4
#define VERDICT_NO_X2APIC   5
#define VERDICT_BAD_OPTION  6

#define VECTOR_PING 0x40
#define VECTOR_PONG 0x41

struct report {
        uint32_t leaf1_id, leafb_id, apic_id;
};

static struct report reports[SMP_CPUS_MAX]; /* in the order of arrival; processors start one by one */
static volatile uint32_t arrived, pings, pongs;
static enum lapic_mode mode;

static void add_one(volatile uint32_t *counter)
{
        __asm__ volatile("lock incl %0" : "+m"(*counter) : : "memory");
}

static void on_ping(void)
{
        add_one(&pings);
        lapic_eoi();
        lapic_send_ipi(0, LAPIC_ICR_FIXED | VECTOR_PONG);
}

static void on_pong(void)
{
        add_one(&pongs);
        lapic_eoi();
}

static void report_self(struct report *r)
{
        struct cpuid_regs topology = {0};

        if (cpuid(0, 0).eax >= 0xb)
                topology = cpuid(0xb, 0);
        r->leaf1_id = cpuid(1, 0).ebx >> 24;
        r->leafb_id = topology.ebx ? topology.edx : r->leaf1_id; /* ebx is zero when the leaf does not exist */
        r->apic_id = lapic_id();
}

static void ap_main(void)
{
        (void)lapic_enable(mode);
        report_self(&reports[arrived]);
        add_one(&arrived);
        for (;;)
                cpu_wait_for_interrupt();
}

static bool check_report(uint32_t cpu)
{
        const struct report *r = &reports[cpu];

        if (r->leaf1_id == cpu && r->leafb_id == cpu && r->apic_id == cpu)
                return true;
        print("smp: cpu %u: CPUID.1 says %u, CPUID.0xb says %u, APIC says %u\n", cpu, r->leaf1_id, r->leafb_id,
              r->apic_id);
        return false;
}

static unsigned int start_all(uint32_t cpus)
{
        smp_prepare(ap_main);
        for (uint32_t cpu = 1; cpu < cpus; cpu++) {
                smp_start(cpu);
                if (!wait_for_count(&arrived, cpu + 1)) {
                        print("smp: cpu %u did not start\n", cpu);
                        return VERDICT_NOT_STARTED;
                }
        }
        return VERDICT_PASSED;
}

static unsigned int ping_all(uint32_t cpus)
{
        cpu_interrupts_on();
        for (uint32_t cpu = 1; cpu < cpus; cpu++) {
                lapic_send_ipi(cpu, LAPIC_ICR_FIXED | VECTOR_PING);
                if (!wait_for_count(&pongs, cpu) || pings != cpu) {
                        print("smp: cpu %u: %u pings and %u pongs so far\n", cpu, pings, pongs);
                        return VERDICT_NO_IPI;
                }
        }
        cpu_interrupts_off();
        return VERDICT_PASSED;
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t cpus = boot_option_number(boot, "cpus", 1);
        unsigned int result;
        bool good = true;

        if (cpus < 1 || cpus > SMP_CPUS_MAX)
                return VERDICT_BAD_OPTION;
        mode = boot_option(boot, "x2apic") ? LAPIC_X2APIC : LAPIC_XAPIC;
        if (!lapic_enable(mode))
                return VERDICT_NO_X2APIC;
        trap_set_irq(VECTOR_PING, on_ping);
        trap_set_irq(VECTOR_PONG, on_pong);

        report_self(&reports[0]);
        arrived = 1;
        result = start_all((uint32_t)cpus);
        if (result != VERDICT_PASSED)
                return result;
        for (uint32_t cpu = 0; cpu < cpus; cpu++)
                good &= check_report(cpu);
        result = ping_all((uint32_t)cpus);
        if (result != VERDICT_PASSED)
                return result;
        if (!good)
                return VERDICT_FAILED;
        print("smp: %u of %lu processors, IPI there and back\n", arrived, cpus);
        return VERDICT_PASSED;
}
