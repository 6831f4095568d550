/* Source: docs/interop/qcow2.txt of QEMU. All numbers are big-endian. */
#include "supervisor/disk_qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#define MAGIC               0x514649fbU /* "QFI\xfb" */
#define INCOMPATIBLE_DATA   (1ULL << 2) /* its data are in another file */
#define HEAD_BYTES          4096        /* what direct I/O can read */
#define VERSION_2_LEN_BYTES 72

struct head {
        uint32_t magic, version;
        uint64_t backing_file_offset;
        uint32_t backing_file_size, cluster_bits;
        uint64_t size;
        uint32_t crypt_method, l1_size;
        uint64_t l1_table_offset, refcount_table_offset;
        uint32_t refcount_table_clusters, nb_snapshots;
        uint64_t snapshots_offset;
        uint64_t incompatible_features; /* from version 3 on */
} __attribute__((packed));

static int refuse(const struct disk_spec *d, const char *why, const char *hint, struct err *e)
{
        int r = err_bad(e, STATUS_IMAGE, "the disk %s %s", d->path, why);

        if (hint)
                err_hint(e, "%s", hint);
        return r;
}

int disk_qcow2_check(const struct disk_spec *d, bool is_device, int fd, struct err *e)
{
        static union {
                struct head head;
                uint8_t bytes[HEAD_BYTES];
        } buf __attribute__((aligned(HEAD_BYTES)));
        ssize_t n = is_device ? 0 : pread(fd, &buf, sizeof(buf), 0);
        const struct head h = buf.head;
        uint32_t version = be32toh(h.version);

        if (is_device)
                return refuse(d, "is a block device; format qcow2 is for files", NULL, e);
        if (n < 0) {
                err_set(e, -errno, "read the disk %s", d->path);
                if (e)
                        e->status = STATUS_IMAGE;
                return -EIO;
        }
        if (n < VERSION_2_LEN_BYTES || be32toh(h.magic) != MAGIC)
                return refuse(d, "is not in format qcow2", "a raw image is given without qcow2:", e);
        if (version != 2 && (version != 3 || n < (ssize_t)sizeof(h)))
                return refuse(d, "is in a version of qcow2 other than 2 and 3", NULL, e);
        if (h.backing_file_offset)
                return refuse(d, "has a backing file, which is never followed",
                              "make an image of its own of it with qemu-img convert -O qcow2", e);
        if (version == 3 && (be64toh(h.incompatible_features) & INCOMPATIBLE_DATA))
                return refuse(d, "has its data in another file, which is never followed",
                              "make an image of its own of it with qemu-img convert -O qcow2", e);
        if (h.crypt_method)
                return refuse(d, "is encrypted, and there is no way to give its key", NULL, e);
        return 0;
}
