/*
 * The notes of an ELF kernel, in which its PVH entry point is looked for. Around them is a good ELF with one segment of
 * code; the input is the bytes of the notes, where two note segments are in them, and BOOT_PARAMETERS.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "boot_world.h"

#define NOTES    0x1000 /* file offset */
#define CODE     0x200
#define CODE_LEN 0x100
#define ADDRESS  (2 * MIB)
#define SEGMENTS 3

#define SEGMENT_BYTES 8 /* of the input, for note_segment() */

struct image {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[SEGMENTS];
};
_Static_assert(sizeof(struct image) <= CODE, "the code lies behind the headers");

static Elf64_Phdr note_segment(struct reader *r)
{
        static const uint64_t aligns[] = {0, 1, 4, 8};
        Elf64_Phdr ph = {.p_type = read_u8(r) & 7 ? PT_NOTE : PT_NULL, .p_align = aligns[read_u8(r) & 3]};

        ph.p_offset = NOTES + read_u16(r) % 0x200;
        ph.p_filesz = read_u32(r);
        ph.p_filesz %= ph.p_filesz >> 28 == 0xf ? 0x12000 : 0x400; /* of empty notes a long segment has thousands */
        return ph;
}

/* Puts headers and code in front of the bytes that the input has given. */
static void image_build(struct boot_world *w)
{
        struct reader notes = {w->image, w->image_len}, segments = read_tail(&notes, 2 * SEGMENT_BYTES);
        struct image im = {
                .eh = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_machine = EM_X86_64,
                       .e_version = EV_CURRENT,
                       .e_entry = ADDRESS,
                       .e_phoff = offsetof(struct image, ph),
                       .e_phentsize = sizeof(Elf64_Phdr),
                       .e_phnum = SEGMENTS},
                .ph = {{.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = CODE,
                        .p_paddr = ADDRESS,
                        .p_filesz = CODE_LEN,
                        .p_memsz = CODE_LEN}},
        };
        uint8_t *whole = calloc(1, NOTES + w->image_len);

        MUST(whole);
        im.ph[1] = note_segment(&segments);
        im.ph[2] = note_segment(&segments);
        memcpy(whole, &im, sizeof(im));
        memcpy(whole + NOTES, w->image, w->image_len);
        free(w->image);
        w->image = whole;
        w->image_len += NOTES;
        w->file_len += NOTES;
}

static bool in_note_segment(const struct boot_world *w, size_t at, size_t len)
{
        struct image im;

        memcpy(&im, w->image, sizeof(im));
        for (unsigned int i = 1; i < SEGMENTS; i++)
                if (im.ph[i].p_type == PT_NOTE && at >= im.ph[i].p_offset &&
                    at + len <= im.ph[i].p_offset + im.ph[i].p_filesz)
                        return true;
        return false;
}

/* Is a note of the kind looked for in one of the segments, with this entry? Without a walk: any place will do. */
static bool note_exists(const struct boot_world *w, uint64_t entry)
{
        for (size_t i = NOTES; i + sizeof(Elf64_Nhdr) + 4 + 4 <= w->image_len; i++) {
                uint64_t value = 0;
                Elf64_Nhdr nh;
                size_t left;

                memcpy(&nh, w->image + i, sizeof(nh));
                if (nh.n_namesz != 4 || nh.n_type != 18 || (nh.n_descsz != 4 && nh.n_descsz != 8) ||
                    memcmp(w->image + i + sizeof(nh), "Xen", 4) != 0)
                        continue;
                /* 12 + 4 is a multiple of 8: no padding before the descriptor. It may lie partly in the zeros. */
                left = w->image_len - i - 16;
                memcpy(&value, w->image + i + 16, nh.n_descsz < left ? nh.n_descsz : left);
                if (value == entry && in_note_segment(w, i, 16 + nh.n_descsz))
                        return true;
        }
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct boot_world w; /* too large for a stack */
        struct reader input = {data, len};
        struct boot_entry entry;

        boot_world_open(&w, &input);
        image_build(&w);
        if (boot_world_load(&w, &entry) == 0) {
                MUST(entry.entry >= ADDRESS && entry.entry < ADDRESS + CODE_LEN);
                if (entry.protocol == BOOT_PVH)
                        MUST(note_exists(&w, entry.entry));
                else
                        MUST(entry.entry == ADDRESS);
                boot_world_holds(&w, ADDRESS, CODE_LEN, CODE);
                boot_world_check(&w, &entry, ADDRESS + CODE_LEN, w.ram.regions[0].len_bytes);
        }
        boot_world_close(&w);
        return 0;
}
