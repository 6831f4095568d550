/*
 * What the tiny guest (guest.S) and the program that runs it (guest.c) agree on. Only #defines with plain
 * numbers: the assembler reads this too.
 */
#pragma once

/* One entry point for each thing tried; guest.S starts with their offsets, in this order. */
#define PROBE_LONG_MODE  0
#define PROBE_INT3       1
#define PROBE_IRETQ      2
#define PROBE_POPCNT     3
#define PROBE_CMPXCHG16B 4
#define PROBE_XGETBV     5
#define PROBE_XSAVE      6
#define PROBE_SMAP       7
#define PROBE_RDTSCP     8
#define PROBE_LAR        9
#define PROBE_VERR       10
#define PROBE_SYSCALL    11
#define PROBE_COUNT      12

/* Two handlers follow in the table. */
#define ENTRY_UNEXPECTED 12 /* every exception but the breakpoint */
#define ENTRY_BREAKPOINT 13
#define ENTRY_COUNT      14

/* Guest-physical addresses; the first 2 MiB are mapped to themselves, for the kernel only. */
#define GUEST_PML4  0x1000
#define GUEST_PDPT  0x2000
#define GUEST_PD    0x3000
#define GUEST_GDT   0x4000
#define GUEST_IDT   0x5000
#define GUEST_TSS   0x6000
#define GUEST_XSAVE 0x7000 /* one page: more than x87 and SSE state need */
#define GUEST_STACK 0x9000 /* grows down; also the stack of exceptions in user mode */
#define GUEST_CODE  0x10000
#define GUEST_BYTES 0x20000

#define GUEST_USER_ALIAS 0x200000 /* the first 2 MiB once more, at this virtual address, for user mode */

/* Selectors. The order from USER32 on is what SYSRET wants: it takes SS from USER32 + 8 and CS from USER32
 * + 16. */
#define SEL_CODE      0x08
#define SEL_DATA      0x10
#define SEL_USER32    0x18
#define SEL_USER_DATA 0x20
#define SEL_USER_CODE 0x28
#define SEL_TSS       0x30

/* The guest ends by writing one of these to this port. */
#define GUEST_PORT           0xf4
#define GUEST_SAYS_DONE      0x61
#define GUEST_SAYS_WRONG     0x62 /* the instruction ran, its result is not right */
#define GUEST_SAYS_EXCEPTION 0x63
