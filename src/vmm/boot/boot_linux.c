/* The Linux 64-bit boot protocol's structure, boot_params ("zero page"): Documentation/arch/x86/boot.rst and
 * zero-page.rst of the Linux sources. */
#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

#define LOADER_UNDEFINED 0xff   /* type_of_loader: "0xFF = undefined", a loader without an assigned id */
#define VID_MODE_NORMAL  0xffff /* vid_mode: "vga=normal" */
#define BOOT_FLAG        0xaa55
#define HDRS_MAGIC       0x53726448 /* "HdrS" */
#define PROTOCOL_2_12    0x020c

/* Linux x86-64: CONFIG_PHYSICAL_ALIGN is at most this. */
#define KERNEL_ALIGNMENT_MAX 0x1000000

_Static_assert(sizeof(struct boot_params) == BOOT_PAGE_BYTES, "the zero page is a page");
_Static_assert(LAYOUT_ZERO_PAGE + sizeof(struct boot_params) <= LAYOUT_BOOT_STACK, "the zero page has room");

void boot_linux_default_header(struct boot_params *bp)
{
        bp->hdr.boot_flag = BOOT_FLAG;
        bp->hdr.header = HDRS_MAGIC;
        bp->hdr.version = PROTOCOL_2_12;
        bp->hdr.loadflags = LOADED_HIGH;
        bp->hdr.kernel_alignment = KERNEL_ALIGNMENT_MAX;
}

static void fill_e820(const struct guest_ram *ram, struct boot_params *bp)
{
        struct boot_memory_range map[BOOT_MEMORY_MAP_MAX];
        unsigned int n = boot_memory_map(ram, map);

        _Static_assert(BOOT_MEMORY_MAP_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the memory map has room");
        for (unsigned int i = 0; i < n; i++)
                bp->e820_table[i] = (struct boot_e820_entry){map[i].start, map[i].len_bytes, map[i].type};
        bp->e820_entries = (uint8_t)n;
}

int boot_linux_hand_over(const struct boot_request *req, const struct boot_kernel *k, struct boot_params *bp,
                         struct err *e)
{
        struct boot_range initrd;
        int r;

        r = boot_place_cmdline(req, k, e);
        if (r < 0)
                return r;
        r = boot_place_initrd(req, k, &initrd, e);
        if (r < 0)
                return r;

        bp->hdr.type_of_loader = LOADER_UNDEFINED;
        bp->hdr.vid_mode = VID_MODE_NORMAL;
        bp->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
        /* Below the PCI hole, so neither needs its ext_ field. */
        bp->hdr.ramdisk_image = (uint32_t)initrd.start;
        bp->hdr.ramdisk_size = (uint32_t)initrd.len_bytes;
        bp->acpi_rsdp_addr = req->rsdp;
        fill_e820(req->ram, bp);

        r = guest_ram_write(req->ram, LAYOUT_ZERO_PAGE, bp, sizeof(*bp));
        return r < 0 ? err_set(e, r, "put boot_params into guest memory") : 0;
}
