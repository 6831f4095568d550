/* Sources: QEMU docs/interop/{qcow2,qed_spec,vhdx}, block/{vmdk,vpc,vdi,vhdx}.c; VMware Virtual Disk Format 5.0. */
#include "audit/model/image_header.h"

#include <stdint.h>
#include <string.h>

#include "audit/text.h"
#include "base/number.h"

const char *const image_format_names[] = {
        [IMAGE_RAW] = "raw",   [IMAGE_QCOW] = "qcow", [IMAGE_QCOW2] = "qcow2", [IMAGE_QED] = "qed",
        [IMAGE_VMDK] = "vmdk", [IMAGE_VHDX] = "vhdx", [IMAGE_VHD] = "vhd",     [IMAGE_VDI] = "vdi",
};

struct bytes {
        const unsigned char *p;
        size_t len;
};

/* Numbers outside of the bytes are 0. */
static uint64_t number_at(const struct bytes *b, uint64_t offset, unsigned int size, bool big)
{
        uint64_t v = 0;

        if (!range_fits(offset, size, b->len))
                return 0;
        for (unsigned int i = 0; i < size; i++)
                v = v << 8 | b->p[offset + (big ? i : size - 1 - i)];
        return v;
}

#define BE(size, offset) number_at(b, (offset), (size), true)
#define LE(size, offset) number_at(b, (offset), (size), false)

static bool starts(const struct bytes *b, uint64_t offset, const char *magic, size_t n)
{
        return range_fits(offset, n, b->len) && memcmp(b->p + offset, magic, n) == 0;
}

static void name_add(struct arena *a, struct image_header *h, const char *role, const void *name, size_t len)
{
        if (h->names.count < IMAGE_NAMES_MAX)
                *GROW(a, &h->names) = (struct image_name){.role = role, .name = arena_copy(a, name, len)};
}

static void name_at(struct arena *a, const struct bytes *b, struct image_header *h, const char *role, uint64_t offset,
                    uint64_t len)
{
        if (range_fits(offset, len, b->len))
                name_add(a, h, role, b->p + offset, len);
        else
                h->malformed = true;
}

#define QCOW2_INCOMPAT_DATA_FILE (1U << 2)
#define QCOW2_EXT_DATA_FILE      0x44415441U
#define QCOW2_NAME_MAX           1023

static void qcow2_data_file(struct arena *a, const struct bytes *b, struct image_header *h)
{
        uint64_t at = BE(4, 100); /* header_length */

        h->unresolved = true;
        while (range_fits(at, 8, b->len)) {
                uint64_t type = BE(4, at), len = BE(4, at + 4);

                if (type == 0)
                        return;
                if (type == QCOW2_EXT_DATA_FILE) {
                        h->unresolved = false;
                        name_at(a, b, h, "data file", at + 8, len);
                        return;
                }
                at += 8 + (len + 7) / 8 * 8; /* 32-bit lengths: no overflow, and the walk ends with the bytes */
        }
        h->malformed = true;
}

static void qcow_parse(struct arena *a, const struct bytes *b, struct image_header *h)
{
        uint64_t version = BE(4, 4), offset = BE(8, 8), len = BE(4, 16);

        h->format = version == 1 ? IMAGE_QCOW : IMAGE_QCOW2;
        if (offset != 0) {
                if (len == 0 || len > QCOW2_NAME_MAX)
                        h->malformed = true;
                else
                        name_at(a, b, h, "backing file", offset, len);
        }
        if (version >= 3 && (BE(8, 72) & QCOW2_INCOMPAT_DATA_FILE))
                qcow2_data_file(a, b, h);
}

#define QED_F_BACKING_FILE 1U

static void qed_parse(struct arena *a, const struct bytes *b, struct image_header *h)
{
        h->format = IMAGE_QED;
        if (LE(8, 16) & QED_F_BACKING_FILE)
                name_at(a, b, h, "backing file", LE(4, 56), LE(4, 60));
}

/* What stands between the first two quotation marks of a line. */
static void quoted_add(struct arena *a, struct image_header *h, const char *role, const char *line)
{
        const char *start = strchr(line, '"'), *end = start ? strchr(start + 1, '"') : NULL;

        if (end)
                name_add(a, h, role, start + 1, (size_t)(end - start - 1));
}

/* block/vmdk.c, vmdk_parent_open(): the first hint counts, wherever it stands, and what follows its equals sign and
 * quotation mark. */
#define VMDK_HINT "parentFileNameHint"

static void vmdk_descriptor(struct arena *a, char *text, struct image_header *h, bool inside)
{
        const char *hint = strstr(text, VMDK_HINT), *name;
        char *line;

        if (hint && strlen(hint) > sizeof(VMDK_HINT)) {
                name = hint + sizeof(VMDK_HINT) + 1;
                name_add(a, h, "parent", name, strcspn(name, "\""));
        }
        /* A descriptor in an extent names that file itself. */
        while (!inside && (line = text_next_line(&text)))
                if (text_has_prefix(line, "RW ") || text_has_prefix(line, "RDONLY "))
                        quoted_add(a, h, "extent", line);
}

#define SECTOR 512U

static void vmdk_parse(struct arena *a, const struct bytes *b, struct image_header *h)
{
        uint64_t offset = LE(8, 28), len = LE(8, 36);

        h->format = IMAGE_VMDK;
        if (offset == 0)
                return;
        if (offset > b->len / SECTOR) { /* and whether there is a parent is not known */
                h->unresolved = true;
                return;
        }
        offset *= SECTOR;
        len = len > (b->len - offset) / SECTOR ? b->len - offset : len * SECTOR;
        vmdk_descriptor(a, arena_copy(a, b->p + offset, len), h, true);
}

#define VHD_DIFFERENCING 4

static void vhd_parse(struct arena *a, const struct bytes *b, struct image_header *h)
{
        uint64_t header = BE(8, 16);
        char name[257];
        size_t n = 0;

        h->format = IMAGE_VHD;
        if (BE(4, 60) != VHD_DIFFERENCING)
                return;
        if (!range_fits(header, 1024, b->len)) {
                h->malformed = true;
                return;
        }
        for (; n < 256; n++) { /* UTF-16BE; what is not ASCII cannot be opened by this name anyway */
                uint64_t c = BE(2, header + 64 + 2 * n);

                if (c == 0)
                        break;
                name[n] = (char)(c < 0x80 ? c : '?');
        }
        name_add(a, h, "parent", name, n);
}

#define VDI_DIFFERENCING 4

void image_header_parse(struct arena *a, const void *bytes, size_t len, struct image_header *ret)
{
        const struct bytes all = {.p = bytes, .len = len}, *b = &all;
        struct image_header h = {0};

        if (starts(b, 0, "QFI\xfb", 4))
                qcow_parse(a, b, &h);
        else if (starts(b, 0, "QED\0", 4))
                qed_parse(a, b, &h);
        else if (starts(b, 0, "KDMV", 4))
                vmdk_parse(a, b, &h);
        else if (starts(b, 0, "COWD", 4)) {
                h.format = IMAGE_VMDK;
        } else if (starts(b, 0, "# Disk DescriptorFile", 21)) {
                h.format = IMAGE_VMDK;
                vmdk_descriptor(a, arena_copy(a, bytes, len), &h, false);
        } else if (starts(b, 0, "vhdxfile", 8)) {
                h.format = IMAGE_VHDX; /* the parent, if any, stands behind the first mebibyte */
                h.unresolved = true;
        } else if (starts(b, 0, "conectix", 8))
                vhd_parse(a, b, &h);
        else if (starts(b, 64, "\x7f\x10\xda\xbe", 4)) {
                h.format = IMAGE_VDI;
                h.unresolved = LE(4, 76) == VDI_DIFFERENCING; /* by its UUID */
        }
        *ret = h;
}
