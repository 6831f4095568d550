/* Namespaces: compared with the host's and among guests. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/namespaces.h"
#include "audit/probes/privileges.h"
#include "audit/probes/tables.h"
#include "audit/text.h"

const char *namespace_name(enum ns_kind kind)
{
        static const char *const names[NS_COUNT] = {
                [NS_USER] = "user", [NS_PID] = "PID", [NS_MNT] = "mount",     [NS_NET] = "network",
                [NS_IPC] = "IPC",   [NS_UTS] = "UTS", [NS_CGROUP] = "cgroup", [NS_TIME] = "time",
        };

        return names[kind];
}

struct own {
        enum ns_kind kind;
        enum verdict when_shared;
        const char *reach; /* what the host's namespace gives */
};

/* The numbers of the first namespaces (linux/nsfs.h, enum init_ns_ino); older kernels number some of them anew. */
static const uint64_t first_ns[NS_COUNT] = {
        [NS_IPC] = 0xefffffff,    [NS_UTS] = 0xeffffffe,  [NS_USER] = 0xeffffffd, [NS_PID] = 0xeffffffc,
        [NS_CGROUP] = 0xeffffffb, [NS_TIME] = 0xeffffffa, [NS_NET] = 0xeffffff9,  [NS_MNT] = 0xeffffff8,
};

/*
 * Whether a process is in the host's namespace: 1 or 0, or a negative errno. Where the link may not be looked at, its
 * depth still tells that of PIDs: NSpid has a number for each namespace from the auditor's own down. -EXDEV: it is not
 * in this auditor's, which may itself not be the host's.
 */
static int in_host(const struct audit *a, const struct process *p, enum ns_kind kind)
{
        if (p->ns_error[kind] == 0 && a->host.ns[kind] != 0) {
                if (p->ns[kind] == a->host.ns[kind])
                        return 1;
                if (a->host.ns_of_init || a->host.ns[kind] == first_ns[kind])
                        return 0;
                return kind == NS_PID && p->pid_depth > 1 ? 0 : -EXDEV;
        }
        if (kind == NS_PID && p->pid_depth > 0)
                return p->pid_depth == 1;
        return p->ns_error[kind] < 0 ? p->ns_error[kind] : -ENOENT;
}

static void own_show(struct audit *a, struct finding *f, const struct guest *g, const struct process *p,
                     enum ns_kind kind)
{
        if (p->ns_error[kind] < 0)
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", p->pid),
                              "NSpid has %u numbers", p->pid_depth);
        else
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "stat /proc/%d/ns/%s", p->pid, ns_names[kind]),
                              "inode %" PRIu64 "; the host's is %" PRIu64, p->ns[kind], a->host.ns[kind]);
}

/* The namespaces of every process of a guest against the host's. */
static void own_namespace(struct audit *a, struct guest *g, const struct own *own)
{
        const struct process *shared = NULL, *unknown = NULL;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                int r = in_host(a, p, own->kind);

                if (r == -ESRCH && p->pid != g->vmm->pid)
                        continue; /* a helper may end */
                if (r < 0)
                        unknown = p;
                else if (r > 0 && !shared)
                        shared = p;
        }
        if (!shared && unknown) {
                finding_unknown(a, g, in_host(a, unknown, own->kind),
                                arena_printf(a->arena, "stat /proc/%d/ns/%s", unknown->pid, ns_names[own->kind]));
                return;
        }
        if (shared)
                f = finding_add(a, own->when_shared, g, "A process of %s is in the host's %s namespace: %s",
                                GUEST_MARK(a, g), namespace_name(own->kind), own->reach);
        else
                f = finding_add(a, VERDICT_PASS, g, "No process of %s is in the host's %s namespace.", GUEST_MARK(a, g),
                                namespace_name(own->kind));
        own_show(a, f, g, shared ? shared : g->vmm, own->kind);
}

static void pid_guest(struct audit *a, struct guest *g)
{
        own_namespace(a, g, &(struct own){NS_PID, VERDICT_FAIL, "it can name every process of the host."});
}

/* A label that no other guest has takes the place of the namespace: sVirt. */
static bool label_unique(const struct audit *a, const struct guest *g)
{
        const struct pair_group_list *l = &a->pairs.shared[LAYER_MAC];

        if (a->pairs.values[g->index * LAYER_COUNT + LAYER_MAC] == 0)
                return false;
        for (size_t i = 0; i < l->count; i++)
                for (size_t k = 0; k < l->items[i].count; k++)
                        if (l->items[i].guests[k] == g->index)
                                return false;
        return true;
}

static void mnt_guest(struct audit *a, struct guest *g)
{
        if (label_unique(a, g))
                own_namespace(a, g,
                              &(struct own){NS_MNT, VERDICT_WARN,
                                            "it sees the host's files, and only permissions and its MAC label keep it "
                                            "from them."});
        else
                own_namespace(a, g,
                              &(struct own){NS_MNT, VERDICT_FAIL,
                                            "it sees the host's files, and only permissions keep it from them."});
}

static void net_guest(struct audit *a, struct guest *g)
{
        own_namespace(a, g,
                      &(struct own){NS_NET, VERDICT_WARN,
                                    "a monitor that is taken over can speak to the host's networks and to every "
                                    "abstract socket."});
}

/* Objects in this auditor's IPC namespace that belong to a user: shared memory, queues and semaphores
 * (proc_sysvipc(5)). */
static int ipc_objects(struct audit *a, uint32_t uid, size_t *ret)
{
        static const struct {
                const char *file;
                int column; /* of the uid, from 0 */
        } tables[] = {{"shm", 7}, {"msg", 7}, {"sem", 4}};
        size_t n = 0;

        for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
                struct answer table;
                char *rest, *line;
                int r = observe(a->observer, &table, "read /proc/sysvipc/%s", tables[i].file);

                if (r < 0)
                        return r;
                for (rest = table.bytes; (line = text_next_line(&rest));) {
                        char *end;

                        for (int c = 0; c < tables[i].column; c++) {
                                line += strspn(line, " ");
                                line += strcspn(line, " ");
                        }
                        n += strtoul(line, &end, 10) == uid && end != line; /* the heading has no number */
                }
        }
        *ret = n;
        return 0;
}

static void ipc_guest(struct audit *a, struct guest *g)
{
        static const char question[] = "read /proc/sysvipc/shm, msg, sem";
        struct finding *f;
        uint32_t uid;
        size_t objects;
        int r;

        own_namespace(a, g,
                      &(struct own){NS_IPC, VERDICT_WARN,
                                    "only permissions keep it from shared memory and queues of the host."});
        f = a->findings.items[a->findings.count - 1];
        if (f->verdict != VERDICT_WARN || g->vmm->threads.count == 0)
                return;
        uid = g->vmm->threads.items[0].uid[1];
        r = ipc_objects(a, uid, &objects);
        if (r < 0)
                finding_show_error(a, f, GUEST_OWNER(g), question, r);
        else
                finding_showf(a, f, GUEST_OWNER(g), question, "objects of uid %u: %zu", uid, objects);
}

static bool maps_every_id(const struct id_map *m)
{
        return m->count == 1 && m->items[0].inside == 0 && m->items[0].outside == 0 && m->items[0].count == UINT32_MAX;
}

static void user_guest(struct audit *a, struct guest *g)
{
        const struct process *worst = g->vmm, *unread = NULL;
        enum verdict v = VERDICT_PASS;
        struct finding *f;
        int r = privileges_ids_hosts(a);

        if (r < 0) {
                finding_unknown(a, g, r, "read /proc/self/uid_map");
                return;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->uid_map_error == -ESRCH && p != g->vmm)
                        continue; /* a helper may end */
                if (p->uid_map_error < 0)
                        unread = p;
                else if (v == VERDICT_PASS && id_map_covers_host(&p->uid_map, 0)) {
                        v = VERDICT_WARN;
                        worst = p;
                }
        }
        if (v == VERDICT_PASS && unread) {
                finding_unknown(a, g, unread->uid_map_error,
                                arena_printf(a->arena, "read /proc/%d/uid_map", unread->pid));
                return;
        }
        if (v == VERDICT_PASS)
                f = finding_add(a, v, g, "Every process of %s is in a user namespace that holds no root of the host.",
                                GUEST_MARK(a, g));
        else if (maps_every_id(&worst->uid_map))
                f = finding_add(
                        a, v, g,
                        "A process of %s is in the host's user namespace: a privilege it gains is one over the host.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(
                        a, v, g,
                        "A process of %s is in a user namespace that the host's root is part of: its files are within "
                        "reach there.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/uid_map", worst->pid), "%s",
                      worst->uid_map.count ? worst->uid_map_text : "(no id is mapped)");
}

/* Hidden names, clocks and paths of control groups: little is lost by them, each. */
static void rest_guest(struct audit *a, struct guest *g)
{
        static const enum ns_kind kinds[] = {NS_UTS, NS_CGROUP, NS_TIME};
        char *list = arena_text(a->arena, "");
        const struct process *p = g->vmm;
        struct finding *f;

        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
                int r = in_host(a, p, kinds[i]);

                if (r == -ENOENT) /* a kernel without this kind */
                        continue;
                if (r < 0) {
                        finding_unknown(a, g, r,
                                        arena_printf(a->arena, "stat /proc/%d/ns/%s", p->pid, ns_names[kinds[i]]));
                        return;
                }
                if (r > 0)
                        list = arena_printf(a->arena, "%s%s%s", list, *list ? ", " : "", namespace_name(kinds[i]));
        }
        if (*list)
                f = finding_add(
                        a, VERDICT_WARN, g,
                        "The monitor of %s shares namespaces of the host (%s): it learns the host's name, clocks or "
                        "control groups.",
                        GUEST_MARK(a, g), list);
        else
                f = finding_add(a, VERDICT_PASS, g,
                                "The monitor of %s sees neither the host's name nor its clocks and control groups.",
                                GUEST_MARK(a, g));
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (p->ns_error[kinds[i]] == 0)
                        own_show(a, f, g, p, kinds[i]);
}

#define NEEDS_PTRACE "CAP_SYS_PTRACE or the guest's own user"

const struct check checks_namespaces[] = {
        {
                .id = "NS-PID",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes cannot name the processes of the host or of another guest.",
                .examined =
                        "inode of /proc/PID/ns/pid of every process of the guest, against pid 1's and every other guest's; "
                        "without privilege NSpid",
                .rule = "own PASS; the host's FAIL; two guests with one user in one FAIL (WARN while at least three other "
                        "layers separate every pair)",
                .source = "pid_namespaces(7); Firecracker docs/jailer.md, --new-pid-ns",
                .remedy = "start the monitor with clone(CLONE_NEWPID)",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_PIDNS),
                .guest = pid_guest,
                .pairs = namespaces_pid_pairs,
        },
        {
                .id = "NS-MNT",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes see neither the mounts of the host nor those of another guest.",
                .examined =
                        "inode of /proc/PID/ns/mnt of every process of the guest, against pid 1's and every other guest's",
                .rule = "own PASS; the host's or another guest's FAIL, with a MAC label of its own WARN (WARN, too, while at "
                        "least three other layers separate every pair)",
                .source = "mount_namespaces(7); Firecracker docs/jailer.md",
                .remedy =
                        "unshare(CLONE_NEWNS) and pivot_root(2) into a directory with nothing but what the monitor needs",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_MNTNS),
                .guest = mnt_guest,
                .pairs = namespaces_mnt_pairs,
        },
        {
                .id = "NS-NET",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_WARN,
                .claim = "A guest's processes reach no network and no abstract socket of the host or of another guest.",
                .examined =
                        "inode of /proc/PID/ns/net of every process of the guest, against pid 1's and every other guest's",
                .rule = "own PASS; the host's or another guest's WARN",
                .source = "network_namespaces(7), unix(7); Firecracker docs/jailer.md, --netns",
                .remedy = "start the monitor in an empty network namespace, and pass it the open tap device",
                .needs = NEEDS_PTRACE,
                .guest = net_guest,
                .pairs = namespaces_net_pairs,
        },
        {
                .id = "NS-IPC",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes reach no shared memory, semaphores or message queues of others.",
                .examined =
                        "inode of /proc/PID/ns/ipc of every process of the guest, against pid 1's and every other guest's; "
                        "owners in /proc/sysvipc",
                .rule = "own PASS; the host's WARN; two guests with one user in one FAIL (WARN while at least three other "
                        "layers separate every pair)",
                .source = "ipc_namespaces(7)",
                .remedy = "start the monitor with clone(CLONE_NEWIPC)",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_IPCNS),
                .guest = ipc_guest,
                .pairs = namespaces_ipc_pairs,
        },
        {
                .id = "NS-USER",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "Whatever privilege a guest's process gains is none over the host.",
                .examined = "/proc/PID/uid_map of every process of the guest",
                .rule = "a map without the host's uid 0 PASS; the host's user namespace, or a map with uid 0, WARN",
                .source = "user_namespaces(7); crosvm documentation, appendix Minijail",
                .remedy = "start the monitor with clone(CLONE_NEWUSER), mapped to ids of its own",
                .needs = "",
                .guest = user_guest,
        },
        {
                .id = "NS-UTS-CG-TIME",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "A guest's monitor does not learn the host's name, clocks and control groups.",
                .examined = "inodes of /proc/PID/ns/uts, cgroup and time of the monitor, against pid 1's",
                .rule = "own PASS; any of them the host's WARN; kinds that the kernel does not have do not count",
                .source = "namespaces(7)",
                .remedy = "unshare(CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME) before the monitor starts",
                .needs = NEEDS_PTRACE,
                .guest = rest_guest,
        },
        {
                .id = "NS-PROCVIS",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No proc file system shows a guest's processes those of the host or of another guest.",
                .examined =
                        "mounts of type proc in /proc/PID/mountinfo of every process of the guest, their option hidepid, and "
                        "whether they show this auditor",
                .rule = "none, or one of its own processes only, PASS; one with processes of others FAIL, where hidepid hides "
                        "them and its user is its own WARN (WARN, too, while at least three other layers separate every pair)",
                .source = "proc(5), hidepid; kernel Documentation/filesystems/proc.rst",
                .remedy = "mount no proc in the jail, or one of the monitor's own PID namespace",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_PIDNS) | LAYER_BIT(LAYER_MNTNS),
                .guest = namespaces_proc_guest,
        },
        {.id = NULL},
};
