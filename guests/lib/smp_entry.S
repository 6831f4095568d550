/*
 * Where an application processor starts. smp_start() copies smp_trampoline..smp_trampoline_end to a page below
 * 1 MiB; the start-up IPI enters it in real mode with cs = page / 16 and ip = 0.
 */
#include "gdt.h"
#include "smp_limits.h"

#define CR0_PE 0x01

        .section .data.smp_trampoline, "aw"
        .code16
        .globl smp_trampoline
smp_trampoline:
        cli
        movw %cs, %ax
        movw %ax, %ds
        lgdtl smp_trampoline_gdt - smp_trampoline
        movl %cr0, %eax
        orl $CR0_PE, %eax
        movl %eax, %cr0
        ljmpl $GDT_CODE32, $smp_entry32
        .balign 4
        .globl smp_trampoline_gdt
smp_trampoline_gdt: /* filled in by smp_start() with what gdt_pointer holds */
        .zero 6
        .globl smp_trampoline_end
smp_trampoline_end:

/* Takes the next free stack and goes on as the boot processor did. */
        .section .text.smp_entry32, "ax"
        .code32
smp_entry32:
        movl $GDT_DATA, %eax
        movl %eax, %ds
        movl $1, %edi
        lock xaddl %edi, smp_stacks_taken
        cmpl $SMP_APS_MAX, %edi
        jae 1f
        movl %edi, %esp
        incl %esp
        shll $SMP_STACK_SHIFT, %esp
        addl $smp_stacks, %esp
        movl $smp_ap_start, %esi
        jmp enter_long_mode
1:      cli
        hlt
        jmp 1b

        .section .bss.smp_stacks, "aw", @nobits
        .balign 16
smp_stacks:
        .zero SMP_APS_MAX << SMP_STACK_SHIFT
smp_stacks_taken:
        .zero 4

        .section .note.GNU-stack, "", @progbits
