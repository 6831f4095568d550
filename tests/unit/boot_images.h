/* Kernel images made up for the tests of the loader, memory to load them into, and ways to run the loader. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/boot/boot_internal.h"

#define MIB 0x100000ULL
#define GIB 0x40000000ULL

#define RSDP 0xe0000 /* what every load here is told */

/* ---- guest memory ---- */

/*
 * Like guest_ram_map(), but with an inaccessible page on either side, and nothing is paid for large sizes.
 * ram_free() undoes it.
 */
struct guest_ram ram_new(uint64_t len);
void ram_free(struct guest_ram *ram);

/* guest_ram_at() that fails the test instead of returning NULL. */
const void *at(const struct guest_ram *ram, gpa_t gpa, uint64_t len);

/* ---- images ---- */

#define IMAGE_MAX 16384

struct image {
        uint8_t bytes[IMAGE_MAX];
        size_t len;
};

/* What fills an image where its bytes do not matter: no two stretches are alike. */
void fill_pattern(uint8_t *p, size_t len);
void assert_pattern(const struct guest_ram *ram, gpa_t gpa, size_t from, size_t len);
void assert_zero(const void *p, size_t len);

#define BZ_ADDRESS   (16 * MIB)
#define BZ_INIT_SIZE (2 * MIB)
#define BZ_KERNEL    4096 /* bytes of the protected-mode part */
#define BZ_CMDLINE   100
#define HDR_OFF      0x1f1

/* A bzImage with that setup_sects; everything of its real-mode code but the header is 0xff. */
void bz_make(struct image *im, unsigned int setup_sects);
struct setup_header *bz_header(struct image *im);

#define ELF_TEXT      0x1000 /* file offsets */
#define ELF_TEXT_LEN  0x800
#define ELF_DATA      0x1800
#define ELF_DATA_LEN  0x400
#define ELF_NOTES     0x400
#define ELF_TEXT_ADDR (16 * MIB)
#define ELF_DATA_ADDR (18 * MIB + 0x123)
#define ELF_DATA_MEM  0x5000
#define ELF_ENTRY     (ELF_TEXT_ADDR + 0x40)
#define PVH_ENTRY     (ELF_TEXT_ADDR + 0x7f0)

enum { SEG_TEXT, SEG_DATA, SEG_NOTES, SEG_COUNT };

/* An ELF with the segments above; it has no notes, so it is a vmlinux. */
void elf_make(struct image *im);
Elf64_Ehdr *elf_header(struct image *im);
Elf64_Phdr *elf_segment(struct image *im, unsigned int i);
void elf_add_note(struct image *im, const char *name, uint32_t type, const void *desc, uint32_t desc_len);

/* The same with a PVH note of entry_len bytes that says PVH_ENTRY. */
void pvh_make(struct image *im, uint32_t entry_len);

/* One image of each kind, and what must come of it. */
enum { KIND_BZIMAGE, KIND_VMLINUX, KIND_PVH, KINDS };

struct kind {
        const char *name;
        void (*make)(struct image *im);
        enum boot_protocol protocol;
        gpa_t info, entry;
        uint64_t end; /* of the kernel in memory */
        size_t cmdline_max;
};

extern const struct kind kinds[KINDS];

/* ---- running the loader ---- */

/* An open memory file with these bytes. */
int file_with(const void *bytes, size_t len);

/* boot_load(); when it fails, its output must be untouched. */
int load_fds(const struct guest_ram *ram, int kernel_fd, int initrd_fd, const char *cmdline, struct boot_entry *ret,
             struct err *e);
int load(const struct guest_ram *ram, const struct image *im, const char *cmdline, struct boot_entry *ret,
         struct err *e);

/* The image is loaded (command line "console=ttyS0"). */
struct boot_entry load_ok(const struct guest_ram *ram, const struct image *im);

/* The image is refused, as an image, in one line that says text; refused() brings 64 MiB of memory. */
void refused_in(const struct guest_ram *ram, const struct image *im, const char *text);
void refused(const struct image *im, const char *text);

/* ---- what the guest is told ---- */

struct start_info { /* as docs/misc/pvh.pandoc and start_info.h of Xen lay it out */
        uint32_t magic, version, flags, nr_modules;
        uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
        uint32_t memmap_entries, reserved;
};

/* Where the guest is told that its initrd is. */
struct boot_range initrd_told(const struct guest_ram *ram, enum boot_protocol protocol);
