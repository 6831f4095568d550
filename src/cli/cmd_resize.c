#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "cli/commands.h"
#include "spec/request.h"
#include "state/state.h"

#define ANSWER_TIMEOUT_MS 30000 /* another request may come first */

static const char resize_help[] =
        "Usage: bulkhead resize NAME DISK SIZE\n\n"
        "Makes a disk of a running guest larger: a file grows to SIZE (a number of bytes, or one followed by K,\n"
        "M, G, T or P), and a block device that has grown on the host is shown to the guest with its new size.\n"
        "DISK is the disk's id.\n";

static int arguments_read(int argc, char *argv[], struct request *m, struct err *e)
{
        int r = 0;

        if (argc != 4 || argv[1][0] == '-' || argv[2][0] == '-')
                r = err_bad(e, STATUS_USAGE, "bulkhead resize needs the name of a guest, a disk and a size");
        else if (strnlen(argv[2], sizeof(m->device)) == sizeof(m->device))
                r = err_bad(e, STATUS_USAGE, "there is no disk \"%.64s\"", argv[2]);
        else if (size_parse(argv[3], &m->bytes) < 0 || m->bytes == 0)
                r = err_bad(e, STATUS_USAGE,
                            "\"%.64s\" is not a size (a number with K, M, G, T, P or nothing after it)", argv[3]);
        if (r < 0) {
                err_hint(e, "see bulkhead resize --help");
                return r;
        }
        memcpy(m->device, argv[2], strlen(argv[2]));
        return 0;
}

static int supervisor_connect(const struct state_dir *d, const char *name, struct err *e)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = -1;

        if (!guest_name_valid(name) || state_lock_owner(d, name) == 0) {
                err_bad(e, STATUS_NAME, "there is no guest named \"%s\"", name);
                err_hint(e, "bulkhead ps lists the guests");
                return -ESRCH;
        }
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_set(e, -errno, "create a socket");
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s/" REQUEST_SOCKET, d->guests_fd, name);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (errno == ENOENT)
                        return err_bad(e, STATUS_USAGE, "guest \"%s\" has no disk", name);
                return err_set(e, -errno, "connect to the supervisor of guest \"%s\"", name);
        }
        return TAKE_FD(fd);
}

static int request_make(int fd, const struct request *m, struct err *e)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct request_answer a;
        ssize_t n;

        if (send(fd, m, sizeof(*m), MSG_NOSIGNAL) < 0)
                return err_set(e, -errno, "ask the supervisor");
        if (poll(&p, 1, ANSWER_TIMEOUT_MS) != 1)
                return err_set(e, -ETIMEDOUT, "wait for the supervisor's answer");
        n = recv(fd, &a, sizeof(a), MSG_TRUNC);
        if (n == 0)
                return err_bad(e, STATUS_NAME, "the guest has ended, or starts again");
        if (n != sizeof(a) || a.magic != REQUEST_MAGIC || a.version != REQUEST_VERSION)
                return err_set(e, n < 0 ? -errno : -EPROTO, "understand the supervisor's answer");
        if (!a.failed)
                return 0;
        a.text[sizeof(a.text) - 1] = '\0';
        return err_bad(e, (enum exit_status)a.status, "%s", a.text);
}

int cmd_resize(int argc, char *argv[], struct err *e)
{
        struct state_dir d = {.fd = -1, .guests_fd = -1, .ids_fd = -1};
        struct request m = {.magic = REQUEST_MAGIC, .version = REQUEST_VERSION, .type = REQUEST_RESIZE};
        _cleanup_fd_ int fd = -1;
        int r;

        if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
                fputs(resize_help, stdout);
                return STATUS_OK;
        }
        r = arguments_read(argc, argv, &m, e);
        if (r == 0)
                r = state_dir_open(&d, e);
        if (r == 0) {
                fd = supervisor_connect(&d, argv[1], e);
                r = fd < 0 ? fd : request_make(fd, &m, e);
        }
        state_dir_close(&d);
        return r < 0 ? (int)e->status : STATUS_OK;
}
