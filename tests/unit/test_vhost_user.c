/* vhost-user: a front end and a back end through the whole life of a device, and after its death. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vu_world.h"

#define INFLIGHT_AT 200

/* ---- both ends of ours ---- */

static void join(struct vu_frontend *f, struct echo_process *p)
{
        struct err e = ERR_INIT;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        echo_start(p);
        if (vu_frontend_connect(f, p->front, WORLD_FEATURES | 1, 8, WORLD_CONFIG, pair, &e) != 0)
                fail_msg("%s", e.text);
        close(pair[1]);
        assert_int_equal(f->features, WORLD_FEATURES);
        assert_int_equal(f->queues, WORLD_QUEUES);
        assert_int_equal(f->config_bytes, WORLD_CONFIG);
        assert_true(f->request_fd == pair[0]);
}

static void run(struct vu_frontend *f, struct driver *d)
{
        struct vu_frontend_queue queues[WORLD_QUEUES];
        struct err e = ERR_INIT;

        driver_queues(d, queues);
        if (vu_frontend_start(f, &d->ram, d->ram_fd, WORLD_FEATURES, queues, WORLD_QUEUES, &e) != 0)
                fail_msg("%s", e.text);
        assert_int_equal(f->inflight_fd, INFLIGHT_AT);
}

static void exchange(struct driver *d, uint64_t number)
{
        for (unsigned int q = 0; q < WORLD_QUEUES; q++) {
                for (unsigned int slot = 0; slot < WORLD_SIZE / 2; slot++)
                        driver_send(d, q, slot, number + slot);
                driver_wait(d, q, WORLD_SIZE / 2);
                for (unsigned int slot = 0; slot < WORLD_SIZE / 2; slot++)
                        assert_int_equal(driver_number(d, q, slot), number + slot);
        }
}

static void a_whole_life(void **state)
{
        unsigned int open_before = world_open_fds();
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;

        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        join(&f, &p);
        for (unsigned int i = 0; i < 3; i++) {
                run(&f, &d);
                for (unsigned int k = 0; k < 20; k++)
                        exchange(&d, 1000 * i + k);
                assert_int_equal(vu_frontend_stop(&f, WORLD_QUEUES, NULL), 0);
                assert_int_equal(f.inflight_fd, -1);
                driver_rings_clear(&d);
        }
        vu_frontend_fini(&f);
        vu_frontend_fini(&f);
        assert_int_equal(waitpid(p.pid, &(int){0}, 0), p.pid);
        close(p.command);
        driver_fini(&d);
        assert_int_equal(world_open_fds(), open_before);
}

/* Whatever is sent after the stop, the device leaves the guest's memory alone. */
static void a_stopped_device_is_still(void **state)
{
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;

        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        join(&f, &p);
        run(&f, &d);
        exchange(&d, 1);
        echo_tell(&p, ECHO_HOLD);
        driver_send(&d, 0, 0, 77);
        while (driver_number(&d, 0, 0) != 77)
                usleep(1000);
        assert_int_equal(driver_reap(&d, 0), 0);
        assert_int_equal(vu_frontend_stop(&f, WORLD_QUEUES, NULL), 0);
        assert_int_equal(driver_reap(&d, 0), 1); /* finished before the answer to the stop */
        driver_send(&d, 0, 1, 5);
        usleep(30000);
        assert_int_equal(driver_reap(&d, 0), 0);
        assert_int_equal(driver_number(&d, 0, 1), 0xeeeeeeeeeeeeeeee);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

static void configuration_is_read_written_and_changes(void **state)
{
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;
        struct pollfd ready;
        uint8_t value = 42;
        uint64_t size;

        driver_init(&d);
        vu_frontend_init(&f, -1);
        join(&f, &p);
        memcpy(&size, f.config, sizeof(size));
        assert_int_equal(size, 100);

        assert_int_equal(vu_frontend_config_write(&f, 8, &value, 1, NULL), 0);
        assert_int_equal(vu_frontend_config_write(&f, 7, &value, 1, NULL), -EINVAL);            /* the device's word */
        assert_int_equal(vu_frontend_config_write(&f, WORLD_CONFIG, &value, 1, NULL), -EINVAL); /* ours */
        assert_int_equal(vu_frontend_config_write(&f, 8, &value, 0, NULL), -EINVAL);
        assert_int_equal(vu_frontend_config_fetch(&f, NULL), 0);
        assert_int_equal(f.config[8], 42);

        ready = (struct pollfd){.fd = f.request_fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 0), 0);
        echo_tell(&p, ECHO_GROW);
        assert_int_equal(poll(&ready, 1, 0), 1);
        assert_int_equal(vu_frontend_request_handle(&f, NULL), 1);
        assert_int_equal(vu_frontend_config_fetch(&f, NULL), 0);
        memcpy(&size, f.config, sizeof(size));
        assert_int_equal(size, 200);
        assert_false(f.needs_reset);

        echo_kill(&p);
        assert_true(vu_frontend_config_fetch(&f, NULL) < 0);
        assert_int_equal(vu_frontend_request_handle(&f, NULL), -EPIPE);
        vu_frontend_fini(&f);
        driver_fini(&d);
}

/* What a guest chooses wrongly is not the device's fault: nothing is sent, and a right choice is still possible. */
static void rings_that_cannot_be(void **state)
{
        struct vu_frontend_queue queues[WORLD_QUEUES];
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;
        static const struct {
                uint16_t size;
                gpa_t descriptors, driver, device;
                int r;
        } bad[] = {
                {0, 0x10000, 0x11000, 0x12000, -EINVAL}, /* none at all */
                {12, 0x10000, 0x11000, 0x12000, -EINVAL},
                {16, 0x10008, 0x11000, 0x12000, -EINVAL},
                {16, 0x10000, 0x11001, 0x12000, -EINVAL},
                {16, 0x10000, 0x11000, 0x12002, -EINVAL},
                {16, WORLD_RAM - 16 * 15, 0x11000, 0x12000, -EFAULT},
                {16, 0x10000, WORLD_RAM - 36, 0x12000, -EFAULT},
                {16, 0x10000, 0x11000, WORLD_RAM - 132, -EFAULT},
                {16, ~0xfULL, 0x11000, 0x12000, -EFAULT},
        };

        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        join(&f, &p);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                queues[0] = (struct vu_frontend_queue){.size = bad[i].size,
                                                       .descriptors = bad[i].descriptors,
                                                       .driver = bad[i].driver,
                                                       .device = bad[i].device,
                                                       .kick_fd = d.kick[0],
                                                       .call_fd = -1};
                assert_int_equal(vu_frontend_start(&f, &d.ram, d.ram_fd, 0, queues, 1, NULL), bad[i].r);
        }
        driver_queues(&d, queues);
        assert_int_equal(vu_frontend_start(&f, &d.ram, d.ram_fd, 1, queues, WORLD_QUEUES, NULL), -EINVAL);
        assert_int_equal(vu_frontend_start(&f, &d.ram, d.ram_fd, 0, queues, WORLD_QUEUES + 1, NULL), -EINVAL);
        run(&f, &d);
        exchange(&d, 3);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

/* A queue that the driver left out, and one without interrupts. */
static void some_of_the_queues(void **state)
{
        struct vu_frontend_queue queues[WORLD_QUEUES];
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;

        driver_init(&d);
        vu_frontend_init(&f, -1);
        join(&f, &p);
        driver_queues(&d, queues);
        queues[0].size = 0;
        queues[1].call_fd = -1;
        assert_int_equal(vu_frontend_start(&f, &d.ram, d.ram_fd, FEATURE_VERSION_1, queues, WORLD_QUEUES, NULL), 0);
        driver_send(&d, 0, 0, 1);
        driver_send(&d, 1, 0, 2);
        driver_wait(&d, 1, 1);
        assert_int_equal(driver_reap(&d, 0), 0);
        assert_int_equal(read(d.call[1], &(uint64_t){0}, 8), -1);
        assert_int_equal(vu_frontend_stop(&f, WORLD_QUEUES, NULL), 0);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

static void break_queue(struct driver *d, unsigned int queue)
{
        struct vring_desc *table = guest_ram_at(&d->ram, world_table(queue), WORLD_SIZE * sizeof(*table));
        struct vring_avail *avail = guest_ram_at(&d->ram, world_avail(queue), 64);

        table[0] = (struct vring_desc){~0ULL, 8, 0, 0};
        avail->ring[d->avail[queue] % WORLD_SIZE] = 0;
        __atomic_store_n(&avail->idx, ++d->avail[queue], __ATOMIC_RELEASE);
}

/* The front end hears that a guest has broken a queue, and the other one works on. */
static void a_broken_queue_is_told(void **state)
{
        struct echo_process p;
        struct vu_frontend f;
        struct pollfd ready;
        struct driver d;

        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        join(&f, &p);
        run(&f, &d);
        break_queue(&d, 0);
        ready = (struct pollfd){.fd = f.request_fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 10000), 1);
        assert_int_equal(vu_frontend_request_handle(&f, NULL), 1);
        assert_int_equal(vu_frontend_config_fetch(&f, NULL), 0);
        assert_true(f.needs_reset);
        driver_send(&d, 1, 0, 9);
        driver_wait(&d, 1, 1);
        assert_int_equal(poll(&ready, 1, 20), 0); /* once */

        assert_int_equal(vu_frontend_stop(&f, WORLD_QUEUES, NULL), 0);
        driver_rings_clear(&d);
        run(&f, &d);
        assert_false(f.needs_reset);
        exchange(&d, 11);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

/* ---- death ---- */

/* Requests taken, some given back out of order, death: the successor retakes the rest in the order they were taken. */
static void in_flight_requests_are_taken_again(void **state)
{
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;

        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        join(&f, &p);
        run(&f, &d);
        exchange(&d, 500);
        echo_tell(&p, ECHO_HOLD);
        for (unsigned int i = 0; i < 6; i++) {
                driver_send(&d, 0, 5 - i, 100 + i);
                while (driver_number(&d, 0, 5 - i) != 100 + i)
                        usleep(1000);
        }
        echo_tell(&p, ECHO_ONE); /* the last, in slot 0 */
        driver_wait(&d, 0, 1);
        assert_false(d.busy[0][0]);
        echo_kill(&p);
        vu_frontend_disconnect(&f);
        assert_int_equal(f.inflight_fd, INFLIGHT_AT);
        driver_send(&d, 0, 7, 200); /* while there is no device */
        for (unsigned int i = 0; i < 5; i++)
                memset(guest_ram_at(&d.ram, world_table(0) + 0x3040 + 0x100ULL * (5 - i), 12), 0, 12);

        join(&f, &p);
        run(&f, &d);
        driver_wait(&d, 0, 6);
        for (unsigned int i = 0; i < 5; i++) {
                assert_int_equal(driver_number(&d, 0, 5 - i), 100 + i);
                assert_int_equal(driver_order(&d, 0, 5 - i), i);
        }
        assert_int_equal(driver_number(&d, 0, 7), 200);
        assert_int_equal(driver_order(&d, 0, 7), 5);
        exchange(&d, 600);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

/* Killed at any time under load, with requests held and given back in another order: each comes back, and once. */
static void any_death_loses_nothing(void **state)
{
        struct echo_process p;
        struct vu_frontend f;
        struct driver d;
        uint64_t number = 1;
        unsigned int done = 0;

        srand(6);
        driver_init(&d);
        vu_frontend_init(&f, INFLIGHT_AT);
        for (unsigned int life = 0; life < 60; life++) {
                join(&f, &p);
                run(&f, &d);
                for (unsigned int step = 0; step < 12; step++) {
                        unsigned int q = (unsigned int)rand() % WORLD_QUEUES;

                        done += driver_reap(&d, q);
                        for (unsigned int slot = 0; slot < WORLD_SIZE / 2; slot++)
                                if (!d.busy[q][slot] && rand() % 2)
                                        driver_send(&d, q, slot, number++);
                        if (rand() % 4 == 0)
                                echo_tell(&p, rand() % 2 ? ECHO_HOLD : ECHO_ONE);
                        if (rand() % 4 == 0)
                                echo_tell(&p, ECHO_RELEASE);
                        usleep((unsigned int)rand() % 300);
                }
                echo_kill(&p);
                vu_frontend_disconnect(&f);
        }
        join(&f, &p);
        run(&f, &d);
        for (unsigned int q = 0; q < WORLD_QUEUES; q++) {
                unsigned int busy = 0;

                done += driver_reap(&d, q);
                for (unsigned int slot = 0; slot < WORLD_SIZE / 2; slot++)
                        busy += d.busy[q][slot];
                driver_wait(&d, q, busy);
                done += busy;
        }
        assert_int_equal(done, number - 1);
        vu_frontend_fini(&f);
        echo_kill(&p);
        driver_fini(&d);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_whole_life),
                cmocka_unit_test(a_stopped_device_is_still),
                cmocka_unit_test(configuration_is_read_written_and_changes),
                cmocka_unit_test(rings_that_cannot_be),
                cmocka_unit_test(some_of_the_queues),
                cmocka_unit_test(a_broken_queue_is_told),
                cmocka_unit_test(in_flight_requests_are_taken_again),
                cmocka_unit_test(any_death_loses_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
