/*
 * A back end, of whom a front end and a guest want anything: messages of the codec's table with any bytes changed, any
 * descriptors, any rings; and its death now and then, after which another one goes on with the in-flight region. Time
 * is made up: who would wait waits in vain.
 */
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "vhost_user/backend.h"

int __wrap_poll(struct pollfd *p, nfds_t count, int timeout);
int __real_poll(struct pollfd *p, nfds_t count, int timeout);

int __wrap_poll(struct pollfd *p, nfds_t count, int timeout)
{
        return target_runs ? 0 : __real_poll(p, count, timeout);
}

#define RAM      65536
#define QUEUES   2
#define SIZE     8
#define CONFIG   16
#define FEATURES (1ULL << 32 | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define ALL      (FEATURES | VU_F_PROTOCOL_FEATURES)
#define PROTOCOL 0x1b229

/* ---- descriptors that a front end could have ---- */

enum kind { RAM_FD, INFLIGHT_FD, EVENT_FD, PIPE_FD, SOCKET_FD, NULL_FD, EPOLL_FD, SHORT_FD, KINDS };

static int fds[KINDS];
static uint8_t *ram;      /* the guest's, as the front end sees it */
static uint8_t *inflight; /* the region that the front end keeps */

static int memfd(size_t bytes, unsigned int seals)
{
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        MUST(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
        MUST(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
        return fd;
}

static void world_open(void)
{
        int pair[2];

        fds[RAM_FD] = memfd(RAM, F_SEAL_SHRINK | F_SEAL_GROW);
        fds[INFLIGHT_FD] = memfd(8192, F_SEAL_SHRINK);
        fds[SHORT_FD] = memfd(100, 0);
        fds[EVENT_FD] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        MUST(pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0);
        fds[PIPE_FD] = pair[1];
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        fds[SOCKET_FD] = pair[1];
        fds[NULL_FD] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[EPOLL_FD] = epoll_create1(EPOLL_CLOEXEC);
        ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fds[RAM_FD], 0);
        inflight = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fds[INFLIGHT_FD], 0);
        MUST(ram != MAP_FAILED && inflight != MAP_FAILED);
}

/* ---- the device ---- */

struct device {
        struct vu_queue *queues[QUEUES];
        uint16_t held[QUEUES][64];
        unsigned int held_count[QUEUES];
        bool hold, dead;
        uint8_t written;
        unsigned int starts, stops;
};

static void give(struct device *d, unsigned int i)
{
        vu_queue_push(d->queues[i], d->held[i][--d->held_count[i]], 1);
        vu_queue_notify(d->queues[i]);
}

static void serve(struct device *d, unsigned int i)
{
        static struct virtq_chain c;
        uint8_t bytes[64];

        for (unsigned int n = 0; n < 16 && d->held_count[i] < ARRAY_LEN(d->held[i]); n++) {
                if (vu_queue_pop(d->queues[i], &c) != 1)
                        return;
                MUST(c.head < d->queues[i]->ring.layout.size);
                virtq_write(&c, 0, bytes, virtq_read(&c, 0, bytes, sizeof(bytes)));
                d->held[i][d->held_count[i]++] = c.head;
                if (!d->hold)
                        give(d, i);
        }
}

static void config_read(void *ctx, uint8_t *config)
{
        const struct device *d = ctx;

        memset(config, d->written, CONFIG);
}

static int config_write(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes)
{
        struct device *d = ctx;

        MUST(len_bytes > 0 && off_bytes + len_bytes <= CONFIG);
        d->written = data[len_bytes - 1];
        return d->written == 3 ? -22 : 0;
}

static void features_set(void *ctx, uint64_t features)
{
        MUST((features & ~FEATURES) == 0);
}

static int queue_start(void *ctx, struct vu_queue *q, struct err *e)
{
        struct device *d = ctx;

        MUST(!d->queues[q->index] && d->held_count[q->index] == 0 && q->kick_fd >= 0);
        if (d->written == 7)
                return err_set(e, -5, "start a queue");
        d->queues[q->index] = q;
        d->starts++;
        serve(d, q->index);
        return 0;
}

/* One that is dead gives nothing back. */
static void queue_stop(void *ctx, struct vu_queue *q)
{
        struct device *d = ctx;

        MUST(d->queues[q->index] == q);
        while (!d->dead && d->held_count[q->index] > 0)
                give(d, q->index);
        d->held_count[q->index] = 0;
        d->queues[q->index] = NULL;
        d->stops++;
}

static const struct vu_device_ops ops = {
        .features = FEATURES,
        .queues = QUEUES,
        .config_bytes = CONFIG,
        .config_read = config_read,
        .config_write = config_write,
        .features_set = features_set,
        .queue_start = queue_start,
        .queue_stop = queue_stop,
};

/* ---- the front end ---- */

static struct vu_backend back;
static struct device device;
static int front;

static void back_open(void)
{
        int pair[2];

        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        front = pair[0];
        device = (struct device){0};
        vu_backend_init(&back, &ops, &device, pair[1]);
}

static void back_close(void)
{
        vu_backend_fini(&back);
        MUST(device.starts == device.stops);
        close(front);
}

static uint64_t table_of(unsigned int queue)
{
        return 0x1000 + 0x4000ULL * queue;
}

/* What is right, or nearly. */
static void right_message(struct reader *r, struct vu_message *m, enum kind *ret_fd)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);
        uint32_t queue = m->head.flags >> 8 & 1;
        struct vu_region region = {.len_bytes = RAM};

        m->head.size_bytes = kind->size_max;
        m->fd_count = kind->fds_max > 0;
        *ret_fd = EVENT_FD;
        switch (m->head.request) {
        case VU_SET_FEATURES:
                m->body.u64 = read_u8(r) & 1 ? FEATURES : ALL;
                break;
        case VU_SET_PROTOCOL_FEATURES:
                m->body.u64 = PROTOCOL;
                break;
        case VU_SET_VRING_NUM:
                m->body.state = (struct vu_payload_vring_state){queue, SIZE};
                break;
        case VU_SET_VRING_ENABLE:
                m->body.state = (struct vu_payload_vring_state){queue, 1};
                break;
        case VU_SET_VRING_BASE:
        case VU_GET_VRING_BASE:
                m->body.state.index = queue;
                break;
        case VU_SET_VRING_ADDR:
                m->body.addr = (struct vu_payload_vring_addr){.index = queue,
                                                              .descriptors = table_of(queue),
                                                              .avail = table_of(queue) + 0x1000,
                                                              .used = table_of(queue) + 0x2000};
                break;
        case VU_SET_VRING_KICK:
        case VU_SET_VRING_CALL:
        case VU_SET_VRING_ERR:
                m->body.u64 = queue;
                break;
        case VU_SET_BACKEND_REQ_FD:
                *ret_fd = SOCKET_FD;
                break;
        case VU_GET_CONFIG:
        case VU_SET_CONFIG:
                m->body.config.size_bytes = (uint32_t)read_in(r, 1, CONFIG);
                m->head.size_bytes = (uint32_t)VU_CONFIG_BYTES(m->body.config.size_bytes);
                break;
        case VU_GET_INFLIGHT_FD:
        case VU_SET_INFLIGHT_FD:
                m->body.inflight = (struct vu_payload_inflight){8192, 0, QUEUES, 64, 0};
                *ret_fd = INFLIGHT_FD;
                break;
        case VU_SET_MEM_TABLE:
                m->body.mem_table.count = 1;
                m->body.mem_table.regions[0] = region;
                m->head.size_bytes = (uint32_t)VU_MEM_TABLE_BYTES(1);
                *ret_fd = RAM_FD;
                break;
        case VU_ADD_MEM_REG:
        case VU_REM_MEM_REG:
                region.base = region.peer = (uint64_t)(read_u8(r) & 3) << 20;
                m->body.mem_reg.region = region;
                m->fd_count = m->head.request == VU_ADD_MEM_REG;
                *ret_fd = RAM_FD;
                break;
        case VU_SET_STATUS:
                m->body.u64 = read_u8(r);
                break;
        default:
                break;
        }
}

/* A message of the table, with up to three changes. Returns how many bytes of payload are sent. */
static uint32_t make_message(struct reader *r, struct vu_message *m)
{
        uint8_t which = read_u8(r), how = read_u8(r);
        enum kind kind = EVENT_FD;
        uint32_t sent;

        memset(m, 0, sizeof(*m));
        m->head.request = vu_front_messages[which % vu_front_message_count].request;
        m->head.flags = how & 1 ? 0x100 : 0; /* the queue, for now */
        right_message(r, m, &kind);
        m->head.flags = VU_FLAG_VERSION | (how & 2 ? VU_FLAG_NEED_REPLY : 0);
        for (unsigned int changes = how >> 2 & 3; changes > 0; changes--) {
                unsigned int at = (unsigned int)read_in(r, 0, sizeof(m->body) - 8);
                unsigned int bytes = 1U << (read_u8(r) & 3);
                uint64_t value = read_u8(r) & 1 ? read_u64(r) : read_u8(r);

                memcpy(m->body.bytes + at, &value, bytes);
        }
        if (how & 0x10)
                m->fd_count = (unsigned int)read_in(r, 0, VU_FDS_MAX);
        for (unsigned int i = 0; i < m->fd_count; i++)
                m->fds[i] = fds[how & 0x20 ? read_u8(r) % KINDS : kind];
        if (how & 0x40)
                m->head.size_bytes = (uint32_t)read_in(r, 0, 300);
        sent = m->head.size_bytes < sizeof(m->body) ? m->head.size_bytes : sizeof(m->body);
        if (how & 0x80) {
                uint8_t at = read_u8(r) % 3;
                uint32_t value = read_u32(r);

                memcpy((uint8_t *)&m->head + 4 * at, &value, sizeof(value));
        }
        return sent;
}

static void send_message(const struct vu_message *m, uint32_t sent)
{
        union {
                struct cmsghdr head;
                char bytes[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
        } control = {0};
        struct iovec v[2] = {{(void *)(uintptr_t)&m->head, sizeof(m->head)}, {(void *)(uintptr_t)&m->body, sent}};
        struct msghdr h = {.msg_iov = v, .msg_iovlen = 2};

        if (m->fd_count > 0) {
                h.msg_control = &control;
                h.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
                control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(m->fd_count * sizeof(int)),
                                                .cmsg_level = SOL_SOCKET,
                                                .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.head), m->fds, m->fd_count * sizeof(int));
        }
        MUST(sendmsg(front, &h, MSG_NOSIGNAL) == (ssize_t)(sizeof(m->head) + sent));
}

/* Exactly what the table says, and nothing besides. */
static void check_answer(const struct vu_message *m)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);
        struct vu_message answer;
        uint8_t more;

        MUST(kind);
        if (kind->reply_always || m->head.flags & VU_FLAG_NEED_REPLY) {
                MUST(vu_message_receive(front, false, kind, 1000, &answer) == 0);
                MUST(kind->reply_always || answer.body.u64 <= 1);
                vu_message_close(&answer);
        }
        MUST(recv(front, &more, 1, MSG_DONTWAIT) < 0);
}

static bool talk(struct reader *r)
{
        struct err e = ERR_INIT;
        struct vu_message m;
        uint32_t sent = make_message(r, &m);
        int result;

        send_message(&m, sent);
        result = vu_backend_handle(&back, &e);
        if (result == 0)
                check_answer(&m);
        else
                must_be_error(&e, result, STATUS_BIT(STATUS_FAILURE));
        return result == 0;
}

/* ---- the guest ---- */

static void scribble(struct reader *r)
{
        unsigned int at = read_u16(r) % (RAM - 64);

        read_bytes(r, ram + at, read_in(r, 1, 64));
}

/* A chain of two segments, in the way of a driver. */
static void request(struct reader *r)
{
        unsigned int queue = read_u8(r) & 1, slot = read_u8(r) % (SIZE / 2);
        struct vring_desc *table = (void *)(ram + table_of(queue));
        struct vring_avail *avail = (void *)(ram + table_of(queue) + 0x1000);

        table[2 * slot] = (struct vring_desc){0xc000, read_u8(r), VRING_DESC_F_NEXT, (uint16_t)(2 * slot + 1)};
        table[2 * slot + 1] = (struct vring_desc){0xd000, read_u8(r), VRING_DESC_F_WRITE, 0};
        avail->ring[avail->idx++ % SIZE] = (uint16_t)(2 * slot);
}

static void check_state(void)
{
        for (unsigned int i = 0; i < QUEUES; i++) {
                const struct vu_queue *q = &back.queues[i];

                MUST(device.queues[i] == (q->started ? q : NULL));
                MUST(!q->started || (q->live && q->ring.table == guest_ram_at(&back.ram, q->ring.layout.descriptors,
                                                                              16ULL * q->ring.layout.size)));
                MUST(!q->started || (q->ring.table && q->ring.layout.size <= VIRTQ_SIZE_MAX));
        }
}

static bool step(struct reader *r)
{
        unsigned int queue;

        switch (read_u8(r) & 15) {
        case 0:
                scribble(r);
                break;
        case 1:
        case 2:
                request(r);
                break;
        case 3:
                for (unsigned int i = 0; i < QUEUES; i++)
                        if (device.queues[i])
                                serve(&device, i);
                break;
        case 4:
                device.hold = !device.hold;
                break;
        case 5:
                queue = read_u8(r) & 1;
                if (device.held_count[queue] > 0)
                        give(&device, queue);
                break;
        case 6:
                MUST(vu_backend_config_changed(&back) <= 0);
                break;
        case 7:
                device.dead = true;
                back_close();
                back_open();
                break;
        case 8:
                inflight[read_u16(r) % 8192] = read_u8(r);
                break;
        default:
                return talk(r);
        }
        return true;
}

static int lowest_free(void)
{
        int fd = fcntl(fds[EVENT_FD], F_DUPFD_CLOEXEC, 0);

        MUST(fd >= 0);
        close(fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};
        uint64_t count;
        int free_before;

        if (!ram)
                world_open();
        memset(ram, 0, RAM);
        memset(inflight, 0, 8192);
        (void)!read(fds[EVENT_FD], &count, sizeof(count)); /* empty, or it is now */
        free_before = lowest_free();
        target_runs = true;
        back_open();
        while (r.len > 0) {
                bool alive = step(&r);

                check_state();
                if (!alive)
                        break;
        }
        back_close();
        target_runs = false;
        MUST(lowest_free() == free_before);
        return 0;
}
