/* Exceptions and interrupts. */
#pragma once

#include <stdint.h>

#define TRAP_UD 6  /* invalid opcode */
#define TRAP_GP 13 /* general protection */

#define TRAP_IRQ_FIRST 32 /* lower vectors are exceptions */

/* What trap_entry.S leaves on the stack. */
struct trap_frame {
        uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
        uint64_t vector;
        uint64_t error; /* zero for vectors that have none */
        uint64_t rip, cs, rflags, rsp, ss;
};

/* Installs the exception gates and loads the IDT on this processor. */
void trap_init(void);

/* Loads the IDT on another processor, after trap_init(). */
void trap_load_idt(void);

/* fn is called for every interrupt of that vector (TRAP_IRQ_FIRST..255), interrupts off, on the processor
 * that took it. It has to signal the end of the interrupt to the local APIC. */
void trap_set_irq(uint8_t vector, void (*fn)(void));

/*
 * Calls fn(arg). Returns -1, or the vector of the exception that ended it; then what fn had done so far stays
 * done. Boot processor only, and not inside itself.
 */
int guest_try(void (*fn)(void *), void *arg);
