#include "lapic.h"

#include "cpu.h"
#include "vmm/x86_64/layout.h"

#define MSR_APIC_BASE      0x1b
#define APIC_BASE_X2APIC   0x400
#define APIC_BASE_ENABLED  0x800
#define MSR_X2APIC         0x800
#define CPUID_1_ECX_X2APIC (1U << 21)

#define SVR_ENABLED     0x100
#define SPURIOUS_VECTOR 0xff
#define ICR_PENDING     0x1000
#define DIVIDE_BY_1     0xb
#define ICR_POLLS_MAX   100000

static enum lapic_mode lapic_mode;

bool lapic_enable(enum lapic_mode mode)
{
        uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLED;

        if (mode == LAPIC_X2APIC) {
                if (!(cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC))
                        return false;
                base |= APIC_BASE_X2APIC;
        }
        wrmsr(MSR_APIC_BASE, base);
        lapic_mode = mode;
        lapic_write(LAPIC_SVR, SVR_ENABLED | SPURIOUS_VECTOR);
        return true;
}

uint32_t lapic_read(uint32_t offset)
{
        if (lapic_mode == LAPIC_X2APIC)
                return (uint32_t)rdmsr(MSR_X2APIC + offset / 16);
        return mmio_read32(LAYOUT_LAPIC + offset);
}

void lapic_write(uint32_t offset, uint32_t value)
{
        if (lapic_mode == LAPIC_X2APIC)
                wrmsr(MSR_X2APIC + offset / 16, value);
        else
                mmio_write32(LAYOUT_LAPIC + offset, value);
}

uint32_t lapic_id(void)
{
        uint32_t id = lapic_read(LAPIC_ID);

        return lapic_mode == LAPIC_X2APIC ? id : id >> 24;
}

void lapic_eoi(void)
{
        lapic_write(LAPIC_EOI, 0);
}

void lapic_send_ipi(uint32_t apic_id, uint32_t command)
{
        if (lapic_mode == LAPIC_X2APIC) {
                wrmsr(MSR_X2APIC + LAPIC_ICR / 16, (uint64_t)apic_id << 32 | command);
                return;
        }
        lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
        lapic_write(LAPIC_ICR, command);
        for (unsigned int i = 0; i < ICR_POLLS_MAX && (lapic_read(LAPIC_ICR) & ICR_PENDING); i++)
                cpu_pause();
}

void lapic_timer_set_up(uint32_t mode, uint8_t vector)
{
        lapic_write(LAPIC_TIMER_INITIAL, 0);
        lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
        lapic_write(LAPIC_LVT_TIMER, mode | vector);
}
