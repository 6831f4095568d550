/*
 * host_uring: how fast a file is through the host's own io_uring, with the loads of guests/block_bench.c.
 *
 *   host_uring [-m MS] [-l LOAD] [-d DEPTH] [-b] [-r] FILE
 *
 * -m: for each measurement (300), after a tenth of that for warming up; -l, -d: only that load, that depth;
 * -b: through the page cache, else with O_DIRECT; -r: registered file and buffers.
 *
 * FILE is overwritten. One thread, that sleeps until at least one request has completed, and sends all that have
 * out again with the same system call. The output has a line for each measurement, like the guest's.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 64U
#define BYTES_MAX 0x20000U
#define BUCKETS   16384U /* of a microsecond each; the last has everything above */
#define MS_MAX    600000

struct load {
        const char *name;
        uint32_t bytes;
        bool write, random;
};

static const struct load loads[] = {
        {"randread", 0x1000, false, true},
        {"randwrite", 0x1000, true, true},
        {"seqread", BYTES_MAX, false, false},
        {"seqwrite", BYTES_MAX, true, false},
};

/* The rings, as the kernel shares them. */
struct ring {
        int fd;
        _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
        uint32_t sq_mask, cq_mask;
        uint32_t *sq_array;
        struct io_uring_sqe *sqes;
        struct io_uring_cqe *cqes;
};

static struct {
        const struct load *load;
        uint64_t blocks, random, next_block;
        uint64_t completed, calls;
        uint64_t began[DEPTH_MAX]; /* CLOCK_MONOTONIC */
        uint32_t buckets[BUCKETS];
} run;

static struct ring ring;
static uint8_t *buffers;
static bool registered;
static int file;

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "host_uring: %s: %s\n", what, strerror(errno));
        exit(1);
}

static uint64_t now_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *map_ring(size_t len, off_t which)
{
        void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, which);

        if (p == MAP_FAILED)
                fail("map the ring");
        return p;
}

/* The flags are for a ring with one thread; a kernel older than 6.1 does not know the second. */
static void ring_open(void)
{
        struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
        uint8_t *sq, *cq;

        ring.fd = (int)syscall(SYS_io_uring_setup, DEPTH_MAX, &p);
        if (ring.fd < 0 && errno == EINVAL) {
                p = (struct io_uring_params){0};
                ring.fd = (int)syscall(SYS_io_uring_setup, DEPTH_MAX, &p);
        }
        if (ring.fd < 0)
                fail("io_uring_setup");
        sq = map_ring(p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
        cq = map_ring(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
        ring.sqes = map_ring(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
        ring.sq_tail = (_Atomic uint32_t *)(void *)(sq + p.sq_off.tail);
        ring.sq_mask = *(uint32_t *)(void *)(sq + p.sq_off.ring_mask);
        ring.sq_array = (uint32_t *)(void *)(sq + p.sq_off.array);
        ring.cq_head = (_Atomic uint32_t *)(void *)(cq + p.cq_off.head);
        ring.cq_tail = (_Atomic uint32_t *)(void *)(cq + p.cq_off.tail);
        ring.cq_mask = *(uint32_t *)(void *)(cq + p.cq_off.ring_mask);
        ring.cqes = (struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
}

static void register_all(void)
{
        struct iovec all = {buffers, (size_t)DEPTH_MAX * BYTES_MAX};

        if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &file, 1) < 0)
                fail("register the file");
        if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &all, 1) < 0)
                fail("register the buffers");
}

static uint64_t choose_block(void)
{
        uint64_t block;

        if (run.load->random) {
                run.random = run.random * 6364136223846793005ULL + 1442695040888963407ULL;
                return (run.random >> 32) * run.blocks >> 32;
        }
        block = run.next_block;
        run.next_block = block + 1 < run.blocks ? block + 1 : 0;
        return block;
}

static void push(uint32_t n)
{
        uint32_t tail = atomic_load_explicit(ring.sq_tail, memory_order_relaxed);
        struct io_uring_sqe *sqe = &ring.sqes[tail & ring.sq_mask];
        bool write = run.load->write;

        *sqe = (struct io_uring_sqe){
                .opcode = registered ? (write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED)
                                     : (write ? IORING_OP_WRITE : IORING_OP_READ),
                .flags = registered ? IOSQE_FIXED_FILE : 0,
                .fd = registered ? 0 : file,
                .off = choose_block() * run.load->bytes,
                .addr = (uint64_t)(uintptr_t)(buffers + (size_t)n * BYTES_MAX),
                .len = run.load->bytes,
                .user_data = n,
        };
        ring.sq_array[tail & ring.sq_mask] = tail & ring.sq_mask;
        run.began[n] = now_ns();
        atomic_store_explicit(ring.sq_tail, tail + 1, memory_order_release);
}

static void enter(unsigned int submit)
{
        long r;

        do {
                r = syscall(SYS_io_uring_enter, ring.fd, submit, 1, IORING_ENTER_GETEVENTS, NULL, 0);
        } while (r < 0 && errno == EINTR);
        if (r < 0 || (unsigned long)r != submit)
                fail("io_uring_enter");
        run.calls++;
}

/* Takes what has completed, and sends it out again unless that is over. Returns how many came. */
static unsigned int turn_round(bool again)
{
        uint32_t head = atomic_load_explicit(ring.cq_head, memory_order_relaxed);
        uint32_t tail = atomic_load_explicit(ring.cq_tail, memory_order_acquire);
        unsigned int came = tail - head;
        uint64_t now = now_ns();

        for (; head != tail; head++) {
                const struct io_uring_cqe *cqe = &ring.cqes[head & ring.cq_mask];
                uint64_t us = (now - run.began[cqe->user_data]) / 1000;

                if (cqe->res != (int32_t)run.load->bytes) {
                        errno = cqe->res < 0 ? -cqe->res : EIO;
                        fail("a request");
                }
                run.buckets[us < BUCKETS ? us : BUCKETS - 1]++;
                run.completed++;
                if (again)
                        push((uint32_t)cqe->user_data);
        }
        atomic_store_explicit(ring.cq_head, tail, memory_order_release);
        return came;
}

/* submit: requests that were pushed already. Returns how many there are now. */
static unsigned int run_for(uint64_t ns, unsigned int submit)
{
        uint64_t end = now_ns() + ns;

        memset(run.buckets, 0, sizeof(run.buckets));
        run.completed = 0;
        run.calls = 0;
        while (now_ns() < end) {
                enter(submit);
                submit = turn_round(true);
        }
        return submit;
}

/* In microseconds, rounded up. */
static uint64_t percentile(uint64_t p)
{
        uint64_t left = run.completed * p / 100, us = 0;

        while (us < BUCKETS - 1 && left >= run.buckets[us])
                left -= run.buckets[us++];
        return us + 1;
}

static void measure(const struct load *load, unsigned int depth, uint64_t ms, uint64_t file_bytes)
{
        unsigned int submit = depth, under_way = depth;
        uint64_t began, ns;

        run.load = load;
        run.blocks = file_bytes / load->bytes;
        run.random = 1;
        run.next_block = 0;
        for (uint32_t n = 0; n < depth; n++)
                push(n);
        submit = run_for(ms * 100000, submit);
        began = now_ns();
        submit = run_for(ms * 1000000, submit);
        ns = now_ns() - began;
        printf("host: %s %u bytes depth %u: %" PRIu64 " requests, %" PRIu64 " ns, %" PRIu64 " calls, p50 %" PRIu64
               " us, p99 %" PRIu64 " us\n",
               load->name, load->bytes, depth, run.completed, ns, run.calls, percentile(50), percentile(99));
        while (under_way > 0) {
                enter(submit);
                submit = 0;
                under_way -= turn_round(false);
        }
}

static uint64_t size_of(int fd)
{
        struct stat st;
        uint64_t bytes;

        if (fstat(fd, &st) < 0)
                fail("fstat");
        if (!S_ISBLK(st.st_mode))
                return (uint64_t)st.st_size;
        if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
                fail("BLKGETSIZE64");
        return bytes;
}

static uint64_t number(const char *text, uint64_t most)
{
        char *end;
        uint64_t value;

        errno = 0;
        value = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || *end != '\0' || errno || value < 1 || value > most) {
                errno = EINVAL;
                fail(text);
        }
        return value;
}

int main(int argc, char **argv)
{
        static const unsigned int depths[] = {1, 8, 32, 64};
        uint64_t ms = 300, depth = 0, file_bytes;
        const char *only = NULL;
        int option, flags = O_RDWR | O_CLOEXEC | O_DIRECT;

        while ((option = getopt(argc, argv, "m:l:d:br")) != -1) {
                if (option == 'm')
                        ms = number(optarg, MS_MAX);
                else if (option == 'd')
                        depth = number(optarg, DEPTH_MAX);
                else if (option == 'l')
                        only = optarg;
                else if (option == 'b')
                        flags &= ~O_DIRECT;
                else if (option == 'r')
                        registered = true;
                else
                        return 2;
        }
        if (optind + 1 != argc) {
                fprintf(stderr, "usage: host_uring [-m MS] [-l LOAD] [-d DEPTH] [-b] [-r] FILE\n");
                return 2;
        }
        file = open(argv[optind], flags);
        if (file < 0)
                fail(argv[optind]);
        file_bytes = size_of(file);
        if (file_bytes < (uint64_t)DEPTH_MAX * BYTES_MAX) {
                errno = EINVAL;
                fail("the file is too small");
        }
        buffers = mmap(NULL, (size_t)DEPTH_MAX * BYTES_MAX, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (buffers == MAP_FAILED)
                fail("buffers");
        ring_open();
        if (registered)
                register_all();
        for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
                if (only && strcmp(only, loads[i].name) != 0)
                        continue;
                for (size_t j = 0; j < (depth ? 1 : sizeof(depths) / sizeof(depths[0])); j++)
                        measure(&loads[i], depth ? (unsigned int)depth : depths[j], ms, file_bytes);
        }
        return 0;
}
