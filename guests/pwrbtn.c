/*
 * pwrbtn: a well-behaved guest: it waits for the power button and turns itself off.
 *
 * Prints:   waiting for the power button
 *           events 0xNN           what the event register held at each interrupt
 *           power off             before it enters S5
 * Verdicts: 1 (still running after that)
 * Needs:    the in-kernel local APIC and an I/O APIC; runs where ring 0 is emulated.
 */
#include "lib/acpi.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/ioapic.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

#define VECTOR_GED 0x70

static void on_event(void)
{
        lapic_eoi();
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint8_t events;

        (void)boot;
        (void)lapic_enable(LAPIC_XAPIC);
        trap_set_irq(VECTOR_GED, on_event);
        ioapic_route_edge(LAYOUT_GED_GSI, VECTOR_GED, (uint8_t)lapic_id());
        print("waiting for the power button\n");
        do {
                cpu_wait_for_interrupt();
                events = inb(LAYOUT_PM_PORT + LAYOUT_PM_EVENTS);
                print("events 0x%02x\n", events);
        } while (!(events & LAYOUT_PM_EVENT_POWER));
        print("power off\n");
        acpi_power_off();
        return VERDICT_FAILED;
}
