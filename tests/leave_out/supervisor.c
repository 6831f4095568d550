/*
 * The supervisor, and the child that builds the jail: what is left out between the clone and the exec of
 * bulkhead-vmm or of a device's program. A stage that only keeps a state is left out by planting what it forbids.
 */
#include "leave_out.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/sys.h"
#include "jail/jail.h"
#include "jail/jail_stages.h"
#include "supervisor/narrow.h"
#include "supervisor/supervisor.h"

/* Only devices' processes lack something, when the environment says LEAVE_OUT_OF=devices; LEAVE_OUT_WORDS is for these.
 */
static bool of_devices;
static char words[LEAVE_OUT_WORDS_MAX];

/* The program forgets its environment. */
__attribute__((constructor)) static void environment_read(void)
{
        const char *of = getenv("LEAVE_OUT_OF"), *said = getenv("LEAVE_OUT_WORDS");

        of_devices = of && strcmp(of, "devices") == 0;
        leave_out_nothing(of_devices);
        if (said)
                snprintf(words, sizeof(words), " %s", said);
}

/* Says on every start what this program is. */
int __real_supervise(const struct guest_spec *spec, struct err *e);
int __wrap_supervise(const struct guest_spec *spec, struct err *e);
int __wrap_supervise(const struct guest_spec *spec, struct err *e)
{
        dprintf(STDERR_FILENO, "bulkhead: TEST BUILD, leaves out: %s%s\n", LEAVE_OUT[0] ? LEAVE_OUT : "nothing",
                of_devices ? " of devices" : "");
        return __real_supervise(spec, e);
}

int __real_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e);
int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e);
int __wrap_jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers,
                      struct err *e)
{
        const bool whole = of_devices && !req->join;
        struct jail_request less = *req;
        char name[64 + LEAVE_OUT_WORDS_MAX];
        int r;

        snprintf(name, sizeof(name), "%s %s%s", req->program_name, whole ? LEAVE_OUT_WHOLE_NAME : LEAVE_OUT_NAME,
                 req->join ? words : "");
        less.program_name = name;
        leave_out_nothing(whole);
        if (leaves_out("cgroup"))
                less.cgroup = NULL;
        r = __real_jail_start(&less, ret_pid, ret_pidfd, ret_layers, e);
        leave_out_nothing(of_devices);
        /* The supervisor would refuse a start without these. What is in force, others have to find out. */
        for (unsigned int i = 0; r == 0 && i < LAYER_COUNT; i++)
                if (jail_layers[i].requirement != BY_KERNEL)
                        *ret_layers |= LAYER_BIT(i);
        return r;
}

static int map_write(pid_t pid, const char *file, uint32_t first)
{
        char path[64];
        int n;
        _cleanup_fd_ int fd = -1;

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = dprintf(fd, "0 %u %u\n", first, JAIL_IDS_PER_GUEST);
        return n < 0 ? -errno : 0;
}

int __real_jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e);
int __wrap_jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e);
int __wrap_jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e)
{
        int r;

        if (leaves_out("user_ns"))
                return 0;
        if (!leaves_out("id_map"))
                return __real_jail_map_ids(pid, ids, e);
        r = map_write(pid, "uid_map", ids->uid);
        if (r == 0)
                r = map_write(pid, "gid_map", ids->gid);
        return r < 0 ? err_set(e, r, "map id 0 into the guest's user namespace") : 0;
}

/* Files of the cgroup and of the host's /proc that are not written. */
int __real_io_write_file_at(int dir, const char *file, const char *text);
int __wrap_io_write_file_at(int dir, const char *file, const char *text);
int __wrap_io_write_file_at(int dir, const char *file, const char *text)
{
        static const struct {
                const char *unit, *file;
        } files[] = {
                {"memory_limit", "memory.max"},
                {"memory_limit", "memory.limit_in_bytes"},
                {"memory_limit", "memory.memsw.limit_in_bytes"}, /* v1: cannot be lower than the other */
                {"swap_limit", "memory.swap.max"},
                {"swap_limit", "memory.memsw.limit_in_bytes"},
                {"swap_limit", "memory.swappiness"},
                {"oom_group", "memory.oom.group"},
                {"pids_limit", "pids.max"},
                {"cpu_limit", "cpu.max"},
                {"cpu_limit", "cpu.cfs_quota_us"},
                {"io_limit", "io.max"},
                {"io_limit", "blkio.throttle."},
                {"oom_score", "self/oom_score_adj"},
                {"no_new_ns", "sys/user/max_"},
                {"memfd_noexec", "sys/vm/memfd_noexec"},
        };

        for (size_t i = 0; i < ARRAY_LEN(files); i++)
                if (strncmp(file, files[i].file, strlen(files[i].file)) == 0 && leaves_out(files[i].unit))
                        return 0;
        return __real_io_write_file_at(dir, file, text);
}

int __real_dup3(int fd, int target, int flags);
int __wrap_dup3(int fd, int target, int flags);
int __wrap_dup3(int fd, int target, int flags)
{
        if (target <= STDERR_FILENO && leaves_out("standard_fds"))
                return target;
        return __real_dup3(fd, target, flags);
}

int __real_jail_stage_root(struct jail *j, struct err *e);
int __wrap_jail_stage_root(struct jail *j, struct err *e);
int __wrap_jail_stage_root(struct jail *j, struct err *e)
{
        _cleanup_fd_ int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = leaves_out("root") ? 0 : __real_jail_stage_root(j, e);

        if (r == 0 && leaves_out("working_directory") && fchdir(old) < 0)
                return err_set(e, -errno, "go back to the old root");
        if (r == 0 && leaves_out("root_private") && mount(NULL, "/", NULL, MS_SHARED, NULL) < 0)
                return err_set(e, -errno, "share the new root");
        return r;
}

int __real_jail_stage_root_verify(struct jail *j, struct err *e);
int __wrap_jail_stage_root_verify(struct jail *j, struct err *e);
int __wrap_jail_stage_root_verify(struct jail *j, struct err *e)
{
        return leaves_out("mount_ns") ? 0 : __real_jail_stage_root_verify(j, e);
}

static int loopback_up(struct err *e)
{
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};

        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
                return err_set(e, -errno, "bring loopback up");
        return 0;
}

int __real_jail_stage_net(struct jail *j, struct err *e);
int __wrap_jail_stage_net(struct jail *j, struct err *e);
int __wrap_jail_stage_net(struct jail *j, struct err *e)
{
        int r = leaves_out("net_ns") ? 0 : __real_jail_stage_net(j, e);

        return r == 0 && leaves_out("loopback") ? loopback_up(e) : r;
}

int __real_jail_stage_limits(struct jail *j, struct err *e);
int __wrap_jail_stage_limits(struct jail *j, struct err *e);
int __wrap_jail_stage_limits(struct jail *j, struct err *e)
{
        return leaves_out("limits") ? 0 : __real_jail_stage_limits(j, e);
}

int __real_jail_stage_cpu(struct jail *j, struct err *e);
int __wrap_jail_stage_cpu(struct jail *j, struct err *e);
int __wrap_jail_stage_cpu(struct jail *j, struct err *e)
{
        return leaves_out("cpu") ? 0 : __real_jail_stage_cpu(j, e);
}

/* Exec takes permitted and effective capabilities from a process that is not root, so that leaving them is seen only
 * where they were made to survive it. */
static int capabilities_plant(bool ambient, struct err *e)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (__real_syscall(SYS_capget, (long)&head, (long)data, 0, 0, 0, 0) < 0)
                return err_set(e, -errno, "read the capabilities");
        data[0].inheritable = data[0].permitted;
        data[1].inheritable = data[1].permitted;
        if (__real_syscall(SYS_capset, (long)&head, (long)data, 0, 0, 0, 0) < 0)
                return err_set(e, -errno, "make the capabilities inheritable");
        for (unsigned long cap = 0; ambient && cap < 64; cap++)
                if (data[cap / 32].permitted & (1U << cap % 32) &&
                    __real_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (long)cap, 0, 0, 0) < 0)
                        return err_set(e, -errno, "raise the ambient capability %lu", cap);
        return 0;
}

int __real_jail_stage_ids(struct jail *j, struct err *e);
int __wrap_jail_stage_ids(struct jail *j, struct err *e);
int __wrap_jail_stage_ids(struct jail *j, struct err *e)
{
        const bool all = leaves_out("capabilities");
        int r = all || leaves_out("cap_inheritable") ? capabilities_plant(all, e) : 0;

        /* In the host's user namespace, changing ids would take the capabilities with which the stage drops them. */
        if (leaves_out("user_ns"))
                __real_syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0, 0);
        return r < 0 ? r : __real_jail_stage_ids(j, e);
}

int __real_jail_stage_seccomp(struct jail *j, struct err *e);
int __wrap_jail_stage_seccomp(struct jail *j, struct err *e);
int __wrap_jail_stage_seccomp(struct jail *j, struct err *e)
{
        return leaves_out("seccomp_setup") ? 0 : __real_jail_stage_seccomp(j, e);
}

__typeof__(supervisor_narrow) __real_supervisor_narrow, __wrap_supervisor_narrow;
int __wrap_supervisor_narrow(enum narrow_to to, bool maps_ids, struct err *e)
{
        int r;

        leave_out_narrowing(true);
        r = __real_supervisor_narrow(to, maps_ids, e);
        leave_out_narrowing(false);
        return r;
}

/* The supervisor's own filter: the child's goes through its stage. */
int __real_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e);
int __wrap_jail_seccomp_install(const struct jail_policy *p, struct err *e)
{
        return leaves_out("supervisor_filter") ? 0 : __real_jail_seccomp_install(p, e);
}

/* musl's prctl(), which only the supervisor itself uses for this. */
int __real_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __wrap_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __wrap_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
        if (op == PR_SET_DUMPABLE && leaves_out("supervisor_dumpable"))
                return 0;
        return __real_prctl(op, a, b, c, d);
}
