/*
 * Calling a function in ring 3. No boundary: it sees all memory. It is for loops over much data, or that measure,
 * which some KVM back ends run a thousand times faster there than in ring 0.
 */
#pragma once

#include <stdint.h>

/* Once on each processor that uses user_call(); cpu: 0 or 1. */
void user_init(unsigned int cpu);

/*
 * Calls fn(arg) in ring 3 on this processor, with interrupts as they are and a stack of 4 KiB, and returns what it
 * returns. fn must do nothing that takes privilege: no ports, so no print(), no MSRs, no hlt. An exception in it is
 * one that nobody expected.
 */
uint64_t user_call(unsigned int cpu, uint64_t (*fn)(void *), void *arg);
