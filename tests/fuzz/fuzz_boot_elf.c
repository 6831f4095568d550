/* The loader of ELF kernels (vmlinux and PVH): the input is the file's start, and BOOT_PARAMETERS. */
#include <elf.h>
#include <string.h>

#include "boot_world.h"

static void check(struct boot_world *w, const struct boot_entry *entry)
{
        Elf64_Ehdr eh;
        uint64_t end = 0, ram_end = w->ram.regions[0].len_bytes;
        bool code = false;

        memcpy(&eh, w->image, sizeof(eh));
        MUST(eh.e_phnum >= 1 && eh.e_phnum <= BOOT_ELF_PHDRS_MAX);
        for (unsigned int i = 0; i < eh.e_phnum; i++) {
                Elf64_Phdr ph = {0};
                uint64_t at = eh.e_phoff + i * sizeof(ph);

                if (at < w->image_len)
                        memcpy(&ph, w->image + at, w->image_len - at < sizeof(ph) ? w->image_len - at : sizeof(ph));
                if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
                        continue;
                MUST(ph.p_paddr + ph.p_memsz > ph.p_paddr && ph.p_paddr + ph.p_memsz <= ram_end);
                MUST(ph.p_paddr >= MIB && ph.p_filesz <= ph.p_memsz);
                if (ph.p_filesz > 0)
                        boot_world_holds(w, ph.p_paddr, ph.p_filesz, ph.p_offset);
                if (ph.p_paddr + ph.p_memsz > end)
                        end = ph.p_paddr + ph.p_memsz;
                code |= (ph.p_flags & PF_X) && entry->entry >= ph.p_paddr && entry->entry < ph.p_paddr + ph.p_filesz;
        }
        MUST(code);
        if (entry->protocol == BOOT_LINUX64)
                MUST(entry->entry == eh.e_entry);
        boot_world_check(w, entry, end, ram_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static const Elf64_Ehdr good = {
                .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        };
        static struct boot_world w; /* too large for a stack */
        struct reader input = {data, len};
        struct boot_entry entry;

        boot_world_open(&w, &input);
        if (w.image_len >= SELFMAG)
                memcpy(w.image, good.e_ident, SELFMAG);
        if (boot_world_load(&w, &entry) == 0)
                check(&w, &entry);
        boot_world_close(&w);
        return 0;
}
