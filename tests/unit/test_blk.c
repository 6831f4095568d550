/*
 * The program bulkhead-blk with its own filters, but without the rest of a jail: this test is its supervisor, its front
 * end and its guest. It is killed again and again under random requests, and its successors go on. argv[1]: the
 * program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "device_bench.h"
#include "devices/blk/blk_request.h"
#include "spec/control.h"
#include "spec/device_fds.h"
#include "vhost_user/message.h"

extern const struct jail_policy policy_blk_setup;

static const char *program;
static bool has_uring; /* this host */

#define DISK_BYTES  (16U << 20)
#define QUEUES      2
#define SIZE        128
#define SLOTS       32 /* of each queue: requests at once; a slot has three descriptors, a buffer, and a part of the disk */
#define DATA_BYTES  65536
#define SLOT_BYTES  (DATA_BYTES + 8192) /* data, not always aligned, header, status */
#define ZONE_BYTES  (DISK_BYTES / (QUEUES * SLOTS))
#define RINGS_BYTES 0x4000
#define BUFFERS     0x10000
#define RAM_BYTES   (BUFFERS + QUEUES * SLOTS * SLOT_BYTES)
#define PEER        0x100000000ULL
#define FEATURES                                                                                                    \
        (1ULL << 32 | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_DISCARD | \
         1ULL << VIRTIO_BLK_F_WRITE_ZEROES)

struct slot {
        bool under_way;
        uint32_t type;
        uint64_t off_bytes, len_bytes;
        uint8_t *data;
        struct virtio_blk_outhdr *head;
        uint8_t *status;
};

struct queue {
        int kick, call;
        struct vring_desc *table;
        struct vring_avail *avail;
        struct vring_used *used;
        uint16_t seen; /* of used */
        struct slot slots[SLOTS];
};

struct bench {
        enum disk_engine engine;
        bool direct, read_only;
        uint64_t features, ops_per_s;
        struct device_ends ends;
        int image, ram_fd, inflight_fd, request_fd;
        struct vu_payload_inflight inflight;
        pid_t pid;
        uint8_t *ram;
        struct queue queues[QUEUES];
        uint64_t seed;
};

static uint8_t model[DISK_BYTES];

static uint64_t random_below(struct bench *b, uint64_t n)
{
        b->seed ^= b->seed << 13;
        b->seed ^= b->seed >> 7;
        b->seed ^= b->seed << 17;
        return b->seed % n;
}

static void process_start(struct bench *b)
{
        struct control_device_config c = {.head = CONTROL_HEADER(CONTROL_DEVICE_CONFIG, sizeof(c)),
                                          .queues = QUEUES,
                                          .disk = {.id = "a disk",
                                                   .engine = (uint8_t)b->engine,
                                                   .direct = b->direct,
                                                   .read_only = b->read_only,
                                                   .ops_per_s = b->ops_per_s}};
        union control_message m;

        b->pid = device_fork(program, "bulkhead-blk", &policy_blk_setup, b->image, &b->ends);
        assert_int_equal(control_send(b->ends.control, &c), 0);
        device_hear(&b->ends, CONTROL_READY, &m);
        assert_int_equal(m.ready.engine, b->engine != DISK_ENGINE_AUTO ? b->engine
                                         : has_uring                   ? DISK_ENGINE_URING
                                                                       : DISK_ENGINE_SYNC);
}

static struct virtio_blk_config config(struct bench *b)
{
        struct vu_message m = {.body.config.size_bytes = 60};
        struct virtio_blk_config c = {0};

        device_tell(&b->ends, &m, VU_GET_CONFIG, 12 + 60);
        m = device_answer(&b->ends, VU_GET_CONFIG);
        memcpy(&c, m.body.config.data, 60);
        return c;
}

/* The region of the first process is that of all its successors. */
static void inflight_set(struct bench *b)
{
        struct vu_message m = {.body.inflight = {.queues = QUEUES, .queue_size = SIZE}};

        if (b->inflight_fd < 0) {
                device_tell(&b->ends, &m, VU_GET_INFLIGHT_FD, 20);
                m = device_answer(&b->ends, VU_GET_INFLIGHT_FD);
                b->inflight = m.body.inflight;
                b->inflight_fd = m.fds[0];
        }
        m = (struct vu_message){.body.inflight = b->inflight, .fds = {b->inflight_fd}, .fd_count = 1};
        device_tell(&b->ends, &m, VU_SET_INFLIGHT_FD, 20);
}

static void queue_start(struct bench *b, unsigned int i, uint16_t base)
{
        struct vu_message m = {.body.addr = {.index = i,
                                             .descriptors = PEER + i * RINGS_BYTES,
                                             .avail = PEER + i * RINGS_BYTES + 0x1000,
                                             .used = PEER + i * RINGS_BYTES + 0x2000}};

        device_tell_state(&b->ends, VU_SET_VRING_NUM, i, SIZE);
        device_tell(&b->ends, &m, VU_SET_VRING_ADDR, sizeof(m.body.addr));
        device_tell_state(&b->ends, VU_SET_VRING_BASE, i, base);
        device_tell_u64(&b->ends, VU_SET_VRING_CALL, i, b->queues[i].call);
        device_tell_u64(&b->ends, VU_SET_VRING_KICK, i, b->queues[i].kick);
        device_tell_state(&b->ends, VU_SET_VRING_ENABLE, i, 1);
}

static void device_start(struct bench *b)
{
        struct vu_message m = {0};
        uint64_t offered, protocol;
        int pair[2];

        process_start(b);
        device_tell(&b->ends, &m, VU_GET_FEATURES, 0);
        offered = device_answer(&b->ends, VU_GET_FEATURES).body.u64;
        assert_int_equal(offered >> VIRTIO_BLK_F_RO & 1, b->read_only);
        device_tell_u64(&b->ends, VU_SET_FEATURES, offered & (b->features | VU_F_PROTOCOL_FEATURES), -1);
        device_tell(&b->ends, &m, VU_GET_PROTOCOL_FEATURES, 0);
        protocol = device_answer(&b->ends, VU_GET_PROTOCOL_FEATURES).body.u64;
        device_tell_u64(&b->ends, VU_SET_PROTOCOL_FEATURES, protocol, -1);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        m = (struct vu_message){.fds = {pair[1]}, .fd_count = 1};
        device_tell(&b->ends, &m, VU_SET_BACKEND_REQ_FD, 0);
        close(pair[1]);
        fd_closep(&b->request_fd);
        b->request_fd = pair[0];
        m = (struct vu_message){.body.mem_table = {1, 0, {{0, RAM_BYTES, PEER, 0}}}, .fds = {b->ram_fd}, .fd_count = 1};
        device_tell(&b->ends, &m, VU_SET_MEM_TABLE, VU_MEM_TABLE_BYTES(1));
        inflight_set(b);
        for (unsigned int i = 0; i < QUEUES; i++)
                queue_start(b, i, b->queues[i].used->idx);
}

static void ram_make(struct bench *b)
{
        b->ram_fd = memfd_create("test", MFD_CLOEXEC);
        assert_int_equal(ftruncate(b->ram_fd, RAM_BYTES), 0);
        b->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->ram_fd, 0);
        assert_true(b->ram != MAP_FAILED);
        for (unsigned int i = 0; i < QUEUES; i++) {
                struct queue *q = &b->queues[i];

                q->table = (void *)(b->ram + i * RINGS_BYTES);
                q->avail = (void *)(b->ram + i * RINGS_BYTES + 0x1000);
                q->used = (void *)(b->ram + i * RINGS_BYTES + 0x2000);
                q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                for (unsigned int s = 0; s < SLOTS; s++) {
                        uint8_t *p = b->ram + BUFFERS + (i * SLOTS + s) * SLOT_BYTES;

                        q->slots[s].data = p;
                        q->slots[s].head = (void *)(p + DATA_BYTES + 4096);
                        q->slots[s].status = p + DATA_BYTES + 4096 + 1024;
                }
        }
}

static int image_open(bool direct, bool read_only)
{
        char path[] = "/tmp/test_blk_XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC), ret;

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
        ret = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (direct ? O_DIRECT : 0));
        assert_true(ret >= 0);
        unlink(path);
        close(fd);
        memset(model, 0, sizeof(model));
        return ret;
}

static struct bench *bench_new(enum disk_engine engine, bool direct, bool read_only)
{
        struct bench *b = calloc(1, sizeof(*b));

        assert_non_null(b);
        *b = (struct bench){
                .engine = engine, .direct = direct, .read_only = read_only, .features = FEATURES, .seed = 4711};
        b->inflight_fd = b->request_fd = b->ends.control = b->ends.frontend = -1;
        b->image = image_open(direct, read_only);
        ram_make(b);
        return b;
}

/* A successor may start when the front end's socket has ended: no operation of the dead process is under way then. */
static void device_kill(struct bench *b)
{
        struct pollfd p = {b->ends.frontend, POLLIN, 0};
        char rest[256];
        ssize_t n;

        kill(b->pid, SIGKILL);
        assert_int_equal(waitpid(b->pid, NULL, 0), b->pid);
        do {
                assert_int_equal(poll(&p, 1, 10000), 1);
                n = recv(b->ends.frontend, rest, sizeof(rest), 0);
        } while (n > 0);
        b->pid = 0;
        fd_closep(&b->ends.control);
        fd_closep(&b->ends.frontend);
}

static void bench_free(struct bench *b)
{
        if (b->pid > 0)
                device_kill(b);
        for (unsigned int i = 0; i < QUEUES; i++) {
                fd_closep(&b->queues[i].kick);
                fd_closep(&b->queues[i].call);
        }
        fd_closep(&b->image);
        fd_closep(&b->ram_fd);
        fd_closep(&b->inflight_fd);
        fd_closep(&b->request_fd);
        munmap(b->ram, RAM_BYTES);
        free(b);
}

/* Puts the request of slot s before the device: header, data (if any), status. */
static void offer(struct bench *b, unsigned int queue, unsigned int s, uint64_t data_bytes)
{
        struct queue *q = &b->queues[queue];
        struct slot *t = &q->slots[s];
        struct vring_desc *d = &q->table[3 * s];
        bool in = t->type == VIRTIO_BLK_T_IN || t->type == VIRTIO_BLK_T_GET_ID;

        *t->head = (struct virtio_blk_outhdr){.type = t->type, .sector = t->off_bytes / 512};
        *t->status = 0xff;
        t->under_way = true;
        d[0] = (struct vring_desc){(uint64_t)((uint8_t *)t->head - b->ram), 16, VRING_DESC_F_NEXT,
                                   (uint16_t)(3 * s + (data_bytes ? 1 : 2))};
        d[1] = (struct vring_desc){(uint64_t)(t->data - b->ram), (uint32_t)data_bytes,
                                   (uint16_t)(VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0)),
                                   (uint16_t)(3 * s + 2)};
        d[2] = (struct vring_desc){(uint64_t)(t->status - b->ram), 1, VRING_DESC_F_WRITE, 0};
        q->avail->ring[q->avail->idx % SIZE] = (uint16_t)(3 * s);
        __atomic_store_n(&q->avail->idx, q->avail->idx + 1, __ATOMIC_RELEASE);
        /* 2.7.10: the device says at which index it wants to hear of it. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!(b->features >> VIRTIO_RING_F_EVENT_IDX & 1) ||
            __atomic_load_n((uint16_t *)&q->used->ring[SIZE], __ATOMIC_RELAXED) == (uint16_t)(q->avail->idx - 1))
                (void)!write(q->kick, &(uint64_t){1}, 8);
}

/* The next slot given back, or -1 within the time. */
static int used_next(struct bench *b, unsigned int queue, int timeout_ms)
{
        struct queue *q = &b->queues[queue];
        int64_t deadline = clock_now_ms() + timeout_ms;
        struct vring_used_elem u;
        int status;

        for (;;) {
                uint64_t count;

                if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) != q->seen)
                        break;
                q->avail->ring[SIZE] = q->seen; /* tell of the next */
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) != q->seen)
                        break;
                if (waitpid(b->pid, &status, WNOHANG) == b->pid)
                        fail_msg("the process ended, status %#x", status);
                if (clock_now_ms() >= deadline || !readable(q->call, (int)(deadline - clock_now_ms())))
                        return -1;
                assert_int_equal(read(q->call, &count, 8), 8);
        }
        u = q->used->ring[q->seen++ % SIZE];
        assert_true(u.id % 3 == 0 && u.id < 3 * SLOTS);
        assert_true(q->slots[u.id / 3].under_way); /* once, and only what was asked */
        q->slots[u.id / 3].under_way = false;
        return (int)u.id / 3;
}

static int one(struct bench *b, uint32_t type, uint64_t off_bytes, uint64_t len_bytes)
{
        struct slot *t = &b->queues[0].slots[0];

        t->type = type;
        t->off_bytes = off_bytes;
        offer(b, 0, 0, len_bytes);
        assert_int_equal(used_next(b, 0, 30000), 0);
        return *t->status;
}

static int one_range(struct bench *b, uint32_t type, uint64_t off_bytes, uint64_t len_bytes, uint32_t flags)
{
        struct virtio_blk_discard_write_zeroes r = {off_bytes / 512, (uint32_t)(len_bytes / 512), flags};

        memcpy(b->queues[0].slots[0].data, &r, sizeof(r));
        return one(b, type, 0, sizeof(r));
}

static const enum disk_engine engines[] = {DISK_ENGINE_URING, DISK_ENGINE_SYNC};

/* Both engines, buffered and direct; i: from 0 on. */
static struct bench *bench_nth(unsigned int *i, bool read_only_disk)
{
        if (*i == 0 && !has_uring)
                *i = 2;
        if (*i == 4)
                return NULL;
        *i += 1;
        return bench_new(engines[(*i - 1) / 2], (*i - 1) % 2, read_only_disk);
}

#define FOR_EACH_BENCH(b, read_only_disk)  \
        for (unsigned int i_ = 0; i_ < 4;) \
                for (struct bench *b = bench_nth(&i_, read_only_disk); b; bench_free(b), b = NULL)

static void requests(void **state)
{
        FOR_EACH_BENCH(b, false)
        {
                uint8_t *data = b->queues[0].slots[0].data;
                struct virtio_blk_config c;

                device_start(b);
                c = config(b);
                assert_true(c.capacity == DISK_BYTES / 512 && c.num_queues == QUEUES && c.seg_max == BLK_SEG_MAX);
                assert_true(c.blk_size >= 512 && c.wce == 1 && c.max_discard_seg == BLK_DISCARD_RANGES_MAX);
                assert_int_equal(one(b, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
                assert_memory_equal(data, "a disk\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
                memset(data, 0x5a, DATA_BYTES);
                assert_int_equal(one(b, VIRTIO_BLK_T_OUT, 8192, DATA_BYTES), VIRTIO_BLK_S_OK);
                assert_int_equal(b->queues[0].used->ring[1].len, 1);
                assert_int_equal(one(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
                memset(data, 0, DATA_BYTES);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 8192 + 4096, 4096), VIRTIO_BLK_S_OK);
                assert_int_equal(b->queues[0].used->ring[3].len, 4097);
                assert_true(data[0] == 0x5a && data[4095] == 0x5a && data[4096] == 0);
                assert_int_equal(one_range(b, VIRTIO_BLK_T_DISCARD, 8192, 4096, 0), VIRTIO_BLK_S_OK);
                assert_int_equal(one_range(b, VIRTIO_BLK_T_WRITE_ZEROES, 12288, 4096, 1), VIRTIO_BLK_S_OK);
                assert_int_equal(one_range(b, VIRTIO_BLK_T_WRITE_ZEROES, 16384, 4096, 0), VIRTIO_BLK_S_OK);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 12288, 12288), VIRTIO_BLK_S_OK);
                assert_true(data[0] == 0 && data[8191] == 0 && data[8192] == 0x5a);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, DISK_BYTES, 512), VIRTIO_BLK_S_IOERR);
                assert_int_equal(one(b, 77, 0, 0), VIRTIO_BLK_S_UNSUPP);
        }
}

static void read_only(void **state)
{
        FOR_EACH_BENCH(b, true)
        {
                device_start(b);
                assert_int_equal(one(b, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_IOERR);
                assert_int_equal(one_range(b, VIRTIO_BLK_T_DISCARD, 0, 4096, 0), VIRTIO_BLK_S_UNSUPP);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
        }
}

static void no_room_for_a_status(void **state)
{
        FOR_EACH_BENCH(b, false)
        {
                struct queue *q = &b->queues[1];

                device_start(b);
                q->slots[0].under_way = true;
                q->table[0] = (struct vring_desc){BUFFERS, 16, 0, 0};
                q->avail->ring[0] = 0;
                q->used->ring[0].len = 99;
                __atomic_store_n(&q->avail->idx, 1, __ATOMIC_RELEASE);
                assert_int_equal(write(q->kick, &(uint64_t){1}, 8), 8);
                assert_int_equal(used_next(b, 1, 10000), 0);
                assert_int_equal(q->used->ring[0].len, 0);
        }
}

static int32_t resize(struct bench *b, uint64_t bytes)
{
        struct control_resize r = {.head = CONTROL_HEADER(CONTROL_RESIZE, sizeof(r)), .bytes = bytes};
        union control_message m;

        assert_int_equal(control_send(b->ends.control, &r), 0);
        device_hear(&b->ends, CONTROL_RESIZED, &m);
        return m.resize.result;
}

static void sizes_change(void **state)
{
        FOR_EACH_BENCH(b, false)
        {
                struct vu_message m;

                device_start(b);
                assert_true(resize(b, 2 * DISK_BYTES) < 0); /* it has not grown */
                assert_int_equal(config(b).capacity, DISK_BYTES / 512);
                assert_int_equal(ftruncate(b->image, 2 * DISK_BYTES), 0);
                assert_int_equal(resize(b, 2 * DISK_BYTES), 0);
                assert_int_equal(vu_message_receive(b->request_fd, false, NULL, 1000, &m), 0);
                assert_int_equal(m.head.request, VU_BACKEND_CONFIG_CHANGE);
                assert_int_equal(config(b).capacity, 2 * DISK_BYTES / 512);
                assert_int_equal(one(b, VIRTIO_BLK_T_OUT, DISK_BYTES, 4096), VIRTIO_BLK_S_OK);
                /* Behind its back: errors, and nothing else. */
                assert_int_equal(ftruncate(b->image, 4096), 0);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, DISK_BYTES, 4096), VIRTIO_BLK_S_IOERR);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 0, 8192), VIRTIO_BLK_S_IOERR);
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
        }
}

/* A file that may not grow any more: the guest sees an error, the process lives. */
static void a_full_disk(void **state)
{
        struct rlimit before, small = {8192, RLIM_INFINITY};

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        small.rlim_max = before.rlim_max;
        for (unsigned int i = has_uring ? 0 : 1; i < 2; i++) {
                struct bench *b = bench_new(engines[i], false, false);

                assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
                device_start(b);
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
                assert_int_equal(one(b, VIRTIO_BLK_T_OUT, 16384, 4096), VIRTIO_BLK_S_IOERR);
                assert_int_equal(one(b, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_OK);
                bench_free(b);
        }
}

static void operations_are_limited(void **state)
{
        struct bench *b = bench_new(DISK_ENGINE_AUTO, false, false);
        int64_t begin;

        b->ops_per_s = 100;
        device_start(b);
        begin = clock_now_ms();
        for (unsigned int i = 0; i < 60; i++) /* 10 at once, then one each 10 ms */
                assert_int_equal(one(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
        assert_in_range(clock_now_ms() - begin, 480, 5000);
        bench_free(b);
}

/* Random requests: each slot in its own part of the disk, so that the order of slots does not matter. */
static void request_random(struct bench *b, unsigned int queue, unsigned int s)
{
        static const uint32_t types[] = {VIRTIO_BLK_T_OUT,         VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN,
                                         VIRTIO_BLK_T_IN,          VIRTIO_BLK_T_IN,  VIRTIO_BLK_T_DISCARD,
                                         VIRTIO_BLK_T_WRITE_ZEROES};
        struct slot *t = &b->queues[queue].slots[s];
        uint64_t sectors = ZONE_BYTES / 4096, first = random_below(b, sectors), count = 1 + random_below(b, 8);
        uint64_t data_bytes;

        count = count > sectors - first ? sectors - first : count;
        t->type = random_below(b, 64) == 0 ? VIRTIO_BLK_T_FLUSH : types[random_below(b, ARRAY_LEN(types))];
        t->off_bytes = (uint64_t)(queue * SLOTS + s) * ZONE_BYTES + first * 4096;
        t->len_bytes = data_bytes = count * 4096;
        t->data =
                b->ram + BUFFERS + (queue * SLOTS + s) * SLOT_BYTES + (random_below(b, 2) ? 0 : random_below(b, 4096));
        if (t->type == VIRTIO_BLK_T_OUT) {
                for (uint64_t i = 0; i < t->len_bytes; i += 8) {
                        uint64_t word = random_below(b, UINT64_MAX);

                        memcpy(t->data + i, &word, 8);
                }
                memcpy(model + t->off_bytes, t->data, t->len_bytes);
        } else if (t->type == VIRTIO_BLK_T_IN) {
                memset(t->data, 0xee, t->len_bytes);
        } else if (t->type == VIRTIO_BLK_T_FLUSH) {
                data_bytes = 0;
        } else {
                struct virtio_blk_discard_write_zeroes r = {t->off_bytes / 512, (uint32_t)(t->len_bytes / 512), 0};

                data_bytes = sizeof(r);
                memcpy(t->data, &r, sizeof(r));
                memset(model + t->off_bytes, 0, t->len_bytes);
        }
        if (t->type == VIRTIO_BLK_T_FLUSH || data_bytes == sizeof(struct virtio_blk_discard_write_zeroes)) {
                uint64_t off_bytes = t->off_bytes;

                t->off_bytes = 0; /* 5.2.6: unused, and 0 */
                offer(b, queue, s, data_bytes);
                t->off_bytes = off_bytes;
        } else {
                offer(b, queue, s, data_bytes);
        }
}

static unsigned int ended(struct bench *b, unsigned int queue, int timeout_ms)
{
        unsigned int count = 0;
        int s;

        while ((s = used_next(b, queue, count ? 0 : timeout_ms)) >= 0) {
                const struct slot *t = &b->queues[queue].slots[s];

                assert_int_equal(*t->status, VIRTIO_BLK_S_OK);
                if (t->type == VIRTIO_BLK_T_IN)
                        assert_memory_equal(t->data, model + t->off_bytes, t->len_bytes);
                count++;
        }
        return count;
}

static void keep_busy(struct bench *b)
{
        for (unsigned int q = 0; q < QUEUES; q++)
                for (unsigned int s = 0; s < SLOTS; s++)
                        if (!b->queues[q].slots[s].under_way)
                                request_random(b, q, s);
}

static void all_end(struct bench *b)
{
        for (unsigned int q = 0; q < QUEUES; q++)
                for (unsigned int s = 0; s < SLOTS; s++)
                        while (b->queues[q].slots[s].under_way)
                                assert_true(ended(b, q, 30000) > 0);
}

static void killed_under_load(enum disk_engine engine, bool direct, unsigned int kills)
{
        static _Alignas(4096) uint8_t end[DISK_BYTES];
        struct bench *b;

        if (engine == DISK_ENGINE_URING && !has_uring)
                skip();
        b = bench_new(engine, direct, false);
        b->seed += 10 * engine + direct;
        device_start(b);
        for (unsigned int i = 0; i < kills; i++) {
                unsigned int until = (unsigned int)random_below(b, 500), done = 0;

                while (done < until) {
                        keep_busy(b);
                        done += ended(b, (unsigned int)random_below(b, QUEUES), 1);
                }
                keep_busy(b);
                device_kill(b);
                device_start(b);
        }
        all_end(b);
        assert_int_equal(pread(b->image, end, sizeof(end), 0), sizeof(end));
        assert_memory_equal(end, model, sizeof(end));
        bench_free(b);
}

static void killed_uring(void **state)
{
        killed_under_load(DISK_ENGINE_URING, false, 25);
}

static void killed_uring_direct(void **state)
{
        killed_under_load(DISK_ENGINE_URING, true, 50);
}

static void killed_sync(void **state)
{
        killed_under_load(DISK_ENGINE_SYNC, false, 25);
}

/* Stops with requests under way: each is given back before the answer, and a queue that goes on loses none. */
static void stopped_under_load(void **state)
{
        struct bench *b = bench_new(DISK_ENGINE_AUTO, true, false);

        device_start(b);
        for (unsigned int round = 0; round < 20; round++) {
                keep_busy(b);
                for (unsigned int q = 0; q < QUEUES; q++) {
                        uint16_t base;

                        device_tell_state(&b->ends, VU_GET_VRING_BASE, q, 0);
                        base = (uint16_t)device_answer(&b->ends, VU_GET_VRING_BASE).body.state.num;
                        assert_int_equal(base, b->queues[q].used->idx);
                        queue_start(b, q, base);
                }
                ended(b, 0, 0);
        }
        all_end(b);
        bench_free(b);
}

static void the_front_end_goes(void **state)
{
        struct bench *b = bench_new(DISK_ENGINE_AUTO, true, false);
        int status;

        device_start(b);
        keep_busy(b);
        fd_closep(&b->ends.frontend);
        assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_OK);
        b->pid = 0;
        fd_closep(&b->ends.control);
        bench_free(b);
}

static bool uring_there(void)
{
        struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED};
        int fd = (int)syscall(SYS_io_uring_setup, 4, &p);

        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests),
                cmocka_unit_test(read_only),
                cmocka_unit_test(no_room_for_a_status),
                cmocka_unit_test(sizes_change),
                cmocka_unit_test(a_full_disk),
                cmocka_unit_test(operations_are_limited),
                cmocka_unit_test(killed_uring),
                cmocka_unit_test(killed_uring_direct),
                cmocka_unit_test(killed_sync),
                cmocka_unit_test(stopped_under_load),
                cmocka_unit_test(the_front_end_goes),
        };

        if (argc != 2)
                return 2;
        program = argv[1];
        has_uring = uring_there();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
