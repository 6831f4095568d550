/*
 * Requests of a virtio disk: a chain cut into segments as the input says, and the bytes in them. What is let through
 * must lie on the disk and inside the chain, and be what the header says.
 */
#include <errno.h>
#include <string.h>

#include "devices/blk/blk_request.h"
#include "fuzz.h"

#define BYTES 4096

static struct virtq_chain chain;

static void segments_make(struct reader *r, uint8_t *memory, bool in)
{
        unsigned int count = read_u8(r) % 6;
        uint16_t *of = in ? &chain.in_count : &chain.out_count;
        uint64_t *sum = in ? &chain.in_bytes : &chain.out_bytes;
        size_t used = 0;

        if (count == 5) /* more than a request may have */
                count = BLK_IOV_MAX - 2 + read_u8(r) % 8;
        for (unsigned int i = 0; i < count; i++) {
                size_t len = read_u16(r);

                len %= BYTES - used + 1;
                chain.iov[chain.out_count + chain.in_count] = (struct iovec){memory + used, len};
                (*of)++;
                *sum += len;
                used += len;
        }
}

static bool inside(const uint8_t *p, size_t len, const uint8_t *memory)
{
        return p >= memory && p + len <= memory + BYTES;
}

static void check_data(const struct blk_request *q, const struct blk_rules *rules, const uint8_t *memory,
                       uint64_t sector)
{
        uint64_t sum = 0;

        MUST(q->iov_count <= BLK_IOV_MAX);
        for (unsigned int i = 0; i < q->iov_count; i++) {
                MUST(q->iov[i].iov_len > 0 && inside(q->iov[i].iov_base, q->iov[i].iov_len, memory));
                sum += q->iov[i].iov_len;
        }
        MUST(sum == q->len_bytes);
        if (q->type == VIRTIO_BLK_T_GET_ID)
                return;
        MUST(q->off_bytes / 512 == sector && q->off_bytes % 512 == 0);
        MUST(q->len_bytes <= rules->capacity_bytes && q->off_bytes <= rules->capacity_bytes - q->len_bytes);
        MUST(q->off_bytes % rules->block_bytes == 0 && q->len_bytes % rules->block_bytes == 0);
}

static void check_ranges(const struct blk_request *q, const struct blk_rules *rules)
{
        bool discard = q->type == VIRTIO_BLK_T_DISCARD;

        MUST(!rules->read_only && (discard ? rules->discard : rules->write_zeroes));
        MUST(q->range_count >= 1 && q->range_count <= (discard ? BLK_DISCARD_RANGES_MAX : BLK_ZEROES_RANGES_MAX));
        MUST(!discard || !q->unmap);
        for (unsigned int i = 0; i < q->range_count; i++) {
                const struct blk_range *g = &q->ranges[i];

                MUST(g->len_bytes <= rules->capacity_bytes && g->off_bytes <= rules->capacity_bytes - g->len_bytes);
                MUST(g->off_bytes % rules->block_bytes == 0 && g->len_bytes % rules->block_bytes == 0);
                MUST(g->len_bytes <= 512ULL * (discard ? BLK_DISCARD_SECTORS_MAX : BLK_ZEROES_SECTORS_MAX));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static uint8_t out[BYTES], in[BYTES];
        struct reader r = {data, len};
        uint8_t bits = read_u8(&r);
        struct blk_rules rules = {
                .capacity_bytes = bits & 0x20 ? read_u64(&r) & ~511ULL : 512ULL * read_u16(&r),
                .block_bytes = 512U << (bits & 3),
                .read_only = bits & 4,
                .discard = bits & 8,
                .write_zeroes = bits & 16,
        };
        struct virtio_blk_outhdr head = {0};
        struct blk_request q;
        uint64_t in_bytes;
        int s;

        chain.out_count = chain.in_count = 0;
        chain.out_bytes = chain.in_bytes = 0;
        segments_make(&r, out, false);
        segments_make(&r, in, true);
        in_bytes = chain.in_bytes;
        memset(out, 0, sizeof(out));
        read_bytes(&r, out, sizeof(out));
        s = blk_request_parse(&chain, &rules, &q);
        MUST((s == -EPROTO) == (in_bytes == 0));
        if (s == -EPROTO)
                return 0;
        MUST(s == VIRTIO_BLK_S_OK || s == VIRTIO_BLK_S_IOERR || s == VIRTIO_BLK_S_UNSUPP);
        MUST(q.status == in + in_bytes - 1); /* segments lie one behind the other */
        MUST(q.used_bytes <= in_bytes && q.failed_bytes == (in_bytes == 1));
        if (s != VIRTIO_BLK_S_OK)
                return 0;
        memcpy(&head, out, sizeof(head));
        MUST(q.type == head.type);
        MUST(q.type != VIRTIO_BLK_T_OUT || !rules.read_only);
        if (q.type == VIRTIO_BLK_T_DISCARD || q.type == VIRTIO_BLK_T_WRITE_ZEROES)
                check_ranges(&q, &rules);
        else
                check_data(&q, &rules, q.type == VIRTIO_BLK_T_OUT ? out : in,
                           q.type == VIRTIO_BLK_T_FLUSH ? 0 : head.sector);
        return 0;
}
