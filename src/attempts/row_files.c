/* E4: files of the host. E5: files of a neighbour. */
#include <sys/socket.h>
#include <sys/un.h>

#include "attempts/call.h"
#include "attempts/rows.h"

static struct attempt_result open_path(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root(a->text, O_RDONLY));
}

/* A name of its own that leads to the host's. */
static struct attempt_result open_through_link(const struct attempt_target *t, const struct attempt *a)
{
        long r = CALL(SYS_symlinkat, a->text, AT_FDCWD, "/link");

        return r < 0 ? refused(r) : reached(open_at_root("/link", O_RDONLY));
}

static struct attempt_result by_handle(const struct attempt_target *t, const struct attempt *a)
{
        /* struct file_handle (open_by_handle_at(2)) of inode 2, the root of most file systems. */
        struct {
                uint32_t bytes;
                int32_t type;
                uint32_t inode, generation;
        } handle = {.bytes = 8, .type = 1, .inode = 2};

        return reached(CALL(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY));
}

static long fchdir_to(int fd, const struct attempt *a)
{
        return CALL(SYS_fchdir, fd);
}

static struct attempt_result fchdir_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(fchdir_to, a);
}

static struct attempt_result list_root(const struct attempt_target *t, const struct attempt *a)
{
        char entries[1024] = {0};
        long n, fd = open_at_root("/", O_RDONLY | O_DIRECTORY);
        unsigned int count = 0;

        if (fd < 0)
                return refused(fd);
        n = CALL(SYS_getdents64, fd, entries, sizeof(entries));
        if (n < 0)
                return refused(n);
        /* struct linux_dirent64 (getdents(2)): its length is at offset 16. */
        for (long at = 0; at < n; at += *(const uint16_t *)(const void *)(entries + at + 16))
                count++;
        return count == 2 ? contained("its own root, empty") : succeeded("there are files");
}

static struct attempt_result create_file(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_openat, AT_FDCWD, "/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static struct attempt_result chroot_up(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_chroot, ".."));
}

static struct attempt_result neighbour_open(const struct attempt_target *t, const struct attempt *a)
{
        return t->file ? reached(open_at_root(t->file, a->number)) : not_run("no file of a neighbour is named");
}

static struct attempt_result neighbour_link(const struct attempt_target *t, const struct attempt *a)
{
        return t->file ? reached(CALL(SYS_link, t->file, "/link")) : not_run("no file of a neighbour is named");
}

static struct attempt_result neighbour_rename(const struct attempt_target *t, const struct attempt *a)
{
        return t->file ? reached(CALL(SYS_rename, t->file, "/file")) : not_run("no file of a neighbour is named");
}

static struct attempt_result neighbour_unlink(const struct attempt_target *t, const struct attempt *a)
{
        return t->file ? reached(CALL(SYS_unlink, t->file)) : not_run("no file of a neighbour is named");
}

static struct attempt_result neighbour_connect(const struct attempt_target *t, const struct attempt *a)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        long fd;

        if (!t->socket_path)
                return not_run("no socket is named");
        fd = CALL(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return refused(fd);
        for (size_t i = 0; t->socket_path[i] && i < sizeof(address.sun_path) - 1; i++)
                address.sun_path[i] = t->socket_path[i];
        return reached(CALL(SYS_connect, fd, &address, sizeof(address)));
}

const struct attempt row_files[] = {
        {"E4.1", "open /etc/shadow", open_path, 0, "/etc/shadow"},
        {"E4.2", "open /proc/1/root", open_path, 0, "/proc/1/root"},
        {"E4.3", "open ../../../../etc/shadow", open_path, 0, "../../../../etc/shadow"},
        {"E4.4", "open a symbolic link to /etc/shadow", open_through_link, 0, "/etc/shadow"},
        {"E4.5", "open /proc/self/fd/3/..", open_path, 0, "/proc/self/fd/3/.."},
        {"E4.6", "open a file by its handle", by_handle, 0, NULL},
        {"E4.7", "fchdir to every descriptor", fchdir_every, 0, NULL},
        {"E4.8", "list its root", list_root, 0, NULL},
        {"E4.9", "create a file in its root", create_file, 0, NULL},
        {"E4.10", "chroot to ..", chroot_up, 0, NULL},
        {"E5.1", "open a neighbour's file to read", neighbour_open, O_RDONLY, NULL},
        {"E5.2", "open a neighbour's file to write", neighbour_open, O_WRONLY, NULL},
        {"E5.3", "link a neighbour's file", neighbour_link, 0, NULL},
        {"E5.4", "rename a neighbour's file", neighbour_rename, 0, NULL},
        {"E5.5", "unlink a neighbour's file", neighbour_unlink, 0, NULL},
        {"E5.6", "connect to a socket by its path", neighbour_connect, 0, NULL},
        {0},
};
