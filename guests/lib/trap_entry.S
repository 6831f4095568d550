/* The 256 interrupt entries, and guest_try(). The C side is trap.c; the frame is struct trap_frame. */

        .text
        .code64

/* Entry n is at trap_entries + 16 * n. The processor pushes an error code for these vectors only (Intel SDM
 * volume 3, table 6-1; AMD APM volume 2, table 8-1); the others get a zero, so that all frames look alike. */
#define VECTORS_WITH_ERROR ((1 << 8) | (0x1f << 10) | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30))

        .balign 16
        .globl trap_entries
trap_entries:
        .set vector, 0
        .rept 256
        .balign 16
        .if vector >= 32
        pushq $0
        .elseif !((VECTORS_WITH_ERROR >> vector) & 1)
        pushq $0
        .endif
        pushq $vector
        jmp trap_save
        .set vector, vector + 1
        .endr

trap_save:
        pushq %rax
        pushq %rcx
        pushq %rdx
        pushq %rbx
        pushq %rbp
        pushq %rsi
        pushq %rdi
        pushq %r8
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        cld
        movq %rsp, %rdi
        call trap_dispatch
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %r11
        popq %r10
        popq %r9
        popq %r8
        popq %rdi
        popq %rsi
        popq %rbp
        popq %rbx
        popq %rdx
        popq %rcx
        popq %rax
        addq $16, %rsp
        iretq

/* int guest_try(void (*fn)(void *), void *arg): trap.h */
        .globl guest_try
guest_try:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        subq $8, %rsp /* the ABI wants rsp a multiple of 16 at a call */
        movq %rsp, guest_try_rsp
        movq %rdi, %rax
        movq %rsi, %rdi
        call *%rax
        movl $-1, %eax
/* trap_dispatch() resumes here after an exception, with rsp = guest_try_rsp and rax = the vector. */
        .globl guest_try_resume
guest_try_resume:
        movq $0, guest_try_rsp
        addq $8, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

        .section .bss.guest_try_rsp, "aw", @nobits
        .balign 8
        .globl guest_try_rsp
guest_try_rsp:
        .zero 8

        .section .note.GNU-stack, "", @progbits
