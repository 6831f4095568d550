#include "vu_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define WAIT_MS 20000 /* for what happens at once; valgrind and a loaded machine take their time */

/* ---- the device ---- */

static void echo_give(struct echo *d, struct vu_queue *q)
{
        uint16_t head = d->held[q->index][--d->held_count[q->index]];

        vu_queue_push(q, head, 12);
        vu_queue_notify(q);
}

void echo_serve(struct echo *d, struct vu_queue *q)
{
        struct virtq_chain c;

        while (d->held_count[q->index] < WORLD_SIZE && vu_queue_pop(q, &c) == 1) {
                uint64_t number = 0;

                virtq_read(&c, 0, &number, sizeof(number));
                virtq_write(&c, 0, &number, sizeof(number));
                virtq_write(&c, 8, &d->taken, sizeof(d->taken));
                d->taken++;
                d->held[q->index][d->held_count[q->index]++] = c.head;
                if (!d->hold)
                        echo_give(d, q);
        }
}

static void echo_config_read(void *ctx, uint8_t *config)
{
        struct echo *d = ctx;

        memset(config, 0, WORLD_CONFIG);
        memcpy(config, &d->size, sizeof(d->size));
        config[8] = d->written;
}

static int echo_config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        struct echo *d = ctx;

        if (off_bytes != 8 || len_bytes != 1)
                return -EINVAL;
        d->written = data[0];
        return 0;
}

static void echo_features_set(void *ctx, uint64_t features)
{
        struct echo *d = ctx;

        d->features = features;
}

static int echo_queue_start(void *ctx, struct vu_queue *q, struct err *e)
{
        struct echo *d = ctx;

        if (d->queues[q->index] || q->kick_fd < 0)
                abort();
        d->queues[q->index] = q;
        d->starts++;
        echo_serve(d, q);
        return 0;
}

static void echo_queue_stop(void *ctx, struct vu_queue *q)
{
        struct echo *d = ctx;

        if (d->queues[q->index] != q)
                abort();
        while (d->held_count[q->index] > 0)
                echo_give(d, q);
        d->queues[q->index] = NULL;
        d->stops++;
}

const struct vu_device_ops echo_ops = {
        .features = WORLD_FEATURES,
        .queues = WORLD_QUEUES,
        .config_bytes = WORLD_CONFIG,
        .config_read = echo_config_read,
        .config_write = echo_config_write,
        .features_set = echo_features_set,
        .queue_start = echo_queue_start,
        .queue_stop = echo_queue_stop,
};

static void echo_do(struct echo *d, struct vu_backend *b, int command_fd)
{
        char c;

        if (read(command_fd, &c, 1) != 1)
                _exit(0);
        if (c == ECHO_HOLD)
                d->hold = true;
        for (unsigned int i = 0; i < WORLD_QUEUES && c == ECHO_ONE; i++)
                if (d->held_count[i] > 0)
                        echo_give(d, d->queues[i]);
        for (unsigned int i = 0; i < WORLD_QUEUES && c == ECHO_RELEASE; i++)
                while (d->held_count[i] > 0)
                        echo_give(d, d->queues[i]);
        if (c == ECHO_RELEASE)
                d->hold = false;
        if (c == ECHO_GROW) {
                d->size *= 2;
                if (vu_backend_config_changed(b) != 0)
                        _exit(3);
        }
        if (write(command_fd, &c, 1) != 1)
                _exit(2);
}

/* A descriptor that the front end made is never read: the edge is that a look at it comes after each wait. */
static void echo_main(int fd, int command_fd)
{
        struct vu_backend *b = calloc(1, sizeof(*b));
        struct echo d = {.size = 100};
        struct err e;

        vu_backend_init(b, &echo_ops, &d, fd);
        for (;;) {
                struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = command_fd, .events = POLLIN}};

                if (poll(p, 2, 1) < 0)
                        _exit(4);
                for (unsigned int i = 0; i < WORLD_QUEUES; i++)
                        if (d.queues[i])
                                echo_serve(&d, d.queues[i]);
                if (p[1].revents)
                        echo_do(&d, b, command_fd);
                if (p[0].revents && vu_backend_handle(b, &e) < 0)
                        break;
        }
        vu_backend_fini(b);
        vu_backend_fini(b);
        free(b);
        _exit(0);
}

void echo_start(struct echo_process *p)
{
        int front[2], command[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, front), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, command), 0);
        p->pid = fork();
        assert_true(p->pid >= 0);
        if (p->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(front[0]);
                close(command[0]);
                echo_main(front[1], command[1]);
        }
        close(front[1]);
        close(command[1]);
        p->front = front[0];
        p->command = command[0];
}

void echo_tell(const struct echo_process *p, enum echo_command c)
{
        char byte = (char)c, answer = 0;

        assert_int_equal(write(p->command, &byte, 1), 1);
        assert_int_equal(read(p->command, &answer, 1), 1);
        assert_int_equal(answer, byte);
}

void echo_kill(struct echo_process *p)
{
        int status;

        assert_int_equal(kill(p->pid, SIGKILL), 0);
        assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
        close(p->command);
}

/* ---- the guest ---- */

gpa_t world_table(unsigned int queue)
{
        return 0x10000 + 0x10000ULL * queue;
}

gpa_t world_avail(unsigned int queue)
{
        return world_table(queue) + 0x1000;
}

gpa_t world_used(unsigned int queue)
{
        return world_table(queue) + 0x2000;
}

static gpa_t world_buffer(unsigned int queue, unsigned int slot)
{
        return world_table(queue) + 0x3000 + 0x100ULL * slot;
}

void driver_rings_clear(struct driver *d)
{
        for (unsigned int q = 0; q < WORLD_QUEUES; q++) {
                memset(guest_ram_at(&d->ram, world_table(q), 0x3000), 0, 0x3000);
                d->avail[q] = d->used[q] = 0;
                memset(d->busy[q], 0, sizeof(d->busy[q]));
        }
}

void driver_init(struct driver *d)
{
        memset(d, 0, sizeof(*d));
        assert_int_equal(guest_ram_map(&d->ram, WORLD_RAM, 0xc0000000, 0x100000000, &d->ram_fd, NULL), 0);
        for (unsigned int q = 0; q < WORLD_QUEUES; q++) {
                d->kick[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                d->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                assert_true(d->kick[q] >= 0 && d->call[q] >= 0);
        }
}

void driver_fini(struct driver *d)
{
        guest_ram_unmap(&d->ram);
        close(d->ram_fd);
        for (unsigned int q = 0; q < WORLD_QUEUES; q++) {
                close(d->kick[q]);
                close(d->call[q]);
        }
}

void driver_queues(const struct driver *d, struct vu_frontend_queue ret[WORLD_QUEUES])
{
        for (unsigned int q = 0; q < WORLD_QUEUES; q++)
                ret[q] = (struct vu_frontend_queue){.size = WORLD_SIZE,
                                                    .descriptors = world_table(q),
                                                    .driver = world_avail(q),
                                                    .device = world_used(q),
                                                    .kick_fd = d->kick[q],
                                                    .call_fd = d->call[q]};
}

void driver_send(struct driver *d, unsigned int queue, unsigned int slot, uint64_t number)
{
        struct vring_desc *table = guest_ram_at(&d->ram, world_table(queue), WORLD_SIZE * sizeof(*table));
        struct vring_avail *avail = guest_ram_at(&d->ram, world_avail(queue), 64);
        gpa_t buffer = world_buffer(queue, slot);
        uint64_t one = 1;

        assert_false(d->busy[queue][slot]);
        d->busy[queue][slot] = true;
        assert_int_equal(guest_ram_write(&d->ram, buffer, &number, sizeof(number)), 0);
        memset(guest_ram_at(&d->ram, buffer + 64, 12), 0xee, 12);
        table[2 * slot] = (struct vring_desc){buffer, 8, VRING_DESC_F_NEXT, (uint16_t)(2 * slot + 1)};
        table[2 * slot + 1] = (struct vring_desc){buffer + 64, 12, VRING_DESC_F_WRITE, 0};
        avail->ring[d->avail[queue] % WORLD_SIZE] = (uint16_t)(2 * slot);
        __atomic_store_n(&avail->idx, ++d->avail[queue], __ATOMIC_RELEASE);
        assert_int_equal(write(d->kick[queue], &one, sizeof(one)), sizeof(one));
}

unsigned int driver_reap(struct driver *d, unsigned int queue)
{
        struct vring_used *used = guest_ram_at(&d->ram, world_used(queue), 256);
        struct vring_avail *avail = guest_ram_at(&d->ram, world_avail(queue), 64);
        uint16_t idx = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
        unsigned int n = 0;

        for (; d->used[queue] != idx; d->used[queue]++, n++) {
                const struct vring_used_elem *u = &used->ring[d->used[queue] % WORLD_SIZE];

                assert_true(u->id < WORLD_SIZE && u->id % 2 == 0);
                assert_true(d->busy[queue][u->id / 2]); /* given back once */
                assert_int_equal(u->len, 12);
                d->busy[queue][u->id / 2] = false;
        }
        avail->ring[WORLD_SIZE] = idx; /* used_event: tell of the next */
        return n;
}

void driver_wait(struct driver *d, unsigned int queue, unsigned int count)
{
        int64_t deadline = clock_now_ms() + WAIT_MS;

        while (count > 0) {
                struct pollfd p = {.fd = d->call[queue], .events = POLLIN};
                uint64_t events;
                unsigned int n;

                assert_true(clock_now_ms() < deadline);
                if (poll(&p, 1, 100) == 1)
                        assert_int_equal(read(d->call[queue], &events, sizeof(events)), sizeof(events));
                n = driver_reap(d, queue);
                assert_true(n <= count);
                count -= n;
        }
}

uint64_t driver_number(const struct driver *d, unsigned int queue, unsigned int slot)
{
        uint64_t number;

        memcpy(&number, guest_ram_at(&d->ram, world_buffer(queue, slot) + 64, 8), sizeof(number));
        return number;
}

uint32_t driver_order(const struct driver *d, unsigned int queue, unsigned int slot)
{
        uint32_t order;

        memcpy(&order, guest_ram_at(&d->ram, world_buffer(queue, slot) + 72, 4), sizeof(order));
        return order;
}

int world_memfd(const char *name, uint64_t bytes, unsigned int seals)
{
        int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
        if (seals)
                assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

unsigned int world_open_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned int n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}
