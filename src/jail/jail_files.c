/*
 * A program with files gets a root of its own in the place of the empty one.
 *
 * Should:  have a process that makes a tmpfs in user and mount namespaces of its own, with as many bytes and inodes as
 *          the files take; copies them from descriptors; makes the file system read-only; and hands it over. What the
 *          host changes later in its own files changes nothing here. Later, as a stage: let the jailed process become
 *          rooted there.
 * Mustn't: mount it anywhere: only a process that has it as its root, or a descriptor of it, reaches it; let the jailed
 *          process own a file of it, or have any right in the namespace that it belongs to.
 *
 * The guest's namespaces could not make it anyway: they may have no further mount namespace, which what is mounted
 * nowhere needs. Fails closed: any step that fails ends the child. A root with files is not the layer that an empty one
 * is: its bit is cleared.
 */
#include "jail/jail_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "jail/jail_stages.h"

#define PAGE_BYTES    4096U
#define DIRECTORY_MAX 64 /* bytes of the name of a file's directory */
#define ID_INSIDE     1  /* of who makes it */

/* ---- in the process that makes it ---- */

static int number_set(int fs, const char *key, uint64_t value)
{
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, value);
        return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0);
}

/* The files belong to the caller's own ids, which the new user namespace must know (user_namespaces(7)). */
static int ids_map(uid_t uid, gid_t gid, struct err *e)
{
        char uids[32], gids[32];
        int r;

        /* As for a new jail (jail.c): an ordinary user may write to its own files in /proc only while it is dumpable.
         */
        if (uid != 0 && syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
                return err_set(e, -errno, "let the user map the ids");
        snprintf(uids, sizeof(uids), "%d %u 1\n", ID_INSIDE, uid);
        snprintf(gids, sizeof(gids), "%d %u 1\n", ID_INSIDE, gid);
        r = io_write_file_at(AT_FDCWD, "/proc/self/setgroups", "deny");
        if (r == 0)
                r = io_write_file_at(AT_FDCWD, "/proc/self/uid_map", uids);
        if (r == 0)
                r = io_write_file_at(AT_FDCWD, "/proc/self/gid_map", gids);
        return r < 0 ? err_set(e, r, "map an id for the program's files") : 0;
}

/* An empty one, still writable, with room for the files. */
static int root_make(const struct jail_file *files, size_t count, int *ret_fs, int *ret_root, struct err *e)
{
        _cleanup_fd_ int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
        uint64_t bytes = 0;
        int root;

        for (size_t i = 0; i < count; i++) {
                struct stat st;

                if (fstat(files[i].fd, &st) < 0)
                        return err_set(e, -errno, "ask for the size of %s", files[i].path);
                bytes += ((uint64_t)st.st_size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        }
        /* At most one directory for each file, and the root. */
        if (fs < 0 || number_set(fs, "size", bytes) < 0 || number_set(fs, "nr_inodes", 2 * count + 1) < 0 ||
            sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return err_set(e, -errno, "make a tmpfs for the program's files");
        root = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        if (root < 0)
                return err_set(e, -errno, "mount the tmpfs of the program's files");
        *ret_fs = TAKE_FD(fs);
        *ret_root = root;
        return 0;
}

/* The directory that path, without its leading slash, is in. There is at most one. */
static int directory_make(int root, const char *path)
{
        const char *slash = strchr(path, '/');
        char name[DIRECTORY_MAX];

        if (!slash)
                return 0;
        if (slash == path || (size_t)(slash - path) >= sizeof(name) || strchr(slash + 1, '/'))
                return -EINVAL;
        memcpy(name, path, (size_t)(slash - path));
        name[slash - path] = '\0';
        return mkdirat(root, name, 0555) < 0 && errno != EEXIST ? -errno : 0;
}

static int bytes_copy(int to, int from)
{
        struct stat st;
        off_t at = 0; /* the descriptor's own place is the caller's, too */

        if (fstat(from, &st) < 0)
                return -errno;
        while (at < st.st_size) {
                ssize_t n = sendfile(to, from, &at, (size_t)(st.st_size - at));

                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return -EIO; /* it has become shorter */
        }
        return 0;
}

static int file_copy(int root, const struct jail_file *f, struct err *e)
{
        int r = f->path[0] == '/' ? directory_make(root, f->path + 1) : -EINVAL;
        _cleanup_fd_ int to = -1;

        if (r == 0) {
                to = openat(root, f->path + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                r = to < 0 ? -errno : bytes_copy(to, f->fd);
        }
        if (r == 0 && fchmod(to, f->mode) < 0)
                r = -errno;
        return r < 0 ? err_set(e, r, "copy %s into the program's root", f->path) : 0;
}

static int files_make(const struct jail_file *files, size_t count, uid_t uid, gid_t gid, int fds[2], struct err *e)
{
        _cleanup_fd_ int fs = -1, root = -1, program = -1;
        int r = ids_map(uid, gid, e);

        if (r == 0)
                r = root_make(files, count, &fs, &root, e);
        for (size_t i = 0; i < count && r == 0; i++)
                r = file_copy(root, &files[i], e);
        if (r < 0)
                return r;
        if (sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
                return err_set(e, -errno, "make the program's root read-only");
        program = openat(root, files[0].path + 1, O_PATH | O_CLOEXEC);
        if (program < 0)
                return err_set(e, -errno, "open %s in the program's root", files[0].path);
        fds[0] = TAKE_FD(root);
        fds[1] = TAKE_FD(program);
        return 0;
}

/* ---- handing it over ---- */

union fds_room {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
};

static _Noreturn void maker_main(const struct jail_file *files, size_t count, uid_t uid, gid_t gid, int report_fd)
{
        struct err e = ERR_INIT;
        union fds_room room = {0};
        struct iovec iov = {e.text, sizeof(e.text)}; /* empty: it is there */
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        int fds[2];

        if (files_make(files, count, uid, gid, fds, &e) == 0) {
                room.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                             .cmsg_type = SCM_RIGHTS,
                                             .cmsg_len = CMSG_LEN(sizeof(fds))};
                memcpy(CMSG_DATA(&room.head), fds, sizeof(fds));
                msg.msg_control = room.bytes;
                msg.msg_controllen = sizeof(room.bytes);
        }
        (void)sendmsg(report_fd, &msg, MSG_NOSIGNAL); /* else the other end sees that it has ended */
        _exit(STATUS_OK);
}

static int result_receive(int fd, int fds[2], struct err *e)
{
        char text[ERR_TEXT_MAX];
        union fds_room room = {0};
        struct iovec iov = {text, sizeof(text)};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof(room.bytes)};
        ssize_t n;

        do
                n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n != sizeof(text))
                return err_set(e, -ECHILD, "make a root with the program's files");
        text[sizeof(text) - 1] = '\0';
        if (text[0])
                return err_bad(e, STATUS_ISOLATION, "%s", text);
        if (room.head.cmsg_len != CMSG_LEN(2 * sizeof(int)))
                return err_set(e, -EPROTO, "make a root with the program's files");
        memcpy(fds, CMSG_DATA(&room.head), 2 * sizeof(int));
        return 0;
}

int jail_files_make(const struct jail_file *files, size_t count, int *ret_root, int *ret_program, struct err *e)
{
        struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWNS, .exit_signal = SIGCHLD};
        const uid_t uid = geteuid();
        const gid_t gid = getegid();
        int pair[2], fds[2] = {-1, -1}, r;
        pid_t pid;

        if (count == 0 || count > JAIL_FILES_MAX)
                return err_set(e, -E2BIG, "a root with %zu files", count);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return err_set(e, -errno, "create a socket pair");
        pid = sys_clone3(&args);
        if (pid == 0)
                maker_main(files, count, uid, gid, pair[1]);
        r = pid < 0 ? err_set(e, -errno, "create a process in new namespaces") : 0;
        close(pair[1]);
        if (r == 0) {
                r = result_receive(pair[0], fds, e);
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        close(pair[0]);
        if (r < 0)
                return r;
        *ret_root = fds[0];
        *ret_program = fds[1];
        return 0;
}

/* ---- the stage ---- */

int jail_stage_files(struct jail *j, struct err *e)
{
        if (!j->req->own_root)
                return 0;
        if (fchdir(JAIL_FD_ROOT) < 0 || chroot(".") < 0 || chdir("/") < 0)
                return err_set(e, -errno, "enter the program's root");
        close(JAIL_FD_ROOT);
        j->layers &= ~LAYER_BIT(LAYER_ROOT);
        return 0;
}
