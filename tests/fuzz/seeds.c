/* Writes inputs from which fuzzing the loader starts, into DIRECTORY/TARGET/: the kernels of the unit tests, cut to
 * what is not zero or pattern. Fuzzing would take long to find them by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/boot_images.h"

/* The parameters that boot_world_open() takes: file_len is what the file is longer than the input. */
struct parameters {
        uint16_t memory;
        uint32_t file_len, initrd_len;
        uint16_t cmdline_len;
        uint8_t large;
} __attribute__((packed));

static void seed_write(const char *directory, const char *target, const char *name, const void *bytes, size_t len,
                       const struct parameters *p)
{
        char path[4096];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
        f = fopen(path, "wbe");
        if (!f || fwrite(bytes, 1, len, f) != len || fwrite(p, 1, sizeof(*p), f) != sizeof(*p) || fclose(f) != 0) {
                perror(path);
                exit(1);
        }
}

int main(int argc, char *argv[])
{
        const struct parameters p = {.memory = 0x3e00, .file_len = 0x2000, .initrd_len = 5000, .cmdline_len = 0x0a00};
        const uint64_t entry = 2 * MIB + 0x10; /* in the code of fuzz_boot_pvh.c */
        const uint8_t segments[16] = {1, 2, 0, 0, 0x80, 0, 0, 0};
        struct image im;

        if (argc != 2) {
                fputs("usage: fuzz-seeds DIRECTORY\n", stderr);
                return 2;
        }
        bz_make(&im, 1);
        seed_write(argv[1], "boot_bzimage", "bzimage", im.bytes, BOOT_HEAD_BYTES, &p);
        elf_make(&im);
        seed_write(argv[1], "boot_elf", "vmlinux", im.bytes, ELF_NOTES, &p);
        pvh_make(&im, 4);
        seed_write(argv[1], "boot_elf", "pvh", im.bytes, ELF_NOTES + elf_segment(&im, SEG_NOTES)->p_filesz, &p);

        elf_make(&im);
        elf_add_note(&im, "GNU", 3, "0123456789012345678", 19);
        elf_add_note(&im, "Xen", 18, &entry, 8);
        memcpy(im.bytes + ELF_NOTES + elf_segment(&im, SEG_NOTES)->p_filesz, segments, sizeof(segments));
        seed_write(argv[1], "boot_pvh", "notes", im.bytes + ELF_NOTES,
                   elf_segment(&im, SEG_NOTES)->p_filesz + sizeof(segments), &p);
        return 0;
}
