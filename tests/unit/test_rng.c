/*
 * The program bulkhead-rng with its own filters, but without the rest of a jail: this test is its supervisor, its front
 * end and its guest. argv[1]: the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "device_bench.h"
#include "devices/rng/rng.h"
#include "jail/layers.h"
#include "spec/device_fds.h"

extern const struct jail_policy policy_rng_setup;

static const char *program;

#define RAM_BYTES (4U << 20)
#define PEER      0x100000000ULL
#define SIZE      128
#define TABLE     0x1000
#define AVAIL     0x2000
#define USED      0x3000
#define BUFFERS   0x10000

struct bench {
        struct device_ends ends;
        int kick, call, err;
        pid_t pid;
        uint8_t *ram;
        struct vring_desc *table;
        struct vring_avail *avail;
        struct vring_used *used;
        int ram_fd;
};

static int setup(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));

        assert_non_null(b);
        b->pid = device_fork(program, "bulkhead-rng", &policy_rng_setup, -1, &b->ends);
        b->kick = eventfd(0, EFD_CLOEXEC);
        b->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        b->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        b->ram_fd = memfd_create("test", MFD_CLOEXEC);
        assert_int_equal(ftruncate(b->ram_fd, RAM_BYTES), 0);
        b->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->ram_fd, 0);
        assert_true(b->ram != MAP_FAILED);
        b->table = (void *)(b->ram + TABLE);
        b->avail = (void *)(b->ram + AVAIL);
        b->used = (void *)(b->ram + USED);
        *state = b;
        return 0;
}

static int teardown(void **state)
{
        struct bench *b = *state;

        if (b->pid > 0) {
                kill(b->pid, SIGKILL);
                waitpid(b->pid, NULL, 0);
        }
        fd_closep(&b->ends.control);
        fd_closep(&b->ends.frontend);
        fd_closep(&b->kick);
        fd_closep(&b->call);
        fd_closep(&b->err);
        fd_closep(&b->ram_fd);
        munmap(b->ram, RAM_BYTES);
        free(b);
        return 0;
}

static int exit_status(struct bench *b)
{
        int status;

        assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
        b->pid = 0;
        if (!WIFEXITED(status))
                fail_msg("ended by signal %d", WTERMSIG(status));
        return WEXITSTATUS(status);
}

static void configure(struct bench *b, uint64_t bytes_per_s)
{
        struct control_device_config c = {.head = CONTROL_HEADER(CONTROL_DEVICE_CONFIG, sizeof(c)),
                                          .queues = 1,
                                          .rng_bytes_per_s = bytes_per_s};
        union control_message m;

        assert_int_equal(control_send(b->ends.control, &c), 0);
        device_hear(&b->ends, CONTROL_READY, &m);
        assert_true(m.ready.layers & LAYER_BIT(LAYER_DUMPABLE));
}

static void connect_device(struct bench *b, bool event_idx)
{
        struct vu_message m = {0};
        uint64_t features;

        device_tell(&b->ends, &m, VU_GET_FEATURES, 0);
        features = device_answer(&b->ends, VU_GET_FEATURES).body.u64;
        assert_int_equal(features,
                         1ULL << 32 | 1ULL << 29 | 1ULL << 28 | VU_F_PROTOCOL_FEATURES); /* 1.2, 6: VERSION_1 … */
        if (!event_idx)
                features &= ~(1ULL << VIRTIO_RING_F_EVENT_IDX);
        device_tell_u64(&b->ends, VU_SET_FEATURES, features, -1);
        m = (struct vu_message){.body.mem_table = {1, 0, {{0, RAM_BYTES, PEER, 0}}}, .fds = {b->ram_fd}, .fd_count = 1};
        device_tell(&b->ends, &m, VU_SET_MEM_TABLE, VU_MEM_TABLE_BYTES(1));
        device_tell_state(&b->ends, VU_SET_VRING_NUM, 0, SIZE);
        m = (struct vu_message){.body.addr = {.descriptors = PEER + TABLE, .avail = PEER + AVAIL, .used = PEER + USED}};
        device_tell(&b->ends, &m, VU_SET_VRING_ADDR, sizeof(m.body.addr));
        device_tell_state(&b->ends, VU_SET_VRING_BASE, 0, 0);
        device_tell_u64(&b->ends, VU_SET_VRING_CALL, 0, b->call);
        device_tell_u64(&b->ends, VU_SET_VRING_ERR, 0, b->err);
        device_tell_u64(&b->ends, VU_SET_VRING_KICK, 0, b->kick);
        device_tell_state(&b->ends, VU_SET_VRING_ENABLE, 0, 1);
}

static void start(struct bench *b, uint64_t bytes_per_s)
{
        configure(b, bytes_per_s);
        connect_device(b, false);
}

/* Request i has a descriptor and a place of its own. */
static uint8_t *buffer(struct bench *b, unsigned int i)
{
        return b->ram + BUFFERS + i * 0x5000;
}

static void offer(struct bench *b, unsigned int i, uint32_t len)
{
        b->table[i] = (struct vring_desc){BUFFERS + i * 0x5000, len, VRING_DESC_F_WRITE, 0};
        b->avail->ring[b->avail->idx % SIZE] = (uint16_t)i;
        __atomic_store_n(&b->avail->idx, b->avail->idx + 1, __ATOMIC_RELEASE);
}

static void kick(struct bench *b)
{
        assert_int_equal(write(b->kick, &(uint64_t){1}, 8), 8);
}

static bool used_within(struct bench *b, uint16_t index, int timeout_ms)
{
        int64_t deadline = clock_now_ms() + timeout_ms;

        while (__atomic_load_n(&b->used->idx, __ATOMIC_ACQUIRE) != index) {
                uint64_t count;
                int64_t left = deadline - clock_now_ms();

                if (left <= 0 || !readable(b->call, (int)left))
                        return false;
                assert_int_equal(read(b->call, &count, sizeof(count)), sizeof(count));
        }
        return true;
}

/* A value occurs about len / 256 times: far more often only when bytes are missing. */
static void assert_random(const uint8_t *p, uint32_t len)
{
        unsigned int zeros = 0;

        for (uint32_t i = 0; i < len; i++)
                zeros += p[i] == 0;
        assert_in_range(zeros, 0, len / 32 + 8);
}

static void assert_zero(const uint8_t *p, uint32_t len)
{
        for (uint32_t i = 0; i < len; i++)
                assert_int_equal(p[i], 0);
}

static void buffers_are_filled(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        offer(b, 0, 64);
        offer(b, 1, RNG_CHAIN_BYTES_MAX + 100);
        b->table[2] = (struct vring_desc){BUFFERS + 2 * 0x5000, 32, VRING_DESC_F_NEXT, 3}; /* readable: left alone */
        offer(b, 3, 100);
        b->table[3].next = 4;
        b->table[3].flags |= VRING_DESC_F_NEXT;
        b->table[4] = (struct vring_desc){BUFFERS + 4 * 0x5000, 28, VRING_DESC_F_WRITE, 0};
        b->avail->ring[2] = 2;
        b->table[5] = (struct vring_desc){BUFFERS + 5 * 0x5000, 32, 0, 0}; /* nothing to fill */
        b->avail->ring[3] = 5;
        b->avail->idx = 4;
        kick(b);
        assert_true(used_within(b, 4, 10000));
        assert_int_equal(b->used->ring[0].len, 64);
        assert_int_equal(b->used->ring[1].len, RNG_CHAIN_BYTES_MAX);
        assert_int_equal(b->used->ring[2].id, 2);
        assert_int_equal(b->used->ring[2].len, 128);
        assert_int_equal(b->used->ring[3].id, 5);
        assert_int_equal(b->used->ring[3].len, 0);
        assert_random(buffer(b, 0), 64);
        assert_zero(buffer(b, 0) + 64, 1000);
        assert_random(buffer(b, 1), RNG_CHAIN_BYTES_MAX);
        assert_zero(buffer(b, 1) + RNG_CHAIN_BYTES_MAX, 1000);
        assert_zero(buffer(b, 2), 32);
        assert_random(buffer(b, 3), 100);
        assert_random(buffer(b, 4), 28);
        assert_zero(buffer(b, 4) + 28, 1000);
        assert_zero(buffer(b, 5), 32);
        assert_memory_not_equal(buffer(b, 0), buffer(b, 3), 64);
}

/* Several turns for one kick, and what was offered before the queue started, without any. */
static void all_of_a_batch(void **state)
{
        struct bench *b = *state;

        for (unsigned int i = 0; i < 100; i++)
                offer(b, i, 16);
        start(b, 0);
        assert_true(used_within(b, 100, 10000));
        for (unsigned int i = 0; i < 100; i++)
                offer(b, i, 16);
        kick(b);
        assert_true(used_within(b, 200, 10000));
        for (unsigned int i = 0; i < 100; i++)
                assert_random(buffer(b, i), 16);
}

static void event_indices(void **state)
{
        struct bench *b = *state;
        const uint16_t *avail_event = (const uint16_t *)&b->used->ring[SIZE];

        configure(b, 0);
        b->avail->ring[SIZE] = 1; /* tell of the second */
        connect_device(b, true);
        assert_true(readable(b->call, 10000)); /* the start */
        assert_int_equal(read(b->call, &(uint64_t){0}, 8), 8);
        for (uint16_t i = 0; i < 1000; i++) {
                int64_t deadline = clock_now_ms() + 10000;

                b->avail->ring[SIZE] = i;
                offer(b, i % SIZE, 16);
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                if (__atomic_load_n(avail_event, __ATOMIC_RELAXED) == i)
                        kick(b);
                assert_true(used_within(b, i + 1, (int)(deadline - clock_now_ms())));
        }
}

/* A full bucket of a second, one request beyond it, and then no more before its time has come. */
static void the_rate_is_kept(void **state)
{
        struct bench *b = *state;
        int64_t begin;

        start(b, 20000);
        begin = clock_now_ms();
        for (unsigned int i = 0; i < 3; i++)
                offer(b, i, RNG_CHAIN_BYTES_MAX);
        kick(b);
        assert_true(used_within(b, 2, 10000)); /* 32768 bytes: 12768 too many, 638 ms */
        kick(b);
        assert_false(used_within(b, 3, 300));
        assert_true(used_within(b, 3, 10000));
        assert_in_range(clock_now_ms() - begin, 550, 10000);
        assert_random(buffer(b, 2), RNG_CHAIN_BYTES_MAX);
}

/* The queue is dead until it is set up anew; the process is not. */
static void a_broken_ring(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        offer(b, 0, 64);
        b->avail->ring[0] = SIZE;
        kick(b);
        assert_true(readable(b->err, 10000));
        device_tell_state(&b->ends, VU_GET_VRING_BASE, 0, 0);
        assert_int_equal(device_answer(&b->ends, VU_GET_VRING_BASE).body.state.num, 0);
        b->avail->ring[0] = 0;
        device_tell_u64(&b->ends, VU_SET_VRING_KICK, 0, b->kick);
        assert_true(used_within(b, 1, 10000));
        assert_random(buffer(b, 0), 64);
}

static void a_stopped_queue_rests(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        offer(b, 0, 64);
        kick(b);
        assert_true(used_within(b, 1, 10000));
        device_tell_state(&b->ends, VU_GET_VRING_BASE, 0, 0);
        assert_int_equal(device_answer(&b->ends, VU_GET_VRING_BASE).body.state.num, 1);
        offer(b, 1, 64);
        kick(b);
        assert_false(used_within(b, 2, 200));
        assert_zero(buffer(b, 1), 64);
        device_tell_u64(&b->ends, VU_SET_VRING_KICK, 0, b->kick);
        assert_true(used_within(b, 2, 10000));
}

static void memory_that_is_gone(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        offer(b, 0, 64);
        kick(b);
        assert_true(used_within(b, 1, 10000));
        assert_int_equal(ftruncate(b->ram_fd, BUFFERS + 4096), 0);
        offer(b, 0, 64);
        offer(b, 1, 64);
        kick(b);
        assert_true(used_within(b, 3, 10000));
        assert_int_equal(b->used->ring[1].len, 64);
        assert_int_equal(b->used->ring[2].len, 0);
}

static void the_front_end_goes(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        fd_closep(&b->ends.frontend);
        assert_int_equal(exit_status(b), STATUS_OK);
        union control_message m;

        assert_int_equal(control_receive(b->ends.control, &m), -EPIPE); /* nothing to tell of */
}

static void the_supervisor_goes(void **state)
{
        struct bench *b = *state;

        start(b, 0);
        fd_closep(&b->ends.control);
        assert_int_equal(exit_status(b), STATUS_FAILURE);
}

static void protocol_errors(void **state)
{
        struct bench *b = *state;
        union control_message m;

        start(b, 0);
        assert_int_equal(send(b->ends.frontend, "xxxxxxxxxxxx", 12, 0), 12);
        device_hear(&b->ends, CONTROL_FAILED, &m);
        assert_non_null(strstr(m.failed.text, "front end"));
        assert_int_equal(exit_status(b), STATUS_FAILURE);
}

static void another_message_than_its_configuration(void **state)
{
        struct bench *b = *state;
        struct control_header wrong = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(wrong));
        union control_message m;

        assert_int_equal(control_send(b->ends.control, &wrong), 0);
        device_hear(&b->ends, CONTROL_FAILED, &m);
        assert_non_null(strstr(m.failed.text, "configuration"));
        assert_int_equal(exit_status(b), STATUS_FAILURE);
}

static void another_message_than_resize(void **state)
{
        struct bench *b = *state;
        struct control_header wrong = CONTROL_HEADER(CONTROL_POWER_BUTTON, sizeof(wrong));
        union control_message m;

        start(b, 0);
        assert_int_equal(control_send(b->ends.control, &wrong), 0);
        device_hear(&b->ends, CONTROL_FAILED, &m);
        assert_int_equal(exit_status(b), STATUS_FAILURE);
}

static void a_layer_that_is_missing(void **state)
{
        struct bench *b = *state;
        struct control_device_config c = {.head = CONTROL_HEADER(CONTROL_DEVICE_CONFIG, sizeof(c)),
                                          .required_layers = LAYER_BIT(LAYER_CGROUP_LIMITS)};
        union control_message m;

        assert_int_equal(control_send(b->ends.control, &c), 0);
        device_hear(&b->ends, CONTROL_FAILED, &m);
        assert_int_equal(m.failed.status, STATUS_ISOLATION);
        assert_int_equal(exit_status(b), STATUS_ISOLATION);
}

static void it_has_no_size(void **state)
{
        struct bench *b = *state;
        struct control_resize resize = {.head = CONTROL_HEADER(CONTROL_RESIZE, sizeof(resize)), .bytes = 4096};
        union control_message m;

        start(b, 0);
        assert_int_equal(control_send(b->ends.control, &resize), 0);
        device_hear(&b->ends, CONTROL_RESIZED, &m);
        assert_int_equal(m.resize.bytes, 4096);
        assert_int_equal(m.resize.result, -ENOTSUP);
        offer(b, 0, 64);
        kick(b);
        assert_true(used_within(b, 1, 10000));
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(buffers_are_filled),
                TEST(all_of_a_batch),
                TEST(event_indices),
                TEST(the_rate_is_kept),
                TEST(a_broken_ring),
                TEST(a_stopped_queue_rests),
                TEST(memory_that_is_gone),
                TEST(the_front_end_goes),
                TEST(the_supervisor_goes),
                TEST(protocol_errors),
                TEST(another_message_than_its_configuration),
                TEST(another_message_than_resize),
                TEST(a_layer_that_is_missing),
                TEST(it_has_no_size),
        };

        if (argc != 2)
                return 2;
        program = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
