/*
 * The tiny guest: one entry point for each instruction that an unmodified kernel needs. Position-independent; loaded at
 * GUEST_CODE and started in long mode, in ring 0, with a stack. guest_abi.h has the rest of the machine.
 */
#include "cli/doctor/guest_abi.h"

#define MSR_STAR  0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_FMASK 0xc0000084

#define MXCSR_DEFAULT  0x1f80 /* Intel SDM vol. 1, 10.2.3 */
#define MXCSR_IN_XSAVE 24     /* byte offset in the area: Intel SDM vol. 1, 13.4.1 */
#define COOKIE         0x53

        .code64
        .text
table:
        .quad long_mode - table
        .quad int3_probe - table
        .quad iretq_probe - table
        .quad popcnt_probe - table
        .quad cmpxchg16b_probe - table
        .quad xgetbv_probe - table
        .quad xsave_probe - table
        .quad smap_probe - table
        .quad rdtscp_probe - table
        .quad lar_probe - table
        .quad verr_probe - table
        .quad syscall_probe - table
        .quad unexpected - table
        .quad breakpoint - table
        .if (. - table) - 8 * ENTRY_COUNT
        .error "the table does not match guest_abi.h"
        .endif

done:
long_mode:
        mov $GUEST_SAYS_DONE, %al
        out %al, $GUEST_PORT
        hlt
wrong:
        mov $GUEST_SAYS_WRONG, %al
        out %al, $GUEST_PORT
        hlt
unexpected:
        mov $GUEST_SAYS_EXCEPTION, %al
        out %al, $GUEST_PORT
        hlt

/* Delivery alone; the return from it is iretq_probe's. */
int3_probe:
        int3
        jmp wrong
breakpoint:
        jmp done

iretq_probe:
        mov %rsp, %rax
        pushq $SEL_DATA
        push %rax
        pushfq
        pushq $SEL_CODE
        lea done(%rip), %rcx
        push %rcx
        iretq

popcnt_probe:
        mov $0xf0f0, %eax
        popcnt %rax, %rax
        cmp $8, %rax
        jne wrong
        jmp done

cmpxchg16b_probe:
        pushq $2
        pushq $1
        mov $1, %eax
        mov $2, %edx
        mov $3, %ebx
        mov $4, %ecx
        cmpxchg16b (%rsp)
        jne wrong
        cmpq $3, (%rsp)
        jne wrong
        cmpq $4, 8(%rsp)
        jne wrong
        jmp done

/* XCR0 has x87 state always. */
xgetbv_probe:
        xor %ecx, %ecx
        xgetbv
        test $1, %al
        jz wrong
        jmp done

/* After reset XCR0 has x87 state only: xsave would leave MXCSR, which belongs to SSE state, out. */
xsave_probe:
        xor %ecx, %ecx
        mov $3, %eax
        xor %edx, %edx
        xsetbv
        mov $GUEST_XSAVE, %edi
        xsave (%rdi)
        cmpl $MXCSR_DEFAULT, MXCSR_IN_XSAVE(%rdi)
        jne wrong
        xrstor (%rdi)
        jmp done

/* A kernel's access to a page of user mode, which SMAP lets through between stac and clac. */
smap_probe:
        stac
        mov GUEST_USER_ALIAS + GUEST_CODE, %eax
        clac
        jmp done

rdtscp_probe:
        rdtscp
        jmp done

/* The access byte of a 64-bit code segment: present, not a system segment, code. */
lar_probe:
        mov $SEL_CODE, %ecx
        lar %ecx, %eax
        jnz wrong
        and $0x9800, %eax
        cmp $0x9800, %eax
        jne wrong
        jmp done

verr_probe:
        mov $SEL_DATA, %ecx
        verr %cx
        jnz wrong
        jmp done

/* SYSRET to user mode, SYSCALL back. */
syscall_probe:
        mov $MSR_STAR, %ecx
        xor %eax, %eax
        mov $(SEL_USER32 << 16 | SEL_CODE), %edx
        wrmsr
        mov $MSR_LSTAR, %ecx
        lea from_user(%rip), %rax
        xor %edx, %edx
        wrmsr
        mov $MSR_FMASK, %ecx
        xor %eax, %eax
        xor %edx, %edx
        wrmsr
        lea user(%rip), %rcx
        add $GUEST_USER_ALIAS, %rcx
        mov $2, %r11d /* RFLAGS: the bit that is always 1 */
        sysretq
user:
        mov $COOKIE, %ebx
        syscall
from_user:
        cmp $COOKIE, %ebx
        jne wrong
        jmp done
