/* Memory, files and checks for the targets of the loader: what a load may leave in guest RAM, and what it must. */
#pragma once

#include "fuzz.h"
#include "spec/guest_spec.h"
#include "vmm/boot/boot_internal.h"

#define MIB 0x100000ULL

#define BOOT_PARAMETERS 13 /* bytes at the end of an input that boot_world_open() takes */

struct boot_world {
        struct guest_ram ram;
        uint8_t *image; /* the first bytes of the kernel's file, to be changed at will; zeros follow, up to file_len */
        size_t image_len;
        uint64_t file_len;
        uint64_t initrd_len; /* 0: none */
        char cmdline[SPEC_CMDLINE_MAX + 64];
        struct boot_request request;
        uint8_t resident[64 * MIB / BOOT_PAGE_BYTES];      /* pages of a small guest that the load touched */
        struct boot_range written[BOOT_ELF_PHDRS_MAX + 8]; /* what the load explains */
        size_t written_count;
};

/* The machine and the files that the parameters at the end of the input describe; the image is the rest. */
void boot_world_open(struct boot_world *w, struct reader *input);
void boot_world_close(struct boot_world *w);

/* Loads. Returns 0, or a negative errno after having checked that it is a proper refusal of an image. */
int boot_world_load(struct boot_world *w, struct boot_entry *ret);

/* After a load: says that guest memory holds len bytes of the kernel's file from off on, and checks it. */
void boot_world_holds(struct boot_world *w, gpa_t gpa, uint64_t len, uint64_t off);

/*
 * At last: checks what the guest was handed (command line, initrd, memory map), that no initrd byte is below kernel_end
 * or at initrd_end_max or above, and that no page of RAM was touched but for what has been said to be there.
 */
void boot_world_check(struct boot_world *w, const struct boot_entry *entry, gpa_t kernel_end, uint64_t initrd_end_max);
