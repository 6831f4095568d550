/* Puts a kernel, its initrd and its command line into guest RAM. Everything read from the files is hostile.
 */
#pragma once

#include "memory/guest_ram.h"

#define BOOT_CMDLINE_MAX 2048 /* bytes with the zero: x86 COMMAND_LINE_SIZE; a bzImage may say less */

struct boot_request {
        const struct guest_ram *ram;
        int kernel_fd;
        int initrd_fd; /* -1: none */
        const char *cmdline;
        gpa_t rsdp; /* told to the kernel (boot_params.acpi_rsdp_addr, hvm_start_info.rsdp_paddr) */
};

enum boot_protocol {
        BOOT_LINUX64, /* long mode, paging on, rsi = boot_params (Documentation/arch/x86/boot.rst, 64-bit
                         protocol) */
        BOOT_PVH,     /* 32-bit protected mode, paging off, ebx = hvm_start_info (Xen docs/misc/pvh) */
};

struct boot_entry {
        enum boot_protocol protocol;
        gpa_t entry;
        gpa_t info; /* boot_params or hvm_start_info */
};

/*
 * Recognises the image (bzImage; ELF64 with PVH note; ELF64 vmlinux), validates it, loads it. The image must
 * be 64-bit x86. Nothing outside guest RAM is written. Errors have STATUS_IMAGE. Returns 0 or a negative
 * errno.
 */
int boot_load(const struct boot_request *req, struct boot_entry *ret, struct err *e);
