/* Segment selectors of the GDT in start.S. For C and assembly. */
#pragma once

#define GDT_CODE64 0x08
#define GDT_DATA   0x10
#define GDT_CODE32 0x18
