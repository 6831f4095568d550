/* The disk's file or block device: what it is, how large it is now, and what direct I/O on it must be aligned to. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BLK_BLOCK_BYTES_MAX  65536 /* logical and physical blocks */
#define BLK_MEMORY_ALIGN_MAX 4096  /* of buffers for direct I/O: no more than a page is asked of anyone */

struct blk_image {
        int fd;
        bool block_device, direct;
        uint32_t block_bytes;    /* logical block: what the guest's requests are multiples of; 512 unless the host says
                                    more */
        uint32_t physical_bytes; /* a multiple of it */
        uint32_t min_io_bytes, opt_io_bytes; /* 0: not known */
        uint32_t memory_align;               /* direct: of buffers */
        uint64_t capacity_bytes; /* whole blocks; what is beyond the last one of a file is out of the guest's reach */
};

/* Looks at fd, which stays the caller's. direct: it was opened with O_DIRECT. Returns 0 or a negative errno. */
int blk_image_open(struct blk_image *ret, int fd, bool direct, struct err *e);

/* Asks again how large it is. Returns 0 or a negative errno, and leaves everything as it was. */
int blk_image_resize(struct blk_image *m, struct err *e);
