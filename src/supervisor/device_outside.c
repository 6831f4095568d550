#include "supervisor/device_outside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"

const struct device_role device_role_outside_blk = {.virtio_id = VIRTIO_ID_BLOCK, .program = "the back end"};
const struct device_role device_role_outside_rng = {.virtio_id = VIRTIO_ID_RNG, .program = "the back end"};

/* Never waits: a back end that takes nobody in is as good as none. */
static int peer_connect(struct device *dv)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct ucred peer = {0};
        socklen_t len = sizeof(peer);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        static_assert(sizeof(a.sun_path) == sizeof(dv->outside->socket), "a socket's path fits");
        memcpy(a.sun_path, dv->outside->socket, sizeof(a.sun_path));
        if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || fcntl(fd, F_SETFL, 0) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
                return -errno;
        dv->peer_pid = peer.pid;
        dv->peer_uid = peer.uid;
        dv->vmm_socket = TAKE_FD(fd);
        return 0;
}

int device_outside_connect(struct device *dv, struct err *e)
{
        int r = peer_connect(dv);

        if (r == 0)
                return 0;
        err_set(e, r, "connect to %s, the back end of device %s", dv->outside->socket, dv->id);
        err_hint(e, "start it before the guest");
        return r;
}

void device_outside_start(struct devices *d, struct device *dv)
{
        dv->phase = DEVICE_UP;
        dv->was_up = true;
        d->news(d->ctx, dv, DEVICE_NEWS_UP);
}

static void give_up(struct devices *d, struct device *dv)
{
        dv->phase = DEVICE_GIVEN_UP;
        d->news(d->ctx, dv, DEVICE_NEWS_GIVEN_UP);
}

static void try_later(struct device *dv)
{
        int64_t delay = OUTSIDE_DELAY_MIN_MS;

        for (unsigned int i = 0; i < dv->tries && delay < OUTSIDE_DELAY_MAX_MS; i++)
                delay *= 2;
        dv->phase = DEVICE_WAITING;
        dv->deadline_ms = clock_now_ms() + (delay < OUTSIDE_DELAY_MAX_MS ? delay : OUTSIDE_DELAY_MAX_MS);
}

/* Hands the new connection over. */
static int vmm_send(struct device *dv, int vmm_fd)
{
        const struct control_device m = {.head = CONTROL_HEADER(CONTROL_DEVICE, sizeof(m)), .index = dv->index};
        int r = control_send_fd(vmm_fd, &m, dv->vmm_socket);

        fd_closep(&dv->vmm_socket);
        return r;
}

void device_outside_handle(struct devices *d, struct device *dv, int vmm_fd)
{
        int r;

        if (!device_process_is_due(dv, clock_now_ms()))
                return;
        if (device_run_is_ending(vmm_fd)) {
                dv->phase = DEVICE_OFF;
                return;
        }
        r = peer_connect(dv);
        if (r == 0)
                r = vmm_send(dv, vmm_fd);
        if (r == 0) {
                dv->phase = DEVICE_UP;
                dv->restarts++;
                d->news(d->ctx, dv, DEVICE_NEWS_RESTARTED);
                return;
        }
        snprintf(dv->why, sizeof(dv->why), "%s: %s", dv->outside->socket, strerror(-r));
        if (++dv->tries >= OUTSIDE_TRIES_MAX) {
                give_up(d, dv);
                device_tell_given_up(dv, vmm_fd);
                return;
        }
        try_later(dv);
}

void device_outside_lost(struct devices *d, struct device *dv, bool for_good)
{
        const int64_t now = clock_now_ms();

        if (dv->phase != DEVICE_UP)
                return;
        if (for_good) {
                snprintf(dv->why, sizeof(dv->why), "it gets nothing done");
                give_up(d, dv);
                return;
        }
        /* One that is lost again at once is no better than one that cannot be connected to; the VMM judges what it gets
         * done. */
        if (now - dv->window_ms > DEVICE_DEATHS_WINDOW_MS)
                dv->tries = 0;
        dv->window_ms = now;
        snprintf(dv->why, sizeof(dv->why), "it closed the connection, hung or broke the protocol");
        d->news(d->ctx, dv, DEVICE_NEWS_DIED);
        try_later(dv);
        dv->tries++;
}
