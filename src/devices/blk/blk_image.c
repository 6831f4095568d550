#include "devices/blk/blk_image.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/blk/blk_request.h"

/* struct statx of linux/stat.h, 6.1, which C libraries define in part. */
#define STATX_DIRECT 0x2000U
struct statx_direct {
        uint32_t mask;
        uint8_t before[148];
        uint32_t memory_align, offset_align;
        uint8_t after[96];
};
static_assert(sizeof(struct statx_direct) == 256, "as the kernel's");

static bool block_size_good(uint32_t bytes)
{
        return bytes >= BLK_SECTOR_BYTES && bytes <= BLK_BLOCK_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

static int size_get(const struct blk_image *m, uint64_t *ret, struct err *e)
{
        struct stat st;

        if (m->block_device)
                return ioctl(m->fd, BLKGETSIZE64, ret) < 0 ? err_set(e, -errno, "ask for the block device's size") : 0;
        if (fstat(m->fd, &st) < 0)
                return err_set(e, -errno, "ask for the image's size");
        *ret = (uint64_t)st.st_size;
        return 0;
}

int blk_image_resize(struct blk_image *m, struct err *e)
{
        uint64_t bytes = 0;
        int r = size_get(m, &bytes, e);

        if (r == 0)
                m->capacity_bytes = bytes - bytes % m->block_bytes;
        return r;
}

static int block_device_look(struct blk_image *m, struct err *e)
{
        unsigned int physical, min, opt;
        int logical;

        if (ioctl(m->fd, BLKSSZGET, &logical) < 0 || ioctl(m->fd, BLKPBSZGET, &physical) < 0 ||
            ioctl(m->fd, BLKIOMIN, &min) < 0 || ioctl(m->fd, BLKIOOPT, &opt) < 0)
                return err_set(e, -errno, "ask for the block device's block sizes");
        m->block_bytes = (uint32_t)logical;
        m->physical_bytes = physical;
        m->min_io_bytes = min;
        m->opt_io_bytes = opt;
        return 0;
}

/* A kernel before 6.1 doesn't tell what direct I/O on a file has to be aligned to: the smallest block that can be read.
 */
static int direct_probe(struct blk_image *m, struct err *e)
{
        static _Alignas(BLK_MEMORY_ALIGN_MAX) uint8_t buf[BLK_MEMORY_ALIGN_MAX];

        m->memory_align = sizeof(buf);
        for (m->block_bytes = BLK_SECTOR_BYTES; m->block_bytes <= sizeof(buf); m->block_bytes *= 2)
                if (pread(m->fd, buf, m->block_bytes, 0) >= 0)
                        return 0;
                else if (errno != EINVAL)
                        break;
        return err_set(e, -errno, "read the image with O_DIRECT");
}

static int direct_look(struct blk_image *m, struct err *e)
{
        struct statx_direct x;

        if (m->block_device) {
                m->memory_align = m->block_bytes < BLK_MEMORY_ALIGN_MAX ? m->block_bytes : BLK_MEMORY_ALIGN_MAX;
                return 0;
        }
        if (syscall(SYS_statx, m->fd, "", AT_EMPTY_PATH, STATX_DIRECT, &x) < 0 || !(x.mask & STATX_DIRECT))
                return direct_probe(m, e);
        if (x.offset_align == 0 || x.memory_align == 0)
                return err_bad(e, STATUS_HOST, "the image's file system has no direct I/O");
        m->block_bytes = x.offset_align < BLK_SECTOR_BYTES ? BLK_SECTOR_BYTES : x.offset_align;
        m->memory_align = x.memory_align;
        return 0;
}

int blk_image_open(struct blk_image *ret, int fd, bool direct, struct err *e)
{
        struct blk_image m = {.fd = fd, .direct = direct, .block_bytes = BLK_SECTOR_BYTES, .memory_align = 1};
        struct stat st;
        int r = 0;

        if (fstat(fd, &st) < 0)
                return err_set(e, -errno, "look at the image");
        if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
                return err_bad(e, STATUS_USAGE, "the image is neither a regular file nor a block device");
        m.block_device = S_ISBLK(st.st_mode);
        if (m.block_device)
                r = block_device_look(&m, e);
        else if (st.st_blksize > 0 && st.st_blksize <= BLK_BLOCK_BYTES_MAX)
                m.physical_bytes = (uint32_t)st.st_blksize;
        if (r == 0 && direct)
                r = direct_look(&m, e);
        if (r < 0)
                return r;
        if (!block_size_good(m.block_bytes) || (m.memory_align & (m.memory_align - 1)) ||
            m.memory_align > BLK_MEMORY_ALIGN_MAX)
                return err_bad(e, STATUS_HOST, "the image's blocks of %u bytes are not supported", m.block_bytes);
        if (!block_size_good(m.physical_bytes) || m.physical_bytes < m.block_bytes)
                m.physical_bytes = m.block_bytes;
        r = blk_image_resize(&m, e);
        if (r == 0)
                *ret = m;
        return r;
}
