#include "supervisor/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "spec/request.h"
#include "supervisor/devices.h"

int requests_open(struct requests *q, int guest_dir_fd, struct err *e)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return err_set(e, -errno, "create a socket");
        /* The directory's own path may be longer than an address. */
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" REQUEST_SOCKET, guest_dir_fd);
        (void)unlinkat(guest_dir_fd, REQUEST_SOCKET, 0); /* of a guest that is gone */
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
                return err_set(e, -errno, "create the socket for requests in the guest's directory");
        q->listen_fd = TAKE_FD(fd);
        return 0;
}

void requests_close(struct requests *q)
{
        fd_closep(&q->listen_fd);
        fd_closep(&q->client_fd);
        q->awaited = NULL;
}

int requests_prepare(const struct requests *q, struct pollfd *p, int64_t now_ms)
{
        p[0] = (struct pollfd){.fd = q->client_fd < 0 ? q->listen_fd : -1, .events = POLLIN};
        p[1] = (struct pollfd){.fd = q->client_fd, .events = POLLIN};
        if (q->client_fd < 0)
                return -1;
        return q->deadline_ms <= now_ms ? 0 : (int)(q->deadline_ms - now_ms);
}

/* e: NULL when it was done. */
static void answer(struct requests *q, const struct err *e)
{
        struct request_answer a = {.magic = REQUEST_MAGIC, .version = REQUEST_VERSION};

        if (e) {
                a.failed = 1;
                a.status = e->status;
                memcpy(a.text, e->text, sizeof(a.text));
        }
        (void)send(q->client_fd, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT); /* one that has left needs none */
        fd_closep(&q->client_fd);
        q->awaited = NULL;
}

static int request_run(struct requests *q, const struct request *m, struct devices *d, struct err *e)
{
        if (m->magic != REQUEST_MAGIC || m->version != REQUEST_VERSION || m->type != REQUEST_RESIZE ||
            !memchr(m->device, '\0', sizeof(m->device)))
                return err_bad(e, STATUS_USAGE, "the supervisor does not know such a request");
        return devices_resize(d, m->device, m->bytes, &q->awaited, e);
}

static void request_receive(struct requests *q, struct devices *d)
{
        struct request m;
        struct err e = ERR_INIT;
        ssize_t n = recv(q->client_fd, &m, sizeof(m), MSG_TRUNC | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) { /* it has left; what it asked for goes on */
                fd_closep(&q->client_fd);
                q->awaited = NULL;
                return;
        }
        if (q->awaited || n != sizeof(m))
                err_bad(&e, STATUS_USAGE, "the supervisor does not know such a request");
        else if (request_run(q, &m, d, &e) == 0)
                return;
        answer(q, &e);
}

void requests_handle(struct requests *q, const struct pollfd *p, struct devices *d)
{
        struct err late = ERR_INIT;

        if (p[0].revents) {
                q->client_fd = accept4(q->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                q->deadline_ms = clock_now_ms() + REQUESTS_TIMEOUT_MS;
                return;
        }
        if (q->client_fd >= 0 && p[1].revents)
                request_receive(q, d);
        if (q->client_fd >= 0 && clock_now_ms() >= q->deadline_ms) {
                err_set(&late, -ETIMEDOUT, "wait for the device");
                answer(q, &late);
        }
}

void requests_answered(struct requests *q, const struct device *dv, int result)
{
        struct err e = ERR_INIT;

        if (!dv || q->awaited != dv)
                return;
        if (result < 0)
                err_set(&e, result, "resize the disk %s", dv->id);
        answer(q, result < 0 ? &e : NULL);
}
