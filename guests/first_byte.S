/*
 * first_byte: the shortest guest there is, for measuring a start: from the host's exec to the first byte out.
 *
 * Its first instructions, in 32-bit protected mode, write "B\n" to the UART, whatever the UART's state. No stack, no
 * long mode, no memory access. Then it halts for good, interrupts off.
 *
 * Prints:   B
 * Verdicts: none
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include "lib/pvh_note.inc"
#include "vmm/x86_64/layout.h"

        pvh_note pvh_entry

        .text
        .code32
        .globl pvh_entry
pvh_entry:
        movw $LAYOUT_UART_PORT, %dx
        movb $'B', %al
        outb %al, %dx
        movb $'\n', %al
        outb %al, %dx
1:      cli
        hlt
        jmp 1b

        .section .note.GNU-stack, "", @progbits
