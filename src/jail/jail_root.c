/*
 * Stage root: an empty, read-only file system is all the process can name.
 *
 * Should:  leave exactly one mount in the mount namespace: a tmpfs of one page and one inode, its root directory.
 * Mustn't: keep the old root reachable, as a mount or through the working directory; propagate anything to the host.
 * Fails closed: any step that fails ends the child.
 *
 * A process that joins the jail is in that root from its birth; it makes sure.
 */
#include <errno.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "jail/jail_stages.h"

#define UMOUNT_DETACH 2 /* MNT_DETACH, linux/fs.h */

static int empty_root_open(struct err *e)
{
        _cleanup_fd_ int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
        int mnt;

        if (fs < 0)
                return err_set(e, -errno, "open a tmpfs for the root");
        if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", "4096", 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
            sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return err_set(e, -errno, "configure the root's tmpfs");
        mnt = sys_fsmount(fs, FSMOUNT_CLOEXEC,
                          MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        if (mnt < 0)
                return err_set(e, -errno, "mount the root's tmpfs");
        return mnt;
}

int jail_stage_root(struct jail *j, struct err *e)
{
        _cleanup_fd_ int root = -1;

        if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return err_set(e, -errno, "make every mount private");
        root = empty_root_open(e);
        if (root < 0)
                return root;
        if (sys_move_mount(root, "", -1, j->req->staging_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return err_set(e, -errno, "attach the new root at %s", j->req->staging_dir);
        if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0)
                return err_set(e, -errno, "pivot into the new root");
        /* "." is now the old root, stacked on the new one. */
        if (sys_umount2(".", UMOUNT_DETACH) < 0 || chdir("/") < 0)
                return err_set(e, -errno, "detach the old root");
        j->layers |= LAYER_BIT(LAYER_ROOT);
        return 0;
}

/* proc(5), mountinfo: ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS... - TYPE SOURCE SUPER-OPTIONS */
static bool is_the_only_mount(char *line)
{
        static const char *const wanted[] = {"ro", "nosuid", "nodev", "noexec"};
        char *super = strstr(line, " - "), *field = line;

        if (!super || strchr(line, '\n') || strncmp(super, " - tmpfs ", 9) != 0 || !strstr(super, " ro,"))
                return false;
        *super = '\0';
        for (int i = 0; i < 4 && field; i++)
                field = strchr(field + 1, ' ');
        if (!field || strncmp(field, " / ", 3) != 0)
                return false;
        for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
                const char *at = strstr(field, wanted[i]);

                if (!at || (at[-1] != ' ' && at[-1] != ',') || !strchr(" ,", at[strlen(wanted[i])]))
                        return false;
        }
        return true;
}

int jail_stage_root_verify(struct jail *j, struct err *e)
{
        char mounts[512];
        ssize_t n = io_read_file_at(j->proc_fd, "self/mountinfo", mounts, sizeof(mounts));

        if (n < 0 && n != -EFBIG)
                return err_set(e, (int)n, "read the guest's mounts");
        if (n < 0 || !is_the_only_mount(mounts))
                return err_bad(e, STATUS_ISOLATION, "the guest's root is not the empty read-only one alone");
        j->layers |= LAYER_BIT(LAYER_ROOT);
        return 0;
}
