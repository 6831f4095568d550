#include "devices/common/device.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/common/device_config.h"
#include "jail/jail.h"
#include "jail/jail_seccomp.h"
#include "spec/device_fds.h"

/* Tags of our own; the queues' are their indices. */
#define TAG_CONTROL  UINT64_MAX
#define TAG_FRONTEND (UINT64_MAX - 1)

#define EVENTS_MAX 32 /* of one look at epoll */

struct device {
        const struct device_program *program;
        void *ctx;
        struct vu_backend backend;
};

int device_fd_place(int fd, int number, struct err *e)
{
        if (fd == number)
                return 0;
        if (dup3(fd, number, O_CLOEXEC) < 0)
                return err_set(e, -errno, "move a descriptor to %d", number);
        close(fd);
        return 0;
}

static int watch(int fd, uint32_t events, uint64_t tag)
{
        struct epoll_event event = {.events = events, .data.u64 = tag};

        return epoll_ctl(DEVICE_FD_EPOLL, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int device_watch(int fd, uint64_t tag)
{
        return watch(fd, EPOLLIN, tag);
}

int device_watch_edge(int fd, uint64_t tag)
{
        return watch(fd, EPOLLIN | EPOLLET, tag);
}

int device_unwatch(int fd)
{
        return epoll_ctl(DEVICE_FD_EPOLL, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

/* Edge-triggered: each write to the eventfd is told of once, and the count need not be read. */
int device_queue_watch(const struct vu_queue *q, struct err *e)
{
        int r = q->kick_fd < 0 ? -EBADF : watch(q->kick_fd, EPOLLIN | EPOLLET, q->index);

        return r < 0 ? err_set(e, r, "wait for the kicks of queue %u", q->index) : 0;
}

void device_queue_unwatch(const struct vu_queue *q)
{
        (void)device_unwatch(q->kick_fd); /* the front end's descriptor: what it is now is no concern of ours */
}

static int loop_open(struct err *e)
{
        int fd = epoll_create1(EPOLL_CLOEXEC), r;

        if (fd < 0)
                return err_set(e, -errno, "create an epoll descriptor");
        r = device_fd_place(fd, DEVICE_FD_EPOLL, e);
        if (r < 0)
                return r;
        r = device_watch(DEVICE_FD_CONTROL, TAG_CONTROL);
        if (r == 0)
                r = device_watch(DEVICE_FD_FRONTEND, TAG_FRONTEND);
        return r < 0 ? err_set(e, r, "wait for the supervisor and the front end") : 0;
}

/* So that no descriptor of the front end ever has a number that the filter knows as one of ours. */
static int numbers_fill(struct err *e)
{
        for (int fd = DEVICE_FD_RESOURCE; fd < DEVICE_FD_PEER; fd++)
                if (fcntl(fd, F_GETFD) < 0 && dup3(STDIN_FILENO, fd, O_CLOEXEC) < 0)
                        return err_set(e, -errno, "occupy descriptor %d", fd);
        return 0;
}

static int start(struct device *d, struct err *e)
{
        static struct control_device_config config;
        struct control_ready ready = {.head = CONTROL_HEADER(CONTROL_READY, sizeof(ready))};
        const struct vu_device_ops *ops = NULL;
        unsigned int abi;
        int r = jail_seal(&ready.layers, &abi, e);

        if (r == 0)
                r = device_config_receive(&config, ready.layers, e);
        if (r == 0)
                r = loop_open(e);
        if (r == 0)
                r = d->program->prepare(&config, &ops, &d->ctx, e);
        if (r == 0)
                r = numbers_fill(e);
        if (r == 0)
                r = jail_seccomp_install(d->program->policy, e);
        if (r < 0)
                return r;
        vu_backend_init(&d->backend, ops, d->ctx, DEVICE_FD_FRONTEND);
        ready.landlock_abi = abi;
        ready.engine = d->program->engine;
        r = control_send(DEVICE_FD_CONTROL, &ready);
        return r < 0 ? err_set(e, r, "tell the supervisor that the device is ready") : 0;
}

/* The size is changed first; a front end that cannot be told of it is the answer's result. */
static int resize(struct device *d, const struct control_resize *m, struct err *e)
{
        struct control_resize answer = {.head = CONTROL_HEADER(CONTROL_RESIZED, sizeof(answer)), .bytes = m->bytes};
        struct err why = ERR_INIT;
        int r = d->program->resize ? d->program->resize(d->ctx, m->bytes, &why) : -ENOTSUP;

        if (r == 0)
                r = vu_backend_config_changed(&d->backend);
        answer.result = r;
        r = control_send(DEVICE_FD_CONTROL, &answer);
        return r < 0 ? err_set(e, r, "answer the supervisor") : 0;
}

static int control_handle(struct device *d, struct err *e)
{
        static union control_message m;
        int r = control_receive(DEVICE_FD_CONTROL, &m);

        if (r == 0 && m.head.type != CONTROL_RESIZE)
                r = -EPROTO;
        return r < 0 ? err_set(e, r, "receive from the supervisor") : resize(d, &m.resize, e);
}

/* Descriptors first, messages last: a message can end what an event of the same look is about. */
static int events_handle(struct device *d, const struct epoll_event *events, int count, struct err *e)
{
        bool control = false, frontend = false;
        int r = 0;

        for (int i = 0; i < count; i++) {
                uint64_t tag = events[i].data.u64;

                control |= tag == TAG_CONTROL;
                frontend |= tag == TAG_FRONTEND;
                if (tag == TAG_CONTROL || tag == TAG_FRONTEND ||
                    (tag < VU_QUEUES_MAX && !d->backend.queues[tag].started))
                        continue;
                d->program->event(d->ctx, tag);
        }
        if (control)
                r = control_handle(d, e);
        if (r == 0 && frontend)
                r = vu_backend_handle(&d->backend, e);
        return r;
}

/* Returns -EPIPE without a text when the front end has gone, else a negative errno with the reason. */
static int serve(struct device *d, struct err *e)
{
        struct epoll_event events[EVENTS_MAX];
        int r = 0;

        while (r == 0) {
                int count = epoll_wait(DEVICE_FD_EPOLL, events, EVENTS_MAX, -1);

                if (count < 0 && errno != EINTR)
                        return err_set(e, -errno, "wait for events");
                r = events_handle(d, events, count, e);
        }
        return r;
}

void device_main(const struct device_program *p)
{
        static struct device d;
        struct err e = ERR_INIT;
        int r;

        d.program = p;
        r = start(&d, &e);
        if (r == 0) {
                r = serve(&d, &e);
                /* Before any news: whoever hears them may start the next process for the same guest. */
                vu_backend_fini(&d.backend);
        }
        if (r == -EPIPE && e.text[0] == '\0')
                _exit(STATUS_OK);
        (void)control_send_failed(DEVICE_FD_CONTROL, &e); /* a supervisor that is gone needs no news */
        _exit((int)e.status);
}
