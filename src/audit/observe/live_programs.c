/*
 * What identifies a program file:
 *
 *   sha256 PATH    of a regular file, hexadecimal; PROGRAM_BYTES_MAX at most (-EFBIG)
 *   build-id PATH  the note NT_GNU_BUILD_ID of an ELF file, hexadecimal; -ENODATA: it has none
 */
#include <elf.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "base/cleanup.h"
#include "base/number.h"

#define PROGRAM_BYTES_MAX (256U << 20)
#define READ_BYTES        (256U << 10)
#define NOTES_BYTES_MAX   (16U << 10)
#define SEGMENTS_MAX      64

static char *hexadecimal(struct live *l, const unsigned char *bytes, size_t len)
{
        char *text = arena_alloc(live_arena(l), 2 * len + 1);

        return sodium_bin2hex(text, 2 * len + 1, bytes, len);
}

static int answer_sha256(struct live *l, const char *path, struct answer *ret)
{
        _cleanup_fd_ int fd = live_open_read(l, path);
        _cleanup_free_ unsigned char *buf = malloc(READ_BYTES);
        unsigned char digest[crypto_hash_sha256_BYTES];
        crypto_hash_sha256_state state;
        size_t total = 0;

        if (fd < 0)
                return fd;
        if (!buf)
                return -ENOMEM;
        crypto_hash_sha256_init(&state);
        for (;;) {
                ssize_t n = read(fd, buf, READ_BYTES);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                total += (size_t)n;
                if (total > PROGRAM_BYTES_MAX)
                        return -EFBIG;
                crypto_hash_sha256_update(&state, buf, (unsigned long long)n);
        }
        crypto_hash_sha256_final(&state, digest);
        return live_answer(l, ret, "%s", hexadecimal(l, digest, sizeof(digest)));
}

/* elf(5), notes: sizes of name and value, type, then both, each filled up to four bytes. */
static int notes_answer(struct live *l, const unsigned char *notes, size_t len, struct answer *ret)
{
        while (len >= sizeof(Elf64_Nhdr)) {
                Elf64_Nhdr h;
                uint64_t name, value;

                memcpy(&h, notes, sizeof(h));
                name = sizeof(h);
                value = name + (((uint64_t)h.n_namesz + 3) & ~3ULL);
                if (!range_fits(value, h.n_descsz, len))
                        break;
                if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == sizeof(ELF_NOTE_GNU) &&
                    memcmp(notes + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0)
                        return live_answer(l, ret, "%s", hexadecimal(l, notes + value, h.n_descsz));
                value += ((uint64_t)h.n_descsz + 3) & ~3ULL;
                if (value >= len)
                        break;
                notes += value;
                len -= value;
        }
        return -ENODATA;
}

static int answer_build_id(struct live *l, const char *path, struct answer *ret)
{
        _cleanup_fd_ int fd = live_open_read(l, path);
        Elf64_Ehdr file;
        Elf64_Phdr segments[SEGMENTS_MAX];
        unsigned char notes[NOTES_BYTES_MAX];
        int r = -ENODATA;

        if (fd < 0)
                return fd;
        if (pread(fd, &file, sizeof(file), 0) != sizeof(file) || memcmp(file.e_ident, ELFMAG, SELFMAG) != 0 ||
            file.e_ident[EI_CLASS] != ELFCLASS64 || file.e_phentsize != sizeof(segments[0]) ||
            file.e_phnum > SEGMENTS_MAX || file.e_phoff > PROGRAM_BYTES_MAX)
                return -ENODATA;
        if (pread(fd, segments, file.e_phnum * sizeof(segments[0]), (off_t)file.e_phoff) !=
            (ssize_t)(file.e_phnum * sizeof(segments[0])))
                return -ENODATA;
        for (size_t i = 0; r == -ENODATA && i < file.e_phnum; i++) {
                ssize_t n;

                if (segments[i].p_type != PT_NOTE || segments[i].p_offset > PROGRAM_BYTES_MAX)
                        continue;
                n = pread(fd, notes, segments[i].p_filesz < sizeof(notes) ? segments[i].p_filesz : sizeof(notes),
                          (off_t)segments[i].p_offset);
                if (n > 0)
                        r = notes_answer(l, notes, (size_t)n, ret);
        }
        return r;
}

const struct live_verb live_program_verbs[] = {{"sha256", answer_sha256}, {"build-id", answer_build_id}, {NULL, NULL}};
