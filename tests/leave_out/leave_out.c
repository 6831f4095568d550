/* What all programs have in common: single system calls and resource limits that are left out. */
#include "leave_out.h"

#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* linux/prctl.h, 6.3 */
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* linux/prctl.h, 6.4 */
#endif

static bool whole;

void leave_out_nothing(bool now)
{
        whole = now;
}

const char *leave_out_words = "";

/* The words follow the name. */
static bool is_named(const char *said, const char *name)
{
        const size_t len = strlen(name);

        if (strncmp(said, name, len) != 0)
                return false;
        leave_out_words = said + len;
        return true;
}

bool leave_out_started(int argc, char *argv[])
{
        const char *said = argc > 0 ? strchr(argv[0], ' ') : NULL;

        whole = said && is_named(said + 1, LEAVE_OUT_WHOLE_NAME);
        return whole || (said && is_named(said + 1, LEAVE_OUT_NAME));
}

bool leaves_out(const char *unit)
{
        static const char list[] = LEAVE_OUT ",";
        const size_t len = strlen(unit);

        if (whole)
                return false;
        for (const char *p = list; *p; p = strchr(p, ',') + 1)
                if (strncmp(p, unit, len) == 0 && p[len] == ',')
                        return true;
        return false;
}

/* Calls that are not made: who asks for them is told that they were. */
#define ANY (-1L)
static const struct {
        const char *unit;
        long call, arg0, arg1;
} calls[] = {
        {"setsid", SYS_setsid, ANY, ANY},
        {"cgroup_ns", SYS_unshare, CLONE_NEWCGROUP, ANY},
        {"user_ns", SYS_setns, ANY, CLONE_NEWUSER},
        {"pid_ns", SYS_setns, ANY, CLONE_NEWPID},
        {"mount_ns", SYS_setns, ANY, CLONE_NEWNS},
        {"net_ns", SYS_setns, ANY, CLONE_NEWNET},
        {"ipc_ns", SYS_setns, ANY, CLONE_NEWIPC},
        {"uts_ns", SYS_setns, ANY, CLONE_NEWUTS},
        {"time_ns", SYS_setns, ANY, CLONE_NEWTIME},
        {"cgroup_ns", SYS_setns, ANY, CLONE_NEWCGROUP},
        {"close_range", SYS_close_range, ANY, ANY},
        {"old_root", SYS_umount2, ANY, ANY},
        {"groups", SYS_setgroups, ANY, ANY},
        {"gid", SYS_setresgid, ANY, ANY},
        {"uid", SYS_setresuid, ANY, ANY},
        {"capabilities", SYS_capset, ANY, ANY},
        {"capabilities", SYS_prctl, PR_CAP_AMBIENT, ANY},
        {"cap_inheritable", SYS_capset, ANY, ANY},
        {"cap_bounding", SYS_prctl, PR_CAPBSET_DROP, ANY},
        {"session_keyring", SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ANY},
        {"securebits", SYS_prctl, PR_SET_SECUREBITS, ANY},
        {"no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, ANY},
        {"store_bypass", SYS_prctl, PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS},
        {"indirect_branch", SYS_prctl, PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH},
        {"core_sched", SYS_prctl, PR_SCHED_CORE, ANY},
        {"pdeathsig", SYS_prctl, PR_SET_PDEATHSIG, ANY},
        {"dumpable", SYS_prctl, PR_SET_DUMPABLE, ANY},
        {"mdwe", SYS_prctl, PR_SET_MDWE, ANY},
};

#define CAPS_MAX 64 /* dropping one beyond is an error, by which the end is found */

/* The call that narrows the supervisor itself is another unit than the same call in the jail. */
static bool narrowing;

void leave_out_narrowing(bool now)
{
        narrowing = now;
}

static bool is_left_out(long call, long arg0, long arg1)
{
        if (narrowing)
                return leaves_out("supervisor_capabilities") &&
                       (call == SYS_capset || (call == SYS_prctl && arg0 == PR_CAPBSET_DROP && arg1 < CAPS_MAX));
        for (size_t i = 0; i < ARRAY_LEN(calls); i++)
                if (calls[i].call == call && (calls[i].arg0 == ANY || calls[i].arg0 == arg0) &&
                    (calls[i].arg1 == ANY || calls[i].arg1 == arg1) && leaves_out(calls[i].unit))
                        return true;
        return false;
}

/* The first argument, with the namespaces that are left out taken from it. */
static void clone_without(struct clone_args *args)
{
        static const struct {
                const char *unit;
                uint64_t flag;
        } namespaces[] = {
                {"user_ns", CLONE_NEWUSER}, {"pid_ns", CLONE_NEWPID}, {"mount_ns", CLONE_NEWNS},
                {"net_ns", CLONE_NEWNET},   {"ipc_ns", CLONE_NEWIPC}, {"uts_ns", CLONE_NEWUTS},
                {"time_ns", CLONE_NEWTIME},
        };

        for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
                if (leaves_out(namespaces[i].unit))
                        args->flags &= ~namespaces[i].flag;
}

static bool root_option_is_left_out(const char *key)
{
        if (!key)
                return false;
        return (strcmp(key, "ro") == 0 && leaves_out("root_read_only")) ||
               ((strcmp(key, "size") == 0 || strcmp(key, "nr_inodes") == 0) && leaves_out("root_size"));
}

static long root_attributes(long attributes)
{
        if (leaves_out("root_read_only"))
                attributes &= ~MOUNT_ATTR_RDONLY;
        if (leaves_out("root_flags"))
                attributes &= ~(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return attributes;
}

/* Landlock's rights for the network (second word) and its scopes (third word) came with later versions. */
static void landlock_without(uint64_t *attr)
{
        if (attr && leaves_out("landlock_net"))
                attr[1] = 0;
        if (attr && leaves_out("landlock_scope"))
                attr[2] = 0;
}

long __wrap_syscall(long call, ...);
long __wrap_syscall(long call, ...)
{
        long a[6];
        va_list ap;

        va_start(ap, call);
        for (size_t i = 0; i < ARRAY_LEN(a); i++)
                a[i] = va_arg(ap, long);
        va_end(ap);

        if (is_left_out(call, a[0], a[1]))
                return 0;
        if (call == SYS_clone3)
                clone_without((struct clone_args *)a[0]);
        if (call == SYS_fsconfig && root_option_is_left_out((const char *)a[2]))
                return 0;
        if (call == SYS_fsmount)
                a[2] = root_attributes(a[2]);
        if (call == SYS_landlock_create_ruleset)
                landlock_without((uint64_t *)a[0]);
        if (call == SYS_prctl && a[0] == PR_SET_MEMORY_MERGE && leaves_out("no_merge"))
                a[1] = 1; /* the opposite: without the call nothing would be merged either */
        return __real_syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_setrlimit(int resource, const struct rlimit *limit);
int __wrap_setrlimit(int resource, const struct rlimit *limit);
int __wrap_setrlimit(int resource, const struct rlimit *limit)
{
        static const char *const units[RLIM_NLIMITS] = {
                [RLIMIT_CORE] = "rlimit_core",
                [RLIMIT_NOFILE] = "rlimit_nofile",
                [RLIMIT_NPROC] = "rlimit_nproc",
                [RLIMIT_FSIZE] = "rlimit_fsize",
                [RLIMIT_MEMLOCK] = "rlimit_memlock",
                [RLIMIT_MSGQUEUE] = "rlimit_msgqueue",
                [RLIMIT_NICE] = "rlimit_nice",
                [RLIMIT_RTPRIO] = "rlimit_rtprio",
                [RLIMIT_SIGPENDING] = "rlimit_sigpending",
        };

        if (resource >= 0 && resource < RLIM_NLIMITS && units[resource] && leaves_out(units[resource]))
                return 0;
        return __real_setrlimit(resource, limit);
}
