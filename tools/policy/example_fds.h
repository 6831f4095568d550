/* File descriptors of an imaginary role: what a header for --defines looks like. */
#pragma once

#define EXAMPLE_CONSOLE_FD 3
#define EXAMPLE_VCPU_FD    0x4
