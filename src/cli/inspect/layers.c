#include "cli/inspect/layers.h"

#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "jail/jail.h"
#include "spec/device_fds.h"
#include "spec/vmm_fds.h"

#define SECCOMP_FILTERED 2   /* proc_pid_status(5): SECCOMP_MODE_FILTER */
#define OOM_SCORE_MIN    500 /* jail_limits.c: goes before the host's own services */
#define FILE_SIZE_SMALL  (1ULL << 20)

static enum layer_found yes_if(bool condition)
{
        return condition ? FOUND_YES : FOUND_NO;
}

__attribute__((format(printf, 2, 3))) static void detail(struct layer_view *v, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(v->detail, sizeof(v->detail), fmt, ap);
        va_end(ap);
}

struct layer_claim layer_claim_vmm(const struct guest_state *state)
{
        return (struct layer_claim){.layers = state->layers,
                                    .landlock_abi = state->landlock_abi,
                                    .ids = state->ids,
                                    .devices = state->device_count};
}

bool device_is_storage(const struct guest_state *state, size_t index)
{
        for (uint32_t i = 0; i < state->spec.disk_count; i++)
                if (strcmp(state->spec.disks[i].id, state->devices[index].id) == 0)
                        return state->spec.disks[i].format == DISK_FORMAT_QCOW2;
        return false;
}

struct layer_claim layer_claim_device(const struct guest_state *state, size_t index, const struct inspect_facts *vmm)
{
        const struct device_state *device = &state->devices[index];

        return (struct layer_claim){.layers = device->layers,
                                    .landlock_abi = device->landlock_abi,
                                    .ids = state->ids,
                                    .devices = state->device_count,
                                    .device = device,
                                    .index = index,
                                    .storage = device_is_storage(state, index),
                                    .vmm = vmm};
}

static enum layer_found find_namespace(enum ns_kind kind, const struct layer_claim *claim,
                                       const struct inspect_facts *f, struct layer_view *v)
{
        const struct ns_facts *ns = &f->ns[kind];

        if (ns->guest == 0)
                return ns->own == 0 ? FOUND_NO : FOUND_UNKNOWN;
        detail(v, "%" PRIu64, ns->guest);
        /* The VMM is the first process of its namespace, as is a device alone; one of a guest is not. */
        if (kind == NS_PID && (claim->vmm ? f->threads[0].pid_inside <= 1 : f->threads[0].pid_inside != 1))
                return FOUND_NO;
        if (claim->vmm && ns->guest != claim->vmm->ns[kind].guest) {
                detail(v, "%" PRIu64 ", not the guest's", ns->guest);
                return FOUND_NO;
        }
        return yes_if(ns->guest != ns->own && ns->guest != ns->init);
}

static enum layer_found find_cgroup_limits(const struct inspect_facts *f, struct layer_view *v)
{
        for (size_t i = 0; i < CGROUP_PARTS; i++) {
                if (f->cgroup.parts[i].of_guest && f->cgroup.parts[i].limited)
                        continue;
                detail(v, "%s: %s", f->cgroup.parts[i].controller,
                       f->cgroup.parts[i].of_guest ? "no limit" : "not in the guest's cgroup");
                return FOUND_NO;
        }
        if (!f->cgroup.swap_limited)
                detail(v, "swap: no limit");
        return yes_if(f->cgroup.swap_limited);
}

static bool in_range(int number, int first, int count)
{
        return number >= first && number < first + count;
}

/* The VMM: nothing that names or reaches a part of the host. With devices it has guest RAM and their in-flight regions.
 */
static bool fd_is_of_vmm(const struct layer_claim *claim, const struct fd_facts *fd)
{
        if (fd->kind == FD_MEMFD)
                return claim->devices > 0 &&
                       (fd->number == VMM_FD_RAM || in_range(fd->number, VMM_FD_INFLIGHT_FIRST, VMM_DEVICES_MAX));
        return fd->number < VMM_FD_LIMIT && fd->kind <= FD_EVENTFD;
}

static bool is_resource(const struct state_resource *r, const struct fd_facts *fd)
{
        if (r->block_device || fd->block_device)
                return r->block_device == fd->block_device;
        return r->inode && r->device == fd->device && r->inode == fd->inode;
}

/* A device: the one file that it is for, and at their numbers what its program made; the rest is /dev/null, or came
 * from the front end: event descriptors, memory, sockets. */
static bool fd_is_of_device(const struct device_state *d, const struct fd_facts *fd)
{
        switch (fd->kind) {
        case FD_NULL:
                return fd->number < DEVICE_FD_PEER;
        case FD_FILE:
                return fd->number == DEVICE_FD_RESOURCE && is_resource(&d->resource, fd);
        case FD_EPOLL:
                return fd->number == DEVICE_FD_EPOLL;
        case FD_URING:
                return fd->number == DEVICE_FD_RING && d->type == VIRTIO_ID_BLOCK;
        case FD_TIMER:
                return fd->number == DEVICE_FD_TIMER;
        case FD_EVENTFD:
                return fd->number == DEVICE_FD_EVENT ||
                       in_range(fd->number, DEVICE_FD_PEER, DEVICE_FD_LIMIT - DEVICE_FD_PEER);
        case FD_SOCKET:
                return fd->number == DEVICE_FD_CONTROL || fd->number == DEVICE_FD_FRONTEND ||
                       in_range(fd->number, DEVICE_FD_PEER, DEVICE_FD_LIMIT - DEVICE_FD_PEER);
        case FD_MEMFD:
                return in_range(fd->number, DEVICE_FD_PEER, DEVICE_FD_LIMIT - DEVICE_FD_PEER);
        case FD_KVM_VM:
        case FD_KVM_VCPU:
        case FD_OTHER_ANON:
                break;
        }
        return false;
}

/* What qemu-storage-daemon opens has any number; the one file is the image. */
static bool fd_is_of_storage(const struct device_state *d, const struct fd_facts *fd)
{
        if (fd->kind == FD_FILE)
                return fd->number == DEVICE_FD_RESOURCE && is_resource(&d->resource, fd);
        return fd->number < DEVICE_FD_LIMIT && fd->kind != FD_KVM_VM && fd->kind != FD_KVM_VCPU && fd->kind != FD_URING;
}

static bool fd_is_of(const struct layer_claim *claim, const struct fd_facts *fd)
{
        if (!claim->device)
                return fd_is_of_vmm(claim, fd);
        return claim->storage ? fd_is_of_storage(claim->device, fd) : fd_is_of_device(claim->device, fd);
}

static enum layer_found find_fds(const struct layer_claim *claim, const struct inspect_facts *f, struct layer_view *v)
{
        if (!f->fds_known) {
                detail(v, "shown to root");
                return FOUND_UNKNOWN;
        }
        for (size_t i = 0; i < f->fd_count; i++)
                if (!fd_is_of(claim, &f->fds[i])) {
                        detail(v, "descriptor %d: %s", f->fds[i].number, fd_kind_names[f->fds[i].kind]);
                        return FOUND_NO;
                }
        detail(v, "%zu descriptors", f->fd_count);
        return FOUND_YES;
}

/* A root that is mounted nowhere is one with files (jail_files.c). */
static enum layer_found find_root(const struct inspect_facts *f, struct layer_view *v)
{
        const struct root_facts *r = &f->root;

        if (r->mounts == 0) {
                detail(v, "one of its own, with files");
                return FOUND_NO;
        }
        detail(v, "%zu %s, %s%s", r->mounts, r->mounts == 1 ? "mount" : "mounts", r->fs_type,
               r->mount_read_only && r->fs_read_only ? ", read-only" : "");
        return yes_if(r->mounts == 1 && r->at_root && strcmp(r->fs_type, "tmpfs") == 0 && r->mount_read_only &&
                      r->fs_read_only);
}

static enum layer_found find_empty_network(const struct inspect_facts *f, struct layer_view *v)
{
        if (f->inside.interfaces > 1 || (f->inside.net_known && f->inside.loopback_up)) {
                detail(v, "interfaces: %zu, loopback %s", f->inside.interfaces, f->inside.loopback_up ? "up" : "down");
                return FOUND_NO;
        }
        if (!f->inside.net_known)
                return FOUND_UNKNOWN;
        detail(v, "loopback only, down");
        return FOUND_YES;
}

/* A disk may be as large as it is; another device makes its in-flight region. */
static uint64_t file_size_most(const struct layer_claim *claim)
{
        if (!claim->device)
                return 0;
        return claim->device->type == VIRTIO_ID_BLOCK ? LIMIT_UNLIMITED : FILE_SIZE_SMALL;
}

static enum layer_found find_limits(const struct layer_claim *claim, const struct inspect_facts *f,
                                    struct layer_view *v)
{
        const bool disk = claim->device && claim->device->type == VIRTIO_ID_BLOCK;
        const uint64_t most[LIMIT_COUNT] = {
                [LIMIT_FSIZE] = file_size_most(claim),
                [LIMIT_MEMLOCK] = disk ? DEVICE_BLK_LOCKED_BYTES : 0,
                [LIMIT_NOFILE] = claim->device ? DEVICE_FD_LIMIT : VMM_FD_LIMIT,
                [LIMIT_NPROC] = INSPECT_THREADS_MAX,
        }; /* the others: 0 */

        for (int i = 0; i < LIMIT_COUNT; i++)
                if (f->limits[i].hard > most[i] || f->limits[i].soft > most[i]) {
                        detail(v, "%s", limit_names[i]);
                        return FOUND_NO;
                }
        if (f->oom_score_adj < OOM_SCORE_MIN)
                detail(v, "oom_score_adj %" PRId64, f->oom_score_adj);
        return yes_if(f->oom_score_adj >= OOM_SCORE_MIN);
}

static enum layer_found find_no_new_namespaces(const struct inspect_facts *f, struct layer_view *v)
{
        if (!f->inside.sysctls_known)
                return FOUND_UNKNOWN;
        if (f->inside.namespaces_allowed > 0)
                detail(v, "%u kinds can be created", f->inside.namespaces_allowed);
        return yes_if(f->inside.namespaces_allowed == 0);
}

/* The words of task_seccomp() in fs/proc/array.c of the kernel: every thread must have one of good. */
static enum layer_found find_speculation(const struct inspect_facts *f, size_t offset, const char *const *good,
                                         struct layer_view *v)
{
        for (size_t i = 0; i < f->thread_count; i++) {
                const char *text = (const char *)&f->threads[i] + offset;
                bool found = false;

                detail(v, "%s", text);
                if (text[0] == '\0')
                        return FOUND_UNKNOWN;
                for (size_t k = 0; good[k]; k++)
                        if (strcmp(text, good[k]) == 0)
                                found = true;
                if (!found)
                        return FOUND_NO;
        }
        return FOUND_YES;
}

static enum layer_found find_core_cookie(const struct inspect_facts *f, struct layer_view *v)
{
        if (!f->core_cookie_known)
                return FOUND_UNKNOWN;
        detail(v, "cookie %#" PRIx64, f->core_cookie);
        return yes_if(f->core_cookie != 0 && f->core_cookie != f->own_core_cookie);
}

static enum layer_found find_no_merging(const struct inspect_facts *f, struct layer_view *v)
{
        if (f->memory.mergeable > 0)
                detail(v, "%zu mergeable mappings", f->memory.mergeable);
        if (f->memory.mergeable > 0 || f->memory.merge_any == MERGE_ANY_YES)
                return FOUND_NO;
        detail(v, "no mapping is mergeable");
        return f->memory.merge_any == MERGE_ANY_NO ? FOUND_YES : FOUND_UNKNOWN;
}

static bool all_are(const uint32_t ids[4], uint32_t id)
{
        return ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

/* The VMM has the first id of the guest's, device i the one i after that. Who has but one shares it. */
static uint32_t id_offset(const struct layer_claim *claim)
{
        return claim->device && claim->ids.count > 1 ? 1 + (uint32_t)claim->index : 0;
}

static enum layer_found find_ids(const struct layer_claim *claim, const struct inspect_facts *f, struct layer_view *v)
{
        const uint32_t uid = claim->ids.uid + id_offset(claim), gid = claim->ids.gid + id_offset(claim);

        for (size_t i = 0; i < f->thread_count; i++) {
                const struct thread_facts *t = &f->threads[i];
                uint64_t caps = 0;

                for (int k = 0; k < CAPS_COUNT; k++)
                        caps |= t->caps[k];
                if (all_are(t->uids, uid) && all_are(t->gids, gid) && caps == 0)
                        continue;
                detail(v, "thread %d: %s", (int)t->tid, caps ? "has capabilities" : "has other ids");
                return FOUND_NO;
        }
        detail(v, "uid and gid %u, no capability", f->threads[0].uids[0]);
        return FOUND_YES;
}

/* Not the ids of the user who started it, nor a group of that user's. */
static enum layer_found find_own_ids(const struct layer_claim *claim, const struct inspect_facts *f,
                                     struct layer_view *v)
{
        for (size_t i = 0; i < f->thread_count; i++)
                if (f->threads[i].groups > 0) {
                        detail(v, "thread %d: in %u groups", (int)f->threads[i].tid, f->threads[i].groups);
                        return FOUND_NO;
                }
        detail(v, "%u of them", claim->ids.count);
        return yes_if(claim->ids.count == JAIL_IDS_PER_GUEST);
}

static enum layer_found find_no_new_privs(const struct inspect_facts *f, struct layer_view *v)
{
        for (size_t i = 0; i < f->thread_count; i++)
                if (!f->threads[i].no_new_privs) {
                        detail(v, "thread %d", (int)f->threads[i].tid);
                        return FOUND_NO;
                }
        return FOUND_YES;
}

static enum layer_found find_seccomp(const struct inspect_facts *f, struct layer_view *v)
{
        int fewest = f->threads[0].seccomp_filters;

        for (size_t i = 0; i < f->thread_count; i++) {
                if (f->threads[i].seccomp_filters < fewest)
                        fewest = f->threads[i].seccomp_filters;
                if (f->threads[i].seccomp_mode != SECCOMP_FILTERED) {
                        detail(v, "thread %d has none", (int)f->threads[i].tid);
                        return FOUND_NO;
                }
        }
        detail(v, "%zu threads", f->thread_count);
        if (fewest >= 0)
                detail(v, "%zu threads, %d filters or more on each", f->thread_count, fewest);
        return FOUND_YES;
}

static const char *const store_bypass_good[] = {"thread force mitigated", "thread mitigated", "globally mitigated",
                                                "not vulnerable", NULL};
static const char *const indirect_branch_good[] = {"conditional force disabled", "conditional disabled",
                                                   "always disabled", "not affected", NULL};

static enum layer_found find(enum jail_layer layer, const struct layer_claim *claim, const struct inspect_facts *f,
                             struct layer_view *v)
{
        switch (layer) {
        case LAYER_USER_NS:
                return find_namespace(NS_USER, claim, f, v);
        case LAYER_PID_NS:
                return find_namespace(NS_PID, claim, f, v);
        case LAYER_MOUNT_NS:
                return find_namespace(NS_MNT, claim, f, v);
        case LAYER_NET_NS:
                return find_namespace(NS_NET, claim, f, v);
        case LAYER_IPC_NS:
                return find_namespace(NS_IPC, claim, f, v);
        case LAYER_UTS_NS:
                return find_namespace(NS_UTS, claim, f, v);
        case LAYER_CGROUP_NS:
                return find_namespace(NS_CGROUP, claim, f, v);
        case LAYER_TIME_NS:
                return find_namespace(NS_TIME, claim, f, v);
        case LAYER_CGROUP_LIMITS:
                return find_cgroup_limits(f, v);
        case LAYER_FDS:
                return find_fds(claim, f, v);
        case LAYER_ROOT:
                return find_root(f, v);
        case LAYER_NET_EMPTY:
                return find_empty_network(f, v);
        case LAYER_LIMITS:
                return find_limits(claim, f, v);
        case LAYER_NO_NEW_NS:
                return find_no_new_namespaces(f, v);
        case LAYER_STORE_BYPASS:
                return find_speculation(f, offsetof(struct thread_facts, store_bypass), store_bypass_good, v);
        case LAYER_INDIRECT_BRANCH:
                return find_speculation(f, offsetof(struct thread_facts, indirect_branch), indirect_branch_good, v);
        case LAYER_CORE_SCHED:
                return find_core_cookie(f, v);
        case LAYER_NO_MERGE:
                return find_no_merging(f, v);
        case LAYER_IDS:
                return find_ids(claim, f, v);
        case LAYER_OWN_IDS:
                return find_own_ids(claim, f, v);
        case LAYER_NO_NEW_PRIVS:
                return find_no_new_privs(f, v);
        case LAYER_SECCOMP:
                return find_seccomp(f, v);
        case LAYER_DUMPABLE:
                detail(v, "its files in /proc belong to uid %u", f->owner);
                return yes_if(f->owner == 0 && f->threads[0].uids[1] != 0);
        case LAYER_MDWE:
                /* The kernel does not tell; a mapping that should not be there would. */
                if (f->memory.writable_executable > 0)
                        detail(v, "%zu mappings are writable and executable", f->memory.writable_executable);
                return f->memory.writable_executable > 0 ? FOUND_NO : FOUND_UNKNOWN;
        case LAYER_LANDLOCK:
                if (claim->landlock_abi > 0)
                        detail(v, "ABI %u", claim->landlock_abi);
                return FOUND_UNKNOWN;
        case LAYER_MEMFD_NOEXEC:
        case LAYER_COUNT:
                break;
        }
        return FOUND_UNKNOWN;
}

void layer_judge(enum jail_layer layer, const struct layer_claim *claim, const struct inspect_facts *f,
                 struct layer_view *ret)
{
        struct layer_view v = {.needs = claim->storage && layer == LAYER_ROOT ? "the disk in format raw"
                                                                              : jail_layers[layer].remedy};
        enum layer_found found = find(layer, claim, f, &v);

        if (claim->layers & LAYER_BIT(layer))
                v.verdict = found == FOUND_YES  ? LAYER_IN_FORCE
                            : found == FOUND_NO ? LAYER_CONTRADICTED
                                                : LAYER_ATTESTED;
        else
                v.verdict = found == FOUND_YES ? LAYER_UNCLAIMED : LAYER_ABSENT;
        *ret = v;
}

const char *layer_verdict_text(enum layer_verdict v)
{
        switch (v) {
        case LAYER_IN_FORCE:
        case LAYER_ATTESTED:
        case LAYER_UNCLAIMED:
                return "in force";
        case LAYER_ABSENT:
                return "ABSENT";
        case LAYER_CONTRADICTED:
                break;
        }
        return "claimed, NOT found";
}

const char *layer_source_text(enum jail_layer layer, enum layer_verdict v, bool of_device)
{
        switch (v) {
        case LAYER_ATTESTED:
                /* The program reports these two itself, after exec; the others are reported before it runs. */
                if (layer != LAYER_MDWE && layer != LAYER_LANDLOCK)
                        return "attested by the jail";
                return of_device ? "attested by itself" : "attested by the VMM";
        case LAYER_UNCLAIMED:
                return "kernel, not claimed";
        case LAYER_ABSENT:
                return "state file";
        case LAYER_IN_FORCE:
        case LAYER_CONTRADICTED:
                break;
        }
        return "kernel";
}
