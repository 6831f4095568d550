/* What the VMM's main thread makes of a guest's wishes and a device's process: without KVM, process or transport. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "spec/vmm_fds.h"
#include "vmm_devices_world.h"

/* ---- start and stop ---- */

static void starts_and_stops(void **state)
{
        run();
        assert_int_equal(fake.next_avail[0], 0);
        attend();
        expect("");
        guest_resets();
        attend();
        expect("stop stopped");
        assert_int_equal(d->front.inflight_fd, -1);
        ring_index(0, 2, 9); /* what is left of the last life counts for nothing */
        run();
        assert_int_equal(fake.next_avail[0], 0);
}

static void reset_before_the_main_thread_looks(void **state)
{
        guest_starts();
        guest_resets();
        attend();
        expect("stopped");
        run();
}

static void reset_while_starting(void **state)
{
        guest_starts();
        fake.reset_meanwhile = true;
        attend();
        expect("start wake");
        attend();
        expect("stop stopped");
        attend();
        expect("");
}

static void a_queue_is_left_out(void **state)
{
        d->transport.queues[0].enabled = 0;
        run();
        guest_resets();
        attend();
        expect("stop stopped");
}

static void no_queue_at_all(void **state)
{
        d->transport.queues[0].enabled = d->transport.queues[1].enabled = 0;
        guest_starts();
        attend();
        expect("not-started");
        guest_resets();
        attend();
        expect("stopped");
}

static void rings_that_are_not_in_ram(void **state)
{
        fake.start = -EFAULT;
        guest_starts();
        attend();
        expect("start not-started");
        attend();
        expect("");
        guest_resets();
        attend();
        expect("stopped");
        fake.start = 0;
        run();
}

/* ---- death ---- */

static void death_while_running_goes_unnoticed(void **state)
{
        int inflight;

        run();
        inflight = d->front.inflight_fd;
        assert_int_equal(inflight, VMM_FD_INFLIGHT_FIRST);
        ring_index(0, 1, 12);
        ring_index(0, 2, 7);
        process_dies();
        attend();
        expect("disconnect");
        expect_down(false);
        attend(); /* nothing to do until the supervisor answers */
        expect("");
        (void)count_of(VMM_FD_KICK_FIRST);
        (void)count_of(VMM_FD_CALL_FIRST);
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
        assert_int_equal(fake.next_avail[0], 7);
        assert_int_equal(fake.next_avail[1], 0);
        assert_int_equal(d->front.inflight_fd, inflight);
        for (int q = 0; q < QUEUES; q++) {
                assert_int_equal(count_of(VMM_FD_KICK_FIRST + q), 1);
                assert_int_equal(count_of(VMM_FD_CALL_FIRST + q), 1);
        }
        guest_resets();
        attend();
        expect("stop stopped");
}

static void the_supervisor_may_know_first(void **state)
{
        union control_message got;

        run();
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
        assert_int_equal(control_receive(supervisor, &got), -EAGAIN);
        attend();
        expect("");
}

static void death_before_the_start(void **state)
{
        process_dies();
        attend();
        expect("disconnect");
        expect_down(false);
        guest_starts();
        attend();
        expect("");
        assert_int_equal(replace(), 0);
        expect("disconnect connect start started");
}

static void death_while_starting(void **state)
{
        guest_starts();
        fake.start = -EPIPE;
        ring_index(1, 1, 5);
        attend(); /* before it learns of the queues */
        expect("start disconnect");
        expect_down(false);
        fake.dies_late = true;
        assert_int_equal(replace(), 0); /* after that */
        expect("disconnect connect start disconnect");
        expect_down(false);
        assert_int_equal(fake.next_avail[1], 0);
        fake.start = 0;
        ring_index(1, 2, 3); /* it has got this far */
        assert_int_equal(replace(), 0);
        expect("disconnect connect start started");
        assert_int_equal(fake.next_avail[1], 3);
}

/* An external one without an in-flight region: goes on when there was nothing to do, else nobody knows what was done.
 */
static void death_without_an_account(void **state)
{
        fake.no_inflight = true;
        assert_int_equal(replace(), 0);
        expect("disconnect connect");
        run();
        ring_index(0, 1, 7);
        ring_index(0, 2, 7);
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
        assert_int_equal(fake.next_avail[0], 7);
        ring_index(0, 1, 8);
        assert_int_equal(replace(), 0);
        expect("disconnect connect needs-reset");
        guest_resets();
        attend();
        expect("stopped");
        run();
        assert_int_equal(fake.next_avail[0], 0);
}

/* A process that cannot be stopped may still write to the guest's memory: the guest waits until it is gone. */
static void death_while_stopping(void **state)
{
        run();
        guest_resets();
        fake.stop = -ETIMEDOUT;
        attend();
        expect("stop disconnect");
        expect_down(false);
        attend();
        expect("");
        assert_int_equal(replace(), 0);
        expect("disconnect connect stopped");
        assert_int_equal(d->front.inflight_fd, -1);
        run();
}

static void reset_while_lost(void **state)
{
        run();
        process_dies();
        attend();
        expect("disconnect");
        guest_resets();
        attend();
        expect("");
        assert_int_equal(d->front.inflight_fd, -1);
        assert_int_equal(replace(), 0);
        expect("disconnect connect stopped");
        ring_index(0, 2, 5);
        run();
        assert_int_equal(fake.next_avail[0], 0);
}

static void a_device_that_is_given_up(void **state)
{
        run();
        process_dies();
        attend();
        expect("disconnect");
        replace_fails();
        expect("disconnect disconnect needs-reset");
        guest_resets();
        attend();
        expect("stopped");
        guest_starts();
        attend();
        expect("not-started");
        guest_resets();
        attend();
        expect("stopped");
        assert_int_equal(replace(), 0); /* too late */
        expect("");
}

static void given_up_while_the_guest_waits(void **state)
{
        guest_starts();
        fake.start = -EPROTO;
        attend();
        expect("start disconnect");
        replace_fails();
        expect("disconnect disconnect not-started");
}

/* Dies of the same request again and again. */
static void no_progress_ends_it(void **state)
{
        run();
        ring_index(0, 1, 1);
        for (unsigned int i = 1; i < DEVICE_TRIES_MAX; i++) {
                process_dies();
                attend();
                expect("disconnect");
                expect_down(false);
                assert_int_equal(replace(), 0);
                expect("disconnect connect start");
        }
        process_dies();
        attend();
        expect("disconnect needs-reset");
        expect_down(true);
}

static void progress_or_nothing_to_do_goes_on(void **state)
{
        run();
        for (uint16_t i = 0; i < 20; i++) {
                process_dies();
                attend();
                expect("disconnect");
                expect_down(false);
                assert_int_equal(replace(), 0);
                expect("disconnect connect start");
                ring_index(0, 1, 100);
                ring_index(0, 2, i < 10 ? i + 1 : 100);
        }
}

static void a_process_that_cannot_stand_in(void **state)
{
        run();
        for (unsigned int i = 0; i < 3; i++) {
                fake.features = i == 0 ? 1ULL << VIRTIO_F_VERSION_1 : OFFERED;
                fake.queues = i == 1 ? 1 : 16;
                fake.connect = i == 2 ? -EPROTO : 0;
                assert_int_equal(replace(), 0);
                expect("disconnect connect disconnect");
                expect_down(false);
        }
        fake.connect = 0;
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
}

/* Alive, but without the means to go on: an external one, without an in-flight region. */
static void a_process_that_cannot_go_on(void **state)
{
        run();
        process_dies();
        attend();
        expect("disconnect");
        expect_down(false);
        fake.start = -ENOTSUP;
        assert_int_equal(replace(), 0);
        expect("disconnect connect start needs-reset");
        attend();
        expect("");
        fake.start = 0;
        guest_resets();
        attend();
        expect("stopped");
        run();
        assert_int_equal(fake.next_avail[0], 0);
}

static void nonsense_of_the_supervisor(void **state)
{
        struct control_device message = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(message)), .index = 1};
        int fd = dup(0);

        assert_int_equal(devices_replace(&m, &message, fd, NULL), -EPROTO);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        message.index = 0;
        assert_int_equal(devices_replace(&m, &message, -1, NULL), -EPROTO); /* neither a socket nor failed */
        message.failed = 1;
        assert_int_equal(devices_replace(&m, &message, dup(0), NULL), -EPROTO);
        expect("");
}

static void a_supervisor_that_is_gone(void **state)
{
        struct err e = ERR_INIT;

        close(supervisor);
        process_dies();
        assert_true(round_of(&e) < 0);
        expect("disconnect");
        supervisor = pair_at(SOCK_SEQPACKET, VMM_FD_CONTROL);
}

/* ---- configuration space ---- */

static void process_requests(void)
{
        assert_int_equal(write(requester, "x", 1), 1);
}

static void configuration_changes(void **state)
{
        run();
        fake.config[0] = 1;
        fake.request = 1;
        process_requests();
        attend();
        expect("request fetch changed");
        assert_int_equal(d->transport.config[0], 1);
        assert_int_equal(d->transport.config[34], QUEUES);
        process_requests();
        attend(); /* the same again is no news */
        expect("request fetch");
        fake.request = -EPIPE; /* that channel alone ended */
        process_requests();
        attend();
        expect("request");
        assert_int_equal(d->front.request_fd, -1);
        attend();
        expect("");
}

static void a_broken_queue(void **state)
{
        fake.request = 1;
        fake.needs_reset = true;
        process_requests();
        attend(); /* no driver, nobody to tell */
        expect("request fetch");
        run();
        process_requests();
        attend();
        expect("request fetch needs-reset");
        guest_resets();
        attend();
        expect("stop stopped");
}

static void a_bad_request_ends_the_process(void **state)
{
        run();
        fake.request = -EPROTO;
        process_requests();
        attend();
        expect("request disconnect");
        expect_down(false);
}

static void another_size_after_a_death(void **state)
{
        run();
        fake.config[0] = 8;
        assert_int_equal(replace(), 0);
        expect("disconnect connect changed start");
}

static void driver_write(uint32_t off, uint8_t value)
{
        device_ops.config_write(d, off, &value, 1);
}

static void the_driver_writes_one_byte(void **state)
{
        run();
        for (uint32_t off = 0; off < 60; off++)
                if (off != WCE)
                        driver_write(off, 1);
        driver_write(WCE, 2);
        d->transport.negotiated = OFFERED & ~(1ULL << VIRTIO_BLK_F_CONFIG_WCE);
        driver_write(WCE, 0);
        expect("");
        assert_int_equal(d->transport.config[WCE], 1); /* although the process says 0 */
        d->transport.negotiated = OFFERED;
        driver_write(WCE, 0);
        assert_int_equal(d->transport.config[WCE], 0);
        expect("wake");
        attend();
        expect("write");
        attend();
        expect("");
        /* A process that takes over hears of it first, and the guest sees no change. */
        assert_int_equal(replace(), 0);
        expect("disconnect connect write start");
        assert_int_equal(d->transport.config[WCE], 0);
        /* Part of a wider access. */
        device_ops.config_write(d, WCE - 4, (const uint8_t[8]){[4] = 1}, 8);
        expect("wake");
        fake.config_write = -EINVAL;
        attend();
        expect("write fetch");
        driver_write(WCE, 0);
        expect("wake");
        attend();
        expect("write fetch changed"); /* back to what it was */
        assert_int_equal(d->transport.config[WCE], 1);
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
        driver_write(WCE, 0);
        expect("wake");
        fake.config_write = -EPIPE;
        attend();
        expect("write disconnect");
        expect_down(false);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(starts_and_stops),
                T(reset_before_the_main_thread_looks),
                T(reset_while_starting),
                T(a_queue_is_left_out),
                T(no_queue_at_all),
                T(rings_that_are_not_in_ram),
                T(death_while_running_goes_unnoticed),
                T(the_supervisor_may_know_first),
                T(death_before_the_start),
                T(death_while_starting),
                T(death_without_an_account),
                T(death_while_stopping),
                T(reset_while_lost),
                T(a_device_that_is_given_up),
                T(given_up_while_the_guest_waits),
                T(no_progress_ends_it),
                T(progress_or_nothing_to_do_goes_on),
                T(a_process_that_cannot_stand_in),
                T(a_process_that_cannot_go_on),
                T(nonsense_of_the_supervisor),
                T(a_supervisor_that_is_gone),
                T(configuration_changes),
                T(a_broken_queue),
                T(a_bad_request_ends_the_process),
                T(another_size_after_a_death),
                T(the_driver_writes_one_byte),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
