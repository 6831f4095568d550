/* Segment selectors of the GDT in start.S. For C and assembly. */
#pragma once

#define GDT_CODE64    0x08
#define GDT_DATA      0x10
#define GDT_CODE32    0x18
#define GDT_USER_DATA 0x23 /* with the requested privilege level, 3 */
#define GDT_USER_CODE 0x2b
#define GDT_TSS       0x30 /* of processor 0; 16 bytes on, of the next */

#define USER_CPUS_MAX 2
