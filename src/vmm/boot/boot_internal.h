/*
 * What the files of the loader share. Nothing outside src/vmm/boot and its unit tests includes this.
 *
 * A load has two steps. A loader (boot_bzimage.c, boot_elf.c) validates the image and copies it to guest RAM;
 * it leaves a struct boot_kernel. A hand-over (boot_linux.c, boot_pvh.c) then adds initrd, command line and
 * the structure the protocol defines.
 */
#pragma once

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/guest_ram.h"
#include "vmm/boot/boot.h"

/*
 * The start of an image, enough for every header that is looked at there. The longest is the Linux setup
 * header: it starts at 0x1f1 and can end no later than a two-byte jump at 0x200 reaches
 * (Documentation/arch/x86/boot.rst, "The kernel_info": "limited to 144 bytes").
 */
#define BOOT_HEAD_BYTES 0x281

#define BOOT_PAGE_BYTES 4096ULL

/* What to do about a file that is no kernel; goes into err_hint(). */
#define BOOT_HINT_KERNEL "give a bzImage (vmlinuz) or a 64-bit x86 ELF kernel (vmlinux, PVH)"

/* A regular file being read. The descriptor is borrowed. */
struct boot_file {
        int fd;
        uint64_t len_bytes; /* when it was looked at; not 0 */
        const char *what;   /* for messages: "kernel image", "initrd" */
};

/* A kernel that lies in guest RAM, and what it asks of the hand-over. */
struct boot_kernel {
        gpa_t entry;
        gpa_t end;                /* first byte after all memory it uses before it reads the memory map */
        uint64_t initrd_end_max;  /* no byte of the initrd may lie at this address or above */
        uint64_t cmdline_len_max; /* bytes without the zero */
};

struct boot_range {
        gpa_t start;
        uint64_t len_bytes; /* 0: there is none */
};

/* Address range types, ACPI 6.4, table 15.2; the same in e820 and in the memory map of PVH. */
#define BOOT_MEMORY_RAM      1
#define BOOT_MEMORY_RESERVED 2

#define BOOT_MEMORY_MAP_MAX (3 + GUEST_RAM_REGIONS_MAX)

struct boot_memory_range {
        gpa_t start;
        uint64_t len_bytes;
        uint32_t type;
};

static inline uint64_t boot_align_down(uint64_t value, uint64_t power_of_two)
{
        return value & ~(power_of_two - 1);
}

/* The caller knows that value + power_of_two does not wrap. */
static inline uint64_t boot_align_up(uint64_t value, uint64_t power_of_two)
{
        return boot_align_down(value + power_of_two - 1, power_of_two);
}

/* ---- boot_file.c ---- */

/*
 * Looks at fd, which must be a regular file with something in it; what names it in messages.
 * Errors: STATUS_IMAGE, or STATUS_FAILURE when fstat(2) failed. Returns 0 or a negative errno.
 */
int boot_file_init(struct boot_file *ret, int fd, const char *what, struct err *e);

/*
 * Copies len bytes at offset off of the file. A file that ends earlier (it shrank since boot_file_init()) is
 * a STATUS_IMAGE error, a failed read STATUS_FAILURE. Returns 0 or a negative errno; buf is undefined then.
 */
int boot_file_read(const struct boot_file *f, void *buf, size_t len, uint64_t off, struct err *e);

/* The same, into guest memory. The range must be RAM. */
int boot_file_read_to_guest(const struct boot_file *f, const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes,
                            uint64_t off, struct err *e);

/* ---- boot_handover.c: what both protocols need ---- */

/*
 * First address after the RAM below the PCI hole. Everything the loader places lies below it: the boot page
 * tables map 4 GiB, PVH starts with 32-bit addresses, and so are the initrd fields of boot_params.
 */
gpa_t boot_low_ram_end(const struct guest_ram *ram);

/*
 * The memory map the guest is told:
 *
 *   [0, 640 KiB - 1 KiB)      usable
 *   [640 KiB - 1 KiB, 1 MiB)  reserved; the ACPI tables are in here. Not "ACPI reclaimable": nothing is gained by
 * giving the guest back this little, and reserved is what firmware reports for this range [1 MiB, end of low RAM)
 * usable the ECAM                  reserved: Linux believes the MCFG table only then (arch/x86/pci/mmconfig-shared.c)
 *   [4 GiB, ...)              usable, when there is RAM above the hole
 *
 * The rest of the PCI hole has no entry, which means: no RAM, free for devices. Returns the number of entries.
 */
unsigned int boot_memory_map(const struct guest_ram *ram, struct boot_memory_range ret[BOOT_MEMORY_MAP_MAX]);

/* Copies the command line to LAYOUT_CMDLINE. Returns 0, or -EINVAL (STATUS_IMAGE: longer than the kernel
 * takes). */
int boot_place_cmdline(const struct boot_request *req, const struct boot_kernel *k, struct err *e);

/*
 * Copies the initrd, if any, as high as the kernel allows below the PCI hole, on a page boundary, above the
 * kernel. ret has length 0 when there is none. Errors have STATUS_IMAGE unless reading failed.
 */
int boot_place_initrd(const struct boot_request *req, const struct boot_kernel *k, struct boot_range *ret,
                      struct err *e);

/* ---- boot_bzimage.c ---- */

/*
 * Validates and loads a bzImage whose first bytes are head (filled up with zeros when the file is shorter).
 * bp must be zeroed; it gets the image's setup header with the fields that depend on the load address.
 * Only the 64-bit entry is used, so protocol 2.12 is the oldest. Errors: STATUS_IMAGE, or STATUS_FAILURE when
 * reading failed.
 */
int boot_bzimage_load(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                      struct boot_params *bp, struct boot_kernel *ret, struct err *e);

/* ---- boot_elf.c ---- */

#define BOOT_ELF_PHDRS_MAX 64

/*
 * Validates and loads a 64-bit x86 ELF whose first bytes are head: every PT_LOAD segment to its p_paddr.
 * ret_protocol is BOOT_PVH when the image has the PVH entry note and BOOT_LINUX64 when not: a Linux vmlinux
 * may offer both, and of the two only the note says that the image knows how it is being started.
 * The guest's RAM must be fresh (zero): the part of a segment that is not in the file is not cleared.
 * Errors: STATUS_IMAGE, or STATUS_FAILURE when reading failed.
 */
int boot_elf_load(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                  enum boot_protocol *ret_protocol, struct boot_kernel *ret, struct err *e);

/* ---- boot_pvh.c ---- */

/*
 * Looks for the PVH entry point in one PT_NOTE segment. Returns 1 and sets ret_entry, 0 when it has none, or
 * a negative errno (STATUS_IMAGE: the segment is damaged). The address is not checked.
 */
int boot_pvh_find_entry(const struct boot_file *f, const Elf64_Phdr *notes, gpa_t *ret_entry, struct err *e);

/* Places initrd, command line and, at LAYOUT_PVH_INFO, struct hvm_start_info with what it points at. */
int boot_pvh_hand_over(const struct boot_request *req, const struct boot_kernel *k, struct err *e);

/* ---- boot_linux.c ---- */

/* Makes up in bp (zeroed) the setup header that a vmlinux does not have. */
void boot_linux_default_header(struct boot_params *bp);

/* Places initrd, command line and, at LAYOUT_ZERO_PAGE, bp, whose setup header is there already. */
int boot_linux_hand_over(const struct boot_request *req, const struct boot_kernel *k, struct boot_params *bp,
                         struct err *e);
