/*
 * A jail is built by a fresh single-threaded child that walks one table of stages and then executes the program.
 *
 * The order is not free. The cgroup comes first, so that everything the child does is accounted to the guest. Then the
 * descriptors, because no later stage may be able to use one that the program must not have. The root goes while there
 * are still capabilities in the new user namespace to mount with; so do the limits that are written through /proc. The
 * ids come last of what needs privilege, and the filter last of all, because every other stage needs calls it forbids.
 * What exec undoes is done by the program right after exec (jail_seal.c).
 *
 * Nothing here is skipped by a flag. A stage that fails ends the child before the program runs. Layers that some
 * kernels lack are not stages that may fail: the stage itself finds out, leaves the layer's bit clear, and the parent
 * refuses the start when the table says the layer is required.
 */
#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "jail/jail_stages.h"
#include "spec/control.h"

/*
 * Asks the parent for the id maps. Not earlier: detaching the old root waits for an RCU grace period, and the parent,
 * once woken, has the kernel execute CPUID with preemption off, which would hold that grace period up for as long.
 */
static int stage_ask_for_maps(struct jail *j, struct err *e)
{
        const struct control_header rooted = CONTROL_HEADER(CONTROL_ROOTED, sizeof(rooted));
        int r;

        if (j->req->give_namespaces)
                return jail_namespaces_give(j, e);
        r = control_send(j->control_fd, &rooted);
        return r < 0 ? err_set(e, r, "ask for the id maps") : 0;
}

/*
 * run: for the first process of a guest. join: for another one. The same, but for what the first one has made for all:
 * the cgroup's namespace is entered, the root looked at, and the ids are mapped already. What the namespaces forbid is
 * forbidden already, and once more.
 */
static const struct {
        const char *name;
        int (*run)(struct jail *j, struct err *e);
        int (*join)(struct jail *j, struct err *e); /* NULL: nothing to do */
} stages[] = {
        {"cgroup", jail_stage_cgroup, jail_stage_cgroup},  {"fds", jail_stage_fds, jail_stage_fds},
        {"root", jail_stage_root, jail_stage_root_verify}, {"ask", stage_ask_for_maps, NULL},
        {"net", jail_stage_net, jail_stage_net},           {"limits", jail_stage_limits, jail_stage_limits},
        {"cpu", jail_stage_cpu, jail_stage_cpu},           {"files", jail_stage_files, jail_stage_files},
        {"ids", jail_stage_ids, jail_stage_ids},           {"seccomp", jail_stage_seccomp, jail_stage_seccomp},
};

/* The child: every stage, then the program. Returns only on failure. */
static int child_run(struct jail *j, struct err *e)
{
        char *const name_only[] = {(char *)(uintptr_t)j->req->program_name, NULL}, *const nothing[] = {NULL};
        struct control_jailed jailed = {.head = CONTROL_HEADER(CONTROL_JAILED, sizeof(jailed))};
        int r;

        /* An ordinary user's supervisor has no right beyond the user's, and the files in /proc by which ids are mapped
         * belong to root while this process is not dumpable, as its parent is; so do those by which it sets its own
         * limits. The program closes this again. */
        if (j->req->by_user && syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
                return err_set(e, -errno, "let the user map the ids");
        /* No controlling terminal: nothing of the guest can push input into the operator's. */
        if (syscall(SYS_setsid) < 0)
                return err_set(e, -errno, "leave the terminal's session");
        for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
                int (*const run)(struct jail *, struct err *) = j->req->join ? stages[i].join : stages[i].run;

                r = run ? run(j, e) : 0;
                if (r < 0)
                        return err_wrap(e, r, "jail stage %s", stages[i].name);
        }

        jailed.layers = j->layers;
        r = control_send(j->control_fd, &jailed);
        if (r < 0)
                return err_set(e, r, "report the jail");

        sys_execveat(JAIL_FD_PROGRAM, "", j->req->argv ? j->req->argv : name_only,
                     j->req->envp ? j->req->envp : nothing, AT_EMPTY_PATH);
        return err_set(e, -errno, "execute %s in the jail", j->req->program_name);
}

_Noreturn void jail_child_main(const struct jail_request *req, uint64_t layers, int proc_fd, int null_fd)
{
        struct jail j = {.req = req, .control_fd = -1, .proc_fd = proc_fd, .null_fd = null_fd, .layers = layers};
        struct err e = ERR_INIT;

        for (size_t i = 0; i < req->fd_count; i++)
                if (req->fds[i].target == req->control_target)
                        j.control_fd = req->fds[i].fd;
        if (child_run(&j, &e) < 0)
                /* When even this cannot be sent, the parent sees the channel close. */
                (void)control_send_failed(j.control_fd, &e);
        _exit(STATUS_ISOLATION);
}

/* The namespaces asked for, and the one that an older kernel may refuse. The cgroup namespace is entered by the cgroup
 * stage: made here, its root would be the parent's cgroup. */
#define NAMESPACES (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define NAMESPACE_LAYERS                                                                                            \
        (LAYER_BIT(LAYER_USER_NS) | LAYER_BIT(LAYER_PID_NS) | LAYER_BIT(LAYER_MOUNT_NS) | LAYER_BIT(LAYER_NET_NS) | \
         LAYER_BIT(LAYER_IPC_NS) | LAYER_BIT(LAYER_UTS_NS))

int jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers, struct err *e)
{
        uint64_t layers = NAMESPACE_LAYERS | LAYER_BIT(LAYER_TIME_NS);
        int pidfd = -1;
        struct clone_args args = {
                .flags = NAMESPACES | CLONE_NEWTIME | CLONE_PIDFD,
                .pidfd = (uintptr_t)&pidfd,
                .exit_signal = SIGCHLD,
        };
        pid_t pid;

        if (req->fd_count > JAIL_FDS_MAX)
                return err_set(e, -E2BIG, "a jail with %zu descriptors", req->fd_count);
        if (req->join)
                return jail_join(req, ret_pid, ret_pidfd, ret_layers, e);
        if (req->cgroup && req->cgroup->unified_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)req->cgroup->unified_fd;
        }

        pid = sys_clone3(&args);
        if (pid < 0 && errno == EINVAL) { /* no time namespaces before 5.6 */
                args.flags &= ~(uint64_t)CLONE_NEWTIME;
                layers &= ~LAYER_BIT(LAYER_TIME_NS);
                pid = sys_clone3(&args);
        }
        if (pid == 0)
                jail_child_main(req, layers, -1, -1);
        if (pid < 0) {
                int r = err_set(e, -errno, "create a process in new namespaces");

                if (e)
                        e->status = STATUS_ISOLATION;
                err_hint(e, "see bulkhead doctor");
                return r;
        }
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        *ret_layers = layers;
        return 0;
}

static int proc_write(pid_t pid, const char *file, const char *text)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        return io_write_file_at(AT_FDCWD, path, text);
}

static int map_write(pid_t pid, const char *file, uint32_t first, uint32_t count)
{
        char map[64];

        snprintf(map, sizeof(map), "1 %u %u\n", first, count);
        return proc_write(pid, file, map);
}

int jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e)
{
        /* user_namespaces(7): who may not change groups at all may not let another leave one that denies him. */
        int r = ids->count == 1 ? proc_write(pid, "setgroups", "deny") : 0;

        if (r == 0)
                r = map_write(pid, "uid_map", ids->uid, ids->count);
        if (r == 0)
                r = map_write(pid, "gid_map", ids->gid, ids->count);
        if (r < 0) {
                err_set(e, r, "map %u ids from uid %u and gid %u on into the guest's user namespace", ids->count,
                        ids->uid, ids->gid);
                if (e)
                        e->status = STATUS_ISOLATION;
                return r;
        }
        return 0;
}
