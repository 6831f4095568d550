/*
 * bzImage: the kernel as distributions ship it (vmlinuz). Loaded for the 64-bit entry point: the real-mode
 * code in front is skipped, its setup header is the only part of it that is used.
 * Field names and rules: Documentation/arch/x86/boot.rst of the Linux sources.
 */
#include <inttypes.h>
#include <string.h>

#include "base/number.h"
#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

#define SECTOR_BYTES        512
#define SETUP_SECTS_DEFAULT 4      /* "for backwards compatibility, if setup_sects is 0" */
#define SYSSIZE_UNIT_BYTES  16     /* syssize counts paragraphs */
#define BOOT_FLAG           0xaa55 /* at 0x1fe */
#define JUMP_SHORT          0xeb   /* opcode at 0x200 */
#define JUMP_END            0x202  /* the jump's displacement counts from here: where the header ends */
#define PROTOCOL_2_12       0x020c /* xloadflags */
#define ENTRY_64_OFFSET     0x200  /* from the load address */

#define HDR_START   offsetof(struct boot_params, hdr)
#define HDR_END_MIN (offsetof(struct boot_params, hdr.init_size) + sizeof(uint32_t)) /* all fields used here */

_Static_assert(HDR_START == 0x1f1, "boot_params.hdr is where the image has it");
_Static_assert(HDR_START + sizeof(struct setup_header) <= BOOT_HEAD_BYTES, "the head covers the header");
_Static_assert(BOOT_HEAD_BYTES <= offsetof(struct boot_params, edd_mbr_sig_buffer), "no header reaches further");

static int check_header(const struct setup_header *h, struct err *e)
{
        if (h->boot_flag != BOOT_FLAG)
                return err_bad(e, STATUS_IMAGE, "bzImage is damaged: its boot flag is 0x%x, not 0x%x", h->boot_flag,
                               BOOT_FLAG);
        if (h->version < PROTOCOL_2_12)
                return err_bad(e, STATUS_IMAGE,
                               "bzImage has boot protocol %u.%02u; 2.12 (Linux 3.8) is the oldest that can be "
                               "booted",
                               h->version >> 8, h->version & 0xff);
        if (!(h->xloadflags & XLF_KERNEL_64))
                return err_bad(e, STATUS_IMAGE,
                               "bzImage has no 64-bit entry point: a 32-bit kernel; " BOOT_HINT_KERNEL);
        if (!(h->loadflags & LOADED_HIGH))
                return err_bad(e, STATUS_IMAGE, "kernel is a zImage, loaded below 1 MiB; " BOOT_HINT_KERNEL);
        if (h->kernel_alignment == 0 || (h->kernel_alignment & (h->kernel_alignment - 1)) != 0)
                return err_bad(e, STATUS_IMAGE, "bzImage is damaged: kernel_alignment 0x%x is no power of two",
                               h->kernel_alignment);
        return 0;
}

/* Sets where in the file the protected-mode part, the kernel proper, is. */
static int find_kernel(const struct boot_file *f, const struct setup_header *h, uint64_t *ret_off, uint64_t *ret_len,
                       struct err *e)
{
        unsigned int sects = h->setup_sects ? h->setup_sects : SETUP_SECTS_DEFAULT;
        uint64_t off = (sects + 1ULL) * SECTOR_BYTES; /* the boot sector is not counted */
        uint64_t len = (uint64_t)h->syssize * SYSSIZE_UNIT_BYTES;

        /* The file may be longer: a Secure Boot signature follows. */
        if (!range_fits(off, len, f->len_bytes))
                return err_bad(e, STATUS_IMAGE,
                               "bzImage is cut off: its header tells of %" PRIu64 " bytes, the file has %" PRIu64
                               "; copy it again",
                               off + len, f->len_bytes);
        if (len <= ENTRY_64_OFFSET || !range_fits(h->payload_offset, h->payload_length, len))
                return err_bad(e, STATUS_IMAGE,
                               "bzImage is damaged: a kernel of %" PRIu64 " bytes with a payload at %" PRIu32
                               " of %" PRIu32 " bytes",
                               len, h->payload_offset, h->payload_length);
        *ret_off = off;
        *ret_len = len;
        return 0;
}

/*
 * Chooses the load address: the preferred one, or nothing. A relocatable kernel could be put lower, but it
 * still moves itself up to pref_address before it unpacks there, so this cannot save memory (boot.rst,
 * init_size: "runtime_start"). Loading where it will run also keeps the runtime start and the load address
 * the same.
 */
static int choose_address(const struct guest_ram *ram, const struct setup_header *h, uint64_t file_len, gpa_t *ret_load,
                          gpa_t *ret_end, struct err *e)
{
        uint64_t need = h->init_size > file_len ? h->init_size : file_len;
        gpa_t load = h->pref_address ? h->pref_address : LAYOUT_HIGH_RAM;
        gpa_t ram_end = boot_low_ram_end(ram);

        if (load < LAYOUT_HIGH_RAM)
                return err_bad(e, STATUS_IMAGE,
                               "bzImage wants to be loaded at 0x%" PRIx64
                               "; memory below 1 MiB is kept for what the kernel is handed",
                               load);
        if (h->relocatable_kernel && load < ram_end) /* bounded, so the sum cannot wrap */
                load = boot_align_up(load, h->kernel_alignment);
        if (!range_fits(load, need, ram_end))
                return err_bad(e, STATUS_IMAGE,
                               "kernel needs %" PRIu64 " bytes at 0x%" PRIx64 ", guest memory there ends at 0x%" PRIx64
                               "; give the guest more memory",
                               need, load, ram_end);
        *ret_load = load;
        *ret_end = load + need;
        return 0;
}

/* "The end of setup header can be calculated as: 0x0202 + byte value at offset 0x0201" */
static int copy_header(const uint8_t head[BOOT_HEAD_BYTES], const struct setup_header *h, struct boot_params *bp,
                       struct err *e)
{
        size_t end = JUMP_END + (h->jump >> 8);

        if ((h->jump & 0xff) != JUMP_SHORT || end < HDR_END_MIN || end > BOOT_HEAD_BYTES)
                return err_bad(e, STATUS_IMAGE, "bzImage is damaged: the length of its setup header is wrong");
        memcpy((uint8_t *)bp + HDR_START, head + HDR_START, end - HDR_START);
        return 0;
}

int boot_bzimage_load(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                      struct boot_params *bp, struct boot_kernel *ret, struct err *e)
{
        struct setup_header h;
        uint64_t off = 0, len = 0;
        gpa_t load = 0, end = 0;
        int r;

        if (f->len_bytes < BOOT_HEAD_BYTES)
                return err_bad(e, STATUS_IMAGE, "bzImage is cut off in its setup header; copy it again");
        memcpy(&h, head + HDR_START, sizeof(h));
        r = check_header(&h, e);
        if (r < 0)
                return r;
        r = find_kernel(f, &h, &off, &len, e);
        if (r < 0)
                return r;
        r = choose_address(req->ram, &h, len, &load, &end, e);
        if (r < 0)
                return r;
        r = copy_header(head, &h, bp, e);
        if (r < 0)
                return r;
        r = boot_file_read_to_guest(f, req->ram, load, len, off, e);
        if (r < 0)
                return r;

        bp->hdr.code32_start = (uint32_t)load;
        /* The other flags are the loader's to set; none is wanted. */
        bp->hdr.loadflags = LOADED_HIGH;
        *ret = (struct boot_kernel){
                .entry = load + ENTRY_64_OFFSET,
                .end = end,
                .initrd_end_max = h.initrd_addr_max + 1ULL, /* the field is the highest byte's address */
                .cmdline_len_max = h.cmdline_size,
        };
        return 0;
}
