/* Waiting that ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

/* Ticks of the TSC a guest waits for something that should happen soon: ten seconds and more on any
 * processor, so that a busy host does not look like a lost interrupt. */
#define WAIT_TICKS (1ULL << 36)

/* Spins until *counter has reached value, with interrupts as they are. Returns false when that took too long.
 */
static inline bool wait_for_count(const volatile uint32_t *counter, uint32_t value)
{
        uint64_t start = rdtsc();

        while (*counter < value) {
                if (rdtsc() - start > WAIT_TICKS)
                        return false;
                cpu_pause();
        }
        return true;
}
