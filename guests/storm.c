/*
 * storm: all processors use all devices at once, without a lock.
 *
 * Each processor goes through the registers of the UART, the I/O APIC and the ACPI registers that end nothing, sends
 * bytes and makes the UART's interrupt line go up and down while its pin is edge- or level-triggered, masked or not.
 * Interrupts stay off.
 *
 * Options:  cpus=N    how many processors the machine has (1..64, default 1)
 *           rounds=N  how often each goes through all (default 500)
 * Prints:   x, any number of times; then
 *           storm: N processors, N rounds
 * Verdicts: 0, 3 (a processor did not start), 6 (a bad cpus=)
 * Needs:    the in-kernel local APIC; runs where ring 0 is emulated.
 */
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/lapic.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/uart.h"
#include "lib/verdict.h"
#include "lib/wait.h"
#include "vmm/x86_64/layout.h"

#define VERDICT_NOT_STARTED 3
#define VERDICT_BAD_OPTION  6

/* Intel 82093AA: the index register, the data register, the low half of a pin's redirection entry. */
#define IOAPIC_INDEX       (LAYOUT_IOAPIC + 0x00)
#define IOAPIC_DATA        (LAYOUT_IOAPIC + 0x10)
#define IOAPIC_ENTRY(pin)  (0x10 + 2 * (pin))
#define IOAPIC_ENTRY_LEVEL 0x8000
#define IOAPIC_ENTRY_MASK  0x10000
#define VECTOR             0x50

static volatile uint32_t started, finished;
static uint64_t rounds;

static void add_one(volatile uint32_t *counter)
{
        __asm__ volatile("lock incl %0" : "+m"(*counter) : : "memory");
}

static void use_ioapic(uint32_t bits)
{
        mmio_write32(IOAPIC_INDEX, IOAPIC_ENTRY(LAYOUT_UART_GSI));
        mmio_write32(IOAPIC_DATA, VECTOR | bits);
        (void)mmio_read32(IOAPIC_DATA);
}

static void use_all(void)
{
        static const uint32_t modes[] = {0, IOAPIC_ENTRY_LEVEL, IOAPIC_ENTRY_MASK};

        for (uint64_t i = 0; i < rounds; i++) {
                use_ioapic(modes[i % 3]);
                outb(LAYOUT_UART_PORT + UART_IER, i & 1 ? UART_IER_THR_EMPTY : 0);
                outb(LAYOUT_UART_PORT + UART_MCR, i & 2 ? UART_MCR_OUT2 : 0);
                outb(LAYOUT_UART_PORT, 'x');
                for (uint16_t reg = 0; reg < LAYOUT_UART_PORTS; reg++)
                        (void)inb(LAYOUT_UART_PORT + reg);
                (void)inl(LAYOUT_PM_PORT);
        }
        add_one(&finished);
}

static void ap_main(void)
{
        (void)lapic_enable(LAPIC_XAPIC);
        add_one(&started);
        use_all();
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t cpus = boot_option_number(boot, "cpus", 1);

        rounds = boot_option_number(boot, "rounds", 500);
        if (cpus < 1 || cpus > SMP_CPUS_MAX)
                return VERDICT_BAD_OPTION;
        (void)lapic_enable(LAPIC_XAPIC);
        smp_prepare(ap_main);
        for (uint32_t cpu = 1; cpu < cpus; cpu++) {
                smp_start(cpu);
                if (!wait_for_count(&started, cpu))
                        return VERDICT_NOT_STARTED;
        }
        use_all();
        while (finished < cpus)
                cpu_pause();
        print("\nstorm: %lu processors, %lu rounds\n", cpus, rounds);
        return VERDICT_PASSED;
}
