/* What passes through to the guest, by type of device. Everything else a process offers is not there. */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/device/device.h"

#define BIT(n) (1ULL << (n))

#define RING_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX))
#define BLK_FEATURES                                                                                                  \
        (BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
         BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ) | \
         BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))

/* Configuration space ends where those features' fields do. */
#define BLK_CONFIG_BYTES (offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4)

#define QUEUE_SIZE_MAX 256

static const struct device_type types[] = {
        {.virtio_id = VIRTIO_ID_BLOCK,
         .queue_size_max = QUEUE_SIZE_MAX,
         .features = RING_FEATURES | BLK_FEATURES,
         .config_bytes = BLK_CONFIG_BYTES,
         .writable_feature = BIT(VIRTIO_BLK_F_CONFIG_WCE),
         .writable_off = offsetof(struct virtio_blk_config, wce),
         .name = "disk"},
        {.virtio_id = VIRTIO_ID_RNG, .queue_size_max = QUEUE_SIZE_MAX, .features = RING_FEATURES, .name = "entropy"},
};

const struct device_type *device_type_find(uint16_t virtio_id)
{
        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                if (types[i].virtio_id == virtio_id)
                        return &types[i];
        return NULL;
}

void device_type_adjust(const struct device_type *t, uint8_t *config, uint32_t config_bytes, unsigned int queues)
{
        const uint32_t off = offsetof(struct virtio_blk_config, num_queues);
        const uint32_t wce = offsetof(struct virtio_blk_config, wce);
        uint16_t count;

        if (t->virtio_id != VIRTIO_ID_BLOCK)
                return;
        /* QEMU's back end (7.2) says "write through" whether it caches or not: who believes that never flushes. */
        if (config_bytes > wce)
                config[wce] = 1;
        if (config_bytes < off + sizeof(count))
                return;
        memcpy(&count, config + off, sizeof(count));
        if (count > queues) {
                count = (uint16_t)queues;
                memcpy(config + off, &count, sizeof(count));
        }
}
