/* Configuration space and features of a disk. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "devices/blk/blk_config.h"

#define BIT(n) (1ULL << (n))

static uint8_t log2_of(uint32_t power_of_two)
{
        return (uint8_t)__builtin_ctz(power_of_two);
}

/*
 * CONFIG_WCE is not offered: what a driver writes there would be forgotten by the next process when this one dies, and
 * with it that each write has to be stable. Whether FLUSH was negotiated is told to every process.
 */
uint64_t blk_config_features(const struct disk_spec *spec)
{
        uint64_t f = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                     BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
                     BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ);

        if (spec->read_only)
                return f | BIT(VIRTIO_BLK_F_RO);
        return f | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

void blk_config_read(const struct blk_image *m, unsigned int queues, uint8_t *ret)
{
        uint32_t min_io_blocks = m->min_io_bytes / m->block_bytes;
        struct virtio_blk_config c = {
                .capacity = m->capacity_bytes / BLK_SECTOR_BYTES,
                .seg_max = BLK_SEG_MAX,
                .blk_size = m->block_bytes,
                .physical_block_exp = log2_of(m->physical_bytes / m->block_bytes),
                .min_io_size = min_io_blocks <= UINT16_MAX ? (uint16_t)min_io_blocks : UINT16_MAX,
                .opt_io_size = m->opt_io_bytes / m->block_bytes,
                .wce = 1,
                .num_queues = (uint16_t)queues,
                .max_discard_sectors = BLK_DISCARD_SECTORS_MAX,
                .max_discard_seg = BLK_DISCARD_RANGES_MAX,
                .discard_sector_alignment = m->physical_bytes / BLK_SECTOR_BYTES,
                .max_write_zeroes_sectors = BLK_ZEROES_SECTORS_MAX,
                .max_write_zeroes_seg = BLK_ZEROES_RANGES_MAX,
                .write_zeroes_may_unmap = 1,
        };

        memcpy(ret, &c, BLK_CONFIG_BYTES);
}
