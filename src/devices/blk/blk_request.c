#include "devices/blk/blk_request.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/number.h"

/* Takes the status byte, the last one that the device may write, off the chain. */
static uint8_t *status_take(struct virtq_chain *c)
{
        while (c->in_count > 0) {
                struct iovec *last = &c->iov[c->out_count + c->in_count - 1];

                if (last->iov_len > 0) {
                        last->iov_len--;
                        c->in_bytes--;
                        return (uint8_t *)last->iov_base + last->iov_len;
                }
                c->in_count--;
        }
        return NULL;
}

/* Leaves out what of iov is empty, and the first skip bytes. Returns how many segments are left at *iov. */
static unsigned int segments_trim(struct iovec **iov, unsigned int count, size_t skip)
{
        struct iovec *from = *iov;
        unsigned int kept = 0;

        for (unsigned int i = 0; i < count; i++) {
                size_t cut = skip < from[i].iov_len ? skip : from[i].iov_len;

                skip -= cut;
                if (from[i].iov_len > cut)
                        from[kept++] = (struct iovec){(uint8_t *)from[i].iov_base + cut, from[i].iov_len - cut};
        }
        return kept;
}

static bool range_good(const struct blk_rules *rules, uint64_t off_bytes, uint64_t len_bytes)
{
        return range_fits(off_bytes, len_bytes, rules->capacity_bytes) && off_bytes % rules->block_bytes == 0 &&
               len_bytes % rules->block_bytes == 0;
}

static int data_parse(struct virtq_chain *c, const struct blk_rules *rules, uint64_t sector, struct blk_request *r)
{
        bool in = r->type != VIRTIO_BLK_T_OUT;

        /* Data of the other direction would be neither read nor written. */
        if (in ? c->out_bytes != sizeof(struct virtio_blk_outhdr) : c->in_bytes != 0)
                return VIRTIO_BLK_S_IOERR;
        r->len_bytes = in ? c->in_bytes : c->out_bytes - sizeof(struct virtio_blk_outhdr);
        r->iov = in ? &c->iov[c->out_count] : c->iov;
        r->iov_count =
                segments_trim(&r->iov, in ? c->in_count : c->out_count, in ? 0 : sizeof(struct virtio_blk_outhdr));
        if (r->iov_count > BLK_IOV_MAX)
                return VIRTIO_BLK_S_IOERR;
        if (r->type == VIRTIO_BLK_T_GET_ID)
                return VIRTIO_BLK_S_OK;
        if (sector > UINT64_MAX / BLK_SECTOR_BYTES)
                return VIRTIO_BLK_S_IOERR;
        r->off_bytes = sector * BLK_SECTOR_BYTES;
        return range_good(rules, r->off_bytes, r->len_bytes) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static int range_parse(const struct virtio_blk_discard_write_zeroes *d, const struct blk_rules *rules,
                       struct blk_request *r)
{
        bool discard = r->type == VIRTIO_BLK_T_DISCARD;
        struct blk_range *range = &r->ranges[r->range_count];

        if (d->flags & ~(discard ? 0U : (uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
                return VIRTIO_BLK_S_UNSUPP;
        if (d->num_sectors > (discard ? BLK_DISCARD_SECTORS_MAX : BLK_ZEROES_SECTORS_MAX) ||
            d->sector > UINT64_MAX / BLK_SECTOR_BYTES)
                return VIRTIO_BLK_S_IOERR;
        *range = (struct blk_range){d->sector * BLK_SECTOR_BYTES, (uint64_t)d->num_sectors * BLK_SECTOR_BYTES};
        if (!range_good(rules, range->off_bytes, range->len_bytes))
                return VIRTIO_BLK_S_IOERR;
        r->unmap = d->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
        r->range_count++;
        return VIRTIO_BLK_S_OK;
}

static int ranges_parse(const struct virtq_chain *c, const struct blk_rules *rules, struct blk_request *r)
{
        bool discard = r->type == VIRTIO_BLK_T_DISCARD;
        struct virtio_blk_discard_write_zeroes d[BLK_DISCARD_RANGES_MAX];
        uint64_t bytes = c->out_bytes - sizeof(struct virtio_blk_outhdr);
        uint64_t count = bytes / sizeof(d[0]);

        if (!(discard ? rules->discard : rules->write_zeroes))
                return VIRTIO_BLK_S_UNSUPP;
        if (rules->read_only || c->in_bytes != 0 || bytes % sizeof(d[0]) || count < 1 ||
            count > (discard ? BLK_DISCARD_RANGES_MAX : BLK_ZEROES_RANGES_MAX))
                return VIRTIO_BLK_S_IOERR;
        if (virtq_read(c, sizeof(struct virtio_blk_outhdr), d, bytes) != bytes)
                return VIRTIO_BLK_S_IOERR;
        for (uint64_t i = 0; i < count; i++) {
                int s = range_parse(&d[i], rules, r);

                if (s != VIRTIO_BLK_S_OK)
                        return s;
        }
        return VIRTIO_BLK_S_OK;
}

int blk_request_parse(struct virtq_chain *c, const struct blk_rules *rules, struct blk_request *ret)
{
        uint32_t in_bytes = (uint32_t)c->in_bytes;
        struct virtio_blk_outhdr head;

        ret->status = status_take(c);
        if (!ret->status)
                return -EPROTO;
        ret->used_bytes = in_bytes;
        ret->failed_bytes = in_bytes == 1;
        ret->range_count = ret->iov_count = 0;
        ret->off_bytes = ret->len_bytes = 0;
        if (virtq_read(c, 0, &head, sizeof(head)) != sizeof(head))
                return VIRTIO_BLK_S_IOERR;
        ret->type = head.type;
        switch (head.type) {
        case VIRTIO_BLK_T_OUT:
                if (rules->read_only)
                        return VIRTIO_BLK_S_IOERR;
                return data_parse(c, rules, head.sector, ret);
        case VIRTIO_BLK_T_IN:
        case VIRTIO_BLK_T_GET_ID:
                return data_parse(c, rules, head.sector, ret);
        case VIRTIO_BLK_T_FLUSH:
                ret->failed_bytes = ret->used_bytes = in_bytes == 1; /* data that is there is left alone */
                return VIRTIO_BLK_S_OK;
        case VIRTIO_BLK_T_DISCARD:
        case VIRTIO_BLK_T_WRITE_ZEROES:
                return ranges_parse(c, rules, ret);
        default:
                return VIRTIO_BLK_S_UNSUPP;
        }
}
