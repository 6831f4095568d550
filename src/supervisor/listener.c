#include "supervisor/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spec/guest_spec.h"

/* The directory is kept open: the path need not fit an address, and the end does not depend on what became of it. */
static int place_open(const char *path, struct listener *l, struct err *e)
{
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        char dir[SPEC_PATH_MAX] = ".";
        size_t len = slash ? (size_t)(name - path) : 0; /* of the directory; 0: the working directory */

        if (name[0] == '\0' || strlen(name) >= sizeof(l->name) || len >= sizeof(dir))
                return err_bad(e, STATUS_USAGE, "'%.80s' cannot be the path of a socket", path);
        if (len > 0) {
                memcpy(dir, path, len);
                dir[len] = '\0';
        }
        memcpy(l->name, name, strlen(name) + 1);
        l->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return l->dir_fd < 0 ? err_set(e, -errno, "open the directory of the socket %s", path) : 0;
}

/* Returns 0 with the address, or -ENAMETOOLONG. */
static int address_make(const struct listener *l, struct sockaddr_un *ret)
{
        int n;

        *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
        n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", l->dir_fd, l->name);
        return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

static int try_bind(int fd, const struct sockaddr_un *a)
{
        mode_t old = umask(0177);
        int r = bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 ? -errno : 0;

        umask(old);
        return r;
}

/* Of one that was killed. */
static bool is_left_over(const struct listener *l, const struct sockaddr_un *a)
{
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct stat st;

        return fd >= 0 && fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
               connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED;
}

int listener_open(const char *path, struct listener *ret, struct err *e)
{
        struct sockaddr_un a;
        struct stat st = {0};
        int r = place_open(path, ret, e);

        if (r < 0)
                return r;
        r = address_make(ret, &a);
        if (r < 0)
                return err_set(e, r, "create the socket %s", path);
        ret->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (ret->fd < 0)
                return err_set(e, -errno, "create a socket");
        r = try_bind(ret->fd, &a);
        if (r == -EADDRINUSE && is_left_over(ret, &a) && unlinkat(ret->dir_fd, ret->name, 0) == 0)
                r = try_bind(ret->fd, &a);
        if (r == -EADDRINUSE) {
                err_bad(e, STATUS_USAGE, "the socket %s cannot be created: something is there", path);
                err_hint(e, "choose another path, or end what listens there");
                return r;
        }
        if (r == 0 && (fstatat(ret->dir_fd, ret->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || listen(ret->fd, 1) < 0))
                r = -errno;
        if (r < 0)
                return err_set(e, r, "create the socket %s", path);
        ret->device = st.st_dev;
        ret->inode = st.st_ino;
        return 0;
}

void listener_close(struct listener *l)
{
        struct stat st;

        if (l->inode && fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == l->device &&
            st.st_ino == l->inode)
                (void)unlinkat(l->dir_fd, l->name, 0); /* in a directory that has gone it does no harm */
        l->inode = 0;
        fd_closep(&l->fd);
        fd_closep(&l->dir_fd);
}

int listener_accept(const struct listener *l, struct ucred *ret)
{
        struct ucred peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer : (struct ucred){0};
        return fd;
}
