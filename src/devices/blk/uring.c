#include "devices/blk/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* linux/io_uring.h of 5.18 to 6.1 */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#endif
#ifndef IORING_SQ_TASKRUN
#define IORING_SQ_TASKRUN (1U << 2)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

/* Completions that appear when the kernel is entered. */
#define URING_TODO (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)

#define RESTRICTIONS_MAX (URING_OPCODES_MAX + 2)

static int sys_register(int fd, unsigned int op, const void *arg, unsigned int count)
{
        return syscall(SYS_io_uring_register, fd, op, arg, count) < 0 ? -errno : 0;
}

static unsigned int load_acquire(const unsigned int *p)
{
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* The quickest set of flags that the kernel knows; each set is one that it knew at some time. */
static int ring_make(unsigned int entries, struct io_uring_params *p)
{
        static const unsigned int flags[] = {
                IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                IORING_SETUP_SUBMIT_ALL,
                0,
        };
        int fd = -1;

        for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
                memset(p, 0, sizeof(*p));
                p->flags = IORING_SETUP_R_DISABLED | flags[i];
                fd = (int)syscall(SYS_io_uring_setup, entries, p);
                if (fd >= 0 || errno != EINVAL)
                        break;
        }
        return fd < 0 ? -errno : fd;
}

/* Both rings lie in one mapping (IORING_FEAT_SINGLE_MMAP, 5.4), the entries in another. */
static int ring_map(struct uring *u, const struct io_uring_params *p)
{
        size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned int);
        size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
        uint8_t *rings;
        void *sqes;

        if (!(p->features & IORING_FEAT_SINGLE_MMAP) || !(p->features & IORING_FEAT_NODROP))
                return -EINVAL;
        rings = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                     IORING_OFF_SQ_RING);
        if (rings == MAP_FAILED)
                return -errno;
        sqes = mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQES);
        if (sqes == MAP_FAILED)
                return -errno;
        u->rings = rings;
        u->rings_bytes = sq > cq ? sq : cq;
        u->sqes = sqes;
        u->sq_mask = p->sq_entries - 1;
        u->cq_mask = p->cq_entries - 1;
        u->sq_head = (unsigned int *)(rings + p->sq_off.head);
        u->sq_tail = (unsigned int *)(rings + p->sq_off.tail);
        u->sq_flags = (unsigned int *)(rings + p->sq_off.flags);
        u->sq_array = (unsigned int *)(rings + p->sq_off.array);
        u->cq_head = (unsigned int *)(rings + p->cq_off.head);
        u->cq_flags = (unsigned int *)(rings + p->cq_off.flags);
        u->cq_tail = (unsigned int *)(rings + p->cq_off.tail);
        u->cqes = (struct io_uring_cqe *)(rings + p->cq_off.cqes);
        for (unsigned int i = 0; i < p->sq_entries; i++)
                u->sq_array[i] = i;
        return 0;
}

static int ring_restrict(int fd, const struct uring_setup *s)
{
        struct io_uring_restriction r[RESTRICTIONS_MAX] = {
                {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
                {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
        };
        unsigned int count = 2;

        if (s->opcode_count > URING_OPCODES_MAX)
                return -EINVAL;
        for (unsigned int i = 0; i < s->opcode_count; i++)
                r[count++] =
                        (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = s->opcodes[i]};
        return sys_register(fd, IORING_REGISTER_RESTRICTIONS, r, count);
}

static int ring_prepare(struct uring *u, const struct uring_setup *s, struct err *e)
{
        unsigned int workers[2] = {s->workers,
                                   1}; /* bounded, unbounded: none of ours is of the second kind, and 0 is "as it is" */
        int r = sys_register(u->fd, IORING_REGISTER_FILES, s->files, s->file_count);

        if (r < 0)
                return err_set(e, r, "register the ring's files");
        if (s->event_fd >= 0)
                r = sys_register(u->fd, IORING_REGISTER_EVENTFD, &s->event_fd, 1);
        if (r < 0)
                return err_set(e, r, "register the ring's event descriptor");
        r = sys_register(u->fd, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
        if (r < 0 && r != -EINVAL) /* before 5.15; the cgroup's limit holds all the same */
                return err_set(e, r, "limit the ring's workers");
        r = ring_restrict(u->fd, s);
        if (r < 0)
                return err_set(e, r, "restrict the ring");
        r = sys_register(u->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        return r < 0 ? err_set(e, r, "enable the ring") : 0;
}

int uring_open(struct uring *u, int at, const struct uring_setup *s, struct err *e)
{
        struct uring ring = {.fd = -1};
        struct io_uring_params p;
        int r, fd = ring_make(s->entries, &p);

        if (fd < 0)
                return err_set(e, fd, "make an io_uring");
        ring.fd = fd;
        if (fd != at) {
                ring.fd = dup3(fd, at, O_CLOEXEC);
                r = ring.fd < 0 ? -errno : 0;
                close(fd);
                if (r < 0)
                        return err_set(e, r, "move the ring to its number");
        }
        r = ring_map(&ring, &p);
        if (r < 0)
                err_set(e, r, "map the ring");
        else
                r = ring_prepare(&ring, s, e);
        if (r < 0)
                uring_close(&ring);
        else
                *u = ring;
        return r;
}

struct io_uring_sqe *uring_next(struct uring *u)
{
        struct io_uring_sqe *sqe;

        if (u->tail - load_acquire(u->sq_head) > u->sq_mask)
                return NULL;
        sqe = &u->sqes[u->tail++ & u->sq_mask];
        u->unsubmitted++;
        memset(sqe, 0, sizeof(*sqe));
        sqe->flags = IOSQE_FIXED_FILE;
        return sqe;
}

int uring_enter(struct uring *u, unsigned int wait)
{
        unsigned int todo = load_acquire(u->sq_flags) & URING_TODO;
        int n;

        if (!todo && !wait && u->unsubmitted == 0)
                return 0;
        __atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
        n = (int)syscall(SYS_io_uring_enter, u->fd, u->unsubmitted, wait, IORING_ENTER_GETEVENTS, NULL, 0);
        if (n < 0)
                return -errno;
        u->unsubmitted -= (unsigned int)n;
        return 0;
}

bool uring_reap(struct uring *u, struct io_uring_cqe *ret)
{
        unsigned int head = *u->cq_head;

        if (head == load_acquire(u->cq_tail))
                return false;
        *ret = u->cqes[head & u->cq_mask];
        __atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
        return true;
}

bool uring_ready(const struct uring *u)
{
        return *u->cq_head != load_acquire(u->cq_tail) || (load_acquire(u->sq_flags) & URING_TODO);
}

void uring_events_off(struct uring *u)
{
        __atomic_store_n(u->cq_flags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
}

bool uring_events_on(struct uring *u)
{
        __atomic_store_n(u->cq_flags, 0, __ATOMIC_RELAXED);
        /* The kernel makes a completion visible, then looks at the flag. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return uring_ready(u);
}

void uring_close(struct uring *u)
{
        if (u->sqes)
                munmap(u->sqes, (u->sq_mask + 1) * sizeof(struct io_uring_sqe));
        if (u->rings)
                munmap(u->rings, u->rings_bytes);
        fd_closep(&u->fd);
        *u = (struct uring){.fd = -1};
}
