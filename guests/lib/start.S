/*
 * From the PVH entry to C in long mode. The application processors come the same way (smp_entry.S).
 *
 * The page tables are data, not code: an identity map of 4 GiB with 2 MiB pages. 1 GiB pages would be shorter, but
 * not every KVM back end has them. The fifth GiB of virtual addresses is a window onto memory above 4 GiB
 * (paging.h), not present at first.
 */
#include "gdt.h"
#include "pvh_note.inc"

#define PTE_PRESENT 0x01
#define PTE_WRITE   0x02
#define PTE_USER    0x04 /* all of it: ring 3 is a place to be fast (user.h), not a boundary */
#define PTE_LARGE   0x80
#define PTE_ALL     (PTE_PRESENT + PTE_WRITE + PTE_USER)

#define CR0_PE   0x00000001
#define CR0_WP   0x00010000
#define CR0_NW   0x20000000
#define CR0_CD   0x40000000
#define CR0_PG   0x80000000
#define CR4_PAE  0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

        pvh_note pvh_entry

        .section .text.pvh_entry, "ax"
        .code32
        .globl pvh_entry
pvh_entry:
        movl $bsp_stack_end, %esp
        movl %ebx, %edi
        movl $runtime_start, %esi

/* 32-bit flat code; esp: stack, esi: function to call in long mode, edi: its first argument. Does not return. */
        .globl enter_long_mode
enter_long_mode:
        cli
        cld
        lgdt gdt_pointer
        movl $GDT_DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl %eax, %fs
        movl %eax, %gs

        movl %cr4, %eax
        orl $CR4_PAE, %eax
        movl %eax, %cr4
        movl $page_map_level4, %eax
        movl %eax, %cr3
        movl $MSR_EFER, %ecx
        rdmsr
        orl $EFER_LME, %eax
        wrmsr
        movl %cr0, %eax
        andl $~(CR0_CD | CR0_NW), %eax /* INIT leaves both set on an application processor */
        orl $(CR0_PG | CR0_WP | CR0_PE), %eax
        movl %eax, %cr0
        ljmp $GDT_CODE64, $1f

        .code64
1:      movl %edi, %edi /* the upper halves are undefined after the switch */
        movl %esi, %esi
        movl %esp, %esp
        xorl %ebp, %ebp
        call *%rsi
2:      cli
        hlt
        jmp 2b

        .section .data.gdt, "aw"
        .balign 8
gdt:
        .quad 0
        .quad 0x00209b0000000000 /* GDT_CODE64 */
        .quad 0x00cf93000000ffff /* GDT_DATA */
        .quad 0x00cf9b000000ffff /* GDT_CODE32 */
        .quad 0x00cff3000000ffff /* GDT_USER_DATA */
        .quad 0x0020fb0000000000 /* GDT_USER_CODE */
        .globl gdt_tss
gdt_tss: /* GDT_TSS, two entries for each of USER_CPUS_MAX processors: user.c fills them in */
        .zero 16 * USER_CPUS_MAX
gdt_end:
        .globl gdt_pointer
gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt

        .section .data.page_tables, "aw"
        .balign 4096
page_map_level4:
        .quad page_directory_pointers + PTE_ALL
        .zero 4096 - 8
        .globl page_directory_pointers
page_directory_pointers:
        .set i, 0
        .rept 4
        .quad page_directories + 4096 * i + PTE_ALL
        .set i, i + 1
        .endr
        .zero 4096 - 4 * 8
page_directories:
        .set i, 0
        .rept 4 * 512
        .quad (i << 21) + PTE_ALL + PTE_LARGE
        .set i, i + 1
        .endr

        .section .bss.bsp_stack, "aw", @nobits
        .balign 16
        .zero 16384
bsp_stack_end:

        .section .note.GNU-stack, "", @progbits
