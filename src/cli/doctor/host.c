#include "cli/doctor/host.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/child.h"
#include "cli/user_session.h"
#include "jail/jail_cgroup_delegated.h"
#include "state/state.h"

static int kvm_open(void *ctx)
{
        const struct real_host *h = ctx;

        return h->kvm_fd < 0 ? h->kvm_fd : 0;
}

static int kvm_group(void *ctx, char *name, size_t size)
{
        const struct group *g;
        struct stat st;

        (void)ctx;
        if (stat("/dev/kvm", &st) < 0)
                return -errno;
        if ((st.st_mode & 060) != 060 || st.st_gid == 0)
                return -ENOENT;
        g = getgrgid(st.st_gid);
        if (g)
                snprintf(name, size, "%s", g->gr_name);
        else
                snprintf(name, size, "%u", (unsigned int)st.st_gid);
        return 0;
}

static int kvm_api_version(void *ctx)
{
        int version = ioctl(((struct real_host *)ctx)->kvm_fd, KVM_GET_API_VERSION, 0);

        return version < 0 ? -errno : version;
}

static int kvm_extension(void *ctx, int cap)
{
        return ioctl(((struct real_host *)ctx)->kvm_fd, KVM_CHECK_EXTENSION, cap);
}

static enum guest_result guest(void *ctx, unsigned int probe)
{
        return probe_guest_run(((struct real_host *)ctx)->kvm_fd, probe);
}

/* Where a guest of this ordinary user would get its cgroup: empty for nowhere. */
static const char *delegated_base(void)
{
        static char base[CGROUP_BASE_MAX];

        if (!jail_cgroup_delegated(base))
                base[0] = '\0';
        if (!base[0] && user_session_exists())
                snprintf(base, sizeof(base), "/user.slice/user-%u.slice/user@%u.service", (unsigned int)geteuid(),
                         (unsigned int)geteuid());
        return base;
}

/* Controllers of the unified hierarchy are words of one file, others are mounted one by one (cgroups(7)). */
static int controller_find(const char *unified_name, const char *v1_name)
{
        char path[CGROUP_BASE_MAX + 64], base[CGROUP_BASE_MAX] = "", list[512], *save = NULL;
        ssize_t n;

        if (!jail_cgroup_is_unified()) {
                if (geteuid() != 0) /* v1 cannot be delegated safely */
                        return -EACCES;
                snprintf(path, sizeof(path), CGROUP_ROOT "/%s", v1_name);
                if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
                        return -errno;
                snprintf(path, sizeof(path), CGROUP_ROOT "/%s/tasks", v1_name);
                return access(path, F_OK) < 0 ? -errno : 0;
        }
        if (geteuid() != 0)
                snprintf(base, sizeof(base), "%s", delegated_base());
        else if (access(CGROUP_ROOT, W_OK) < 0)
                return -errno;
        snprintf(path, sizeof(path), CGROUP_ROOT "%s/cgroup.controllers", base);
        n = geteuid() != 0 && !base[0] ? -EACCES : io_read_file_at(AT_FDCWD, path, list, sizeof(list));
        if (n < 0)
                return (int)n;
        for (char *word = strtok_r(list, " ", &save); word; word = strtok_r(NULL, " ", &save))
                if (strcmp(word, unified_name) == 0)
                        return 0;
        return -ENOENT;
}

static int memfd_seals(void)
{
        _cleanup_fd_ int fd = memfd_create("doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0)
                return -errno;
        return fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0 ? -errno : 0;
}

static int runtime_dir(void)
{
        struct state_dir d;
        int r;

        r = state_dir_open(&d, NULL);
        if (r == 0)
                state_dir_close(&d);
        return r == -EINVAL ? -EPERM : r; /* others can write it */
}

/* Root's range has a default: what is asked is whether the files name one. */
static int subordinate_ids(void)
{
        struct state_ids_range range;
        int r = state_ids_range(&range);

        return r == 0 && geteuid() == 0 && range.first_uid == STATE_IDS_DEFAULT_FIRST ? -ENOENT : r;
}

/* The kernel's defaults where a setting does not exist. */
static int sysctl_refuses(const char *path, const char *refusal)
{
        char value[32];

        return io_read_file_at(AT_FDCWD, path, value, sizeof(value)) >= 0 && strcmp(value, refusal) == 0 ? -EPERM : 0;
}

static int users_namespaces(void)
{
        int r = sysctl_refuses("/proc/sys/kernel/unprivileged_userns_clone", "0"); /* of Debian's kernels */

        return r < 0 ? r : sysctl_refuses("/proc/sys/user/max_user_namespaces", "0");
}

static int id_programs(void)
{
        return access("/usr/bin/newuidmap", X_OK) < 0 || access("/usr/bin/newgidmap", X_OK) < 0 ? -errno : 0;
}

static int feature(void *ctx, unsigned int which)
{
        (void)ctx;
        if (which < FEATURE_LAYERS_END)
                return child_call(host_layer_try, (int)which);
        switch (which) {
        case FEATURE_CGROUP_MEMORY:
                return controller_find("memory", "memory");
        case FEATURE_CGROUP_PIDS:
                return controller_find("pids", "pids");
        case FEATURE_CGROUP_CPU:
                return controller_find("cpu", "cpu");
        case FEATURE_CGROUP_IO:
                return controller_find("io", "blkio");
        case FEATURE_MEMFD_SEALS:
                return memfd_seals();
        case FEATURE_RUNTIME_DIR:
                return runtime_dir();
        case FEATURE_SUBORDINATE_IDS:
                return subordinate_ids();
        case FEATURE_ID_PROGRAMS:
                return id_programs();
        case FEATURE_USERS_NAMESPACES:
                return users_namespaces();
        case FEATURE_USERS_APPARMOR:
                return sysctl_refuses("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1");
        default:
                return -EINVAL;
        }
}

void real_host_open(struct real_host *ctx, struct doctor_host *ret)
{
        ctx->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (ctx->kvm_fd < 0)
                ctx->kvm_fd = -errno;
        *ret = (struct doctor_host){
                .ctx = ctx,
                .kvm_open = kvm_open,
                .kvm_group = kvm_group,
                .kvm_api_version = kvm_api_version,
                .kvm_extension = kvm_extension,
                .guest = guest,
                .feature = feature,
        };
}

void real_host_close(struct real_host *ctx)
{
        fd_closep(&ctx->kvm_fd);
}
