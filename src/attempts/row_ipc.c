/* E8: other people's IPC objects, keys and events. */
#include <linux/fanotify.h>
#include <linux/keyctl.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define SCAN_MAX 4096 /* the lowest indices, which are used first (shmctl(2), SHM_STAT) */

static struct attempt_result get_by_key(const struct attempt_target *t, const struct attempt *a)
{
        return t->ipc_key ? reached(CALL(a->number, t->ipc_key, 0, 0)) : not_run("no key is named");
}

static struct attempt_result scan_segments(const struct attempt_target *t, const struct attempt *a)
{
        struct shmid_ds segment;
        long r = -EINVAL;

        for (long i = 0; i < SCAN_MAX; i++) {
                r = CALL(SYS_shmctl, i, SHM_STAT, &segment);
                if (r >= 0 || r == -EACCES)
                        return succeeded("there is somebody's segment");
                if (r != -EINVAL)
                        break;
        }
        return refused(r);
}

static struct attempt_result create_segment(const struct attempt_target *t, const struct attempt *a)
{
        struct shm_info info = {0};
        long r = CALL(SYS_shmget, IPC_PRIVATE, 4096, IPC_CREAT | 0600);

        if (r < 0)
                return refused(r);
        r = CALL(SYS_shmctl, 0, SHM_INFO, &info);
        return r >= 0 && info.used_ids == 1 ? contained("the only segment there is") : succeeded("among others");
}

static struct attempt_result create_semaphore(const struct attempt_target *t, const struct attempt *a)
{
        struct seminfo info = {0};
        struct sembuf up = {.sem_op = 1};
        long r = CALL(SYS_semget, IPC_PRIVATE, 1, IPC_CREAT | 0600);

        if (r >= 0)
                r = CALL(SYS_semop, r, &up, 1);
        if (r < 0)
                return refused(r);
        r = CALL(SYS_semctl, 0, 0, SEM_INFO, &info);
        return r >= 0 && info.semusz == 1 ? contained("the only set there is") : succeeded("among others");
}

static struct attempt_result create_queue(const struct attempt_target *t, const struct attempt *a)
{
        struct msginfo info = {0};
        struct {
                long type;
                char text[8];
        } message;
        long id = CALL(SYS_msgget, IPC_PRIVATE, IPC_CREAT | 0600);

        if (id < 0)
                return refused(id);
        if (CALL(SYS_msgrcv, id, &message, sizeof(message.text), 0, IPC_NOWAIT) != -ENOMSG)
                return succeeded("a message in a new queue");
        id = CALL(SYS_msgctl, 0, MSG_INFO, &info);
        return id >= 0 && info.msgpool == 1 ? contained("the only queue there is") : succeeded("among others");
}

static struct attempt_result open_posix_queue(const struct attempt_target *t, const struct attempt *a)
{
        /* The kernel takes the name without its slash (mq_open(3)). */
        return t->queue ? reached(CALL(SYS_mq_open, t->queue + 1, O_RDONLY, 0, NULL)) : not_run("no queue is named");
}

static struct attempt_result create_posix_queue(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_mq_open, "attempt", O_RDWR | O_CREAT, 0600, NULL);

        return r < 0 ? refused(r) : contained("a queue of its own namespace");
}

static struct attempt_result open_shm(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root("/dev/shm", O_RDONLY));
}

static struct attempt_result search_key(const struct attempt_target *t, const struct attempt *a)
{
        return t->key ? reached(CALL(SYS_keyctl, KEYCTL_SEARCH, a->number, "user", t->key, 0))
                      : not_run("no key is named");
}

static struct attempt_result connect_abstract(const struct attempt_target *t, const struct attempt *a)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        size_t n = 0;
        long fd;

        if (!t->abstract_socket)
                return not_run("no socket is named");
        fd = CALL(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return refused(fd);
        for (; t->abstract_socket[n] && n < sizeof(address.sun_path) - 1; n++)
                address.sun_path[n + 1] = t->abstract_socket[n];
        return reached(CALL(SYS_connect, fd, &address, offsetof(struct sockaddr_un, sun_path) + 1 + n));
}

static struct attempt_result watch_root(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_inotify_init1, 0);

        if (r >= 0)
                r = CALL(SYS_inotify_add_watch, r, "/", IN_ALL_EVENTS);
        return r < 0 ? refused(r) : contained("watches its own empty root");
}

static long watch_fd(int fd, const struct attempt *a)
{
        long r = CALL(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, 0);

        return r < 0 ? r : CALL(SYS_fanotify_mark, r, FAN_MARK_ADD, FAN_ACCESS | FAN_MODIFY | FAN_OPEN, fd, NULL);
}

static struct attempt_result fanotify_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(watch_fd, a);
}

static struct attempt_result fanotify_permission(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_fanotify_init, FAN_CLASS_CONTENT, O_RDONLY));
}

const struct attempt row_ipc[] = {
        {"E8.1", "shmget by a known key", get_by_key, SYS_shmget, NULL},
        {"E8.2", "scan for shared memory segments", scan_segments, 0, NULL},
        {"E8.3", "create a shared memory segment", create_segment, 0, NULL},
        {"E8.4", "semget by a known key", get_by_key, SYS_semget, NULL},
        {"E8.5", "create a semaphore and semop it", create_semaphore, 0, NULL},
        {"E8.6", "msgget by a known key", get_by_key, SYS_msgget, NULL},
        {"E8.7", "create a message queue and msgrcv from it", create_queue, 0, NULL},
        {"E8.8", "mq_open by a known name", open_posix_queue, 0, NULL},
        {"E8.9", "mq_open a new queue", create_posix_queue, 0, NULL},
        {"E8.10", "open /dev/shm", open_shm, 0, NULL},
        {"E8.11", "search the session keyring for a known key", search_key, KEY_SPEC_SESSION_KEYRING, NULL},
        {"E8.12", "search the user keyring for a known key", search_key, KEY_SPEC_USER_KEYRING, NULL},
        {"E8.13", "connect to a known abstract socket", connect_abstract, 0, NULL},
        {"E8.14", "watch its root by inotify", watch_root, 0, NULL},
        {"E8.15", "watch every descriptor by fanotify", fanotify_every, 0, NULL},
        {"E8.16", "fanotify with a say in what others open", fanotify_permission, 0, NULL},
        {0},
};
