#include "vmm_devices_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "spec/vmm_fds.h"
#include "vmm/routes.h"

/* What the code under test did, in order: "start stop disconnect ..." */
static char done[1024];
struct fake fake;

struct machine m;
struct device devices[VMM_DEVICES_MAX], *const d = &devices[0];
uint8_t ram[RAM];
int supervisor, process, requester = -1;
bool failed;

static void note(const char *what)
{
        size_t len = strlen(done);

        snprintf(done + len, sizeof(done) - len, "%s%s", len ? " " : "", what);
}

void expect(const char *what)
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

int irqfd(const struct kvm_irqfd *i)
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
int pair_at(int type, int target)
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

const struct control_config opened_with = {.device_count = 1, .devices = {{VIRTIO_ID_BLOCK, QUEUES}}};

int world_begin(void **state)
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
        assert_int_equal(devices_open(&m, devices, &opened_with, &e), 0);
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

int world_end(void **state)
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
int round_of(struct err *e)
{
        struct pollfd p[DEVICES_POLL_MAX];
        unsigned int count = devices_poll(&m, p);

        assert_int_equal(count, 2);
        assert_true(poll(p, count, 0) >= 0);
        return devices_attend(&m, p, e);
}

void attend(void)
{
        assert_int_equal(round_of(NULL), 0);
}

void guest_starts(void)
{
        device_ops.start(d);
        expect("wake");
}

void guest_resets(void)
{
        device_ops.stop(d);
        expect("wake");
}

void run(void)
{
        guest_starts();
        attend();
        expect("start started");
}

void process_dies(void)
{
        fd_closep(&process);
}

/* The next message to the supervisor is DEVICE_DOWN. */
void expect_down(bool for_good)
{
        union control_message got;

        assert_int_equal(control_receive(supervisor, &got), 0);
        assert_int_equal(got.head.type, CONTROL_DEVICE_DOWN);
        assert_int_equal(got.device.index, 0);
        assert_int_equal(got.device.failed, for_good);
        assert_int_equal(control_receive(supervisor, &got), -EAGAIN);
}

/* The supervisor sends another process. */
int replace(void)
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

void replace_fails(void)
{
        const struct control_device message = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(message)), .failed = 1};

        assert_int_equal(devices_replace(&m, &message, -1, NULL), 0);
}

void ring_index(unsigned int queue, unsigned int part, uint16_t index)
{
        memcpy(ram + RING(queue, part) + 2, &index, sizeof(index));
}

uint64_t count_of(int fd)
{
        uint64_t n = 0;

        return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}
