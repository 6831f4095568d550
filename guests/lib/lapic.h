/* The local APIC of the processor that calls, in xAPIC (MMIO) or x2APIC (MSR) mode. Intel SDM volume 3,
 * chapter 10. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Register offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset / 16. */
#define LAPIC_ID            0x020
#define LAPIC_EOI           0x0b0
#define LAPIC_SVR           0x0f0
#define LAPIC_ICR           0x300
#define LAPIC_ICR_HIGH      0x310
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE  0x3e0

#define LAPIC_ICR_FIXED   0x4000 /* assert; the vector is in bits 0-7 */
#define LAPIC_ICR_INIT    0x4500
#define LAPIC_ICR_STARTUP 0x4600

#define LAPIC_TIMER_ONE_SHOT 0x00000
#define LAPIC_TIMER_PERIODIC 0x20000
#define LAPIC_TIMER_DEADLINE 0x40000
#define LAPIC_LVT_MASKED     0x10000

#define MSR_TSC_DEADLINE 0x6e0

enum lapic_mode {
        LAPIC_XAPIC,
        LAPIC_X2APIC,
};

/* Turns the calling processor's APIC on. All processors must use the same mode. Returns false when the
 * processor has no x2APIC. */
bool lapic_enable(enum lapic_mode mode);

uint32_t lapic_read(uint32_t offset);
void lapic_write(uint32_t offset, uint32_t value);

/* The calling processor's APIC id. */
uint32_t lapic_id(void);

/* End of interrupt. */
void lapic_eoi(void);

/* Sends an interprocessor interrupt: LAPIC_ICR_* with the vector in the low byte. */
void lapic_send_ipi(uint32_t apic_id, uint32_t command);

/* Sets the timer's mode (LAPIC_TIMER_*) and vector, undivided clock, and leaves it stopped. */
void lapic_timer_set_up(uint32_t mode, uint8_t vector);
