/*
 * The main thread's part of a device: brings its process to where the guest wants it. Talking to a process takes as
 * long as vhost_user/frontend.h says, without the machine's lock; meanwhile the guest runs, and its notifications wait
 * in the eventfds.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spec/vmm_fds.h"
#include "vmm/device/device.h"
#include "vmm/machine.h"

/* Where the index of the available and of the used ring is: virtio 1.2, 2.7.6 and 2.7.8. */
#define INDEX_OFF 2

/* ---- what a process got done ---- */

static uint16_t index_at(const struct machine *m, gpa_t ring)
{
        const void *p = guest_ram_at(&m->ram, ring + INDEX_OFF, sizeof(uint16_t));
        uint16_t index = 0;

        if (p)
                memcpy(&index, p, sizeof(index));
        return index;
}

/* Losing it counts as a failure when it returned nothing although there was something to do; anything else is progress.
 */
static void progress_judge(struct device *d)
{
        const struct device_setup *s = &d->running;
        bool waiting = false;

        if (d->at != DEVICE_RUNNING)
                return;
        for (unsigned int q = 0; q < s->count; q++) {
                uint16_t used = index_at(d->machine, s->queues[q].device);

                if (used != d->used_at_start[q]) {
                        d->tries = 0;
                        return;
                }
                waiting |= s->queues[q].size > 0 && used != index_at(d->machine, s->queues[q].driver);
        }
        d->tries = waiting ? d->tries + 1 : 0;
}

/* ---- losing a process, for a while or for good ---- */

static void inflight_forget(struct device *d)
{
        fd_closep(&d->front.inflight_fd);
        memset(&d->front.inflight, 0, sizeof(d->front.inflight));
}

static int supervisor_tell(const struct device *d, bool for_good, struct err *e)
{
        const struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE_DOWN, sizeof(m)),
                                         .index = d->index,
                                         .failed = for_good};
        int r = control_send(VMM_FD_CONTROL, &m);

        return r < 0 ? err_set(e, r, "tell the supervisor that device %u is down", d->index) : 0;
}

/* No process will come any more: the guest learns it, now and whenever it tries to start the device again. */
static void give_up(struct device *d)
{
        struct machine *m = d->machine;

        vu_frontend_disconnect(&d->front);
        inflight_forget(d);
        d->at = DEVICE_GONE;
        pthread_mutex_lock(&m->lock);
        if (d->run && !d->start_due)
                virtio_pci_needs_reset(&d->transport);
        pthread_mutex_unlock(&m->lock);
}

/* The process died, hung or broke the protocol. The supervisor ends what is left of it before it answers. */
static int lose(struct device *d, struct err *e)
{
        progress_judge(d);
        if (d->tries >= DEVICE_TRIES_MAX) {
                give_up(d);
                return supervisor_tell(d, true, e);
        }
        vu_frontend_disconnect(&d->front);
        d->at = DEVICE_LOST;
        return supervisor_tell(d, false, e);
}

/* A process that could not even be started. */
static int lose_try(struct device *d, struct err *e)
{
        d->tries++;
        return lose(d, e);
}

/* ---- a new process ---- */

/* Moves *fd to its number, which the filter knows. */
static int fd_move(int *fd, int target)
{
        if (*fd == target)
                return 0;
        if (dup2(*fd, target) < 0)
                return -errno;
        close(*fd);
        *fd = target;
        return 0;
}

/* The channel for the process's own requests: ours, and theirs, which connecting sends. */
static int request_pair(const struct device *d, int ret[2])
{
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0)
                return -errno;
        return fd_move(&ret[0], VMM_FD_REQUEST_FIRST + (int)d->index);
}

int device_connect(struct device *d, int socket, unsigned int queues, struct err *e)
{
        int pair[2] = {-1, -1}, r = fd_move(&socket, VMM_FD_DEVICE_FIRST + (int)d->index);

        if (r == 0)
                r = request_pair(d, pair);
        if (r < 0)
                err_set(e, r, "place the sockets of device %u", d->index);
        if (r == 0)
                r = vu_frontend_connect(&d->front, socket, d->type->features, queues, d->type->config_bytes, pair, e);
        fd_closep(&pair[1]);
        if (r == 0)
                device_type_adjust(d->type, d->front.config, d->front.config_bytes, d->front.queues);
        return r;
}

/* The guest's view of the device was made with another process; this one must be able to stand in for it. */
static bool stands_in(const struct device *d)
{
        const struct virtio_pci *t = &d->transport;

        return (t->offered & ~d->front.features) == 0 && d->front.queues >= t->queue_count &&
               d->front.config_bytes >= t->config_bytes;
}

static void config_report(struct device *d)
{
        struct machine *m = d->machine;
        uint32_t bytes = d->transport.config_bytes; /* never changes */

        if (d->front.config_bytes < bytes)
                return;
        pthread_mutex_lock(&m->lock);
        if (d->has_written)
                d->front.config[d->type->writable_off] = d->written;
        if (memcmp(d->transport.config, d->front.config, bytes) != 0)
                virtio_pci_config_changed(&d->transport, d->front.config, bytes);
        pthread_mutex_unlock(&m->lock);
}

/* Configuration space as the process has it now; and whether it has given up on a queue. */
static int config_renew(struct device *d)
{
        struct machine *m = d->machine;
        int r = vu_frontend_config_fetch(&d->front, NULL);

        if (r < 0)
                return r;
        device_type_adjust(d->type, d->front.config, d->front.config_bytes, d->front.queues);
        config_report(d);
        pthread_mutex_lock(&m->lock);
        if (d->front.needs_reset && d->run)
                virtio_pci_needs_reset(&d->transport);
        pthread_mutex_unlock(&m->lock);
        return 0;
}

/* ---- start and stop ---- */

/* The process lives, but what the guest set up cannot be run, or not gone on with: the guest has to begin anew. */
static void refuse(struct device *d)
{
        struct machine *m = d->machine;

        inflight_forget(d);
        d->begun = false;
        pthread_mutex_lock(&m->lock);
        if (d->run && !d->start_due)
                virtio_pci_needs_reset(&d->transport);
        d->run = false; /* a start that is due is answered with no */
        pthread_mutex_unlock(&m->lock);
}

/* Returns false when the guest wants it no more; then there is another round. */
static bool setup_take(struct device *d)
{
        struct machine *m = d->machine;
        bool run;

        pthread_mutex_lock(&m->lock);
        run = d->run;
        d->running = d->setup;
        pthread_mutex_unlock(&m->lock);
        return run;
}

/* Where each queue starts, or goes on. Returns false when that is not known: requests were taken by a dead process that
 * left no account of them. */
static bool queues_place(struct device *d)
{
        struct device_setup *s = &d->running;
        bool known = !d->begun || d->front.inflight_fd >= 0;

        for (unsigned int q = 0; q < s->count; q++) {
                uint16_t used = index_at(d->machine, s->queues[q].device);

                d->used_at_start[q] = used;
                s->queues[q].next_avail = d->begun ? used : 0;
                if (!known && s->queues[q].size > 0 && used != index_at(d->machine, s->queues[q].driver))
                        return false;
        }
        return true;
}

/* A process that takes over goes on at what the dead one has returned; what that had in flight is in the in-flight
 * region, which is there before a process learns of the queues. */
static int start(struct device *d, struct err *e)
{
        const struct device_setup *s = &d->running;
        const bool again = d->begun;
        int r = -ENOTSUP;

        if (!setup_take(d))
                return 0;
        if (queues_place(d))
                r = vu_frontend_start(&d->front, &d->machine->ram, VMM_FD_RAM, s->features, s->queues, s->count, NULL);
        if (r == -ENOTSUP || r == -EINVAL || r == -EFAULT) { /* the last two: rings that are not in RAM */
                refuse(d);
                return 0;
        }
        if (r == 0 || d->front.inflight_fd >= 0 || !(d->front.protocol_features & VU_PROTOCOL_INFLIGHT_SHMFD))
                d->begun = true;
        if (r < 0)
                return lose_try(d, e);
        d->at = DEVICE_RUNNING;
        if (again)
                device_signal_queues(d->index, s->count);
        return 0;
}

/* What cannot be stopped is lost: whether it still touches the guest's memory is known only when the supervisor has
 * ended it. */
static int stop(struct device *d, struct err *e)
{
        int r = 0;

        if (d->at == DEVICE_RUNNING)
                r = vu_frontend_stop(&d->front, d->running.count, NULL);
        inflight_forget(d);
        d->begun = false;
        if (r < 0)
                return lose(d, e);
        if (d->at == DEVICE_RUNNING)
                d->at = DEVICE_IDLE;
        return 0;
}

/* The guest waits for these. It may have changed its mind since `advance` looked: then there is another round. */
static void answer(struct device *d)
{
        struct machine *m = d->machine;

        pthread_mutex_lock(&m->lock);
        if (d->start_due && (!d->run || d->at == DEVICE_RUNNING || d->at == DEVICE_GONE)) {
                d->start_due = false;
                virtio_pci_started(&d->transport, d->run && d->at == DEVICE_RUNNING);
        }
        if (d->stop_due && (d->at == DEVICE_IDLE || d->at == DEVICE_GONE)) {
                d->stop_due = false;
                virtio_pci_stopped(&d->transport);
        }
        pthread_mutex_unlock(&m->lock);
}

/* What the process refuses, the driver reads again as it was. */
static int write_config(struct device *d, uint8_t value, struct err *e)
{
        struct machine *m = d->machine;
        int r = vu_frontend_config_write(&d->front, d->type->writable_off, &value, 1, NULL);

        if (r == -EINVAL) {
                pthread_mutex_lock(&m->lock);
                d->has_written = false;
                pthread_mutex_unlock(&m->lock);
                r = config_renew(d);
        }
        return r < 0 ? lose(d, e) : 0;
}

/* One step towards what the guest wants. */
static int advance(struct device *d, struct err *e)
{
        struct machine *m = d->machine;
        uint8_t written;
        bool run, write;
        int r = 0;

        pthread_mutex_lock(&m->lock);
        run = d->run;
        written = d->written;
        write = d->write_due && d->at != DEVICE_LOST;
        if (write)
                d->write_due = false;
        pthread_mutex_unlock(&m->lock);

        if (write && d->at != DEVICE_GONE)
                r = write_config(d, written, e);
        if (r == 0 && run && d->at == DEVICE_IDLE)
                r = start(d, e);
        else if (r == 0 && !run && d->begun)
                r = stop(d, e);
        if (r == 0)
                answer(d);
        return r;
}

/* ---- what the supervisor says ---- */

/* Takes a new process in. What it refuses is as if it had died. */
static int take_in(struct device *d, int socket, struct err *e)
{
        struct machine *m = d->machine;

        d->at = DEVICE_IDLE;
        if (device_connect(d, socket, d->transport.queue_count, NULL) < 0 || !stands_in(d))
                return lose_try(d, e);
        pthread_mutex_lock(&m->lock);
        d->write_due = d->has_written;
        pthread_mutex_unlock(&m->lock);
        config_report(d);
        return 0;
}

int devices_replace(struct machine *m, const struct control_device *message, int socket, struct err *e)
{
        _cleanup_fd_ int fd = socket;
        struct device *d = message->index < m->device_count ? &m->devices[message->index] : NULL;
        int r = 0;

        if (!d || (message->failed != 0) != (fd < 0))
                return err_set(e, -EPROTO, "receive device %u from the supervisor", message->index);
        if (d->at == DEVICE_GONE)
                return 0;
        progress_judge(d); /* the supervisor may be the first to know */
        vu_frontend_disconnect(&d->front);
        if (message->failed)
                give_up(d);
        else
                r = take_in(d, TAKE_FD(fd), e);
        return r < 0 ? r : advance(d, e);
}

/* ---- what the process says by itself ---- */

/* On its own channel: that configuration space changed. On the other nothing can come but the end. */
static int listen_to(struct device *d, short socket, short requests, struct err *e)
{
        int r = 0;

        if (socket)
                return lose(d, e);
        if (requests)
                r = vu_frontend_request_handle(&d->front, NULL);
        if (r == -EPIPE) { /* it may do without */
                fd_closep(&d->front.request_fd);
                return 0;
        }
        if (r == 1)
                r = config_renew(d);
        return r < 0 ? lose(d, e) : 0;
}

unsigned int devices_poll(const struct machine *m, struct pollfd *p)
{
        for (size_t i = 0; i < m->device_count; i++) {
                const struct device *d = &m->devices[i];
                bool there = d->at == DEVICE_IDLE || d->at == DEVICE_RUNNING;

                p[2 * i] = (struct pollfd){.fd = there ? d->front.fd : -1, .events = POLLIN};
                p[2 * i + 1] = (struct pollfd){.fd = there ? d->front.request_fd : -1, .events = POLLIN};
        }
        return 2 * m->device_count;
}

int devices_attend(struct machine *m, const struct pollfd *p, struct err *e)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < m->device_count; i++) {
                struct device *d = &m->devices[i];

                if (p[2 * i].revents || p[2 * i + 1].revents)
                        r = listen_to(d, p[2 * i].revents, p[2 * i + 1].revents, e);
                if (r == 0)
                        r = advance(d, e);
        }
        return r;
}
