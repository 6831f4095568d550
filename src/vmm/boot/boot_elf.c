/* 64-bit x86 ELF kernels. Field names and rules: System V gABI, chapters 4 and 5. */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/number.h"
#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

struct elf_image {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[BOOT_ELF_PHDRS_MAX]; /* eh.e_phnum are valid */
};

_Static_assert(sizeof(Elf64_Ehdr) <= BOOT_HEAD_BYTES, "the head covers the ELF header");

static int check_ehdr(const Elf64_Ehdr *eh, struct err *e)
{
        if (eh->e_ident[EI_CLASS] == ELFCLASS32)
                return err_bad(e, STATUS_IMAGE, "kernel is a 32-bit ELF; " BOOT_HINT_KERNEL);
        if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
            eh->e_ident[EI_VERSION] != EV_CURRENT || eh->e_version != EV_CURRENT)
                return err_bad(e, STATUS_IMAGE,
                               "kernel is an ELF of another kind than 64-bit little endian; " BOOT_HINT_KERNEL);
        if (eh->e_machine != EM_X86_64)
                return err_bad(e, STATUS_IMAGE,
                               "kernel is an ELF for another processor (e_machine %u); " BOOT_HINT_KERNEL,
                               eh->e_machine);
        if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
                return err_bad(e, STATUS_IMAGE,
                               "kernel is an ELF that cannot be run (e_type %u: an object file or core "
                               "dump?); " BOOT_HINT_KERNEL,
                               eh->e_type);
        if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > BOOT_ELF_PHDRS_MAX)
                return err_bad(e, STATUS_IMAGE,
                               "kernel has an ELF program header table of %u entries of %u bytes; 1 to %u of %zu "
                               "can be booted",
                               eh->e_phnum, eh->e_phentsize, BOOT_ELF_PHDRS_MAX, sizeof(Elf64_Phdr));
        return 0;
}

static int read_headers(const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES], struct elf_image *ret,
                        struct err *e)
{
        size_t table_len;
        int r;

        if (f->len_bytes < sizeof(ret->eh))
                return err_bad(e, STATUS_IMAGE, "kernel ELF is cut off in its header; copy it again");
        memcpy(&ret->eh, head, sizeof(ret->eh));
        r = check_ehdr(&ret->eh, e);
        if (r < 0)
                return r;
        table_len = ret->eh.e_phnum * sizeof(Elf64_Phdr);
        if (!range_fits(ret->eh.e_phoff, table_len, f->len_bytes))
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF is cut off: the program header table at %" PRIu64
                               " lies beyond the end of the file; copy it again",
                               (uint64_t)ret->eh.e_phoff);
        return boot_file_read(f, ret->ph, table_len, ret->eh.e_phoff, e);
}

/* A segment without memory is allowed and does nothing. */
static bool is_loaded(const Elf64_Phdr *ph)
{
        return ph->p_type == PT_LOAD && ph->p_memsz > 0;
}

static int check_segment(const struct boot_file *f, gpa_t ram_end, const Elf64_Phdr *ph, unsigned int i, struct err *e)
{
        if (ph->p_filesz > ph->p_memsz)
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF is damaged: segment %u has more bytes in the file than in memory", i);
        if (!range_fits(ph->p_offset, ph->p_filesz, f->len_bytes))
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF is cut off: segment %u lies beyond the end of the file; copy it again", i);
        if (ph->p_memsz == 0)
                return 0;
        if (ph->p_paddr < LAYOUT_HIGH_RAM)
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF segment %u has physical address 0x%" PRIx64
                               ", below 1 MiB, which is kept for what the kernel is handed (or is this an "
                               "ordinary program?); link the kernel at 1 MiB or above",
                               i, (uint64_t)ph->p_paddr);
        if (!range_fits(ph->p_paddr, ph->p_memsz, ram_end))
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF segment %u needs %" PRIu64 " bytes at physical address 0x%" PRIx64
                               ", guest memory there ends at 0x%" PRIx64 "; give the guest more memory",
                               i, (uint64_t)ph->p_memsz, (uint64_t)ph->p_paddr, ram_end);
        return 0;
}

/* Segments that passed check_segment(): the sums cannot wrap. */
static bool overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
        return a->p_paddr < b->p_paddr + b->p_memsz && b->p_paddr < a->p_paddr + a->p_memsz;
}

/* Sets the end of the highest segment. */
static int check_segments(const struct boot_file *f, gpa_t ram_end, const struct elf_image *img, gpa_t *ret_end,
                          struct err *e)
{
        gpa_t end = 0;

        for (unsigned int i = 0; i < img->eh.e_phnum; i++) {
                const Elf64_Phdr *ph = &img->ph[i];
                int r;

                if (ph->p_type != PT_LOAD)
                        continue;
                r = check_segment(f, ram_end, ph, i, e);
                if (r < 0)
                        return r;
                if (!is_loaded(ph))
                        continue;
                for (unsigned int j = 0; j < i; j++)
                        if (is_loaded(&img->ph[j]) && overlap(ph, &img->ph[j]))
                                return err_bad(e, STATUS_IMAGE,
                                               "kernel ELF is damaged: segments %u and %u overlap in memory", j, i);
                if (ph->p_paddr + ph->p_memsz > end)
                        end = ph->p_paddr + ph->p_memsz;
        }
        if (end == 0)
                return err_bad(e, STATUS_IMAGE, "kernel ELF has nothing to load (no PT_LOAD segment)");
        *ret_end = end;
        return 0;
}

/* Returns 1 and sets ret_entry, 0 when no note has a PVH entry, or a negative errno. */
static int find_pvh_entry(const struct boot_file *f, const struct elf_image *img, gpa_t *ret_entry, struct err *e)
{
        for (unsigned int i = 0; i < img->eh.e_phnum; i++) {
                int r;

                if (img->ph[i].p_type != PT_NOTE)
                        continue;
                r = boot_pvh_find_entry(f, &img->ph[i], ret_entry, e);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Only the part of a segment that comes from the file can hold code. */
static bool is_code(const struct elf_image *img, gpa_t entry)
{
        for (unsigned int i = 0; i < img->eh.e_phnum; i++) {
                const Elf64_Phdr *ph = &img->ph[i];

                if (is_loaded(ph) && (ph->p_flags & PF_X) && entry >= ph->p_paddr && entry - ph->p_paddr < ph->p_filesz)
                        return true;
        }
        return false;
}

static int load_segments(const struct boot_file *f, const struct guest_ram *ram, const struct elf_image *img,
                         struct err *e)
{
        for (unsigned int i = 0; i < img->eh.e_phnum; i++) {
                const Elf64_Phdr *ph = &img->ph[i];
                int r;

                if (!is_loaded(ph))
                        continue;
                /* The rest, up to p_memsz, must be zero and is: nobody has written to this RAM yet. */
                r = boot_file_read_to_guest(f, ram, ph->p_paddr, ph->p_filesz, ph->p_offset, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int boot_elf_load(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                  enum boot_protocol *ret_protocol, struct boot_kernel *ret, struct err *e)
{
        gpa_t ram_end = boot_low_ram_end(req->ram);
        struct elf_image img = {0};
        gpa_t entry = 0, end = 0;
        int r, pvh;

        r = read_headers(f, head, &img, e);
        if (r < 0)
                return r;
        r = check_segments(f, ram_end, &img, &end, e);
        if (r < 0)
                return r;

        pvh = find_pvh_entry(f, &img, &entry, e);
        if (pvh < 0)
                return pvh;
        if (!pvh)
                entry = img.eh.e_entry; /* a physical address: the linker script says ENTRY(phys_startup_64)
                                         */
        if (!is_code(&img, entry))
                return err_bad(e, STATUS_IMAGE,
                               "kernel ELF entry 0x%" PRIx64 " (%s) is not the physical address of code that is "
                               "loaded; " BOOT_HINT_KERNEL,
                               entry, pvh ? "PVH note" : "e_entry");

        r = load_segments(f, req->ram, &img, e);
        if (r < 0)
                return r;
        *ret_protocol = pvh ? BOOT_PVH : BOOT_LINUX64;
        *ret = (struct boot_kernel){
                .entry = entry,
                .end = end,
                .initrd_end_max = ram_end,
                .cmdline_len_max = BOOT_CMDLINE_MAX - 1,
        };
        return 0;
}
