/* Starting the application processors. */
#pragma once

#include <stdint.h>

#include "smp_limits.h"

/*
 * Prepares the trampoline page at 0x8000. Once, before smp_start(). A started processor calls ap_function in
 * long mode, on a stack of its own of 4 KiB, interrupts off, IDT loaded; when that returns, it halts for
 * good.
 */
void smp_prepare(void (*ap_function)(void));

/* Sends INIT and the start-up IPI to one processor. The caller's local APIC must be on. Boot processor only.
 */
void smp_start(uint32_t apic_id);
