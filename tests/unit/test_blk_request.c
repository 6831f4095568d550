/* Requests of a virtio disk: what is let through, with which status the rest is refused, and what the guest finds used.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "devices/blk/blk_request.h"

#define CAPACITY (1024 * 512ULL)
#define NO_ROOM  (-EPROTO)

static uint8_t memory[1 << 20];

struct fixture {
        struct virtq_chain chain;
        struct blk_rules rules;
        struct blk_request request;
        size_t used; /* of memory */
};

static uint8_t *out(struct fixture *f, const void *data, size_t len)
{
        uint8_t *p = memory + f->used;

        assert_true(f->chain.in_count == 0 && f->used + len <= sizeof(memory));
        if (data)
                memcpy(p, data, len);
        f->used += len;
        f->chain.iov[f->chain.out_count++] = (struct iovec){p, len};
        f->chain.out_bytes += len;
        return p;
}

static uint8_t *in(struct fixture *f, size_t len)
{
        uint8_t *p = memory + f->used;

        f->used += len;
        f->chain.iov[f->chain.out_count + f->chain.in_count++] = (struct iovec){p, len};
        f->chain.in_bytes += len;
        return p;
}

static void begin(struct fixture *f)
{
        memset(f, 0, sizeof(*f));
        f->rules = (struct blk_rules){
                .capacity_bytes = CAPACITY, .block_bytes = 512, .discard = true, .write_zeroes = true};
}

static void head(struct fixture *f, uint32_t type, uint64_t sector)
{
        struct virtio_blk_outhdr h = {.type = type, .sector = sector};

        out(f, &h, sizeof(h));
}

static int parse(struct fixture *f)
{
        return blk_request_parse(&f->chain, &f->rules, &f->request);
}

static void reads_and_writes_are_read(void **state)
{
        struct fixture f;
        uint8_t *data, *status;

        begin(&f);
        head(&f, VIRTIO_BLK_T_IN, 7);
        data = in(&f, 4096);
        status = in(&f, 1);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_ptr_equal(f.request.status, status);
        assert_true(f.request.off_bytes == 7 * 512 && f.request.len_bytes == 4096 && f.request.used_bytes == 4097);
        assert_true(f.request.iov_count == 1 && f.request.iov[0].iov_base == data && f.request.iov[0].iov_len == 4096);
        assert_int_equal(f.request.failed_bytes, 0);

        begin(&f);
        head(&f, VIRTIO_BLK_T_OUT, 1023);
        data = out(&f, NULL, 512);
        status = in(&f, 1);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_ptr_equal(f.request.status, status);
        assert_true(f.request.len_bytes == 512 && f.request.used_bytes == 1 && f.request.failed_bytes == 1);
        assert_true(f.request.iov_count == 1 && f.request.iov[0].iov_base == data);
}

/* 2.7.4: a device must not rely on how a request is cut into segments. */
static void any_cut_is_the_same_request(void **state)
{
        for (size_t cut = 0; cut <= 16 + 1024; cut++) {
                struct virtio_blk_outhdr h = {.type = VIRTIO_BLK_T_OUT, .sector = 3};
                uint8_t bytes[16 + 1024];
                size_t at = 0;
                struct fixture f;

                memcpy(bytes, &h, sizeof(h));
                for (size_t i = sizeof(h); i < sizeof(bytes); i++)
                        bytes[i] = (uint8_t)(i * 7);
                begin(&f);
                out(&f, bytes, cut);
                out(&f, bytes, 0);
                out(&f, bytes + cut, sizeof(bytes) - cut);
                in(&f, 1);
                in(&f, 0);
                assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
                assert_true(f.request.off_bytes == 3 * 512 && f.request.len_bytes == 1024);
                for (unsigned int i = 0; i < f.request.iov_count; i++) {
                        assert_true(f.request.iov[i].iov_len > 0);
                        assert_memory_equal(f.request.iov[i].iov_base, bytes + 16 + at, f.request.iov[i].iov_len);
                        at += f.request.iov[i].iov_len;
                }
                assert_int_equal(at, 1024);
        }
}

static void status_may_follow_data_in_one_segment(void **state)
{
        struct fixture f;
        uint8_t *data;

        begin(&f);
        head(&f, VIRTIO_BLK_T_IN, 0);
        data = in(&f, 513);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_ptr_equal(f.request.status, data + 512);
        assert_true(f.request.len_bytes == 512 && f.request.iov[0].iov_len == 512 && f.request.used_bytes == 513);
}

static void no_room_for_a_status(void **state)
{
        struct fixture f;

        begin(&f);
        head(&f, VIRTIO_BLK_T_OUT, 0);
        out(&f, NULL, 512);
        assert_int_equal(parse(&f), NO_ROOM);
        in(&f, 0);
        assert_int_equal(parse(&f), NO_ROOM);
        begin(&f);
        assert_int_equal(parse(&f), NO_ROOM);
}

static void short_headers_are_errors(void **state)
{
        for (size_t len = 0; len < 16; len++) {
                struct fixture f;

                begin(&f);
                if (len > 0)
                        out(&f, NULL, len);
                in(&f, 1);
                assert_int_equal(parse(&f), VIRTIO_BLK_S_IOERR);
                assert_non_null(f.request.status);
                assert_int_equal(f.request.failed_bytes, 1);
        }
}

static int transfer(uint32_t type, uint64_t sector, size_t len, uint64_t capacity, uint32_t block)
{
        struct fixture f;

        begin(&f);
        f.rules.capacity_bytes = capacity;
        f.rules.block_bytes = block;
        head(&f, type, sector);
        if (type == VIRTIO_BLK_T_OUT)
                out(&f, NULL, len);
        else
                in(&f, len);
        in(&f, 1);
        return parse(&f);
}

static void ranges_stay_on_the_disk(void **state)
{
        static const struct {
                uint64_t sector;
                size_t len;
                uint64_t capacity;
                uint32_t block;
                int status;
        } cases[] = {
                {0, 0, CAPACITY, 512, VIRTIO_BLK_S_OK},
                {1024, 0, CAPACITY, 512, VIRTIO_BLK_S_OK},
                {1025, 0, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {1023, 512, CAPACITY, 512, VIRTIO_BLK_S_OK},
                {1023, 1024, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {1024, 512, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {0, 512, 0, 512, VIRTIO_BLK_S_IOERR},
                {0, 511, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {0, 513, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {UINT64_MAX, 512, CAPACITY, 512, VIRTIO_BLK_S_IOERR},
                {UINT64_MAX / 512, 512, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR},
                {UINT64_MAX / 512 + 1, 512, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR}, /* sector 0, if it wrapped */
                {8, 4096, CAPACITY, 4096, VIRTIO_BLK_S_OK},
                {1, 4096, CAPACITY, 4096, VIRTIO_BLK_S_IOERR},
                {8, 512, CAPACITY, 4096, VIRTIO_BLK_S_IOERR},
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                assert_int_equal(transfer(VIRTIO_BLK_T_IN, cases[i].sector, cases[i].len, cases[i].capacity,
                                          cases[i].block),
                                 cases[i].status);
                assert_int_equal(transfer(VIRTIO_BLK_T_OUT, cases[i].sector, cases[i].len, cases[i].capacity,
                                          cases[i].block),
                                 cases[i].status);
        }
}

static void data_of_the_other_direction_is_an_error(void **state)
{
        struct fixture f;

        begin(&f);
        head(&f, VIRTIO_BLK_T_OUT, 0);
        out(&f, NULL, 512);
        in(&f, 513);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_IOERR);
        assert_int_equal(f.request.failed_bytes, 0);
        begin(&f);
        head(&f, VIRTIO_BLK_T_IN, 0);
        out(&f, NULL, 512);
        in(&f, 513);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_IOERR);
}

static int segments(unsigned int count)
{
        struct fixture f;

        begin(&f);
        head(&f, VIRTIO_BLK_T_IN, 0);
        for (unsigned int i = 0; i < count; i++)
                in(&f, 512);
        in(&f, 1);
        return parse(&f);
}

static void segments_have_a_maximum(void **state)
{
        assert_int_equal(segments(BLK_IOV_MAX), VIRTIO_BLK_S_OK);
        assert_int_equal(segments(BLK_IOV_MAX + 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(segments(VIRTQ_IOV_MAX - 2), VIRTIO_BLK_S_IOERR);
}

static void read_only_disks_are_only_read(void **state)
{
        static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
        struct virtio_blk_discard_write_zeroes range[32] = {{0, 1, 0}};

        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                for (int ro = 0; ro < 2; ro++) {
                        struct fixture f;

                        begin(&f);
                        f.rules.read_only = ro;
                        head(&f, types[i], 0);
                        out(&f, range, types[i] == VIRTIO_BLK_T_OUT ? 512 : 16);
                        in(&f, 1);
                        assert_int_equal(parse(&f), ro ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
                }
        for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_FLUSH; type += VIRTIO_BLK_T_FLUSH) {
                struct fixture f;

                begin(&f);
                f.rules.read_only = true;
                head(&f, type, 0);
                in(&f, 1);
                assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        }
}

static int ranges(uint32_t type, const struct virtio_blk_discard_write_zeroes *r, size_t bytes, struct fixture *f)
{
        begin(f);
        f->rules.capacity_bytes = 1ULL << 40;
        head(f, type, 0);
        out(f, r, bytes);
        in(f, 1);
        return parse(f);
}

static void ranges_are_bounded(void **state)
{
        static const struct {
                uint32_t type, sectors, flags;
                uint64_t sector;
                int status;
        } cases[] = {
                {VIRTIO_BLK_T_DISCARD, BLK_DISCARD_SECTORS_MAX, 0, 8, VIRTIO_BLK_S_OK},
                {VIRTIO_BLK_T_DISCARD, BLK_DISCARD_SECTORS_MAX + 1, 0, 8, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_DISCARD, UINT32_MAX, 0, 0, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_DISCARD, 1, 1, 0, VIRTIO_BLK_S_UNSUPP},
                {VIRTIO_BLK_T_DISCARD, 1, 2, 0, VIRTIO_BLK_S_UNSUPP},
                {VIRTIO_BLK_T_DISCARD, 1, 0, UINT64_MAX, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_DISCARD, 1, 0, 1ULL << 31, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_DISCARD, 0, 0, 1ULL << 31, VIRTIO_BLK_S_OK},
                {VIRTIO_BLK_T_DISCARD, 2, 0, (1ULL << 31) - 1, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_WRITE_ZEROES, BLK_ZEROES_SECTORS_MAX, 1, 8, VIRTIO_BLK_S_OK},
                {VIRTIO_BLK_T_WRITE_ZEROES, BLK_ZEROES_SECTORS_MAX, 0, 8, VIRTIO_BLK_S_OK},
                {VIRTIO_BLK_T_WRITE_ZEROES, BLK_ZEROES_SECTORS_MAX + 1, 0, 8, VIRTIO_BLK_S_IOERR},
                {VIRTIO_BLK_T_WRITE_ZEROES, 1, 2, 0, VIRTIO_BLK_S_UNSUPP},
                {VIRTIO_BLK_T_WRITE_ZEROES, 1, 0x80000001, 0, VIRTIO_BLK_S_UNSUPP},
                {VIRTIO_BLK_T_WRITE_ZEROES, 1, 0, 1ULL << 55, VIRTIO_BLK_S_IOERR},
        };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct virtio_blk_discard_write_zeroes r = {cases[i].sector, cases[i].sectors, cases[i].flags};

                assert_int_equal(ranges(cases[i].type, &r, sizeof(r), &f), cases[i].status);
                if (cases[i].status != VIRTIO_BLK_S_OK)
                        continue;
                assert_int_equal(f.request.range_count, 1);
                assert_true(f.request.ranges[0].off_bytes == cases[i].sector * 512);
                assert_true(f.request.ranges[0].len_bytes == cases[i].sectors * 512ULL);
                assert_int_equal(f.request.unmap, cases[i].flags == 1);
        }
}

static void lists_of_ranges_are_bounded(void **state)
{
        struct virtio_blk_discard_write_zeroes r[BLK_DISCARD_RANGES_MAX + 1];
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(r); i++)
                r[i] = (struct virtio_blk_discard_write_zeroes){i, 1, 0};
        for (size_t bytes = 0; bytes <= sizeof(r); bytes += 4) {
                bool whole = bytes > 0 && bytes % 16 == 0;

                assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, r, bytes, &f),
                                 whole && bytes <= BLK_DISCARD_RANGES_MAX * 16 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
                assert_int_equal(ranges(VIRTIO_BLK_T_WRITE_ZEROES, r, bytes, &f),
                                 whole && bytes <= BLK_ZEROES_RANGES_MAX * 16 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
        }
        r[1].flags = 1;
        assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, r, 32, &f), VIRTIO_BLK_S_UNSUPP);
        r[0].sector = 1ULL << 40;
        assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, r, 32, &f), VIRTIO_BLK_S_IOERR);
}

static void what_was_not_negotiated_is_unsupported(void **state)
{
        struct virtio_blk_discard_write_zeroes r = {0, 1, 0};

        for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES;
             type += VIRTIO_BLK_T_WRITE_ZEROES - VIRTIO_BLK_T_DISCARD) {
                struct fixture f;

                begin(&f);
                f.rules.discard = type != VIRTIO_BLK_T_DISCARD;
                f.rules.write_zeroes = type != VIRTIO_BLK_T_WRITE_ZEROES;
                head(&f, type, 0);
                out(&f, &r, sizeof(r));
                in(&f, 1);
                assert_int_equal(parse(&f), VIRTIO_BLK_S_UNSUPP);
        }
}

static void unknown_types_are_unsupported(void **state)
{
        for (uint64_t type = 0; type < 1ULL << 32; type += type < 64 ? 1 : 0x10000001) {
                struct fixture f;

                if (type <= 1 || type == VIRTIO_BLK_T_FLUSH || type == VIRTIO_BLK_T_GET_ID ||
                    type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES)
                        continue;
                begin(&f);
                head(&f, (uint32_t)type, 0);
                in(&f, 1);
                assert_int_equal(parse(&f), VIRTIO_BLK_S_UNSUPP);
                assert_int_equal(f.request.failed_bytes, 1);
        }
}

static void identity_and_flush(void **state)
{
        struct fixture f;
        uint8_t *id;

        begin(&f);
        head(&f, VIRTIO_BLK_T_GET_ID, 0);
        id = in(&f, 20);
        in(&f, 1);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_true(f.request.len_bytes == 20 && f.request.iov[0].iov_base == id && f.request.used_bytes == 21);
        begin(&f);
        head(&f, VIRTIO_BLK_T_FLUSH, 0);
        in(&f, 1);
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_int_equal(f.request.used_bytes, 1);
        begin(&f);
        head(&f, VIRTIO_BLK_T_FLUSH, 0);
        in(&f, 4097); /* not written, so not used */
        assert_int_equal(parse(&f), VIRTIO_BLK_S_OK);
        assert_int_equal(f.request.used_bytes, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_and_writes_are_read),
                cmocka_unit_test(any_cut_is_the_same_request),
                cmocka_unit_test(status_may_follow_data_in_one_segment),
                cmocka_unit_test(no_room_for_a_status),
                cmocka_unit_test(short_headers_are_errors),
                cmocka_unit_test(ranges_stay_on_the_disk),
                cmocka_unit_test(data_of_the_other_direction_is_an_error),
                cmocka_unit_test(segments_have_a_maximum),
                cmocka_unit_test(read_only_disks_are_only_read),
                cmocka_unit_test(ranges_are_bounded),
                cmocka_unit_test(lists_of_ranges_are_bounded),
                cmocka_unit_test(what_was_not_negotiated_is_unsupported),
                cmocka_unit_test(unknown_types_are_unsupported),
                cmocka_unit_test(identity_and_flush),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
