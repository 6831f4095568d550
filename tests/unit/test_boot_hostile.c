/* The loader: what is refused, limits one past, and damage. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "boot_images.h"
#include "vmm/x86_64/layout.h"

static void bzimage_refused(void **state)
{
        struct image im;

#define BZ_REFUSED(field, value, text)           \
        do {                                     \
                bz_make(&im, 1);                 \
                bz_header(&im)->field = (value); \
                refused(&im, text);              \
        } while (0)
        BZ_REFUSED(version, 0x020b, "protocol 2.11");
        BZ_REFUSED(version, 0, "protocol 0.00");
        BZ_REFUSED(xloadflags, (uint16_t)~XLF_KERNEL_64, "32-bit kernel");
        BZ_REFUSED(loadflags, (uint8_t)~LOADED_HIGH, "zImage");
        BZ_REFUSED(boot_flag, 0x55aa, "boot flag");
        BZ_REFUSED(jump, 0x6ae9, "length of its setup header");
        BZ_REFUSED(kernel_alignment, 0, "kernel_alignment");
        BZ_REFUSED(kernel_alignment, 0x300000, "kernel_alignment");
        BZ_REFUSED(kernel_alignment, 0x80000000, "give the guest more memory");
        BZ_REFUSED(setup_sects, 2, "cut off");
        BZ_REFUSED(setup_sects, 255, "cut off");
        BZ_REFUSED(syssize, BZ_KERNEL / 16 + 1, "cut off");
        BZ_REFUSED(syssize, UINT32_MAX, "cut off");
        BZ_REFUSED(syssize, 0, "damaged");
        BZ_REFUSED(payload_length, BZ_KERNEL - 0x300 + 1, "payload");
        BZ_REFUSED(payload_length, UINT32_MAX, "payload");
        BZ_REFUSED(payload_offset, BZ_KERNEL + 1, "payload");
        BZ_REFUSED(payload_offset, UINT32_MAX, "payload");
        BZ_REFUSED(pref_address, MIB - 1, "below 1 MiB");
        BZ_REFUSED(pref_address, 64 * MIB, "give the guest more memory");
        BZ_REFUSED(pref_address, 4 * GIB, "give the guest more memory");
        BZ_REFUSED(pref_address, UINT64_MAX, "give the guest more memory");
        BZ_REFUSED(init_size, UINT32_MAX, "give the guest more memory");

        bz_make(&im, 1);
        bz_header(&im)->syssize = 0x200 / 16; /* the entry point would be the first byte after it */
        bz_header(&im)->payload_offset = bz_header(&im)->payload_length = 0;
        refused(&im, "damaged");
}

static void elf_refused(void **state)
{
        struct image im;

#define ELF_REFUSED(target, field, value, text) \
        do {                                    \
                elf_make(&im);                  \
                target->field = (value);        \
                refused(&im, text);             \
        } while (0)
        ELF_REFUSED(elf_header(&im), e_ident[EI_CLASS], ELFCLASS32, "32-bit ELF");
        ELF_REFUSED(elf_header(&im), e_ident[EI_CLASS], 3, "another kind");
        ELF_REFUSED(elf_header(&im), e_ident[EI_DATA], ELFDATA2MSB, "another kind");
        ELF_REFUSED(elf_header(&im), e_ident[EI_VERSION], 0, "another kind");
        ELF_REFUSED(elf_header(&im), e_version, 2, "another kind");
        ELF_REFUSED(elf_header(&im), e_machine, EM_AARCH64, "another processor");
        ELF_REFUSED(elf_header(&im), e_machine, EM_386, "another processor");
        ELF_REFUSED(elf_header(&im), e_type, ET_REL, "cannot be run");
        ELF_REFUSED(elf_header(&im), e_type, ET_CORE, "cannot be run");
        ELF_REFUSED(elf_header(&im), e_phnum, 0, "table of 0");
        ELF_REFUSED(elf_header(&im), e_phnum, BOOT_ELF_PHDRS_MAX + 1, "table of 65");
        ELF_REFUSED(elf_header(&im), e_phnum, PN_XNUM, "table of 65535");
        ELF_REFUSED(elf_header(&im), e_phentsize, sizeof(Elf64_Phdr) + 1, "of 57 bytes");
        ELF_REFUSED(elf_header(&im), e_phoff, ELF_DATA + ELF_DATA_LEN - 3 * sizeof(Elf64_Phdr) + 1, "cut off");
        ELF_REFUSED(elf_header(&im), e_phoff, UINT64_MAX, "cut off");
        ELF_REFUSED(elf_header(&im), e_entry, ELF_TEXT_ADDR - 1, "entry");
        ELF_REFUSED(elf_header(&im), e_entry, ELF_TEXT_ADDR + ELF_TEXT_LEN, "entry");
        ELF_REFUSED(elf_header(&im), e_entry, ELF_DATA_ADDR, "entry");
        ELF_REFUSED(elf_header(&im), e_entry, 0xffffffff81000040, "entry");
        ELF_REFUSED(elf_header(&im), e_entry, 0, "entry");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_flags, PF_R | PF_W, "entry");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_type, PT_NULL, "entry");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_filesz, ELF_TEXT_LEN + 0x101, "more bytes in the file");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_memsz, 0, "more bytes in the file");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_paddr, MIB - 1, "below 1 MiB");
        ELF_REFUSED(elf_segment(&im, SEG_TEXT), p_paddr, 0, "below 1 MiB");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_paddr, 64 * MIB - ELF_DATA_MEM + 1, "more memory");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_paddr, UINT64_MAX - ELF_DATA_MEM + 2, "more memory");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_memsz, UINT64_MAX, "more memory");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_memsz, 46 * MIB, "more memory");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_offset, ELF_DATA + 1, "cut off");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_offset, UINT64_MAX - ELF_DATA_LEN + 2, "cut off");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_paddr, ELF_TEXT_ADDR, "segments 0 and 1 overlap");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_paddr, ELF_TEXT_ADDR + ELF_TEXT_LEN + 0xff, "overlap");
        ELF_REFUSED(elf_segment(&im, SEG_DATA), p_paddr, ELF_TEXT_ADDR - ELF_DATA_MEM + 1, "overlap");
        ELF_REFUSED(elf_segment(&im, SEG_NOTES), p_filesz, UINT64_MAX, "note segment");
        ELF_REFUSED(elf_segment(&im, SEG_NOTES), p_filesz, 65537, "note segment");

        elf_make(&im);
        elf_segment(&im, SEG_TEXT)->p_type = elf_segment(&im, SEG_DATA)->p_type = PT_PHDR;
        refused(&im, "no PT_LOAD");
        /* Only segments without memory: nothing to load either. */
        elf_make(&im);
        for (unsigned int i = SEG_TEXT; i <= SEG_DATA; i++)
                elf_segment(&im, i)->p_filesz = elf_segment(&im, i)->p_memsz = 0;
        refused(&im, "no PT_LOAD");
}

/* What is just inside those limits is loaded. */
static void elf_accepted_at_limits(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        struct image im;

        elf_make(&im);
        elf_segment(&im, SEG_DATA)->p_paddr = ELF_TEXT_ADDR + ELF_TEXT_LEN + 0x100;
        load_ok(&ram, &im);
        elf_segment(&im, SEG_DATA)->p_paddr = ELF_TEXT_ADDR - ELF_DATA_MEM;
        load_ok(&ram, &im);
        elf_segment(&im, SEG_DATA)->p_paddr = 64 * MIB - ELF_DATA_MEM;
        load_ok(&ram, &im);
        elf_segment(&im, SEG_DATA)->p_paddr = MIB;
        load_ok(&ram, &im);
        elf_header(&im)->e_entry = ELF_TEXT_ADDR + ELF_TEXT_LEN - 1;
        load_ok(&ram, &im);
        /* A segment without memory may say any address. */
        elf_segment(&im, SEG_DATA)->p_filesz = elf_segment(&im, SEG_DATA)->p_memsz = 0;
        elf_segment(&im, SEG_DATA)->p_paddr = 0;
        load_ok(&ram, &im);
        elf_header(&im)->e_phnum = BOOT_ELF_PHDRS_MAX;
        load_ok(&ram, &im);
        /* Above 4 GiB is memory, but not where a kernel can be started. */
        ram_free(&ram);
        ram = ram_new(5 * GIB);
        elf_make(&im);
        elf_segment(&im, SEG_DATA)->p_paddr = 4 * GIB;
        refused_in(&ram, &im, "ends at 0xc0000000");
        ram_free(&ram);
}

static void pvh_refused(void **state)
{
        const uint64_t entries[] = {0, ELF_TEXT_ADDR + ELF_TEXT_LEN, ELF_DATA_ADDR, 4 * GIB + ELF_TEXT_ADDR};
        struct image im;
        Elf64_Nhdr *nh;

        for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
                elf_make(&im);
                elf_add_note(&im, "Xen", 18, &entries[i], 8);
                refused(&im, "PVH note");
        }
        for (uint32_t len = 0; len < 20; len++) {
                if (len == 4 || len == 8)
                        continue;
                elf_make(&im);
                elf_add_note(&im, "Xen", 18, "01234567890123456789", len);
                refused(&im, "not 4 or 8");
        }

        nh = (Elf64_Nhdr *)(im.bytes + ELF_NOTES);
        pvh_make(&im, 4);
        nh->n_descsz = UINT32_MAX;
        refused(&im, "note ends beyond");
        pvh_make(&im, 4);
        nh->n_namesz = UINT32_MAX;
        refused(&im, "note ends beyond");
        pvh_make(&im, 4);
        elf_segment(&im, SEG_NOTES)->p_filesz--;
        refused(&im, "note ends beyond");

        /* A note of another owner is none of ours, and the Linux entry has to do. */
        elf_make(&im);
        elf_add_note(&im, "Xen ", 18, &entries[0], 8);
        elf_add_note(&im, "Xfn", 18, &entries[0], 8);
        elf_add_note(&im, "Xen", 17, &entries[0], 8);
        {
                struct guest_ram ram = ram_new(64 * MIB);

                assert_int_equal(load_ok(&ram, &im).protocol, BOOT_LINUX64);
                ram_free(&ram);
        }
        /* PVH or not, 32-bit images are refused. */
        pvh_make(&im, 4);
        elf_header(&im)->e_ident[EI_CLASS] = ELFCLASS32;
        refused(&im, "32-bit ELF");
}

static void note_segment_limit(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);

        for (unsigned int past = 0; past <= 1; past++) {
                _cleanup_fd_ int fd = -1;
                struct boot_entry entry;
                struct image im;
                struct err e;

                elf_make(&im);
                elf_segment(&im, SEG_NOTES)->p_offset = im.len; /* zeros: notes without name and contents */
                elf_segment(&im, SEG_NOTES)->p_filesz = 65536 + past;
                fd = file_with(im.bytes, im.len);
                assert_int_equal(ftruncate(fd, MIB), 0);
                assert_int_equal(load_fds(&ram, fd, -1, "", &entry, &e), past ? -EINVAL : 0);
                if (past)
                        assert_non_null(strstr(e.text, "note segment"));
        }
        ram_free(&ram);
}

static void other_files_refused(void **state)
{
        static const struct {
                size_t off, len;
                const char *bytes, *text;
        } files[] = {
                {0, 1, "x", "no known kind"},
                {0, 20, "#!/bin/sh\necho hello", "no known kind; give a bzImage"},
                {0, 2, "\x1f\x8b", "gzip; unpack"},
                {0, 6, "\xfd\x37zXZ", "xz; unpack"},
                {0, 4, "\x28\xb5\x2f\xfd", "zstd; unpack"},
                {0, 4, "\x04\x22\x4d\x18", "lz4; unpack"},
                {0x38, 4, "ARM\x64", "arm64 kernel"},
                {0x38, 4, "RSC\x05", "RISC-V kernel"},
                {0, 2, "MZ", "EFI program"},
        };

        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                struct image im = {.len = files[i].off + files[i].len};

                memcpy(im.bytes + files[i].off, files[i].bytes, files[i].len);
                refused(&im, files[i].text);
                im.len = IMAGE_MAX;
                refused(&im, files[i].text);
        }
}

static void odd_descriptors_refused(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);
        struct boot_entry entry;
        struct image im;
        struct err e;
        int fds[4];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        fds[2] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[3] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        elf_make(&im);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
                _cleanup_fd_ int odd = fds[i], good = file_with(im.bytes, im.len);

                assert_int_equal(load_fds(&ram, odd, -1, "", &entry, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_IMAGE);
                assert_non_null(strstr(e.text, "kernel image is not a regular file"));
                assert_int_equal(load_fds(&ram, good, odd, "", &entry, &e), -EINVAL);
                assert_int_equal(e.status, STATUS_IMAGE);
                assert_non_null(strstr(e.text, "initrd is not a regular file"));
        }
        {
                _cleanup_fd_ int empty = file_with("", 0), good = file_with(im.bytes, im.len);
                _cleanup_fd_ int unreadable = -1;
                char path[32];

                snprintf(path, sizeof(path), "/proc/self/fd/%d", good);
                unreadable = open(path, O_PATH | O_CLOEXEC);
                assert_int_equal(load_fds(&ram, empty, -1, "", &entry, &e), -EINVAL);
                assert_string_equal(e.text, "kernel image is empty");
                assert_int_equal(load_fds(&ram, good, empty, "", &entry, &e), -EINVAL);
                assert_string_equal(e.text, "initrd is empty");
                assert_int_equal(e.status, STATUS_IMAGE);
                /* Not the image's fault. */
                assert_int_equal(load_fds(&ram, unreadable, -1, "", &entry, &e), -EBADF);
                assert_int_equal(e.status, STATUS_FAILURE);
                assert_int_equal(load_fds(&ram, -1, -1, "", &entry, &e), -EBADF);
                assert_int_equal(e.status, STATUS_FAILURE);
        }
        ram_free(&ram);
}

static void file_that_shrinks(void **state)
{
        struct guest_ram ram = ram_new(4 * MIB);
        _cleanup_fd_ int fd = file_with("0123456789", 10);
        struct err e = ERR_INIT;
        struct boot_file f;
        char buf[10];

        assert_int_equal(boot_file_init(&f, fd, "kernel image", &e), 0);
        assert_int_equal(f.len_bytes, 10);
        assert_int_equal(boot_file_read(&f, buf, 10, 0, &e), 0);
        assert_int_equal(ftruncate(fd, 9), 0);
        assert_int_equal(boot_file_read(&f, buf, 10, 0, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_IMAGE);
        assert_non_null(strstr(e.text, "kernel image shrank"));
        e = ERR_INIT;
        assert_int_equal(boot_file_read_to_guest(&f, &ram, MIB, 10, 0, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_IMAGE);
        assert_int_equal(boot_file_read_to_guest(&f, &ram, 4 * MIB - 9, 10, 0, &e), -EFAULT);
        assert_int_equal(e.status, STATUS_FAILURE);
        ram_free(&ram);
}

/* Nowhere is there enough memory for a kernel; the errors must say so, and nobody need want them. */
static void small_guests(void **state)
{
        const uint64_t sizes[] = {4096, MIB, MIB + 4096, 2 * MIB};

        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                struct guest_ram ram = ram_new(sizes[i]);

                for (size_t j = 0; j < ARRAY_LEN(kinds); j++) {
                        _cleanup_fd_ int fd = -1;
                        struct boot_request req = {.ram = &ram, .initrd_fd = -1, .cmdline = ""};
                        struct boot_entry entry;
                        struct image im;

                        kinds[j].make(&im);
                        refused_in(&ram, &im, "give the guest more memory");
                        req.kernel_fd = fd = file_with(im.bytes, im.len);
                        assert_int_equal(boot_load(&req, &entry, NULL), -EINVAL);
                }
                ram_free(&ram);
        }
}

/* ---- damage ---- */

static void cut_off(void **state)
{
        struct guest_ram ram = ram_new(64 * MIB);

        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                struct image im;
                size_t full;

                kinds[i].make(&im);
                full = im.len;
                for (im.len = 1; im.len < full; im.len += im.len < 0x600 ? 1 : (full - 0x600) / 20) {
                        refused_in(&ram, &im, "");
                        if (im.len >= 0x206) /* all magic is there */
                                refused_in(&ram, &im, "cut off");
                }
                im.len = full - 1;
                refused_in(&ram, &im, "cut off");
                im.len = full;
                assert_int_equal(load_ok(&ram, &im).entry, kinds[i].entry);
        }
        ram_free(&ram);
}

/* xorshift64, so that every run does the same. */
static uint64_t rnd(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* Overwrites up to four bytes of the headers, half of the time with a value that is likely to matter. */
static void damage(struct image *im, size_t start, size_t len, uint64_t *seed)
{
        static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};

        for (uint64_t n = 1 + rnd(seed) % 4; n > 0; n--)
                im->bytes[start + rnd(seed) % len] =
                        rnd(seed) % 2 ? edges[rnd(seed) % sizeof(edges)] : (uint8_t)rnd(seed);
}

/* Whatever the headers say: refused as an image, or loaded at an address inside memory. */
static void random_damage(void **state)
{
        enum { ROUNDS = 20000 };
        struct guest_ram ram = ram_new(32 * MIB);
        uint64_t seed = 0x9e3779b97f4a7c15;

        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                bool bz = i == KIND_BZIMAGE;
                unsigned int loaded = 0, bad = 0;
                _cleanup_fd_ int fd = -1, initrd = file_with("initrd", 6);
                struct image good, im;

                kinds[i].make(&good);
                fd = file_with(good.bytes, good.len);
                for (unsigned int round = 0; round < ROUNDS; round++) {
                        struct boot_entry entry;
                        struct err e;

                        im = good;
                        if (bz)
                                damage(&im, HDR_OFF, sizeof(struct setup_header), &seed);
                        else if (round % 2 && kinds[i].protocol == BOOT_PVH)
                                damage(&im, ELF_NOTES, elf_segment(&good, SEG_NOTES)->p_filesz, &seed);
                        else
                                damage(&im, 0, sizeof(Elf64_Ehdr) + SEG_COUNT * sizeof(Elf64_Phdr), &seed);
                        assert_int_equal(pwrite(fd, im.bytes, im.len, 0), (ssize_t)im.len);
                        if (load_fds(&ram, fd, initrd, "console=ttyS0", &entry, &e) < 0) {
                                assert_int_equal(e.status, STATUS_IMAGE);
                                bad++;
                                continue;
                        }
                        loaded++;
                        assert_in_range(entry.entry, MIB, 32 * MIB - 1);
                        assert_int_equal(entry.info, entry.protocol == BOOT_PVH ? LAYOUT_PVH_INFO : LAYOUT_ZERO_PAGE);
                        assert_int_equal(initrd_told(&ram, entry.protocol).len_bytes, 6);
                }
                print_message("%s: %u damaged images loaded, %u refused\n", kinds[i].name, loaded, bad);
                assert_true(loaded > ROUNDS / 100 && bad > ROUNDS / 100);
        }
        ram_free(&ram);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bzimage_refused),
                cmocka_unit_test(elf_refused),
                cmocka_unit_test(elf_accepted_at_limits),
                cmocka_unit_test(pvh_refused),
                cmocka_unit_test(note_segment_limit),
                cmocka_unit_test(other_files_refused),
                cmocka_unit_test(odd_descriptors_refused),
                cmocka_unit_test(file_that_shrinks),
                cmocka_unit_test(small_guests),
                cmocka_unit_test(cut_off),
                cmocka_unit_test(random_damage),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
