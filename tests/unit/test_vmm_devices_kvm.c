/* What the VMM's devices ask of KVM, and how they are opened: without KVM, process or transport. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "spec/vmm_fds.h"
#include "vmm_devices_world.h"

/* ---- KVM ---- */

static void a_line_follows_its_vector(void **state)
{
        fake.messages[3] = (struct msix_message){.address = 0x1fee00000, .data = 0x41};
        d->transport.queues[1].vector = 3;
        device_ops.queue_vector_changed(d, 1); /* masked still */
        expect("");
        fake.has_message[3] = true;
        device_ops.vector_changed(d, 3);
        expect("routes +irqfd");
        assert_int_equal(fake.route_count, 1);
        assert_int_equal(fake.routes[0].gsi, LAYOUT_IOAPIC_PINS + 1);
        assert_int_equal(fake.routes[0].u.msi.address_hi, 1);
        assert_int_equal(fake.routes[0].u.msi.address_lo, 0xfee00000);
        assert_int_equal(fake.routes[0].u.msi.data, 0x41);
        device_ops.vector_changed(d, 3);
        device_ops.vector_changed(d, 2); /* nobody's */
        expect("");
        fake.messages[3].data = 0x42; /* another processor or vector */
        device_ops.vector_changed(d, 3);
        expect("routes");
        assert_int_equal(fake.routes[0].u.msi.data, 0x42);
        d->transport.queues[0].vector = 3; /* shared */
        device_ops.queue_vector_changed(d, 0);
        expect("routes +irqfd");
        assert_int_equal(fake.route_count, 2);
        d->transport.queues[0].vector = 0xffff;
        device_ops.queue_vector_changed(d, 0);
        expect("-irqfd");
}

static void a_masked_vector_is_pending(void **state)
{
        d->transport.queues[0].vector = 1;
        fake.has_message[1] = true;
        device_ops.vector_changed(d, 1);
        expect("routes +irqfd");
        fake.has_message[1] = false;
        device_ops.vector_changed(d, 1);
        expect("-irqfd");
        assert_false(device_ops.vector_pending(d, 1));
        assert_int_equal(eventfd_write(VMM_FD_CALL_FIRST, 1), 0);
        assert_true(device_ops.vector_pending(d, 1));
        assert_false(device_ops.vector_pending(d, 2));
        assert_true(device_ops.vector_pending(d, 1)); /* looking takes nothing away */
        fake.has_message[1] = true;
        device_ops.vector_changed(d, 1);
        expect("+irqfd"); /* the message is known; KVM finds what was signalled */
        assert_false(device_ops.vector_pending(d, 1));
        device_ops.vector_send(d, 1);
        expect("msi");
        device_ops.vector_send(d, 2);
        expect("");
}

static void without_a_vector_nothing_waits(void **state)
{
        fake.has_message[1] = true;
        assert_int_equal(eventfd_write(VMM_FD_CALL_FIRST, 1), 0);
        assert_false(device_ops.vector_pending(d, 1));
        d->transport.queues[0].vector = 1;
        device_ops.queue_vector_changed(d, 0);
        expect("+nowhere -nowhere routes +irqfd");
        /* MSI-X off and on again, while the vector is masked. */
        fake.has_message[1] = d->transport.msix.enabled = false;
        device_ops.vector_changed(d, 1);
        expect("-irqfd");
        assert_false(device_ops.vector_pending(d, 1));
        d->transport.msix.enabled = true;
        device_ops.vector_changed(d, 1);
        expect("+nowhere -nowhere");
        assert_true(device_ops.vector_pending(d, 1));
        (void)count_of(VMM_FD_CALL_FIRST);
        /* And nothing to take away. */
        d->transport.queues[0].vector = 0xffff;
        device_ops.queue_vector_changed(d, 0);
        d->transport.queues[0].vector = 1;
        device_ops.queue_vector_changed(d, 0);
        expect("");
}

static void kvm_refuses(void **state)
{
        d->transport.queues[0].vector = 1;
        fake.has_message[1] = fake.irqfd_fails = true;
        device_ops.vector_changed(d, 1);
        expect("routes +irqfd");
        assert_true(failed);
        assert_false(d->lines[0].assigned);
        failed = false;
}

static void the_window_moves(void **state)
{
        device_ops.notify_window(d, 0xd0003000, false);
        expect("");
        device_ops.notify_window(d, 0xd0003000, true);
        expect("+event +event");
        assert_int_equal(fake.last_event.addr, 0xd0003004);
        assert_int_equal(fake.last_event.len, 0);
        device_ops.notify_window(d, 0xd0003000, true);
        expect("");
        m.ioeventfd_any_length = false;
        device_ops.notify_window(d, 0x800000000000, true);
        expect("-event -event +event +event");
        assert_true(fake.last_event.addr == 0x800000000004);
        assert_int_equal(fake.last_event.len, 2);
        device_ops.notify_window(d, 0, false);
        expect("-event -event");
        assert_true(fake.last_event.addr == 0x800000000004);
}

static void a_notification_never_blocks(void **state)
{
        int fd = VMM_FD_KICK_FIRST;

        device_ops.notify(d, 0);
        device_ops.notify(d, QUEUES); /* no such queue */
        assert_int_equal(count_of(fd), 1);
        /* The process fills the counter, and makes the descriptor block: a write would wait for it for ever. */
        assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
        assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
        device_ops.notify(d, 0);
        assert_true(count_of(fd) == UINT64_MAX - 1);
}

/* ---- opening ---- */

static int open_again(const struct control_config *c, struct err *e)
{
        world_end(NULL);
        memset(devices, 0, sizeof(devices));
        m.device_count = 0;
        supervisor = pair_at(SOCK_SEQPACKET, VMM_FD_CONTROL);
        process = pair_at(SOCK_STREAM, VMM_FD_DEVICE_FIRST);
        return devices_open(&m, devices, c, e);
}

static void what_cannot_be_opened(void **state)
{
        struct control_config c = opened_with;
        struct err e = ERR_INIT;

        c.devices[0].type = VIRTIO_ID_NET;
        assert_int_equal(open_again(&c, &e), -EPROTO);
        for (unsigned int i = 0; i < 2; i++) {
                c = opened_with;
                c.devices[0].queues = i ? 17 : 0;
                assert_int_equal(open_again(&c, &e), -EPROTO);
        }
        c = opened_with;
        expect("");
        fake.connect = -ETIMEDOUT;
        assert_int_equal(open_again(&c, &e), -ETIMEDOUT);
        assert_int_equal(e.status, STATUS_HOST);
        assert_non_null(strstr(e.text, "device 0 (disk)"));
        fake.connect = 0;
        fake.features = 0;
        assert_true(open_again(&c, &e) < 0);
        assert_int_equal(e.status, STATUS_HOST);
        fake.features = OFFERED;
        fake.queues = 0;
        assert_true(open_again(&c, &e) < 0);
        assert_int_equal(m.device_count, 0);
}

/* Only as many eventfds as the device has queues, none of which blocks. */
static void event_descriptors(void **state)
{
        for (int q = 0; q < QUEUES; q++) {
                assert_true(fcntl(VMM_FD_KICK_FIRST + q, F_GETFL) & O_NONBLOCK);
                assert_true(fcntl(VMM_FD_CALL_FIRST + q, F_GETFL) & O_NONBLOCK);
        }
        assert_int_equal(fcntl(VMM_FD_KICK_FIRST + QUEUES, F_GETFD), -1);
        assert_int_equal(fcntl(VMM_FD_CALL_FIRST + QUEUES, F_GETFD), -1);
        assert_int_equal(d->front.fd, VMM_FD_DEVICE_FIRST);
        assert_int_equal(d->front.request_fd, VMM_FD_REQUEST_FIRST);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(a_line_follows_its_vector),
                T(a_masked_vector_is_pending),
                T(without_a_vector_nothing_waits),
                T(kvm_refuses),
                T(the_window_moves),
                T(a_notification_never_blocks),
                T(what_cannot_be_opened),
                T(event_descriptors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
