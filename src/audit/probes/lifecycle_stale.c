/*
 * What is left of guests that have ended: their memory in files, their jails, and what their managers noted. What a
 * thing belonged to is not known, so all of it is for the operator's eyes only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/lifecycle.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/number.h"

#define LEFT_MAX 32 /* that are shown one by one */

struct left {
        char *question, *text;
};

struct left_list {
        struct left *items;
        size_t count, room;
};

struct stale {
        struct audit *a;
        struct left_list data;      /* memory and jails */
        struct left_list notes;     /* empty cgroups, files of managers */
        struct pair_key_list roots; /* root directories of all processes, when asked for */
        bool roots_known;
        int error; /* of the first place that could not be read */
        char *question;
};

static void left_add(struct stale *s, struct left_list *l, char *question, char *text)
{
        *GROW(s->a->arena, l) = (struct left){.question = question, .text = text};
}

/* Names in a directory. What does not exist has nothing left in it. */
static bool place_list(struct stale *s, const char *path, struct name_list *ret)
{
        int r = observe_list(s->a->observer, path, ret);

        if (r < 0 && r != -ENOENT && s->error == 0) {
                s->error = r;
                s->question = arena_printf(s->a->arena, "list %s", path);
        }
        return r == 0;
}

/* ---- memory in files ---- */

static bool in_use(const struct audit *a, const char *path, const struct observed_stat *st)
{
        for (size_t i = 0; i < a->inv.processes.count; i++) {
                const struct process *p = a->inv.processes.items[i];

                if (process_find_mapping(p, st->dev, st->ino))
                        return true;
                for (size_t k = 0; k < p->fds.count; k++)
                        if (strcmp(p->fds.items[k].link, path) == 0)
                                return true;
        }
        return false;
}

/* What monitors and their users call the memory of a guest. */
static bool is_memory_name(const char *name)
{
        static const char *const parts[] = {"qemu",   "guest",       "pc.ram",           "ivshmem",
                                            "crosvm", "firecracker", "cloud-hypervisor", "kvm",
                                            "vm-mem", "vmmem"};

        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
                if (strstr(name, parts[i]))
                        return true;
        return false;
}

/* hugetlbfs holds little else than guests' memory; in /dev/shm the name decides. */
static void memory_in(struct stale *s, const char *dir, bool by_name)
{
        struct name_list names;

        if (!place_list(s, dir, &names))
                return;
        for (size_t i = 0; i < names.count; i++) {
                char *path = arena_printf(s->a->arena, "%s/%s", dir, names.items[i]);
                struct observed_stat st;

                if ((by_name && !is_memory_name(names.items[i])) || observe_lstat(s->a->observer, path, &st) < 0 ||
                    !S_ISREG(st.mode) || st.size == 0 || in_use(s->a, path, &st))
                        continue;
                left_add(s, &s->data, arena_printf(s->a->arena, "lstat %s", path),
                         arena_printf(s->a->arena, "%" PRIu64 " bytes, owner %u:%u, mapped and open nowhere", st.size,
                                      st.uid, st.gid));
        }
}

static void memory_left(struct stale *s, const struct mount_list *mounts)
{
        memory_in(s, "/dev/shm", true);
        for (size_t i = 0; i < mounts->count; i++)
                if (strcmp(mounts->items[i].type, "hugetlbfs") == 0) {
                        memory_in(s, mounts->items[i].point, false);
                        memory_in(s, arena_printf(s->a->arena, "%s/libvirt/qemu", mounts->items[i].point), false);
                }
}

/* ---- Firecracker's jailer ---- */

static void roots_read(struct stale *s)
{
        for (size_t i = 0; !s->roots_known && i < s->a->inv.processes.count; i++) {
                const struct process *p = s->a->inv.processes.items[i];
                struct observed_stat st;

                if (observe_stat(s->a->observer, arena_printf(s->a->arena, "/proc/%d/root", p->pid), &st) == 0)
                        *GROW(s->a->arena, &s->roots) = (struct pair_key){.value = {st.dev, st.ino}};
        }
        s->roots_known = true;
}

static bool is_root_of_some(const struct stale *s, const struct observed_stat *st)
{
        for (size_t i = 0; i < s->roots.count; i++)
                if (s->roots.items[i].value[0] == st->dev && s->roots.items[i].value[1] == st->ino)
                        return true;
        return false;
}

static void jails_left(struct stale *s)
{
        struct name_list programs, ids;

        if (!place_list(s, "/srv/jailer", &programs))
                return;
        for (size_t i = 0; i < programs.count; i++) {
                char *dir = arena_printf(s->a->arena, "/srv/jailer/%s", programs.items[i]);

                if (!place_list(s, dir, &ids))
                        continue;
                for (size_t k = 0; k < ids.count; k++) {
                        char *path = arena_printf(s->a->arena, "%s/%s/root", dir, ids.items[k]);
                        struct observed_stat st;

                        if (observe_lstat(s->a->observer, path, &st) < 0)
                                continue;
                        roots_read(s);
                        if (!is_root_of_some(s, &st))
                                left_add(s, &s->data, arena_printf(s->a->arena, "lstat %s", path),
                                         arena_text(s->a->arena, "a jail that is the root directory of no process"));
                }
        }
}

/* ---- notes of managers ---- */

static bool held_by_some(const struct audit *a, const char *path)
{
        for (size_t i = 0; i < a->inv.processes.count; i++)
                for (size_t k = 0; k < a->inv.processes.items[i]->fds.count; k++)
                        if (strcmp(a->inv.processes.items[i]->fds.items[k].link, path) == 0)
                                return true;
        return false;
}

/* A supervisor keeps the lock of its guest's directory open. */
static void bulkhead_left(struct stale *s)
{
        struct name_list names;

        if (!place_list(s, "/run/bulkhead/guests", &names))
                return;
        for (size_t i = 0; i < names.count; i++) {
                char *dir = arena_printf(s->a->arena, "/run/bulkhead/guests/%s", names.items[i]);

                if (!held_by_some(s->a, arena_printf(s->a->arena, "%s/lock", dir)))
                        left_add(s, &s->notes, arena_printf(s->a->arena, "list %s", dir),
                                 arena_text(s->a->arena, "no process has its lock open"));
        }
}

static void libvirt_left(struct stale *s)
{
        static const char dir[] = "/run/libvirt/qemu";
        struct name_list names;

        if (!place_list(s, dir, &names))
                return;
        for (size_t i = 0; i < names.count; i++) {
                char *path = arena_printf(s->a->arena, "%s/%s", dir, names.items[i]), *line;
                uint64_t pid;

                if (!text_has_suffix(path, ".pid") || !(line = observe_line(s->a->observer, path, NULL)) ||
                    number_parse(line, INT32_MAX, &pid) < 0 || inventory_process(&s->a->inv, (pid_t)pid))
                        continue;
                left_add(s, &s->notes, arena_printf(s->a->arena, "read %s", path),
                         arena_printf(s->a->arena, "%" PRIu64 ": there is no such process", pid));
        }
}

/* Version 2 says it in cgroup.events, for all below; version 1 only has the list. */
static bool cgroup_empty(struct audit *a, const char *dir, bool v1)
{
        struct answer answer;
        char *populated;

        if (v1)
                return observe(a->observer, &answer, "read %s/cgroup.procs", dir) == 0 && answer.len == 0;
        if (observe(a->observer, &answer, "read %s/cgroup.events", dir) < 0)
                return false;
        populated = text_field(a->arena, answer.bytes, "populated");
        return populated && strcmp(populated, "0") == 0;
}

static void cgroups_left(struct stale *s, const struct mount_list *mounts)
{
        /* libvirt's have no process of their own but some below: only version 2 tells whether they are empty. */
        static const struct {
                const char *dir, *prefix;
                bool v1;
        } places[] = {{"bulkhead", "", true}, {"firecracker", "", true}, {"machine.slice", "machine-qemu", false}};
        struct name_list names;

        for (size_t i = 0; i < mounts->count; i++) {
                const struct mount *m = &mounts->items[i];
                bool v1 = strcmp(m->type, "cgroup") == 0;

                for (size_t k = 0; (v1 || strcmp(m->type, "cgroup2") == 0) && k < ARRAY_LEN(places); k++) {
                        char *parent = arena_printf(s->a->arena, "%s/%s", m->point, places[k].dir);

                        if ((v1 && !places[k].v1) || !place_list(s, parent, &names))
                                continue;
                        for (size_t n = 0; n < names.count; n++) {
                                char *dir = arena_printf(s->a->arena, "%s/%s", parent, names.items[n]);
                                struct observed_stat st;

                                if (text_has_prefix(names.items[n], places[k].prefix) &&
                                    observe_stat(s->a->observer, dir, &st) == 0 && S_ISDIR(st.mode) &&
                                    cgroup_empty(s->a, dir, v1))
                                        left_add(s, &s->notes, arena_printf(s->a->arena, "list %s", dir),
                                                 arena_text(s->a->arena, "a cgroup without processes"));
                        }
                }
        }
}

static void left_show(struct audit *a, struct finding *f, const struct left_list *l)
{
        for (size_t i = 0; i < l->count && i < LEFT_MAX; i++)
                finding_show(a, f, EVIDENCE_OPERATOR, l->items[i].question, l->items[i].text, strlen(l->items[i].text));
        if (l->count > LEFT_MAX)
                finding_showf(a, f, EVIDENCE_OPERATOR, "and more", "%zu in all", l->count);
}

void life_stale_host(struct audit *a)
{
        struct stale s = {.a = a};
        struct mount_list mounts = {0};
        enum verdict v;
        struct finding *f;
        bool blind;

        s.error = mount_list_read(a->observer, "/proc/self/mountinfo", &mounts);
        s.question = arena_text(a->arena, "read /proc/self/mountinfo");
        memory_left(&s, &mounts);
        jails_left(&s);
        bulkhead_left(&s);
        libvirt_left(&s);
        cgroups_left(&s, &mounts);
        /* A process that cannot be looked into may use what seems to be left. */
        blind = s.error < 0 || (a->inv.unreadable > 0 && s.data.count + s.notes.count > 0);
        v = blind ? VERDICT_UNKNOWN : s.data.count ? VERDICT_FAIL : s.notes.count ? VERDICT_WARN : VERDICT_PASS;
        f = finding_add(
                a, v, NULL,
                v == VERDICT_FAIL
                        ? "There is memory or a jail of guests that have ended: %zu of them, and %zu traces without their data."
                : v == VERDICT_WARN
                        ? "No memory and no jail is left of guests that have ended (%zu), but %zu traces of them."
                : v == VERDICT_PASS
                        ? "Nothing is left of guests that have ended: no memory or jails (%zu) and no other traces (%zu)."
                        : "Not all of what guests leave behind could be looked at; what is seen: %zu memory files or jails, %zu other traces.",
                s.data.count, s.notes.count);
        if (v == VERDICT_UNKNOWN)
                f->needs = a->check->needs;
        left_show(a, f, &s.data);
        left_show(a, f, &s.notes);
        if (s.error < 0)
                finding_show_error(a, f, EVIDENCE_OPERATOR, s.question, s.error);
        finding_showf(a, f, EVIDENCE_OPERATOR,
                      "list /dev/shm, hugetlbfs, /srv/jailer, /run/bulkhead/guests, /run/libvirt/qemu, cgroups",
                      "%zu memory files or jails, %zu other traces; %zu processes could not be looked into",
                      s.data.count, s.notes.count, a->inv.unreadable);
}
