/* Life cycle: what a guest was restored from. What is left of those that ended: lifecycle_stale.c. */
#include "audit/probes/lifecycle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define SNAPSHOT_LEAST (8ULL << 20) /* as of what counts as guest RAM */

/* Some mapping of the file is executable: it is a program or a library with much data. */
static bool is_program(const struct process *p, const struct mapping *m)
{
        for (size_t i = 0; i < p->maps.count; i++) {
                const struct mapping *other = &p->maps.items[i];

                if (other->ino == m->ino && other->dev == m->dev && other->perms[2] == 'x')
                        return true;
        }
        return false;
}

/* Memory that starts as a copy of a file: how Firecracker and others restore a guest. Files that only hold guest RAM
 * (hugetlbfs, memfd) begin empty. */
static bool is_snapshot(const struct process *p, const struct mapping *m)
{
        static const char *const others[] = {"/memfd:", "/dev/zero", "/SYSV", "/anon_hugepage", "/dev/hugepages/"};

        if (m->ino == 0 || m->name[0] != '/' || strcmp(m->perms, "rw-p") != 0 || m->end - m->start < SNAPSHOT_LEAST)
                return false;
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
                if (text_has_prefix(m->name, others[i]))
                        return false;
        return !is_program(p, m);
}

static void snapshot_show(struct audit *a, struct finding *f, const struct guest *g, const struct mapping *m)
{
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/maps", g->vmm->pid),
                      "%" PRIx64 "-%" PRIx64 " %s %u:%u %" PRIu64 " %s", m->start, m->end, m->perms,
                      OBSERVED_MAJOR(m->dev), OBSERVED_MINOR(m->dev), m->ino, SHOW(a, m->name));
}

static void snap_guest(struct audit *a, struct guest *g)
{
        const struct mapping *worst = NULL;
        struct observed_stat st, worst_st = {0};
        struct finding *f;
        bool open = false;
        char *question = NULL;

        if (g->vmm->maps_error < 0) {
                finding_unknown(a, g, g->vmm->maps_error, arena_printf(a->arena, "read /proc/%d/maps", g->vmm->pid));
                return;
        }
        for (size_t i = 0; i < g->vmm->maps.count && !open; i++) {
                const struct mapping *m = &g->vmm->maps.items[i];
                char *path = arena_printf(a->arena, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, g->vmm->pid, m->start,
                                          m->end);
                int r;

                if (!is_snapshot(g->vmm, m))
                        continue;
                r = observe_stat(a->observer, path, &st);
                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "stat %s", path));
                        return;
                }
                worst = m;
                worst_st = st;
                question = arena_printf(a->arena, "stat %s", path);
                open = st.mode & (S_IROTH | S_IWOTH);
        }
        if (!worst) {
                f = finding_add(a, VERDICT_PASS, g, "%s has no file mapped that it was restored from.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/maps", g->vmm->pid),
                              "%zu mappings, none a private copy of a file as large as RAM", g->vmm->maps.count);
                return;
        }
        f = finding_add(
                a, open ? VERDICT_FAIL : VERDICT_WARN, g,
                open ? "Everybody on the host may use the file that %s was restored from: its memory at that time is in it."
                     : "%s was restored from a file, and nothing proves that it is the one that was saved: such files are not signed.",
                GUEST_MARK(a, g));
        snapshot_show(a, f, g, worst);
        finding_showf(a, f, GUEST_OWNER(g), question, "mode %o, owner %u:%u", worst_st.mode, worst_st.uid,
                      worst_st.gid);
}

/* ---- restored twice ---- */

static const struct mapping *snapshot_of(const struct guest *g, const struct pair_key *k)
{
        return &g->vmm->maps.items[k->extra];
}

struct clones {
        struct audit *a;
        bool *done; /* [guest] */
};

static void clone_report(void *ctx, const struct pair_key *keys, size_t count)
{
        struct clones *c = ctx;
        struct finding *f = finding_add(
                c->a, VERDICT_FAIL, NULL,
                "These guests were restored from one file: they have the same random numbers, keys and identity, unless each was told.");

        for (size_t i = 0; i < count; i++) {
                const struct guest *g = c->a->inv.guests.items[keys[i].guest];

                if (i > 0 && keys[i].guest == keys[i - 1].guest)
                        continue;
                *GROW(c->a->arena, &f->guests) = g->index;
                snapshot_show(c->a, f, g, snapshot_of(g, &keys[i]));
                c->done[g->index] = true;
        }
}

static void clone_pairs(struct audit *a)
{
        struct clones c = {.a = a, .done = arena_array(a->arena, a->inv.guests.count, sizeof(*c.done))};
        struct pair_key_list keys = {0};
        struct finding *f;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                if (g->vmm->maps_error < 0) {
                        finding_unknown(a, g, g->vmm->maps_error,
                                        arena_printf(a->arena, "read /proc/%d/maps", g->vmm->pid));
                        c.done[i] = true;
                        continue;
                }
                for (size_t k = 0; k < g->vmm->maps.count; k++)
                        if (is_snapshot(g->vmm, &g->vmm->maps.items[k]))
                                *GROW(a->arena, &keys) = (struct pair_key){.value = {g->vmm->maps.items[k].dev,
                                                                                     g->vmm->maps.items[k].ino},
                                                                           .guest = i,
                                                                           .extra = k};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, clone_report, &c);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                if (c.done[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "%s has no file mapped that another guest was restored from, too.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/maps", g->vmm->pid),
                              "%zu mappings, no private copy of a file of another guest", g->vmm->maps.count);
        }
}

/* ---- hibernation ---- */

static void hib_host(struct audit *a)
{
        int r;
        char *state = observe_line(a->observer, "/sys/power/state", &r),
             *disk = observe_line(a->observer, "/sys/power/disk", NULL);
        bool off = r == -ENOENT || (state && !strstr(state, "disk")) || (disk && strstr(disk, "[disabled]"));
        struct finding *f;

        if (!off && !state) {
                finding_unknown(a, NULL, r, "read /sys/power/state");
                return;
        }
        f = finding_add(a, off ? VERDICT_PASS : VERDICT_WARN, NULL,
                        off ? "The host cannot hibernate: guests' memory is not written to its disk that way."
                            : "The host can hibernate: all guests' memory is then written to its swap.");
        if (state)
                finding_show(a, f, EVIDENCE_HOST, "read /sys/power/state", state, strlen(state));
        else
                finding_show_error(a, f, EVIDENCE_HOST, "read /sys/power/state", r);
        if (disk)
                finding_show(a, f, EVIDENCE_HOST, "read /sys/power/disk", disk, strlen(disk));
}

const struct check checks_lifecycle[] = {
        {
                .id = "LIFE-SNAP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's memory lies in no file that it was restored from.",
                .examined =
                        "private writable mappings of files of 8 MiB or more in /proc/PID/maps, and the files' mode",
                .rule = "readable or writable by everybody FAIL; any WARN: its origin is not proved",
                .source = "Firecracker docs/snapshotting/snapshot-support.md",
                .remedy = "mode 0600, in a directory of the guest's own; keep a signed digest beside it",
                .needs = "root",
                .guest = snap_guest,
        },
        {
                .id = "LIFE-CLONE",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No two guests were restored from the same file.",
                .examined = "private writable mappings of files of 8 MiB or more: their device and inode",
                .rule = "the same file FAIL; whether a guest was told (VMGENID) is not visible from outside",
                .source = "Firecracker docs/snapshotting/random-for-clones.md",
                .remedy = "restore a file once, or give guests VMGENID and new keys and addresses",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .pairs = clone_pairs,
        },
        {
                .id = "LIFE-STALE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "Nothing is left of guests that have ended.",
                .examined =
                        "/srv/jailer, memory files in hugetlbfs and /dev/shm, /run/bulkhead/guests, /run/libvirt/qemu, cgroups of monitors",
                .rule = "memory or a jail in no use FAIL; an empty cgroup or a state file without a process WARN",
                .source = "Firecracker docs/jailer.md: cleaning up is up to the user",
                .remedy = "remove what is left",
                .needs = "root",
                .host = life_stale_host,
        },
        {
                .id = "LIFE-HIB",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "The host does not write guests' memory to its disk by hibernating.",
                .examined = "/sys/power/state, /sys/power/disk",
                .rule = "possible WARN",
                .source = "Linux Documentation/admin-guide/pm/sleep-states.rst",
                .remedy = "start the kernel with nohibernate",
                .needs = "",
                .host = hib_host,
        },
        {
                .id = "LIFE-MIGR",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_WARN,
                .claim =
                        "No monitor has an unprotected connection by which a guest could be moved or managed from another host.",
                .examined =
                        "listening and connected TCP sockets of the monitor, except on loopback and of a user-mode network; tls-creds among its arguments",
                .rule = "such a socket without keys for TLS WARN, with them UNKNOWN",
                .source = "QEMU docs/system/security.rst",
                .remedy = "migrate and manage through TLS or a Unix socket",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = life_migr_guest,
        },
        {.id = NULL},
};
