/* The I/O APIC at LAYOUT_IOAPIC (Intel 82093AA). */
#pragma once

#include <stdint.h>

/* Unmasks a pin: edge triggered, active high, fixed delivery of that vector to one processor. */
void ioapic_route_edge(unsigned int pin, uint8_t vector, uint8_t apic_id);
