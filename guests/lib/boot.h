/* What the boot protocol told the guest, copied, so that a guest may overwrite all RAM but its own image. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BOOT_MEMMAP_MAX  32   /* entries */
#define BOOT_CMDLINE_MAX 2048 /* bytes, with the terminating zero; longer ones are cut */

#define BOOT_MEMMAP_RAM 1 /* XEN_HVM_MEMMAP_TYPE_RAM */

/* struct hvm_memmap_table_entry (Xen, xen/include/public/arch-x86/hvm/start_info.h) */
struct boot_memmap_entry {
        uint64_t addr, size;
        uint32_t type, reserved;
};

struct boot_info {
        struct boot_memmap_entry memmap[BOOT_MEMMAP_MAX];
        unsigned int memmap_entries;
        char cmdline[BOOT_CMDLINE_MAX];
};

/* Every guest defines it. Returns the verdict. */
unsigned int guest_main(const struct boot_info *boot);

/* Copies struct hvm_start_info at start_info and what it refers to. Returns false when it is not one, has no
 * memory map or too large a one, or refers to memory above 4 GiB. */
bool boot_read(uint64_t start_info, struct boot_info *ret);

/* The value of "name=value" on the command line (it ends at a space or zero), "" for the bare word "name", or
 * NULL. */
const char *boot_option(const struct boot_info *boot, const char *name);

/* The same as a decimal number, or otherwise when the option is missing or not a number. */
uint64_t boot_option_number(const struct boot_info *boot, const char *name, uint64_t otherwise);

/* Bytes of RAM the memory map calls usable. */
uint64_t boot_ram_bytes(const struct boot_info *boot);
