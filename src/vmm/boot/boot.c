/* Recognises what kind of kernel an image is, has it loaded and handed over. */
#include "vmm/boot/boot.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

struct magic {
        size_t off;
        size_t len;
        const char *bytes;
        const char *meaning;
};

#define MAGIC(off, bytes, meaning)                     \
        {                                              \
                off, sizeof(bytes) - 1, bytes, meaning \
        }

static const struct magic magic_bzimage = MAGIC(0x202, "HdrS", "bzImage"); /* boot.rst, "header" */
static const struct magic magic_elf = MAGIC(0, ELFMAG, "ELF");

/* Files that people hand over by mistake. */
static const struct magic magic_others[] = {
        MAGIC(0, "\x1f\x8b", "is compressed with gzip; unpack it first"),
        MAGIC(0, "\xfd\x37zXZ\0", "is compressed with xz; unpack it first"),
        MAGIC(0, "\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first"),
        MAGIC(0, "\x02\x21\x4c\x18", "is compressed with lz4; unpack it first"),
        MAGIC(0, "\x04\x22\x4d\x18", "is compressed with lz4; unpack it first"),
        MAGIC(0, "\x5d\0\0", "is compressed with lzma; unpack it first"),
        MAGIC(0, "BZh", "is compressed with bzip2; unpack it first"),
        MAGIC(0x38, "ARM\x64", "is an arm64 kernel, this machine is x86-64; " BOOT_HINT_KERNEL),
        MAGIC(0x38, "RSC\x05", "is a RISC-V kernel, this machine is x86-64; " BOOT_HINT_KERNEL),
        MAGIC(0, "MZ", "is an EFI program without a Linux setup header; " BOOT_HINT_KERNEL),
};

static bool has_magic(const uint8_t head[BOOT_HEAD_BYTES], const struct magic *m)
{
        return memcmp(head + m->off, m->bytes, m->len) == 0;
}

static int bad_kind(const uint8_t head[BOOT_HEAD_BYTES], struct err *e)
{
        for (size_t i = 0; i < ARRAY_LEN(magic_others); i++)
                if (has_magic(head, &magic_others[i]))
                        return err_bad(e, STATUS_IMAGE, "kernel image %s", magic_others[i].meaning);
        return err_bad(e, STATUS_IMAGE, "kernel image is of no known kind; " BOOT_HINT_KERNEL);
}

static int load_elf(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                    struct boot_kernel *ret, enum boot_protocol *ret_protocol, struct err *e)
{
        struct boot_params bp = {0};
        int r = boot_elf_load(req, f, head, ret_protocol, ret, e);

        if (r < 0)
                return r;
        if (*ret_protocol == BOOT_PVH)
                return boot_pvh_hand_over(req, ret, e);
        boot_linux_default_header(&bp);
        return boot_linux_hand_over(req, ret, &bp, e);
}

static int load_bzimage(const struct boot_request *req, const struct boot_file *f, const uint8_t head[BOOT_HEAD_BYTES],
                        struct boot_kernel *ret, struct err *e)
{
        struct boot_params bp = {0};
        int r = boot_bzimage_load(req, f, head, &bp, ret, e);

        return r < 0 ? r : boot_linux_hand_over(req, ret, &bp, e);
}

int boot_load(const struct boot_request *req, struct boot_entry *ret, struct err *e)
{
        enum boot_protocol protocol = BOOT_LINUX64;
        uint8_t head[BOOT_HEAD_BYTES] = {0}; /* zeros have no magic: a short file needs no length checks */
        struct boot_kernel k;
        struct boot_file f;
        int r;

        r = boot_file_init(&f, req->kernel_fd, "kernel image", e);
        if (r < 0)
                return r;
        r = boot_file_read(&f, head, f.len_bytes < sizeof(head) ? (size_t)f.len_bytes : sizeof(head), 0, e);
        if (r < 0)
                return r;

        if (has_magic(head, &magic_bzimage))
                r = load_bzimage(req, &f, head, &k, e);
        else if (has_magic(head, &magic_elf))
                r = load_elf(req, &f, head, &k, &protocol, e);
        else
                r = bad_kind(head, e);
        if (r < 0)
                return r;

        *ret = (struct boot_entry){
                .protocol = protocol,
                .entry = k.entry,
                .info = protocol == BOOT_PVH ? LAYOUT_PVH_INFO : LAYOUT_ZERO_PAGE,
        };
        return 0;
}
