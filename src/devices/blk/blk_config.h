/* What a disk tells its driver: features, and configuration space (virtio 1.2, 5.2.3 and 5.2.4). */
#pragma once

#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/blk/blk_image.h"
#include "devices/blk/blk_request.h"
#include "spec/guest_spec.h"

/* Up to where secure erase and zones would begin. */
#define BLK_CONFIG_BYTES (offsetof(struct virtio_blk_config, unused1) + 3)

uint64_t blk_config_features(const struct disk_spec *spec);

/* Writes BLK_CONFIG_BYTES. */
void blk_config_read(const struct blk_image *m, unsigned int queues, uint8_t *ret);
