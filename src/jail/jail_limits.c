/*
 * Stage limits: what one process may use, and what its namespaces may never do again.
 *
 * Should:  no core file; bounded descriptors, threads, file size, locked memory, queues and priorities; first to go
 * when memory runs out; no further namespace of any kind inside this user namespace; memfds never executable. Mustn't:
 * raise a limit; depend on a root that is still there (it goes through the descriptor of /proc). Fails closed: only
 * memfd_noexec, which kernels before 6.3 do not have and ordinary users may not set, may be missing.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "jail/jail_stages.h"

/* A guest's process goes before the host's own services do (proc(5): -1000..1000). */
#define OOM_SCORE_ADJ "500"

static int limit_set(int resource, rlim_t value, const char *name, struct err *e)
{
        struct rlimit now, want = {value, value};

        if (getrlimit(resource, &now) < 0)
                return err_set(e, -errno, "read %s", name);
        /* A host that allows less still allows less. */
        if (now.rlim_max < value)
                want.rlim_cur = want.rlim_max = now.rlim_max;
        if (setrlimit(resource, &want) < 0)
                return err_set(e, -errno, "set %s to %llu", name, (unsigned long long)value);
        return 0;
}

static int limits_set(const struct jail_limits *l, struct err *e)
{
        const struct {
                int resource;
                rlim_t value;
                const char *name;
        } table[] = {
                {RLIMIT_CORE, 0, "RLIMIT_CORE"},
                {RLIMIT_NOFILE, l->open_files, "RLIMIT_NOFILE"},
                {RLIMIT_NPROC, l->processes, "RLIMIT_NPROC"},
                {RLIMIT_FSIZE, l->file_size_bytes, "RLIMIT_FSIZE"},
                {RLIMIT_MEMLOCK, l->locked_bytes, "RLIMIT_MEMLOCK"},
                {RLIMIT_MSGQUEUE, 0, "RLIMIT_MSGQUEUE"},
                {RLIMIT_SIGPENDING, 64, "RLIMIT_SIGPENDING"},
                {RLIMIT_NICE, 0, "RLIMIT_NICE"},
                {RLIMIT_RTPRIO, 0, "RLIMIT_RTPRIO"},
        };

        for (size_t i = 0; i < ARRAY_LEN(table); i++) {
                int r = limit_set(table[i].resource, table[i].value, table[i].name, e);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* user.max_*_namespaces of the user namespace this process is in (namespaces(7)). */
static int namespaces_forbid(const struct jail *j, struct err *e)
{
        static const struct {
                const char *name;
                enum jail_layer layer;
        } kinds[] = {
                {"user", LAYER_USER_NS}, {"pid", LAYER_PID_NS}, {"mnt", LAYER_MOUNT_NS},     {"net", LAYER_NET_NS},
                {"ipc", LAYER_IPC_NS},   {"uts", LAYER_UTS_NS}, {"cgroup", LAYER_CGROUP_NS}, {"time", LAYER_TIME_NS},
        };

        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                char path[64];
                int r;

                snprintf(path, sizeof(path), "sys/user/max_%s_namespaces", kinds[i].name);
                r = io_write_file_at(JAIL_FD_PROC, path, "0");
                if (r == -ENOENT && !(j->layers & LAYER_BIT(kinds[i].layer))) /* a kind this kernel does not have */
                        continue;
                if (r < 0)
                        return err_set(e, r, "set user.max_%s_namespaces to 0", kinds[i].name);
        }
        return 0;
}

int jail_stage_limits(struct jail *j, struct err *e)
{
        int r = limits_set(&j->req->limits, e);

        if (r < 0)
                return r;
        r = io_write_file_at(JAIL_FD_PROC, "self/oom_score_adj", OOM_SCORE_ADJ);
        if (r < 0)
                return err_set(e, r, "set oom_score_adj");
        j->layers |= LAYER_BIT(LAYER_LIMITS);

        r = namespaces_forbid(j, e);
        if (r < 0)
                return r;
        j->layers |= LAYER_BIT(LAYER_NO_NEW_NS);

        /* 2: memfd_create(2) without MFD_NOEXEC_SEAL is refused in this PID namespace. */
        r = io_write_file_at(JAIL_FD_PROC, "sys/vm/memfd_noexec", "2");
        if (r == 0)
                j->layers |= LAYER_BIT(LAYER_MEMFD_NOEXEC);
        else if (r != -ENOENT &&
                 !(r == -EACCES && j->req->by_user)) /* it is root's to change, whatever the namespace */
                return err_set(e, r, "set vm.memfd_noexec to 2");
        /* Nothing after this stage needs a name from the host. */
        close(JAIL_FD_PROC);
        return 0;
}
