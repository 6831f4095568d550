#include "virtio_blk.h"

#include "memory.h"

#define QUEUE_SIZE 256

bool blk_start(struct blk *b, unsigned int nth, uint64_t wanted)
{
        if (!virtio_find(VIRTIO_TYPE_BLOCK, nth, &b->dev) || !b->dev.device)
                return false;
        b->capacity = mmio_read32(b->dev.device + BLK_CFG_CAPACITY) |
                      (uint64_t)mmio_read32(b->dev.device + BLK_CFG_CAPACITY + 4) << 32;
        return virtio_start(&b->dev, wanted, &b->queue, QUEUE_SIZE);
}

int blk_request(struct blk *b, uint32_t type, uint64_t sector, volatile void *data, uint32_t len)
{
        bool in = type == BLK_T_IN || type == BLK_T_GET_ID;
        struct virtq_segment segments[3] = {{&b->header, sizeof(b->header)}};
        unsigned int n = 1;
        uint32_t written;

        b->header.type = type;
        b->header.reserved = 0;
        b->header.sector = sector;
        b->status = BLK_S_NONE;
        if (len)
                segments[n++] = (struct virtq_segment){data, len};
        segments[n++] = (struct virtq_segment){&b->status, 1};
        if (!virtq_request(&b->queue, segments, in && len ? 1 : n - 1, in && len ? 2 : 1, &written))
                return BLK_S_NO_ANSWER;
        return b->status;
}

int blk_range_request(struct blk *b, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
        volatile struct blk_range range;

        range.sector = sector;
        range.sectors = sectors;
        range.flags = flags;
        return blk_request(b, type, 0, &range, sizeof(range));
}
