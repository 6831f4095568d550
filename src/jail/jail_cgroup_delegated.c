#include "jail/jail_cgroup_delegated.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define LEAF      "/supervisor"
#define PATH_SIZE (sizeof(CGROUP_ROOT) + CGROUP_BASE_MAX + 64)

/* The path in the unified hierarchy: the one line, "0::PATH", of a host without v1 (cgroups(7)). */
static int own_path(char base[CGROUP_BASE_MAX])
{
        char text[CGROUP_BASE_MAX];
        ssize_t n = io_read_file_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text));

        if (n < 0)
                return (int)n;
        if (strncmp(text, "0::/", 4) != 0 || strchr(text, '\n'))
                return -ENOENT;
        memcpy(base, text + 3, (size_t)n + 1 - 3);
        if (text[4] == '\0') /* the root of the hierarchy */
                base[0] = '\0';
        return 0;
}

bool jail_cgroup_in_own_scope(void)
{
        char base[CGROUP_BASE_MAX], scope[48];

        if (own_path(base) < 0)
                return false;
        snprintf(scope, sizeof(scope), "/" CGROUP_SCOPE_FORMAT, (int)getpid());
        return strlen(base) > strlen(scope) && strcmp(base + strlen(base) - strlen(scope), scope) == 0;
}

/* Everything below a user's systemd belongs to the user; only what is marked is not systemd's to change
 * (systemd.io/CGROUP_DELEGATION). Before version 251 there is no mark, but a scope that was asked for is known by its
 * name. Without systemd the owner says it all. */
static bool is_marked(const char *path)
{
        char value[4];

        if (jail_cgroup_in_own_scope() || access("/run/systemd/system", F_OK) < 0) /* sd_booted(3) */
                return true;
        return getxattr(path, "user.delegate", value, sizeof(value)) == 1 && value[0] == '1';
}

static bool is_alone(int dir)
{
        char list[64], own[16];

        snprintf(own, sizeof(own), "%d", (int)getpid());
        return io_read_file_at(dir, "cgroup.procs", list, sizeof(list)) > 0 && strcmp(list, own) == 0;
}

bool jail_cgroup_delegated(char base[CGROUP_BASE_MAX])
{
        static const char *const files[] = {"", "/cgroup.procs", "/cgroup.subtree_control"};
        char path[PATH_SIZE], list[512];
        _cleanup_fd_ int dir = -1;

        if (!jail_cgroup_is_unified() || own_path(base) < 0 || base[0] == '\0')
                return false;
        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                snprintf(path, sizeof(path), CGROUP_ROOT "%s%s", base, files[i]);
                if (access(path, W_OK) < 0)
                        return false;
        }
        snprintf(path, sizeof(path), CGROUP_ROOT "%s", base);
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || io_read_file_at(dir, "cgroup.controllers", list, sizeof(list)) < 0)
                return false;
        return jail_cgroup_has_controller(list, "memory") && jail_cgroup_has_controller(list, "pids") &&
               jail_cgroup_has_controller(list, "cpu") && is_marked(path) && is_alone(dir);
}

static int move_to(const char *path)
{
        char file[PATH_SIZE + 16], pid[16];

        snprintf(file, sizeof(file), "%s/cgroup.procs", path);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        return io_write_file_at(AT_FDCWD, file, pid);
}

int jail_cgroup_enter_leaf(const char *base, struct err *e)
{
        char path[PATH_SIZE];
        int r;

        snprintf(path, sizeof(path), CGROUP_ROOT "%s" LEAF, base);
        r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : move_to(path);
        return r < 0 ? err_set(e, r, "move to a cgroup of the supervisor's own, %s", path) : 0;
}

void jail_cgroup_leave_leaf(const char *base)
{
        char path[PATH_SIZE];

        /* Only a cgroup that hands no controller down may have processes of its own. */
        snprintf(path, sizeof(path), CGROUP_ROOT "%s/cgroup.subtree_control", base);
        (void)io_write_file_at(AT_FDCWD, path, "-memory -pids -cpu -io");
        snprintf(path, sizeof(path), CGROUP_ROOT "%s", base);
        (void)move_to(path);
        snprintf(path, sizeof(path), CGROUP_ROOT "%s" LEAF, base);
        (void)rmdir(path);
}
