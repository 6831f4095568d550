/*
 * Both engines of the disk over a temporary file, buffered and direct: random requests, several at a time, against a
 * model; what the ring may not do; and what requests make of operations that end short or in error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "devices/blk/blk_engine.h"
#include "devices/blk/blk_task.h"
#include "spec/device_fds.h"

#define DISK_BYTES (8U << 20)
#define ZONES      16 /* requests under way at once, each in a part of its own */
#define ZONE_BYTES (DISK_BYTES / ZONES)
#define ROUNDS     1000

static _Alignas(4096) uint8_t model[DISK_BYTES];
static _Alignas(4096) uint8_t bounces[BLK_BOUNCES * BLK_BOUNCE_BYTES];
static _Alignas(4096) uint8_t guest[ZONES][ZONE_BYTES + 8192];
static uint64_t seed = 88172645463325252ULL;

static uint64_t random_u64(void)
{
        seed ^= seed << 13;
        seed ^= seed >> 7;
        return seed ^= seed << 17;
}

static uint64_t random_below(uint64_t n)
{
        return random_u64() % n;
}

struct disk {
        struct blk_engine engine;
        struct blk_image image;
        struct blk_means means;
        struct blk_task tasks[ZONES];
        struct iovec iov[ZONES][8];
        unsigned int under_way;
        unsigned int bounced;
};

static int image_make(int flags)
{
        char path[] = "/tmp/test_blk_XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC), direct;

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
        direct = open(path, O_RDWR | O_CLOEXEC | flags);
        assert_true(direct >= 0);
        unlink(path);
        close(fd);
        return direct;
}

/* False: this host has no such engine, or /tmp no direct I/O. */
static bool disk_open(struct disk *d, enum disk_engine engine, bool direct)
{
        struct err e = ERR_INIT;
        int fd = image_make(direct ? O_DIRECT : 0);

        memset(d, 0, sizeof(*d));
        memset(model, 0, sizeof(model));
        if (blk_image_open(&d->image, fd, direct, &e) < 0 ||
            blk_engine_open(&d->engine, engine, fd, false, NULL, 0, &e) < 0) {
                print_message("%s\n", e.text);
                close(fd);
                return false;
        }
        d->means = (struct blk_means){.image = &d->image, .bounces = bounces};
        return true;
}

static void disk_close(struct disk *d)
{
        close(d->image.fd);
        blk_engine_close(&d->engine);
        blk_engine_close(&d->engine);
}

static uint8_t *model_at(const struct blk_task *t)
{
        return model + t->req.off_bytes;
}

/* What the guest sees of a request that has ended, and what the disk holds from then on. */
static void ended(struct disk *d, struct blk_task *t)
{
        uint64_t at = 0;

        assert_int_equal(t->status, VIRTIO_BLK_S_OK);
        assert_int_equal(t->bounce, -1);
        if (t->req.type == VIRTIO_BLK_T_IN)
                for (unsigned int i = 0; i < 8 && at < t->req.len_bytes; i++) {
                        const struct iovec *v = &d->iov[t->queue][i];

                        assert_memory_equal(v->iov_base, model_at(t) + at, v->iov_len);
                        at += v->iov_len;
                }
        t->req.type = UINT32_MAX; /* free */
        d->under_way--;
}

static void go_on(struct disk *d, struct blk_task *t, enum blk_step s)
{
        if (s == BLK_STEP_OP)
                d->engine.ops->submit(&d->engine, &t->op);
        else if (s == BLK_STEP_END)
                ended(d, t);
}

static void reap(struct disk *d, bool wait)
{
        struct blk_op *op;

        d->engine.ops->kick(&d->engine, wait);
        while ((op = blk_engine_reap(&d->engine)) != NULL)
                go_on(d, (struct blk_task *)op, blk_task_done(&d->means, (struct blk_task *)op));
}

/* Cuts len bytes of the guest's memory into segments: aligned for direct I/O or not. */
static void segments_make(struct disk *d, struct blk_task *t, bool aligned)
{
        uint8_t *p = guest[t->queue] + (aligned ? 0 : 1 + random_below(4095));
        uint64_t left = t->req.len_bytes;
        struct iovec *iov = d->iov[t->queue];

        t->iov = iov;
        t->iov_count = 0;
        while (left > 0) {
                uint64_t n = t->iov_count == 7 ? left : 1 + random_below(left);

                if (aligned && n != left)
                        n = (n + d->image.block_bytes - 1) & ~(uint64_t)(d->image.block_bytes - 1);
                iov[t->iov_count++] = (struct iovec){p, n};
                p += n;
                left -= n;
        }
}

static void request_make(struct disk *d, unsigned int zone)
{
        static const uint32_t types[] = {VIRTIO_BLK_T_IN,          VIRTIO_BLK_T_OUT,   VIRTIO_BLK_T_OUT,
                                         VIRTIO_BLK_T_IN,          VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_DISCARD,
                                         VIRTIO_BLK_T_WRITE_ZEROES};
        static struct iovec spare[ZONES][8]; /* the task cuts its segments down, the test wants to see them */
        struct blk_task *t = &d->tasks[zone];
        uint64_t blocks = ZONE_BYTES / d->image.block_bytes, first = random_below(blocks);
        /* Small ones, and some that take a bounce buffer more than once. */
        uint64_t count = 1 + random_below(random_below(4) ? 8 : blocks - first);

        if (count > blocks - first)
                count = blocks - first;
        memset(t, 0, sizeof(*t));
        t->queue = zone;
        t->req.type = types[random_below(7)];
        t->req.off_bytes = (uint64_t)zone * ZONE_BYTES + first * d->image.block_bytes;
        t->req.len_bytes = count * d->image.block_bytes;
        d->means.stable = random_below(8) == 0;
        segments_make(d, t, random_below(2));
        if (t->req.type == VIRTIO_BLK_T_OUT) {
                for (unsigned int i = 0; i < sizeof(guest[0]) / 8; i++)
                        memcpy(guest[zone] + 8 * i, &(uint64_t){random_u64()}, 8);
                for (uint64_t i = 0, at = 0; at < t->req.len_bytes; at += t->iov[i++].iov_len)
                        memcpy(model_at(t) + at, t->iov[i].iov_base, t->iov[i].iov_len);
        } else if (t->req.type == VIRTIO_BLK_T_DISCARD || t->req.type == VIRTIO_BLK_T_WRITE_ZEROES) {
                memset(model_at(t), 0, t->req.len_bytes);
                t->req.range_count = 1;
                t->req.ranges[0] = (struct blk_range){t->req.off_bytes, t->req.len_bytes};
                t->req.unmap = random_below(2);
                t->iov_count = 0;
        }
        memcpy(spare[zone], d->iov[zone], sizeof(spare[zone]));
        t->iov = spare[zone];
        d->under_way++;
        go_on(d, t, blk_task_begin(&d->means, t));
        d->bounced += t->bounced;
}

static void waiting_go_on(struct disk *d)
{
        for (unsigned int z = 0; z < ZONES; z++)
                if (d->tasks[z].req.type <= VIRTIO_BLK_T_OUT && d->tasks[z].bounced && d->tasks[z].bounce < 0)
                        go_on(d, &d->tasks[z], blk_task_step(&d->means, &d->tasks[z]));
}

static void random_requests(enum disk_engine engine, bool direct)
{
        static struct disk d;
        static _Alignas(4096) uint8_t end[DISK_BYTES];

        if (!disk_open(&d, engine, direct))
                skip();
        for (unsigned int z = 0; z < ZONES; z++)
                d.tasks[z].req.type = UINT32_MAX;
        for (unsigned int i = 0; i < ROUNDS; i++) {
                unsigned int zone = (unsigned int)random_below(ZONES);

                while (d.tasks[zone].req.type != UINT32_MAX) {
                        waiting_go_on(&d);
                        reap(&d, d.engine.under_way > 0);
                }
                request_make(&d, zone);
                if (random_below(4) == 0)
                        reap(&d, false);
        }
        while (d.under_way > 0) {
                reap(&d, d.engine.under_way > 0);
                waiting_go_on(&d);
        }
        assert_int_equal(d.engine.under_way, 0);
        assert_int_equal(d.means.bounces_used, 0);
        assert_true(direct == (d.bounced > 0));
        assert_int_equal(pread(d.image.fd, end, sizeof(end), 0), sizeof(end));
        assert_memory_equal(end, model, sizeof(end));
        disk_close(&d);
}

static void sync_buffered(void **state)
{
        random_requests(DISK_ENGINE_SYNC, false);
}

static void sync_direct(void **state)
{
        random_requests(DISK_ENGINE_SYNC, true);
}

static void uring_buffered(void **state)
{
        random_requests(DISK_ENGINE_URING, false);
}

static void uring_direct(void **state)
{
        random_requests(DISK_ENGINE_URING, true);
}

static int run(struct disk *d, struct blk_task *t)
{
        memcpy(&d->tasks[0], t, sizeof(*t));
        t = &d->tasks[0];
        if (blk_task_begin(&d->means, t) == BLK_STEP_END)
                return t->status;
        for (;;) {
                struct blk_op *op;

                d->engine.ops->submit(&d->engine, &t->op);
                d->engine.ops->kick(&d->engine, true);
                op = blk_engine_reap(&d->engine);
                if (op && blk_task_done(&d->means, t) == BLK_STEP_END)
                        return t->status;
        }
}

static int run_range(struct disk *d, uint32_t type, uint64_t off, uint64_t len, bool unmap)
{
        struct blk_task t = {.req = {.type = type, .range_count = 1, .ranges = {{off, len}}, .unmap = unmap}};

        return run(d, &t);
}

static blkcnt_t blocks(const struct disk *d)
{
        struct stat st;

        assert_int_equal(fsync(d->image.fd), 0); /* allocation may be delayed until then */
        assert_int_equal(fstat(d->image.fd, &st), 0);
        return st.st_blocks;
}

static void discard_gives_space_back(enum disk_engine engine)
{
        static struct disk d;
        static uint8_t full[DISK_BYTES];
        blkcnt_t before;

        if (!disk_open(&d, engine, false))
                skip();
        memset(full, 0xab, sizeof(full));
        assert_int_equal(pwrite(d.image.fd, full, sizeof(full), 0), sizeof(full));
        before = blocks(&d);
        assert_true(before >= DISK_BYTES / 512);
        assert_int_equal(run_range(&d, VIRTIO_BLK_T_DISCARD, 0, DISK_BYTES / 2, false), VIRTIO_BLK_S_OK);
        assert_true(blocks(&d) <= before - (blkcnt_t)(DISK_BYTES / 2 / 512));
        assert_int_equal(run_range(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_BYTES / 2, false), VIRTIO_BLK_S_OK);
        assert_true(blocks(&d) >= before); /* may not unmap: allocated */
        assert_int_equal(run_range(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_BYTES, true), VIRTIO_BLK_S_OK);
        assert_true(blocks(&d) <= before - (blkcnt_t)(DISK_BYTES / 512));
        assert_int_equal(lseek(d.image.fd, 0, SEEK_END), DISK_BYTES);
        assert_int_equal(pread(d.image.fd, full, sizeof(full), 0), sizeof(full));
        for (size_t i = 0; i < sizeof(full); i++)
                assert_int_equal(full[i], 0);
        disk_close(&d);
}

static void sync_discard(void **state)
{
        discard_gives_space_back(DISK_ENGINE_SYNC);
}

static void uring_discard(void **state)
{
        discard_gives_space_back(DISK_ENGINE_URING);
}

/* Past the end of a file that became shorter: an error, and the file does not grow under a read. */
static void shrunk_image_is_an_error(void **state)
{
        for (enum disk_engine engine = DISK_ENGINE_URING; engine <= DISK_ENGINE_SYNC; engine++) {
                static struct disk d;
                struct iovec iov[2] = {{guest[0], 512}, {guest[0], 512}};
                struct blk_task t = {.req = {.type = VIRTIO_BLK_T_IN, .off_bytes = 4096, .len_bytes = 1024},
                                     .iov = iov,
                                     .iov_count = 2};

                if (!disk_open(&d, engine, false))
                        continue;
                assert_int_equal(ftruncate(d.image.fd, 4096 + 512), 0);
                assert_int_equal(run(&d, &t), VIRTIO_BLK_S_IOERR);
                assert_int_equal(ftruncate(d.image.fd, 0), 0);
                iov[0] = (struct iovec){guest[0], 512};
                iov[1] = (struct iovec){guest[0], 512};
                assert_int_equal(run(&d, &t), VIRTIO_BLK_S_IOERR);
                assert_int_equal(blk_image_resize(&d.image, NULL), 0);
                assert_int_equal(d.image.capacity_bytes, 0);
                disk_close(&d);
        }
}

static void capacity_is_whole_blocks(void **state)
{
        static struct disk d;

        assert_true(disk_open(&d, DISK_ENGINE_SYNC, false));
        assert_int_equal(d.image.capacity_bytes, DISK_BYTES);
        assert_int_equal(ftruncate(d.image.fd, DISK_BYTES + 1023), 0);
        assert_int_equal(blk_image_resize(&d.image, NULL), 0);
        assert_int_equal(d.image.capacity_bytes, DISK_BYTES + 512);
        disk_close(&d);
}

static void only_files_and_block_devices_are_images(void **state)
{
        struct blk_image m;
        int pair[2];

        assert_int_equal(pipe(pair), 0);
        assert_int_equal(blk_image_open(&m, pair[0], false, NULL), -EINVAL);
        assert_int_equal(blk_image_open(&m, 99, false, NULL), -EBADF);
        close(pair[0]);
        close(pair[1]);
}

static int ring_try(struct disk *d, uint8_t opcode, uint8_t flags)
{
        struct io_uring_sqe *sqe = uring_next(&d->engine.ring);
        struct io_uring_cqe cqe;

        assert_non_null(sqe);
        sqe->opcode = opcode;
        sqe->flags = flags;
        assert_int_equal(uring_enter(&d->engine.ring, 1), 0);
        assert_true(uring_reap(&d->engine.ring, &cqe));
        return cqe.res;
}

static void the_ring_does_nothing_else(void **state)
{
        static const uint8_t allowed[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
        static struct disk d;

        if (!disk_open(&d, DISK_ENGINE_URING, false))
                skip();
        assert_int_equal(d.engine.ring.fd, DEVICE_FD_RING);
        for (uint8_t opcode = 0; opcode < IORING_OP_LAST; opcode++)
                assert_int_equal(ring_try(&d, opcode, IOSQE_FIXED_FILE) == -EACCES,
                                 memchr(allowed, opcode, sizeof(allowed)) == NULL);
        for (unsigned int flags = 0; flags < 256; flags++)
                if (flags != IOSQE_FIXED_FILE)
                        assert_true(ring_try(&d, IORING_OP_FSYNC, (uint8_t)flags) < 0);
        assert_int_equal(ring_try(&d, IORING_OP_FSYNC, IOSQE_FIXED_FILE), 0);
        assert_true(syscall(SYS_io_uring_register, DEVICE_FD_RING, IORING_UNREGISTER_FILES, NULL, 0) < 0);
        disk_close(&d);
}

/* Who waits for the other end of a held socket knows that no operation is under way any more. */
static void held_files_live_as_long_as_the_ring(void **state)
{
        struct blk_engine g;
        int pair[2], fd = image_make(0);
        struct pollfd p;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (blk_engine_open(&g, DISK_ENGINE_URING, fd, false, &pair[1], 1, NULL) < 0)
                skip();
        close(pair[1]);
        close(fd);
        p = (struct pollfd){.fd = pair[0], .events = POLLIN};
        assert_int_equal(poll(&p, 1, 0), 0);
        blk_engine_close(&g);
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_true(p.revents & POLLHUP);
        close(pair[0]);
}

/* Requests, with operations whose results are made up. */
static const struct blk_image plain = {.block_bytes = 512, .memory_align = 512};

static enum blk_step done(struct blk_means *m, struct blk_task *t, enum blk_op_kind kind, int64_t result)
{
        assert_int_equal(t->op.kind, kind);
        t->op.result = result;
        return blk_task_done(m, t);
}

static void short_transfers_go_on(void **state)
{
        struct blk_means m = {.image = &plain};
        struct iovec iov[3] = {{guest[0], 1000}, {guest[1], 24}, {guest[2], 1024}};
        struct blk_task t = {.req = {.type = VIRTIO_BLK_T_OUT, .off_bytes = 512, .len_bytes = 2048},
                             .iov = iov,
                             .iov_count = 3};

        assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
        assert_true(t.op.off_bytes == 512 && t.op.len_bytes == 2048 && t.op.iov_count == 3 && !t.op.stable);
        assert_int_equal(done(&m, &t, BLK_OP_WRITE, 1), BLK_STEP_OP);
        assert_true(t.op.off_bytes == 513 && t.op.len_bytes == 2047 && t.op.iov[0].iov_base == guest[0] + 1);
        assert_int_equal(done(&m, &t, BLK_OP_WRITE, 999 + 24), BLK_STEP_OP);
        assert_true(t.op.iov_count == 1 && t.op.iov[0].iov_base == guest[2] && t.op.off_bytes == 512 + 1024);
        assert_int_equal(done(&m, &t, BLK_OP_WRITE, 1024), BLK_STEP_END);
        assert_int_equal(t.status, VIRTIO_BLK_S_OK);
}

static void errors_are_errors(void **state)
{
        static const int64_t results[] = {0, -EIO, -ENOSPC, -EOPNOTSUPP, 4097};
        static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

        for (size_t i = 0; i < ARRAY_LEN(results); i++) {
                struct blk_means m = {.image = &plain};
                struct blk_task flush = {.req = {.type = VIRTIO_BLK_T_FLUSH}};

                for (size_t j = 0; j < ARRAY_LEN(types); j++) {
                        struct iovec iov = {guest[0], 4096};
                        struct blk_task t = {.req = {.type = types[j], .len_bytes = 4096}, .iov = &iov, .iov_count = 1};

                        assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
                        assert_int_equal(done(&m, &t, j ? BLK_OP_WRITE : BLK_OP_READ, results[i]), BLK_STEP_END);
                        assert_int_equal(t.status, VIRTIO_BLK_S_IOERR);
                }
                assert_int_equal(blk_task_begin(&m, &flush), BLK_STEP_OP);
                assert_int_equal(done(&m, &flush, BLK_OP_SYNC, results[i]), BLK_STEP_END);
                assert_int_equal(flush.status, results[i] < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
        }
}

static struct blk_task zeroes_task(uint64_t len, bool unmap)
{
        return (struct blk_task){
                .req = {.type = VIRTIO_BLK_T_WRITE_ZEROES, .range_count = 1, .ranges = {{4096, len}}, .unmap = unmap}};
}

/* Without a file system's help, zeroes are written; what it can't do is asked once. */
static void zeroes_find_a_way(void **state)
{
        struct blk_means m = {.image = &plain, .stable = true};
        struct blk_task t = zeroes_task((3U << 20) + 512, true);
        uint64_t sum = 0;

        assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
        assert_int_equal(done(&m, &t, BLK_OP_PUNCH, -EOPNOTSUPP), BLK_STEP_OP);
        assert_int_equal(done(&m, &t, BLK_OP_ZERO, -EOPNOTSUPP), BLK_STEP_OP);
        for (enum blk_step s = BLK_STEP_OP; s == BLK_STEP_OP;) {
                uint64_t n = 0;

                assert_true(t.op.stable && t.op.off_bytes == 4096 + sum);
                for (unsigned int i = 0; i < t.op.iov_count; i++) {
                        const uint8_t *p = t.op.iov[i].iov_base;

                        for (size_t k = 0; k < t.op.iov[i].iov_len; k++)
                                assert_int_equal(p[k], 0);
                        n += t.op.iov[i].iov_len;
                }
                assert_int_equal(n, t.op.len_bytes);
                n = n > 512 ? n - 512 : n; /* a little short each time */
                sum += n;
                s = done(&m, &t, BLK_OP_WRITE, (int64_t)n);
        }
        assert_int_equal(t.status, VIRTIO_BLK_S_OK);
        assert_int_equal(sum, (3U << 20) + 512);
        t = zeroes_task(512, true);
        assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
        assert_int_equal(done(&m, &t, BLK_OP_WRITE, -ENOSPC), BLK_STEP_END);
        assert_int_equal(t.status, VIRTIO_BLK_S_IOERR);
}

/* Where each write is stable before it is acknowledged, zeroes are, too. */
static void zeroes_are_stable_where_writes_are(void **state)
{
        for (int unmap = 0; unmap < 2; unmap++)
                for (int stable = 0; stable < 2; stable++) {
                        struct blk_means m = {.image = &plain, .stable = stable};
                        struct blk_task t = zeroes_task(8192, unmap);

                        assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
                        assert_int_equal(done(&m, &t, unmap ? BLK_OP_PUNCH : BLK_OP_ZERO, 0),
                                         stable ? BLK_STEP_OP : BLK_STEP_END);
                        if (stable)
                                assert_int_equal(done(&m, &t, BLK_OP_SYNC, unmap ? 0 : -EIO), BLK_STEP_END);
                        assert_int_equal(t.status, stable && !unmap ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
                }
}

static void discard_is_advice(void **state)
{
        static const struct {
                int64_t result;
                uint8_t status;
        } cases[] = {{0, VIRTIO_BLK_S_OK}, {-EOPNOTSUPP, VIRTIO_BLK_S_OK}, {-EIO, VIRTIO_BLK_S_IOERR}};

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct blk_means m = {.image = &plain};
                struct blk_task t = {.req = {.type = VIRTIO_BLK_T_DISCARD,
                                             .range_count = 3,
                                             .ranges = {{0, 512}, {512, 0}, {9216, 512}}}};

                assert_int_equal(blk_task_begin(&m, &t), BLK_STEP_OP);
                assert_int_equal(done(&m, &t, BLK_OP_DISCARD, 0), BLK_STEP_OP);
                assert_int_equal(t.op.off_bytes, 9216); /* the empty one is left out */
                assert_int_equal(done(&m, &t, BLK_OP_DISCARD, cases[i].result), BLK_STEP_END);
                assert_int_equal(t.status, cases[i].status);
        }
}

static void bounces_are_waited_for(void **state)
{
        struct blk_image direct = {.block_bytes = 512, .memory_align = 512, .direct = true};
        struct blk_means m = {.image = &direct, .bounces = bounces};
        struct iovec iov[BLK_BOUNCES + 1];
        struct blk_task t[BLK_BOUNCES + 1];

        for (int i = 0; i <= BLK_BOUNCES; i++) {
                iov[i] = (struct iovec){guest[i] + 1, 512};
                t[i] = (struct blk_task){.req = {.type = VIRTIO_BLK_T_IN, .len_bytes = 512},
                                         .iov = &iov[i],
                                         .iov_count = 1};
                assert_int_equal(blk_task_begin(&m, &t[i]), i < BLK_BOUNCES ? BLK_STEP_OP : BLK_STEP_WAIT);
        }
        assert_int_equal(blk_task_step(&m, &t[BLK_BOUNCES]), BLK_STEP_WAIT);
        assert_int_equal(done(&m, &t[3], BLK_OP_READ, -EIO), BLK_STEP_END); /* errors give it back, too */
        assert_int_equal(blk_task_step(&m, &t[BLK_BOUNCES]), BLK_STEP_OP);
        memset(t[BLK_BOUNCES].op.iov->iov_base, 0x5a, 512);
        assert_int_equal(done(&m, &t[BLK_BOUNCES], BLK_OP_READ, 512), BLK_STEP_END);
        for (int i = 1; i <= 512; i++)
                assert_int_equal(guest[BLK_BOUNCES][i], 0x5a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sync_buffered),
                cmocka_unit_test(sync_direct),
                cmocka_unit_test(uring_buffered),
                cmocka_unit_test(uring_direct),
                cmocka_unit_test(sync_discard),
                cmocka_unit_test(uring_discard),
                cmocka_unit_test(shrunk_image_is_an_error),
                cmocka_unit_test(capacity_is_whole_blocks),
                cmocka_unit_test(only_files_and_block_devices_are_images),
                cmocka_unit_test(the_ring_does_nothing_else),
                cmocka_unit_test(held_files_live_as_long_as_the_ring),
                cmocka_unit_test(short_transfers_go_on),
                cmocka_unit_test(errors_are_errors),
                cmocka_unit_test(zeroes_find_a_way),
                cmocka_unit_test(zeroes_are_stable_where_writes_are),
                cmocka_unit_test(discard_is_advice),
                cmocka_unit_test(bounces_are_waited_for),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
