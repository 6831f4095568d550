/* The loader: what is loaded, and where it lands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "boot_images.h"
#include "vmm/x86_64/layout.h"

static void bzimage_is_loaded(void **state)
{
        const unsigned int sects[] = {1, 0, 20};

        for (size_t i = 0; i < ARRAY_LEN(sects); i++) {
                struct guest_ram ram = ram_new(64 * MIB);
                const struct boot_params *bp;
                struct boot_entry entry;
                struct image im;

                bz_make(&im, sects[i]);
                im.len += 100; /* a signature */
                entry = load_ok(&ram, &im);
                assert_int_equal(entry.protocol, BOOT_LINUX64);
                assert_int_equal(entry.entry, BZ_ADDRESS + 0x200);
                assert_int_equal(entry.info, LAYOUT_ZERO_PAGE);
                assert_pattern(&ram, BZ_ADDRESS, 0, BZ_KERNEL);
                assert_zero(at(&ram, BZ_ADDRESS + BZ_KERNEL, 4096), 4096);
                assert_string_equal(at(&ram, LAYOUT_CMDLINE, 14), "console=ttyS0");

                bp = at(&ram, LAYOUT_ZERO_PAGE, sizeof(*bp));
                assert_int_equal(bp->hdr.type_of_loader, 0xff);
                assert_int_equal(bp->hdr.loadflags, LOADED_HIGH);
                assert_int_equal(bp->hdr.vid_mode, 0xffff);
                assert_int_equal(bp->hdr.code32_start, BZ_ADDRESS);
                assert_int_equal(bp->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
                assert_int_equal(bp->hdr.ramdisk_image, 0);
                assert_int_equal(bp->hdr.ramdisk_size, 0);
                assert_int_equal(bp->acpi_rsdp_addr, RSDP);
                assert_int_equal(bp->hdr.version, 0x020f);
                assert_int_equal(bp->hdr.init_size, BZ_INIT_SIZE);
                assert_int_equal(bp->hdr.kernel_info_offset, 0x280);
                assert_int_equal(bp->e820_entries, 4);
                /* Nothing of the real-mode code around the header, the sentinel above all. */
                assert_int_equal(bp->sentinel, 0);
                assert_zero(bp, offsetof(struct boot_params, acpi_rsdp_addr));
                assert_zero(bp->_pad7, sizeof(bp->_pad7));
                assert_zero(bp->edd_mbr_sig_buffer, sizeof(bp->edd_mbr_sig_buffer));
                ram_free(&ram);
        }
}

static void bzimage_header_length(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        const struct boot_params *bp = at(&ram, LAYOUT_ZERO_PAGE, sizeof(*bp));
        struct image im;

        bz_make(&im, 1);
        im.bytes[0x201] = 0x264 - 0x202; /* ends after init_size */
        load_ok(&ram, &im);
        assert_int_equal(bp->hdr.init_size, BZ_INIT_SIZE);
        assert_int_equal(bp->hdr.kernel_info_offset, 0);
        im.bytes[0x201]--;
        refused_in(&ram, &im, "length of its setup header");

        im.bytes[0x201] = 0x7f; /* as far as a short jump goes */
        load_ok(&ram, &im);
        assert_int_equal(bp->_pad7[0], 0xff);
        assert_int_equal(((const uint8_t *)bp)[0x280], 0xff);
        assert_int_equal(((const uint8_t *)bp)[0x281], 0);
        im.bytes[0x201]++;
        refused_in(&ram, &im, "length of its setup header");
        ram_free(&ram);
}

static void bzimage_address(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        struct image im;

        bz_make(&im, 1);
        bz_header(&im)->pref_address = BZ_ADDRESS + 1; /* relocatable: goes to the next aligned address */
        assert_int_equal(load_ok(&ram, &im).entry, BZ_ADDRESS + 2 * MIB + 0x200);
        bz_header(&im)->relocatable_kernel = 0;
        assert_int_equal(load_ok(&ram, &im).entry, BZ_ADDRESS + 1 + 0x200);
        bz_header(&im)->pref_address = 0; /* no preference: where bzImages always went */
        assert_int_equal(load_ok(&ram, &im).entry, MIB + 0x200);
        bz_header(&im)->relocatable_kernel = 1;
        assert_int_equal(load_ok(&ram, &im).entry, 2 * MIB + 0x200);

        /* As high as memory goes, and one byte further. */
        bz_header(&im)->pref_address = 62 * MIB;
        load_ok(&ram, &im);
        bz_header(&im)->init_size++;
        refused_in(&ram, &im, "give the guest more memory");
        /* What is in the file needs room too, whatever init_size says. */
        bz_header(&im)->relocatable_kernel = 0;
        bz_header(&im)->init_size = 0;
        bz_header(&im)->pref_address = 64 * MIB - BZ_KERNEL;
        load_ok(&ram, &im);
        bz_header(&im)->pref_address++;
        refused_in(&ram, &im, "give the guest more memory");
        ram_free(&ram);
}

static void vmlinux_is_loaded(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        const struct boot_params *bp = at(&ram, LAYOUT_ZERO_PAGE, sizeof(*bp));
        struct boot_entry entry;
        struct image im;

        elf_make(&im);
        entry = load_ok(&ram, &im);
        assert_int_equal(entry.protocol, BOOT_LINUX64);
        assert_int_equal(entry.entry, ELF_ENTRY);
        assert_int_equal(entry.info, LAYOUT_ZERO_PAGE);
        assert_pattern(&ram, ELF_TEXT_ADDR, 0, ELF_TEXT_LEN);
        assert_zero(at(&ram, ELF_TEXT_ADDR + ELF_TEXT_LEN, 0x100), 0x100);
        assert_pattern(&ram, ELF_DATA_ADDR, ELF_TEXT_LEN, ELF_DATA_LEN);
        assert_zero(at(&ram, ELF_DATA_ADDR + ELF_DATA_LEN, ELF_DATA_MEM), ELF_DATA_MEM);
        assert_string_equal(at(&ram, LAYOUT_CMDLINE, 14), "console=ttyS0");
        assert_int_equal(bp->hdr.boot_flag, 0xaa55);
        assert_memory_equal(&bp->hdr.header, "HdrS", 4);
        assert_int_equal(bp->hdr.version, 0x020c);
        assert_int_equal(bp->hdr.type_of_loader, 0xff);
        assert_int_equal(bp->hdr.kernel_alignment, 0x1000000);
        assert_int_equal(bp->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
        assert_int_equal(bp->acpi_rsdp_addr, RSDP);
        assert_int_equal(bp->e820_entries, 4);

        elf_header(&im)->e_type = ET_DYN;
        load_ok(&ram, &im);
        ram_free(&ram);
}

static void pvh_is_loaded(void **state)
{
        for (unsigned int i = 0; i < 4; i++) {
                struct guest_ram ram = ram_new(64 * MIB);
                const struct start_info *info = at(&ram, LAYOUT_PVH_INFO, sizeof(*info));
                const uint64_t entry_addr = PVH_ENTRY;
                struct boot_entry entry;
                struct image im;

                if (i < 2) {
                        pvh_make(&im, i == 0 ? 4 : 8);
                } else {
                        elf_make(&im);
                        elf_segment(&im, SEG_NOTES)->p_align = 8;
                        elf_add_note(&im, "Linux", 1, "abc", 3);
                        elf_add_note(&im, "Xen", 18, &entry_addr, i == 2 ? 4 : 8);
                }
                entry = load_ok(&ram, &im);
                assert_int_equal(entry.protocol, BOOT_PVH);
                assert_int_equal(entry.entry, PVH_ENTRY);
                assert_int_equal(entry.info, LAYOUT_PVH_INFO);
                assert_pattern(&ram, ELF_TEXT_ADDR, 0, ELF_TEXT_LEN);
                assert_int_equal(info->magic, 0x336ec578);
                assert_int_equal(info->version, 1);
                assert_int_equal(info->flags, 0);
                assert_int_equal(info->nr_modules, 0);
                assert_int_equal(info->modlist_paddr, 0);
                assert_int_equal(info->rsdp_paddr, RSDP);
                assert_int_equal(info->memmap_entries, 4);
                assert_int_equal(info->reserved, 0);
                assert_string_equal(at(&ram, info->cmdline_paddr, 14), "console=ttyS0");
                assert_zero(at(&ram, LAYOUT_ZERO_PAGE, 4096), 4096);
                ram_free(&ram);
        }
}

#define ECAM_RANGE                 \
        {                          \
                0xe0000000, MIB, 2 \
        }

/* Both tables say the same, on either side of the hole. */
static void memory_maps(void **state)
{
        static const struct {
                uint64_t len;
                unsigned int n;
                struct boot_memory_range high[3];
        } cases[] = {
                {128 * MIB, 4, {{MIB, 127 * MIB, 1}, ECAM_RANGE}},
                {3 * GIB, 4, {{MIB, 3 * GIB - MIB, 1}, ECAM_RANGE}},
                {3 * GIB + 4096, 5, {{MIB, 3 * GIB - MIB, 1}, ECAM_RANGE, {4 * GIB, 4096, 1}}},
                {4 * GIB, 5, {{MIB, 3 * GIB - MIB, 1}, ECAM_RANGE, {4 * GIB, GIB, 1}}},
        };
        struct {
                uint64_t addr, size;
                uint32_t type, reserved;
        } const *pvh;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct guest_ram ram = ram_new(cases[i].len);
                const struct boot_params *bp = at(&ram, LAYOUT_ZERO_PAGE, sizeof(*bp));
                const struct start_info *info = at(&ram, LAYOUT_PVH_INFO, sizeof(*info));
                struct boot_memory_range want[5] = {{0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}};
                struct image im;

                memcpy(want + 2, cases[i].high, sizeof(cases[i].high));
                bz_make(&im, 1);
                load_ok(&ram, &im);
                pvh_make(&im, 4);
                load_ok(&ram, &im);
                assert_int_equal(bp->e820_entries, cases[i].n);
                assert_int_equal(info->memmap_entries, cases[i].n);
                pvh = at(&ram, info->memmap_paddr, info->memmap_entries * sizeof(*pvh));
                for (unsigned int j = 0; j < cases[i].n; j++) {
                        assert_true(bp->e820_table[j].addr == want[j].start);
                        assert_true(bp->e820_table[j].size == want[j].len_bytes);
                        assert_int_equal(bp->e820_table[j].type, want[j].type);
                        assert_true(pvh[j].addr == want[j].start && pvh[j].size == want[j].len_bytes);
                        assert_true(pvh[j].type == want[j].type && pvh[j].reserved == 0);
                }
                ram_free(&ram);
        }
}

/* ---- command line and initrd ---- */

static void cmdline_limit(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        char line[BOOT_CMDLINE_MAX + 2];
        struct boot_entry entry;
        struct image im;
        struct err e;

        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                size_t max = kinds[i].cmdline_max;

                kinds[i].make(&im);
                memset(line, 'x', sizeof(line));
                line[max] = '\0';
                assert_int_equal(load(&ram, &im, line, &entry, &e), 0);
                assert_string_equal(at(&ram, LAYOUT_CMDLINE, max + 1), line);
                line[max] = 'x';
                line[max + 1] = '\0';
                assert_int_equal(load(&ram, &im, line, &entry, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_IMAGE);
                assert_non_null(strstr(e.text, "shorten it"));
                /* A shorter one brings its own end. */
                assert_int_equal(load(&ram, &im, "quiet", &entry, &e), 0);
                assert_string_equal(at(&ram, LAYOUT_CMDLINE, 6), "quiet");
        }
        /* A bzImage that takes more than there is. */
        bz_make(&im, 1);
        bz_header(&im)->cmdline_size = UINT32_MAX;
        memset(line, 'x', sizeof(line));
        line[BOOT_CMDLINE_MAX - 1] = '\0';
        assert_int_equal(load(&ram, &im, line, &entry, &e), 0);
        line[BOOT_CMDLINE_MAX - 1] = 'x';
        line[BOOT_CMDLINE_MAX] = '\0';
        assert_int_equal(load(&ram, &im, line, &entry, &e), -EINVAL);
        ram_free(&ram);
}

static void initrd_limit(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                struct guest_ram ram = ram_new(24 * MIB);
                uint64_t bottom = boot_align_up(kinds[i].end, BOOT_PAGE_BYTES);
                uint64_t room = 24 * MIB - bottom;
                _cleanup_fd_ int kernel = -1, initrd = -1;
                struct boot_range told;
                struct boot_entry entry;
                uint8_t data[5000];
                struct image im;
                struct err e;

                kinds[i].make(&im);
                kernel = file_with(im.bytes, im.len);
                fill_pattern(data, sizeof(data));
                initrd = file_with(data, sizeof(data));

                assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
                told = initrd_told(&ram, kinds[i].protocol);
                assert_int_equal(told.start, 24 * MIB - 8192);
                assert_int_equal(told.len_bytes, sizeof(data));
                assert_pattern(&ram, told.start, 0, sizeof(data));

                assert_int_equal(ftruncate(initrd, (off_t)room), 0);
                assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
                told = initrd_told(&ram, kinds[i].protocol);
                assert_int_equal(told.start, bottom);
                assert_int_equal(told.len_bytes, room);
                assert_pattern(&ram, told.start, 0, sizeof(data));

                assert_int_equal(ftruncate(initrd, (off_t)room + 1), 0);
                assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_IMAGE);
                snprintf((char *)data, sizeof(data), "%" PRIu64 " bytes, but above the kernel only %" PRIu64, room + 1,
                         room);
                assert_non_null(strstr(e.text, (char *)data));

                assert_int_equal(ftruncate(initrd, INT64_MAX), 0);
                assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_IMAGE);
                ram_free(&ram);
        }
}

static void initrd_below_header_limit(void **state)
{
        struct guest_ram ram = ram_new(3 * GIB);
        _cleanup_fd_ int kernel = -1, initrd = -1;
        struct boot_entry entry;
        struct image im;
        struct err e;

        bz_make(&im, 1);
        kernel = file_with(im.bytes, im.len);
        initrd = file_with("initrd", 6);
        assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
        assert_int_equal(initrd_told(&ram, BOOT_LINUX64).start, 2 * GIB - 4096);

        bz_header(&im)->initrd_addr_max = 0x13579bd0; /* no page boundary */
        assert_int_equal(pwrite(kernel, im.bytes, im.len, 0), (ssize_t)im.len);
        assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
        assert_int_equal(initrd_told(&ram, BOOT_LINUX64).start, 0x13578000);

        /* One page above the kernel, and none. */
        bz_header(&im)->initrd_addr_max = BZ_ADDRESS + BZ_INIT_SIZE + 4095;
        assert_int_equal(pwrite(kernel, im.bytes, im.len, 0), (ssize_t)im.len);
        assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
        assert_int_equal(initrd_told(&ram, BOOT_LINUX64).start, BZ_ADDRESS + BZ_INIT_SIZE);
        bz_header(&im)->initrd_addr_max--;
        assert_int_equal(pwrite(kernel, im.bytes, im.len, 0), (ssize_t)im.len);
        assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), -EINVAL);

        bz_header(&im)->initrd_addr_max = UINT32_MAX; /* memory ends first */
        assert_int_equal(pwrite(kernel, im.bytes, im.len, 0), (ssize_t)im.len);
        assert_int_equal(load_fds(&ram, kernel, initrd, "", &entry, &e), 0);
        assert_int_equal(initrd_told(&ram, BOOT_LINUX64).start, 3 * GIB - 4096);
        ram_free(&ram);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bzimage_is_loaded),
                cmocka_unit_test(bzimage_header_length),
                cmocka_unit_test(bzimage_address),
                cmocka_unit_test(vmlinux_is_loaded),
                cmocka_unit_test(pvh_is_loaded),
                cmocka_unit_test(memory_maps),
                cmocka_unit_test(cmdline_limit),
                cmocka_unit_test(initrd_limit),
                cmocka_unit_test(initrd_below_header_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
