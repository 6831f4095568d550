/* See boot_images.h. */
#include "boot_images.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/x86_64/layout.h"

/* ---- guest memory ---- */

struct guest_ram ram_new(uint64_t len)
{
        uint64_t below = len < LAYOUT_HOLE_START ? len : LAYOUT_HOLE_START;
        struct guest_ram ram = {.len_bytes = len, .region_count = len > below ? 2 : 1};
        uint8_t *p =
                mmap(NULL, len + 2 * BOOT_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        assert_ptr_not_equal(p, MAP_FAILED);
        p += BOOT_PAGE_BYTES;
        assert_int_equal(mprotect(p, len, PROT_READ | PROT_WRITE), 0);
        ram.regions[0] = (struct ram_region){0, below, p};
        ram.regions[1] = (struct ram_region){LAYOUT_HOLE_END, len - below, p + below};
        return ram;
}

void ram_free(struct guest_ram *ram)
{
        munmap(ram->regions[0].host - BOOT_PAGE_BYTES, ram->len_bytes + 2 * BOOT_PAGE_BYTES);
}

const void *at(const struct guest_ram *ram, gpa_t gpa, uint64_t len)
{
        const void *p = guest_ram_at(ram, gpa, len);

        assert_non_null(p);
        return p;
}

/* ---- images ---- */

static uint8_t pattern(size_t i)
{
        return (uint8_t)(i * 7 + i / 251 + 1);
}

void fill_pattern(uint8_t *p, size_t len)
{
        for (size_t i = 0; i < len; i++)
                p[i] = pattern(i);
}

void assert_pattern(const struct guest_ram *ram, gpa_t gpa, size_t from, size_t len)
{
        const uint8_t *p = at(ram, gpa, len);

        for (size_t i = 0; i < len; i++)
                assert_int_equal(p[i], pattern(from + i));
}

void assert_zero(const void *p, size_t len)
{
        for (size_t i = 0; i < len; i++)
                assert_int_equal(((const uint8_t *)p)[i], 0);
}

struct setup_header *bz_header(struct image *im)
{
        return (struct setup_header *)(im->bytes + HDR_OFF);
}

void bz_make(struct image *im, unsigned int setup_sects)
{
        size_t setup_len = ((setup_sects ? setup_sects : 4) + 1) * 512;

        memset(im, 0, sizeof(*im));
        memset(im->bytes, 0xff, setup_len); /* whatever of this reaches the guest shows */
        memset(bz_header(im), 0, sizeof(struct setup_header));
        *bz_header(im) = (struct setup_header){
                .setup_sects = (uint8_t)setup_sects,
                .syssize = BZ_KERNEL / 16,
                .vid_mode = 0xfffd,
                .boot_flag = 0xaa55,
                .jump = 0xeb | (HDR_OFF + sizeof(struct setup_header) - 0x202) << 8,
                .header = 0x53726448,
                .version = 0x020f,
                .loadflags = LOADED_HIGH,
                .code32_start = 0x100000,
                .initrd_addr_max = 0x7fffffff,
                .kernel_alignment = 0x200000,
                .relocatable_kernel = 1,
                .min_alignment = 21,
                .xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
                .cmdline_size = BZ_CMDLINE,
                .payload_offset = 0x300,
                .payload_length = BZ_KERNEL - 0x300,
                .pref_address = BZ_ADDRESS,
                .init_size = BZ_INIT_SIZE,
                .kernel_info_offset = 0x280,
        };
        fill_pattern(im->bytes + setup_len, BZ_KERNEL);
        im->len = setup_len + BZ_KERNEL;
}

Elf64_Ehdr *elf_header(struct image *im)
{
        return (Elf64_Ehdr *)im->bytes;
}

Elf64_Phdr *elf_segment(struct image *im, unsigned int i)
{
        return (Elf64_Phdr *)(im->bytes + sizeof(Elf64_Ehdr)) + i;
}

void elf_make(struct image *im)
{
        memset(im, 0, sizeof(*im));
        *elf_header(im) = (Elf64_Ehdr){
                .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                .e_type = ET_EXEC,
                .e_machine = EM_X86_64,
                .e_version = EV_CURRENT,
                .e_entry = ELF_ENTRY,
                .e_phoff = sizeof(Elf64_Ehdr),
                .e_ehsize = sizeof(Elf64_Ehdr),
                .e_phentsize = sizeof(Elf64_Phdr),
                .e_phnum = SEG_COUNT,
        };
        *elf_segment(im, SEG_TEXT) = (Elf64_Phdr){.p_type = PT_LOAD,
                                                  .p_flags = PF_R | PF_X,
                                                  .p_offset = ELF_TEXT,
                                                  .p_vaddr = 0xffffffff81000000,
                                                  .p_paddr = ELF_TEXT_ADDR,
                                                  .p_filesz = ELF_TEXT_LEN,
                                                  .p_memsz = ELF_TEXT_LEN + 0x100};
        *elf_segment(im, SEG_DATA) = (Elf64_Phdr){.p_type = PT_LOAD,
                                                  .p_flags = PF_R | PF_W,
                                                  .p_offset = ELF_DATA,
                                                  .p_paddr = ELF_DATA_ADDR,
                                                  .p_filesz = ELF_DATA_LEN,
                                                  .p_memsz = ELF_DATA_MEM};
        *elf_segment(im, SEG_NOTES) = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = ELF_NOTES, .p_align = 4};
        fill_pattern(im->bytes + ELF_TEXT, ELF_TEXT_LEN + ELF_DATA_LEN);
        im->len = ELF_DATA + ELF_DATA_LEN;
}

void elf_add_note(struct image *im, const char *name, uint32_t type, const void *desc, uint32_t desc_len)
{
        Elf64_Phdr *ph = elf_segment(im, SEG_NOTES);
        Elf64_Nhdr nh = {(uint32_t)strlen(name) + 1, desc_len, type};
        uint8_t *p = im->bytes + ELF_NOTES + ph->p_filesz;
        size_t len = boot_align_up(sizeof(nh) + nh.n_namesz, ph->p_align);

        memcpy(p, &nh, sizeof(nh));
        memcpy(p + sizeof(nh), name, nh.n_namesz);
        memcpy(p + len, desc, desc_len);
        ph->p_filesz += boot_align_up(len + desc_len, ph->p_align);
        assert_true(ELF_NOTES + ph->p_filesz <= ELF_TEXT);
}

void pvh_make(struct image *im, uint32_t entry_len)
{
        const uint64_t entry = PVH_ENTRY;

        elf_make(im);
        elf_header(im)->e_entry = 0xffffffff81000000; /* of no interest when there is a PVH entry */
        elf_add_note(im, "GNU", 3, "0123456789012345678", 19);
        elf_add_note(im, "Xen", 8, "generic", 8);
        elf_add_note(im, "XeN", 18, &entry, 8);
        elf_add_note(im, "Xen", 18, &entry, entry_len);
}

static void make_bzimage(struct image *im)
{
        bz_make(im, 1);
}

static void make_pvh(struct image *im)
{
        pvh_make(im, 4);
}

const struct kind kinds[KINDS] = {
        {"bzImage", make_bzimage, BOOT_LINUX64, LAYOUT_ZERO_PAGE, BZ_ADDRESS + 0x200, BZ_ADDRESS + BZ_INIT_SIZE,
         BZ_CMDLINE},
        {"vmlinux", elf_make, BOOT_LINUX64, LAYOUT_ZERO_PAGE, ELF_ENTRY, ELF_DATA_ADDR + ELF_DATA_MEM,
         BOOT_CMDLINE_MAX - 1},
        {"PVH", make_pvh, BOOT_PVH, LAYOUT_PVH_INFO, PVH_ENTRY, ELF_DATA_ADDR + ELF_DATA_MEM, BOOT_CMDLINE_MAX - 1},
};

/* ---- running the loader ---- */

int file_with(const void *bytes, size_t len)
{
        int fd = memfd_create("image", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
        return fd;
}

static const struct boot_entry untouched = {.protocol = BOOT_PVH, .entry = 0x1234, .info = 0x5678};

int load_fds(const struct guest_ram *ram, int kernel_fd, int initrd_fd, const char *cmdline, struct boot_entry *ret,
             struct err *e)
{
        const struct boot_request req = {
                .ram = ram, .kernel_fd = kernel_fd, .initrd_fd = initrd_fd, .cmdline = cmdline, .rsdp = RSDP};
        int r;

        *ret = untouched;
        *e = ERR_INIT;
        r = boot_load(&req, ret, e);
        if (r < 0)
                assert_memory_equal(ret, &untouched, sizeof(untouched));
        return r;
}

int load(const struct guest_ram *ram, const struct image *im, const char *cmdline, struct boot_entry *ret,
         struct err *e)
{
        _cleanup_fd_ int fd = file_with(im->bytes, im->len);

        return load_fds(ram, fd, -1, cmdline, ret, e);
}

struct boot_entry load_ok(const struct guest_ram *ram, const struct image *im)
{
        struct boot_entry entry;
        struct err e;

        if (load(ram, im, "console=ttyS0", &entry, &e) < 0)
                fail_msg("%s", e.text);
        return entry;
}

void refused_in(const struct guest_ram *ram, const struct image *im, const char *text)
{
        struct boot_entry entry;
        struct err e;

        assert_int_equal(load(ram, im, "", &entry, &e), -EINVAL);
        if (e.status != STATUS_IMAGE || !strstr(e.text, text) || strchr(e.text, '\n'))
                fail_msg("status %d, \"%s\" does not say \"%s\"", e.status, e.text, text);
}

void refused(const struct image *im, const char *text)
{
        struct guest_ram ram = ram_new(64 * MIB);

        refused_in(&ram, im, text);
        ram_free(&ram);
}

struct module {
        uint64_t paddr, size, cmdline_paddr, reserved;
};

struct boot_range initrd_told(const struct guest_ram *ram, enum boot_protocol protocol)
{
        const struct boot_params *bp = at(ram, LAYOUT_ZERO_PAGE, sizeof(*bp));
        const struct start_info *info = at(ram, LAYOUT_PVH_INFO, sizeof(*info));
        const struct module *m;

        if (protocol == BOOT_LINUX64) {
                assert_int_equal(bp->ext_ramdisk_image, 0);
                assert_int_equal(bp->ext_ramdisk_size, 0);
                return (struct boot_range){bp->hdr.ramdisk_image, bp->hdr.ramdisk_size};
        }
        assert_int_equal(info->nr_modules, 1);
        m = at(ram, info->modlist_paddr, sizeof(*m));
        assert_int_equal(m->cmdline_paddr, 0);
        assert_int_equal(m->reserved, 0);
        return (struct boot_range){m->paddr, m->size};
}
