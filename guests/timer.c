/*
 * timer: the local APIC's timer in its three modes, and a halted processor that it wakes.
 *
 * An interrupt that should wake the processor and does not leaves it halted: the host needs a time limit.
 *
 * Options:  x2apic    use the local APIC in x2APIC mode
 * Prints:   timer: MODE ok, N ticks        N: how long it took on the TSC; the modes are, in this order:
 *               one-shot, stopped, one-shot from hlt, periodic, tsc-deadline, tsc-deadline from hlt
 *           timer: no tsc-deadline         instead of the last two, when CPUID does not offer it
 *           timer: MODE failed: why        and nothing after it
 * Verdicts: 0, 1 (a check failed), 3 (no x2APIC)
 * Needs:    the in-kernel local APIC; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/verdict.h"
#include "lib/wait.h"

#define VERDICT_NO_X2APIC 3

#define VECTOR_TIMER         0x50
#define SHORT_COUNT          1000000 /* KVM's APIC timer counts nanoseconds */
#define LONG_COUNT           0xffffffffU
#define PERIODS              10
#define DEADLINE_TICKS       5000000
#define STOPPED_TICKS        20000000
#define CPUID_1_ECX_DEADLINE (1U << 24)

static volatile uint32_t interrupts;

static void on_timer(void)
{
        interrupts = interrupts + 1;
        lapic_eoi();
}

static bool failed(const char *what, const char *why)
{
        print("timer: %s failed: %s\n", what, why);
        return false;
}

static bool passed(const char *what, uint64_t start)
{
        print("timer: %s ok, %lu ticks\n", what, rdtsc() - start);
        return true;
}

/* Spins, or halts, until the count is reached. */
static bool wait_interrupts(uint32_t count, bool halted)
{
        bool in_time = true;

        if (halted) {
                while (interrupts < count)
                        cpu_wait_for_interrupt();
                return true;
        }
        cpu_interrupts_on();
        in_time = wait_for_count(&interrupts, count);
        cpu_interrupts_off();
        return in_time;
}

static bool test_one_shot(const char *name, bool halted)
{
        uint64_t start = rdtsc();

        interrupts = 0;
        lapic_timer_set_up(LAPIC_TIMER_ONE_SHOT, VECTOR_TIMER);
        lapic_write(LAPIC_TIMER_INITIAL, SHORT_COUNT);
        if (!wait_interrupts(1, halted))
                return failed(name, "no interrupt");
        if (lapic_read(LAPIC_TIMER_CURRENT) != 0)
                return failed(name, "the counter is not at zero");
        return passed(name, start);
}

/* A long count runs, is stopped, and nothing arrives. */
static bool test_stopped(void)
{
        const char *name = "stopped";
        uint64_t start = rdtsc();
        uint32_t count;

        interrupts = 0;
        lapic_timer_set_up(LAPIC_TIMER_ONE_SHOT, VECTOR_TIMER);
        lapic_write(LAPIC_TIMER_INITIAL, LONG_COUNT);
        count = lapic_read(LAPIC_TIMER_CURRENT);
        if (count == 0)
                return failed(name, "the counter starts at zero");
        if (lapic_read(LAPIC_TIMER_CURRENT) > count)
                return failed(name, "the counter goes up");
        lapic_write(LAPIC_TIMER_INITIAL, 0);
        cpu_interrupts_on();
        while (rdtsc() - start < STOPPED_TICKS)
                cpu_pause();
        cpu_interrupts_off();
        if (interrupts != 0 || lapic_read(LAPIC_TIMER_CURRENT) != 0)
                return failed(name, "it went on");
        return passed(name, start);
}

static bool test_periodic(void)
{
        const char *name = "periodic";
        uint64_t start = rdtsc();
        bool in_time;

        interrupts = 0;
        lapic_timer_set_up(LAPIC_TIMER_PERIODIC, VECTOR_TIMER);
        lapic_write(LAPIC_TIMER_INITIAL, SHORT_COUNT);
        in_time = wait_interrupts(PERIODS, false);
        lapic_timer_set_up(LAPIC_TIMER_ONE_SHOT, VECTOR_TIMER);
        if (!in_time)
                return failed(name, "too few interrupts");
        return passed(name, start);
}

static bool test_deadline(const char *name, bool halted)
{
        uint64_t start = rdtsc(), deadline;

        interrupts = 0;
        lapic_timer_set_up(LAPIC_TIMER_DEADLINE, VECTOR_TIMER);
        /* The SDM (10.5.4.1) wants the mode to be set before the deadline; only MMIO needs the fence. */
        __asm__ volatile("mfence" : : : "memory");
        deadline = rdtsc() + DEADLINE_TICKS;
        wrmsr(MSR_TSC_DEADLINE, deadline);
        if (!wait_interrupts(1, halted))
                return failed(name, "no interrupt");
        if (rdtsc() < deadline)
                return failed(name, "too early");
        if (rdmsr(MSR_TSC_DEADLINE) != 0)
                return failed(name, "the MSR is not zero after the interrupt");
        return passed(name, start);
}

unsigned int guest_main(const struct boot_info *boot)
{
        bool good;

        if (!lapic_enable(boot_option(boot, "x2apic") ? LAPIC_X2APIC : LAPIC_XAPIC))
                return VERDICT_NO_X2APIC;
        trap_set_irq(VECTOR_TIMER, on_timer);
        good = test_one_shot("one-shot", false) && test_stopped() && test_one_shot("one-shot from hlt", true) &&
               test_periodic();
        if (!good)
                return VERDICT_FAILED;
        if (!(cpuid(1, 0).ecx & CPUID_1_ECX_DEADLINE)) {
                print("timer: no tsc-deadline\n");
                return VERDICT_PASSED;
        }
        good = test_deadline("tsc-deadline", false) && test_deadline("tsc-deadline from hlt", true);
        return good ? VERDICT_PASSED : VERDICT_FAILED;
}
