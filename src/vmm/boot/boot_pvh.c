/*
 * The PVH boot protocol: docs/misc/pvh.pandoc of the Xen sources; the structures are those of
 * xen/include/public/arch-x86/hvm/start_info.h, the note that of xen/include/public/elfnote.h.
 */
#include <string.h>

#include "base/number.h"
#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define XEN_NOTE_NAME            "Xen" /* with its zero: n_namesz is 4 */

#define NOTES_LEN_MAX 65536 /* bytes of one note segment; vmlinux has about 500 */

#define HVM_START_MAGIC   0x336ec578
#define HVM_START_VERSION 1 /* has the memory map */

struct hvm_start_info {
        uint32_t magic;
        uint32_t version;
        uint32_t flags;
        uint32_t nr_modules;
        uint64_t modlist_paddr;
        uint64_t cmdline_paddr;
        uint64_t rsdp_paddr;
        uint64_t memmap_paddr;
        uint32_t memmap_entries;
        uint32_t reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "start_info.h");

struct hvm_modlist_entry {
        uint64_t paddr;
        uint64_t size;
        uint64_t cmdline_paddr;
        uint64_t reserved;
};
_Static_assert(sizeof(struct hvm_modlist_entry) == 32, "start_info.h");

struct hvm_memmap_table_entry {
        uint64_t addr;
        uint64_t size;
        uint32_t type;
        uint32_t reserved;
};
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "start_info.h");

/* What goes to LAYOUT_PVH_INFO, in one piece. */
struct pvh_info {
        struct hvm_start_info start;
        struct hvm_modlist_entry initrd;
        struct hvm_memmap_table_entry memmap[BOOT_MEMORY_MAP_MAX];
};
_Static_assert(LAYOUT_PVH_INFO + sizeof(struct pvh_info) <= LAYOUT_ZERO_PAGE, "the PVH structures have room");

/* The descriptor is the entry's physical address: 4 bytes by the specification, 8 as 64-bit Linux writes it.
 */
static int read_entry(const struct boot_file *f, uint64_t off, uint32_t len_bytes, gpa_t *ret_entry, struct err *e)
{
        uint64_t entry = 0;
        int r;

        if (len_bytes != 4 && len_bytes != 8)
                return err_bad(e, STATUS_IMAGE, "kernel ELF is damaged: its PVH note has %u bytes, not 4 or 8",
                               len_bytes);
        r = boot_file_read(f, &entry, len_bytes, off, e); /* little endian, like the host */
        if (r < 0)
                return r;
        *ret_entry = entry;
        return 1;
}

static int is_entry_note(const struct boot_file *f, const Elf64_Nhdr *nh, uint64_t name_off, struct err *e)
{
        char name[sizeof(XEN_NOTE_NAME)];
        int r;

        if (nh->n_type != XEN_ELFNOTE_PHYS32_ENTRY || nh->n_namesz != sizeof(name))
                return 0;
        r = boot_file_read(f, name, sizeof(name), name_off, e);
        if (r < 0)
                return r;
        return memcmp(name, XEN_NOTE_NAME, sizeof(name)) == 0;
}

int boot_pvh_find_entry(const struct boot_file *f, const Elf64_Phdr *notes, gpa_t *ret_entry, struct err *e)
{
        /* What binutils do: 8 where the segment says so, else 4, also in 64-bit files. */
        uint64_t align = notes->p_align == 8 ? 8 : 4;
        uint64_t base = notes->p_offset, len = notes->p_filesz;
        uint64_t pos = 0;
        Elf64_Nhdr nh;

        if (!range_fits(base, len, f->len_bytes) || len > NOTES_LEN_MAX)
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF is damaged: a note segment is longer than %u bytes or lies beyond the "
                               "end of the file",
                               NOTES_LEN_MAX);
        /* Every round advances by a header at least; no sum can wrap, len is small and sizes are 32-bit. */
        while (range_fits(pos, sizeof(nh), len)) {
                uint64_t name = pos + sizeof(nh), desc;
                int r;

                r = boot_file_read(f, &nh, sizeof(nh), base + pos, e);
                if (r < 0)
                        return r;
                desc = boot_align_up(name + nh.n_namesz, align);
                if (!range_fits(desc, nh.n_descsz, len))
                        return err_bad(e, STATUS_IMAGE, "kernel ELF is damaged: a note ends beyond its segment");
                r = is_entry_note(f, &nh, base + name, e);
                if (r < 0)
                        return r;
                if (r > 0)
                        return read_entry(f, base + desc, nh.n_descsz, ret_entry, e);
                pos = boot_align_up(desc + nh.n_descsz, align);
        }
        return 0;
}

static void fill_memmap(const struct guest_ram *ram, struct pvh_info *info)
{
        struct boot_memory_range map[BOOT_MEMORY_MAP_MAX];
        unsigned int n = boot_memory_map(ram, map);

        for (unsigned int i = 0; i < n; i++)
                info->memmap[i] = (struct hvm_memmap_table_entry){.addr = map[i].start,
                                                                  .size = map[i].len_bytes,
                                                                  .type = map[i].type};
        info->start.memmap_paddr = LAYOUT_PVH_INFO + offsetof(struct pvh_info, memmap);
        info->start.memmap_entries = n;
}

int boot_pvh_hand_over(const struct boot_request *req, const struct boot_kernel *k, struct err *e)
{
        struct pvh_info info = {.start = {
                                        .magic = HVM_START_MAGIC,
                                        .version = HVM_START_VERSION,
                                        .cmdline_paddr = LAYOUT_CMDLINE,
                                        .rsdp_paddr = req->rsdp,
                                }};
        struct boot_range initrd;
        int r;

        r = boot_place_cmdline(req, k, e);
        if (r < 0)
                return r;
        r = boot_place_initrd(req, k, &initrd, e);
        if (r < 0)
                return r;

        if (initrd.len_bytes > 0) {
                info.initrd = (struct hvm_modlist_entry){.paddr = initrd.start, .size = initrd.len_bytes};
                info.start.nr_modules = 1;
                info.start.modlist_paddr = LAYOUT_PVH_INFO + offsetof(struct pvh_info, initrd);
        }
        fill_memmap(req->ram, &info);

        r = guest_ram_write(req->ram, LAYOUT_PVH_INFO, &info, sizeof(info));
        return r < 0 ? err_set(e, r, "put hvm_start_info into guest memory") : 0;
}
