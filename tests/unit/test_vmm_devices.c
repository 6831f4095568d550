/*
 * What the VMM makes of a guest's wishes and a device's process: without KVM, process or transport. Those three are
 * made up here: each call of the code under test is noted, and answered as the test says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "spec/vmm_fds.h"
#include "vmm/machine.h"
#include "vmm/routes.h"

#define QUEUES     2
#define RAM        0x10000
#define RING(q, p) (0x1000U * ((q) + 1) + 0x400U * (p)) /* p 0: descriptors, 1: driver's part, 2: device's part */
#define OFFERED    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_BLK_F_CONFIG_WCE | 1ULL << VIRTIO_BLK_F_MQ)
#define WCE        offsetof(struct virtio_blk_config, wce)

/* What the code under test did, in order: "start stop disconnect ..." */
static char done[1024];
static struct {
        int connect, start, stop, config_write, config_fetch, request; /* what comes of each */
        uint64_t features;
        unsigned int queues;
        uint8_t config[60];
        bool needs_reset, no_inflight;
        bool dies_late;       /* a start that fails has told the process of the queues */
        bool reset_meanwhile; /* the guest resets the device while it is being started */
        struct msix_message messages[VIRTIO_PCI_VECTORS];
        bool has_message[VIRTIO_PCI_VECTORS];
        bool irqfd_fails;
        struct kvm_irq_routing_entry routes[8];
        unsigned int route_count;
        struct kvm_ioeventfd last_event;
        uint16_t next_avail[QUEUES];
        bool any_length;
} fake;

static struct machine m;
static struct device devices[VMM_DEVICES_MAX], *const d = &devices[0];
static uint8_t ram[RAM];
static int supervisor, process, requester = -1; /* the other ends */
static bool failed;                             /* the machine */

static void note(const char *what)
{
        size_t len = strlen(done);

        snprintf(done + len, sizeof(done) - len, "%s%s", len ? " " : "", what);
}

static void expect(const char *what)
{
        assert_string_equal(done, what);
        done[0] = '\0';
}

/* ---- the process ---- */

void vu_frontend_init(struct vu_frontend *f, int inflight_at)
{
        *f = (struct vu_frontend){.fd = -1, .request_fd = -1, .inflight_fd = -1, .inflight_at = inflight_at};
}

int vu_frontend_connect(struct vu_frontend *f, int fd, uint64_t wanted, unsigned int queues_max, uint32_t config_bytes,
                        const int backend_pair[2], struct err *e)
{
        note("connect");
        f->fd = fd;
        f->request_fd = backend_pair[0];
        fd_closep(&requester);
        requester = fcntl(backend_pair[1], F_DUPFD_CLOEXEC, 800);
        f->needs_reset = false;
        f->protocol_features = fake.no_inflight ? 0 : VU_PROTOCOL_INFLIGHT_SHMFD;
        f->features = fake.features & wanted;
        f->queues = fake.queues < queues_max ? fake.queues : queues_max;
        f->config_bytes = config_bytes < sizeof(fake.config) ? config_bytes : (uint32_t)sizeof(fake.config);
        memcpy(f->config, fake.config, f->config_bytes);
        return fake.connect < 0 ? err_set(e, fake.connect, "connect") : 0;
}

int vu_frontend_start(struct vu_frontend *f, const struct guest_ram *r, int ram_fd, uint64_t features,
                      const struct vu_frontend_queue *queues, unsigned int count, struct err *e)
{
        note("start");
        assert_ptr_equal(r, &m.ram);
        assert_int_equal(ram_fd, VMM_FD_RAM);
        assert_true(features == d->transport.negotiated);
        assert_int_equal(count, QUEUES);
        for (unsigned int q = 0; q < count; q++) {
                if (!d->transport.queues[q].enabled) {
                        assert_int_equal(queues[q].size, 0);
                        continue;
                }
                assert_int_equal(queues[q].size, 64);
                assert_int_equal(queues[q].descriptors, RING(q, 0));
                assert_int_equal(queues[q].kick_fd, VMM_FD_KICK_FIRST + (int)q);
                assert_int_equal(queues[q].call_fd, VMM_FD_CALL_FIRST + (int)q);
                fake.next_avail[q] = queues[q].next_avail;
        }
        if (fake.reset_meanwhile) {
                fake.reset_meanwhile = false;
                device_ops.stop(d);
        }
        if ((fake.start == 0 || fake.dies_late) && !fake.no_inflight && f->inflight_fd < 0)
                f->inflight_fd = dup2(0, f->inflight_at);
        return fake.start;
}

int vu_frontend_stop(struct vu_frontend *f, unsigned int count, struct err *e)
{
        note("stop");
        assert_int_equal(count, QUEUES);
        return fake.stop;
}

int vu_frontend_config_fetch(struct vu_frontend *f, struct err *e)
{
        note("fetch");
        memcpy(f->config, fake.config, f->config_bytes);
        f->needs_reset = fake.needs_reset;
        return fake.config_fetch;
}

int vu_frontend_config_write(struct vu_frontend *f, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes,
                             struct err *e)
{
        note("write");
        assert_int_equal(off_bytes, WCE);
        assert_int_equal(len_bytes, 1);
        return fake.config_write;
}

int vu_frontend_request_handle(struct vu_frontend *f, struct err *e)
{
        char byte;

        note("request");
        (void)!read(f->request_fd, &byte, 1);
        return fake.request;
}

void vu_frontend_disconnect(struct vu_frontend *f)
{
        note("disconnect");
        fd_closep(&f->fd);
        fd_closep(&f->request_fd);
}

/* ---- the transport ---- */

void virtio_pci_init(struct virtio_pci *v, uint16_t type, uint64_t offered, unsigned int queues,
                     unsigned int queue_size_max, const uint8_t *config, uint32_t config_bytes,
                     const struct virtio_pci_ops *ops, void *ctx)
{
        v->type = type;
        v->offered = offered;
        v->queue_count = queues;
        v->config_bytes = config_bytes;
        memcpy(v->config, config, config_bytes);
        for (unsigned int q = 0; q < queues; q++)
                v->queues[q].vector = 0xffff;
        v->msix = (struct msix){.count = VIRTIO_PCI_VECTORS, .enabled = true};
        assert_ptr_equal(ops, &device_ops);
}

void virtio_pci_started(struct virtio_pci *v, bool ok)
{
        note(ok ? "started" : "not-started");
}

void virtio_pci_stopped(struct virtio_pci *v)
{
        note("stopped");
}

void virtio_pci_needs_reset(struct virtio_pci *v)
{
        note("needs-reset");
}

void virtio_pci_config_changed(struct virtio_pci *v, const uint8_t *config, uint32_t config_bytes)
{
        note("changed");
        memcpy(v->config, config, config_bytes);
}

bool msix_get(const struct msix *x, unsigned int vector, struct msix_message *ret)
{
        if (vector >= VIRTIO_PCI_VECTORS || !fake.has_message[vector])
                return false;
        *ret = fake.messages[vector];
        return true;
}

int pci_add(struct pci_bus *bus, struct pci_device *dev, unsigned int slot)
{
        note("add");
        assert_int_equal(slot, 1);
        return 0;
}

/* ---- the machine and KVM ---- */

void machine_wake_main(void)
{
        note("wake");
}

void machine_fail_locked(struct machine *machine, const struct err *e)
{
        failed = true;
}

static int set_routing(const struct kvm_irq_routing *t)
{
        note("routes");
        assert_in_range(t->nr, 0, ARRAY_LEN(fake.routes));
        memcpy(fake.routes, t->entries, t->nr * sizeof(t->entries[0]));
        fake.route_count = t->nr;
        return 0;
}

static int irqfd(const struct kvm_irqfd *i)
{
        assert_in_range(i->fd, VMM_FD_CALL_FIRST, VMM_FD_CALL_FIRST + QUEUES - 1);
        if (i->gsi == ROUTES_GSI_NOWHERE) {
                note(i->flags & KVM_IRQFD_FLAG_DEASSIGN ? "-nowhere" : "+nowhere");
                return 0;
        }
        note(i->flags & KVM_IRQFD_FLAG_DEASSIGN ? "-irqfd" : "+irqfd");
        assert_int_equal(i->gsi - LAYOUT_IOAPIC_PINS, i->fd - VMM_FD_CALL_FIRST);
        errno = EBUSY;
        return fake.irqfd_fails ? -1 : 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
        va_list ap;
        void *arg;

        va_start(ap, request);
        arg = va_arg(ap, void *);
        va_end(ap);
        if (fd == VMM_FD_KVM && request == KVM_CHECK_EXTENSION) {
                assert_int_equal((uintptr_t)arg, KVM_CAP_IOEVENTFD_ANY_LENGTH);
                return fake.any_length;
        }
        assert_int_equal(fd, VMM_FD_VM);
        switch (request) {
        case KVM_SET_GSI_ROUTING:
                return set_routing(arg);
        case KVM_IRQFD:
                return irqfd(arg);
        case KVM_IOEVENTFD:
                fake.last_event = *(struct kvm_ioeventfd *)arg;
                note(fake.last_event.flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? "-event" : "+event");
                assert_int_equal(fake.last_event.fd - VMM_FD_KICK_FIRST, (fake.last_event.addr & 0xfff) / 4);
                return 0;
        case KVM_SIGNAL_MSI:
                note("msi");
                return 1;
        default:
                fail_msg("ioctl %#lx", request);
                return -1;
        }
}

/* ---- the world of each test ---- */

/* A socket pair, one end at target. Returns the other, which has a high number. */
static int pair_at(int type, int target)
{
        int pair[2], other;

        assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        other = fcntl(pair[1], F_DUPFD_CLOEXEC, 800);
        assert_int_equal(dup2(pair[0], target), target);
        for (int i = 0; i < 2; i++)
                if (pair[i] != target)
                        close(pair[i]);
        return other;
}

static const struct control_config config = {.device_count = 1, .devices = {{VIRTIO_ID_BLOCK, QUEUES}}};

static int world_begin(void **state)
{
        struct err e = ERR_INIT;

        memset(&fake, 0, sizeof(fake));
        memset(&m, 0, sizeof(m));
        memset(devices, 0, sizeof(devices));
        memset(ram, 0, sizeof(ram));
        done[0] = '\0';
        failed = false;
        pthread_mutex_init(&m.lock, NULL);
        m.ram = (struct guest_ram){.len_bytes = RAM, .region_count = 1, .regions = {{.len_bytes = RAM, .host = ram}}};
        supervisor = pair_at(SOCK_SEQPACKET, VMM_FD_CONTROL);
        process = pair_at(SOCK_STREAM, VMM_FD_DEVICE_FIRST);
        fake.features = OFFERED | 1ULL << VIRTIO_F_ACCESS_PLATFORM | 1ULL << VIRTIO_F_RING_PACKED;
        fake.queues = 16;
        fake.config[34] = 16; /* num_queues */
        fake.any_length = true;
        assert_int_equal(devices_open(&m, devices, &config, &e), 0);
        expect("connect add");
        assert_true(d->transport.offered == OFFERED);
        assert_int_equal(d->transport.config[34], QUEUES);
        d->transport.negotiated = OFFERED;
        for (unsigned int q = 0; q < QUEUES; q++)
                d->transport.queues[q] = (struct virtio_pci_queue){.size = 64,
                                                                   .vector = 0xffff,
                                                                   .enabled = 1,
                                                                   .descriptors = RING(q, 0),
                                                                   .driver = RING(q, 1),
                                                                   .device = RING(q, 2)};
        return 0;
}

static int world_end(void **state)
{
        fd_closep(&d->front.fd);
        fd_closep(&d->front.request_fd);
        fd_closep(&d->front.inflight_fd);
        close(supervisor);
        close(process);
        for (int q = 0; q < QUEUES; q++) {
                close(VMM_FD_KICK_FIRST + q);
                close(VMM_FD_CALL_FIRST + q);
        }
        close(VMM_FD_CONTROL);
        return failed ? -1 : 0;
}

/* One round of the main thread. */
static int round_of(struct err *e)
{
        struct pollfd p[DEVICES_POLL_MAX];
        unsigned int count = devices_poll(&m, p);

        assert_int_equal(count, 2);
        assert_true(poll(p, count, 0) >= 0);
        return devices_attend(&m, p, e);
}

static void attend(void)
{
        assert_int_equal(round_of(NULL), 0);
}

static void guest_starts(void)
{
        device_ops.start(d);
        expect("wake");
}

static void guest_resets(void)
{
        device_ops.stop(d);
        expect("wake");
}

static void run(void)
{
        guest_starts();
        attend();
        expect("start started");
}

static void process_dies(void)
{
        fd_closep(&process);
}

/* The next message to the supervisor is DEVICE_DOWN. */
static void expect_down(bool for_good)
{
        union control_message got;

        assert_int_equal(control_receive(supervisor, &got), 0);
        assert_int_equal(got.head.type, CONTROL_DEVICE_DOWN);
        assert_int_equal(got.device.index, 0);
        assert_int_equal(got.device.failed, for_good);
        assert_int_equal(control_receive(supervisor, &got), -EAGAIN);
}

/* The supervisor sends another process. */
static int replace(void)
{
        const struct control_device message = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(message))};
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (process >= 0)
                close(process);
        process = fcntl(pair[1], F_DUPFD_CLOEXEC, 800);
        close(pair[1]);
        return devices_replace(&m, &message, pair[0], NULL);
}

static void replace_fails(void)
{
        const struct control_device message = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(message)), .failed = 1};

        assert_int_equal(devices_replace(&m, &message, -1, NULL), 0);
}

static void ring_index(unsigned int queue, unsigned int part, uint16_t index)
{
        memcpy(ram + RING(queue, part) + 2, &index, sizeof(index));
}

static uint64_t count_of(int fd)
{
        uint64_t n = 0;

        return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

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
        driver_write(WCE, 1);
        expect("");
        d->transport.negotiated = OFFERED;
        driver_write(WCE, 1);
        assert_int_equal(d->transport.config[WCE], 1);
        expect("wake");
        attend();
        expect("write");
        attend();
        expect("");
        /* A process that takes over hears of it first, and the guest sees no change. */
        assert_int_equal(replace(), 0);
        expect("disconnect connect write start");
        assert_int_equal(d->transport.config[WCE], 1);
        /* Part of a wider access. */
        device_ops.config_write(d, WCE - 4, (const uint8_t[8]){0}, 8);
        expect("wake");
        fake.config_write = -EINVAL;
        attend();
        expect("write fetch");
        driver_write(WCE, 1);
        expect("wake");
        attend();
        expect("write fetch changed"); /* back to what it was */
        assert_int_equal(d->transport.config[WCE], 0);
        assert_int_equal(replace(), 0);
        expect("disconnect connect start");
        driver_write(WCE, 1);
        expect("wake");
        fake.config_write = -EPIPE;
        attend();
        expect("write disconnect");
        expect_down(false);
}

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
        struct control_config c = config;
        struct err e = ERR_INIT;

        c.devices[0].type = VIRTIO_ID_NET;
        assert_int_equal(open_again(&c, &e), -EPROTO);
        for (unsigned int i = 0; i < 2; i++) {
                c = config;
                c.devices[0].queues = i ? 17 : 0;
                assert_int_equal(open_again(&c, &e), -EPROTO);
        }
        c = config;
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
