/* Virtqueues: who tells whom, by flag and by event index. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtq_driver.h"

static void interrupts_by_flag(void **state)
{
        struct driver *d = *state;

        assert_true(virtq_should_notify(&d->q)); /* what a predecessor may have kept to itself */
        assert_false(virtq_should_notify(&d->q));
        virtq_push(&d->q, 0, 0);
        assert_true(virtq_should_notify(&d->q));
        d->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
        virtq_push(&d->q, 0, 0);
        assert_false(virtq_should_notify(&d->q));
}

static void interrupts_by_event_index(void **state)
{
        struct driver *d = *state;
        uint16_t *event = &d->avail->ring[8];

        d->used->idx = 0xfffe;
        queue_set(d, 8, 0, true, true);
        d->avail->flags = VRING_AVAIL_F_NO_INTERRUPT; /* means nothing now */
        *event = 0x8000;
        assert_true(virtq_should_notify(&d->q)); /* what a predecessor may have kept to itself */
        *event = 0;                              /* tell me when element 0 is there */
        virtq_push(&d->q, 0, 0);
        virtq_push(&d->q, 0, 0);
        assert_false(virtq_should_notify(&d->q)); /* fffe and ffff are */
        virtq_push(&d->q, 0, 0);
        assert_true(virtq_should_notify(&d->q));
        assert_false(virtq_should_notify(&d->q));
        virtq_push(&d->q, 0, 0);
        assert_false(virtq_should_notify(&d->q)); /* 0 was passed already */
        *event = 3;
        virtq_push(&d->q, 0, 0);
        virtq_push(&d->q, 0, 0);
        virtq_push(&d->q, 0, 0);
        assert_true(virtq_should_notify(&d->q)); /* passed in the middle of a batch */
}

static void kicks_by_flag(void **state)
{
        struct driver *d = *state;

        good_chain(d);
        virtq_kicks_off(&d->q);
        assert_int_equal(d->used->flags, VRING_USED_F_NO_NOTIFY);
        assert_false(virtq_kicks_on(&d->q));
        assert_int_equal(d->used->flags, 0);
        virtq_kicks_off(&d->q);
        offer(d, 0);
        assert_true(virtq_kicks_on(&d->q));
}

static void kicks_by_event_index(void **state)
{
        struct driver *d = *state;
        const uint16_t *event = (const uint16_t *)&d->used->ring[8];

        good_chain(d);
        queue_set(d, 8, 0, true, true);
        offer(d, 0);
        assert_int_equal(virtq_pop(&d->q, &d->chain), 1);
        virtq_kicks_off(&d->q);
        assert_int_equal(d->used->flags, 0);
        assert_int_equal(*event, 0); /* which the driver has passed */
        assert_false(virtq_waiting(&d->q));
        assert_false(virtq_kicks_on(&d->q));
        assert_int_equal(*event, 1); /* chain 1 is the one to tell of */
        virtq_kicks_off(&d->q);
        for (uint32_t next = 1; next < 0x10000; next++) /* no batch asks for a kick */
                assert_false(vring_need_event(*event, (uint16_t)next, 1));
        offer(d, 0);
        assert_true(virtq_waiting(&d->q));
        assert_true(virtq_kicks_on(&d->q));
        assert_int_equal(*event, 1);
}

/* A driver on another processor: no chain and no notification is lost, whoever sleeps when. */
#define ROUNDS 20000U

struct pair {
        struct driver *d;
        int kick, call;
        bool failed;
};

static bool wait_for(int fd)
{
        struct pollfd p = {fd, POLLIN, 0};
        uint64_t count;

        return poll(&p, 1, 10000) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

static void tell(int fd)
{
        const uint64_t one = 1;

        if (write(fd, &one, sizeof(one)) != sizeof(one))
                abort();
}

static void *drive(void *arg)
{
        struct pair *p = arg;
        struct driver *d = p->d;
        uint16_t *event = &d->avail->ring[8], used = 0, kicked = 0;
        uint32_t offered = 0, done = 0;

        while (done < ROUNDS && !p->failed) {
                while (offered < ROUNDS && offered - done < 2) {
                        offer(d, offered & 1 ? 3 : 0);
                        offered++;
                }
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                if (vring_need_event(__atomic_load_n((uint16_t *)&d->used->ring[8], __ATOMIC_RELAXED), d->avail->idx,
                                     kicked))
                        tell(p->kick);
                kicked = d->avail->idx;
                __atomic_store_n(event, used, __ATOMIC_RELAXED);
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                if (__atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE) == used && !wait_for(p->call)) {
                        p->failed = true;
                        break;
                }
                while (__atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE) != used) {
                        p->failed |= d->used->ring[used & 7].len != done;
                        used++;
                        done++;
                }
        }
        return NULL;
}

static void nothing_is_lost(void **state)
{
        struct driver *d = *state;
        struct pair p = {d, eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC), false};
        uint32_t served = 0;
        pthread_t thread;

        good_chain(d);
        desc(d->table, 3, BUFFER, 1, 0, 0);
        queue_set(d, 8, 0, true, true);
        assert_false(virtq_kicks_on(&d->q));
        assert_int_equal(pthread_create(&thread, NULL, drive, &p), 0);
        while (served < ROUNDS && !p.failed) {
                if (virtq_pop(&d->q, &d->chain) > 0) {
                        if (served % 3 == 0)
                                virtq_kicks_off(&d->q);
                        p.failed |= d->chain.head != (served & 1 ? 3 : 0);
                        virtq_push(&d->q, d->chain.head, served++);
                        if (virtq_should_notify(&d->q))
                                tell(p.call);
                } else if (!virtq_kicks_on(&d->q) && !wait_for(p.kick)) {
                        p.failed = true;
                }
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_false(p.failed);
        close(p.kick);
        close(p.call);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(interrupts_by_flag),   TEST(interrupts_by_event_index), TEST(kicks_by_flag),
                TEST(kicks_by_event_index), TEST(nothing_is_lost),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
