/* Into ring 3 by iretq, and back by the one way that works everywhere: an exception (trap.c). */
#include "gdt.h"

        .text
        .code64

/* uint64_t user_enter(uint64_t (*fn)(void *), void *arg, void *rsp0, uint8_t *stack_end): user.c */
        .globl user_enter
user_enter:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        subq $8, %rsp /* a multiple of 16: the processor would round it down for the frame */
        movq %rsp, (%rdx)
        pushq $GDT_USER_DATA
        pushq %rcx
        pushfq
        pushq $GDT_USER_CODE
        pushq $user_start
        movq %rdi, %rax
        movq %rsi, %rdi
        iretq

/* In ring 3. */
user_start:
        call *%rax
        .globl user_done
user_done:
        ud2

/* Back in ring 0, rsp as it was saved, rax what fn returned. */
        .globl user_call_resume
user_call_resume:
        addq $8, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

        .section .note.GNU-stack, "", @progbits
