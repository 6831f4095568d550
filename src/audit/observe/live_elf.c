/*
 * What a program file was hardened with (elf(5)):
 *
 *   elf PATH    lines "type DYN|EXEC", "relro yes|no", "now yes|no", "stack rw-|rwx", "protector yes|no"; -ENODATA: no
 * 64-bit ELF file
 *
 * now: nothing is bound lazily, so that read-only relocations cover all of them. protector: there is code that loads
 * the guard value of the stack protector, which the ABI of x86-64 keeps at %fs:0x28; that works for programs without
 * symbols.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "base/cleanup.h"
#include "base/number.h"

#define ELF_BYTES_MAX    (256U << 20)
#define ELF_SEGMENTS_MAX 64
#define ELF_DYNAMIC_MAX  512

struct elf {
        int fd;
        Elf64_Ehdr header;
        Elf64_Phdr segments[ELF_SEGMENTS_MAX];
};

static int elf_open(struct live *l, const char *path, struct elf *ret)
{
        _cleanup_fd_ int fd = live_open_read(l, path);
        ssize_t bytes;

        if (fd < 0)
                return fd;
        if (pread(fd, &ret->header, sizeof(ret->header), 0) != sizeof(ret->header) ||
            memcmp(ret->header.e_ident, ELFMAG, SELFMAG) != 0 || ret->header.e_ident[EI_CLASS] != ELFCLASS64 ||
            ret->header.e_phentsize != sizeof(Elf64_Phdr) || ret->header.e_phnum > ELF_SEGMENTS_MAX ||
            ret->header.e_phoff > ELF_BYTES_MAX)
                return -ENODATA;
        bytes = (ssize_t)(ret->header.e_phnum * sizeof(Elf64_Phdr));
        if (pread(fd, ret->segments, (size_t)bytes, (off_t)ret->header.e_phoff) != bytes)
                return -ENODATA;
        ret->fd = TAKE_FD(fd);
        return 0;
}

static const Elf64_Phdr *elf_segment(const struct elf *e, uint32_t type)
{
        for (size_t i = 0; i < e->header.e_phnum; i++)
                if (e->segments[i].p_type == type)
                        return &e->segments[i];
        return NULL;
}

static bool binds_now(const struct elf *e)
{
        const Elf64_Phdr *s = elf_segment(e, PT_DYNAMIC);
        Elf64_Dyn entries[ELF_DYNAMIC_MAX];
        bool lazy = false;
        ssize_t n;

        if (!s) /* static: nothing is bound */
                return true;
        if (s->p_offset > ELF_BYTES_MAX)
                return false;
        n = pread(e->fd, entries, s->p_filesz < sizeof(entries) ? s->p_filesz : sizeof(entries), (off_t)s->p_offset);
        for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(entries[0]) && entries[i].d_tag != DT_NULL; i++) {
                if (entries[i].d_tag == DT_BIND_NOW ||
                    (entries[i].d_tag == DT_FLAGS && (entries[i].d_un.d_val & DF_BIND_NOW)) ||
                    (entries[i].d_tag == DT_FLAGS_1 && (entries[i].d_un.d_val & DF_1_NOW)))
                        return true;
                lazy |= entries[i].d_tag == DT_JMPREL;
        }
        return n > 0 && !lazy;
}

/* mov or sub, %fs:0x28 to any register: prefix, REX.W, opcode, ModRM with SIB, SIB without base, address. */
static bool loads_guard(const unsigned char *p)
{
        static const unsigned char address[] = {0x25, 0x28, 0, 0, 0};

        return p[0] == 0x64 && (p[1] & 0xfb) == 0x48 &&
               (p[2] == 0x8b || p[2] == 0x2b || p[2] == 0x33 || p[2] == 0x3b) && (p[3] & 0xc7) == 0x04 &&
               memcmp(p + 4, address, sizeof(address)) == 0;
}

#define GUARD_LOAD_BYTES 9

static bool code_guarded(const unsigned char *code, size_t len)
{
        const unsigned char *p = code;

        while (len - (size_t)(p - code) >= GUARD_LOAD_BYTES) {
                p = memchr(p, 0x64, len - (size_t)(p - code) - (GUARD_LOAD_BYTES - 1));
                if (!p)
                        return false;
                if (loads_guard(p))
                        return true;
                p++;
        }
        return false;
}

/* Maps nothing: a file that another shortens while it is read would end this process. */
static int stack_guarded(const struct elf *e, bool *ret)
{
        uint64_t left = ELF_BYTES_MAX; /* segments of a hostile file may lie over each other */

        for (size_t i = 0; i < e->header.e_phnum; i++) {
                const Elf64_Phdr *s = &e->segments[i];
                _cleanup_free_ unsigned char *code = NULL;
                ssize_t n;

                if (s->p_type != PT_LOAD || !(s->p_flags & PF_X) ||
                    !range_fits(s->p_offset, s->p_filesz, ELF_BYTES_MAX) || s->p_filesz > left)
                        continue;
                left -= s->p_filesz;
                code = malloc(s->p_filesz + 1);
                if (!code)
                        return -ENOMEM;
                n = pread(e->fd, code, s->p_filesz, (off_t)s->p_offset);
                if (n < 0)
                        return -errno;
                if (code_guarded(code, (size_t)n)) {
                        *ret = true;
                        return 0;
                }
        }
        *ret = false;
        return 0;
}

static int answer_elf(struct live *l, const char *path, struct answer *ret)
{
        struct elf e = {.fd = -1};
        const Elf64_Phdr *stack;
        bool guarded = false;
        int r = elf_open(l, path, &e);

        if (r < 0)
                return r;
        r = stack_guarded(&e, &guarded);
        if (r == 0) {
                stack = elf_segment(&e, PT_GNU_STACK);
                r = live_answer(l, ret, "type %s\nrelro %s\nnow %s\nstack %s\nprotector %s\n",
                                e.header.e_type == ET_DYN ? "DYN" : "EXEC",
                                elf_segment(&e, PT_GNU_RELRO) ? "yes" : "no", binds_now(&e) ? "yes" : "no",
                                stack && !(stack->p_flags & PF_X) ? "rw-" : "rwx", guarded ? "yes" : "no");
        }
        fd_closep(&e.fd);
        return r;
}

const struct live_verb live_elf_verbs[] = {{"elf", answer_elf}, {NULL, NULL}};
