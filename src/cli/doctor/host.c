#include "cli/doctor/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/child.h"
#include "jail/jail_cgroup.h"
#include "state/state.h"

static int kvm_open(void *ctx)
{
        const struct real_host *h = ctx;

        return h->kvm_fd < 0 ? h->kvm_fd : 0;
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
        return guest_run(((struct real_host *)ctx)->kvm_fd, probe);
}

/* Controllers of the unified hierarchy are words of one file, others are mounted one by one (cgroups(7)). */
static int controller_find(const char *unified_name, const char *v1_name)
{
        char path[64], list[512], *save = NULL;
        ssize_t n;

        if (!jail_cgroup_is_unified()) {
                snprintf(path, sizeof(path), CGROUP_ROOT "/%s", v1_name);
                if (faccessat(AT_FDCWD, path, geteuid() == 0 ? W_OK : F_OK, AT_EACCESS) < 0)
                        return -errno;
                snprintf(path, sizeof(path), CGROUP_ROOT "/%s/tasks", v1_name);
                return access(path, F_OK) < 0 ? -errno : 0;
        }
        if (geteuid() == 0 && access(CGROUP_ROOT, W_OK) < 0)
                return -errno;
        n = io_read_file_at(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", list, sizeof(list));
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

        if (geteuid() != 0) /* it is root that starts guests */
                return -EPERM;
        r = state_dir_open(&d, NULL);
        if (r == 0)
                state_dir_close(&d);
        return r == -EINVAL ? -EPERM : r; /* others can write it */
}

/* Does the file have a line for user bulkhead? Whether the range is of use is seen when a guest starts. */
static int subordinate_line(const char *file)
{
        FILE *f = fopen(file, "re");
        char line[256];
        int r = -ENOENT;

        if (!f)
                return -errno;
        while (r < 0 && fgets(line, sizeof(line), f))
                if (strncmp(line, "bulkhead:", strlen("bulkhead:")) == 0)
                        r = 0;
        fclose(f);
        return r;
}

static int feature(void *ctx, unsigned int which)
{
        int r;

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
                r = subordinate_line("/etc/subuid");
                return r < 0 ? r : subordinate_line("/etc/subgid");
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
                .privileged = geteuid() == 0,
                .kvm_open = kvm_open,
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
