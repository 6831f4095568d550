#include "ioapic.h"

#include "cpu.h"
#include "vmm/x86_64/layout.h"

#define IOREGSEL         0x00
#define IOWIN            0x10
#define REDIRECTION(pin) (0x10 + 2 * (pin))

static void write_register(unsigned int index, uint32_t value)
{
        mmio_write32(LAYOUT_IOAPIC + IOREGSEL, index);
        mmio_write32(LAYOUT_IOAPIC + IOWIN, value);
}

void ioapic_route_edge(unsigned int pin, uint8_t vector, uint8_t apic_id)
{
        write_register(REDIRECTION(pin) + 1, (uint32_t)apic_id << 24);
        write_register(REDIRECTION(pin), vector);
}
