/*
 * The test jail: what of the jail is different in a sanitized build, put in place by the linker (--wrap, see
 * meson.build). A sanitizer needs the C library that it was made for, and both need files to be loaded from, memory
 * and a place for reports; so here there are
 *
 *   root    the directory TEST_JAIL_ROOT, read-only, with the loader, the shared libraries and a /proc
 *   fds     the supervisor's standard error on 2 instead of /dev/null
 *   cgroup  more memory
 *   filter  the policies beside this file, each the product's and what the run-time libraries call
 *
 * Everything else is the product's own code. A supervisor says on every start that it builds such a jail.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "jail/jail_stages.h"
#include "supervisor/device_alone.h"
#include "supervisor/supervisor.h"

/* Shadow memory, redzones, freed memory that is kept for a while. */
#define MORE_MEMORY_BYTES (1ULL << 30)

#define UMOUNT_DETACH 2 /* MNT_DETACH, linux/fs.h */

#define NOTICE "bulkhead: TEST BUILD, has a test jail and a sanitizer: " SANITIZER "\n"

__typeof__(supervise) __real_supervise, __wrap_supervise;
int __wrap_supervise(const struct guest_spec *spec, struct err *e)
{
        (void)io_write_all(STDERR_FILENO, NOTICE, strlen(NOTICE)); /* whoever closed it does not want to know */
        return __real_supervise(spec, e);
}

__typeof__(device_serve) __real_device_serve, __wrap_device_serve;
int __wrap_device_serve(const struct guest_spec *spec, const char *path, struct err *e)
{
        (void)io_write_all(STDERR_FILENO, NOTICE, strlen(NOTICE));
        return __real_device_serve(spec, path, e);
}

__typeof__(jail_cgroup_limit) __real_jail_cgroup_limit, __wrap_jail_cgroup_limit;
int __wrap_jail_cgroup_limit(struct jail_cgroup *cg, const struct cgroup_limits *limits, struct err *e)
{
        struct cgroup_limits more = *limits;

        more.memory_bytes += MORE_MEMORY_BYTES;
        return __real_jail_cgroup_limit(cg, &more, e);
}

__typeof__(jail_stage_fds) __real_jail_stage_fds, __wrap_jail_stage_fds;
int __wrap_jail_stage_fds(struct jail *j, struct err *e)
{
        const struct jail_request *req = j->req;
        struct jail_request more = *req;
        struct jail_fd fds[JAIL_FDS_MAX];
        int r;

        if (req->fd_count == JAIL_FDS_MAX)
                return err_set(e, -E2BIG, "add standard error to %zu descriptors", req->fd_count);
        memcpy(fds, req->fds, req->fd_count * sizeof(fds[0]));
        fds[more.fd_count++] = (struct jail_fd){.fd = STDERR_FILENO, .target = STDERR_FILENO};
        more.fds = fds;
        j->req = &more;
        r = __real_jail_stage_fds(j, e);
        j->req = req;
        return r;
}

/* Open the directory with the libraries, and a /proc in which there is nothing but this PID namespace: from there the
 * run-time libraries learn where the stack is. The kernel gives it only while the host's is in sight, and not masked.
 */
static int mounts_open(int *ret_root, int *ret_proc, struct err *e)
{
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
        _cleanup_fd_ int root = -1, proc = -1, fs = sys_fsopen("proc", FSOPEN_CLOEXEC);

        root = (int)syscall(SYS_open_tree, AT_FDCWD, TEST_JAIL_ROOT, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (root < 0 || syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_set(e, -errno, "clone %s", TEST_JAIL_ROOT);
        if (fs < 0 || sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return err_set(e, -errno, "open a /proc for the test jail");
        proc = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned int)attr.attr_set | MOUNT_ATTR_NOEXEC);
        if (proc < 0)
                return err_set(e, -errno, "mount a /proc for the test jail");
        *ret_root = TAKE_FD(root);
        *ret_proc = TAKE_FD(proc);
        return 0;
}

/* As jail_root.c does it, but with files of the host, read-only, in place of an empty file system. */
__typeof__(jail_stage_root) __wrap_jail_stage_root;
int __wrap_jail_stage_root(struct jail *j, struct err *e)
{
        _cleanup_fd_ int root = -1, proc = -1;
        int r;

        if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return err_set(e, -errno, "make every mount private");
        r = mounts_open(&root, &proc, e);
        if (r < 0)
                return r;
        if (sys_move_mount(root, "", -1, j->req->staging_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return err_set(e, -errno, "attach the new root at %s", j->req->staging_dir);
        if (sys_move_mount(proc, "", root, "proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return err_set(e, -errno, "attach a /proc to the new root");
        if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0)
                return err_set(e, -errno, "pivot into the new root");
        if (sys_umount2(".", UMOUNT_DETACH) < 0 || chdir("/") < 0)
                return err_set(e, -errno, "detach the old root");
        j->layers |= LAYER_BIT(LAYER_ROOT);
        return 0;
}

/* A process that joins: the root is the one above. */
__typeof__(jail_stage_root_verify) __wrap_jail_stage_root_verify;
int __wrap_jail_stage_root_verify(struct jail *j, struct err *e)
{
        j->layers |= LAYER_BIT(LAYER_ROOT);
        return 0;
}
