/* Users and groups that a guest's processes run as. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/privileges.h"
#include "audit/text.h"
#include "base/cleanup.h"

int privileges_ids_hosts(struct audit *a)
{
        struct answer map;
        unsigned long ids[3] = {0};
        char *rest;
        int r = observe(a->observer, &map, "read /proc/self/uid_map");

        if (r < 0)
                return r == -ENOENT ? 0 : r; /* a kernel without user namespaces */
        rest = map.bytes;
        for (int i = 0; i < 3; i++)
                ids[i] = strtoul(rest, &rest, 10);
        return ids[0] == 0 && ids[1] == 0 && ids[2] == UINT32_MAX ? 0 : -EXDEV;
}

static const char *const id_lines[] = {"Name:", "Uid:", "Gid:", "Groups:", NULL};

static void ids_show(struct audit *a, struct finding *f, const struct guest *g, const struct thread *t)
{
        finding_show_lines(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", t->tid), t->status,
                           id_lines);
}

static bool any_zero(const uint32_t ids[4])
{
        return ids[0] == 0 || ids[1] == 0 || ids[2] == 0 || ids[3] == 0;
}

/* The process of a guest whose threads could not be read; NULL: all could. */
static const struct process *unread_process(const struct guest *g)
{
        for (size_t i = 0; i < g->members.count; i++)
                if (g->members.items[i].process->threads_error < 0)
                        return g->members.items[i].process;
        return NULL;
}

static void unread_report(struct audit *a, struct guest *g, const struct process *p)
{
        finding_unknown(a, g, p->threads_error, arena_printf(a->arena, "list /proc/%d/task", p->pid));
}

void privileges_root_guest(struct audit *a, struct guest *g)
{
        const struct thread *root = NULL;
        const struct process *unread = unread_process(g);
        int r = privileges_ids_hosts(a);
        struct finding *f;

        if (r < 0) {
                finding_unknown(a, g, r, "read /proc/self/uid_map");
                return;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; !root && k < l->count; k++)
                        if (any_zero(l->items[k].uid) || any_zero(l->items[k].gid))
                                root = &l->items[k];
        }
        if (!root && unread) {
                unread_report(a, g, unread);
                return;
        }
        if (root)
                f = finding_add(a, VERDICT_FAIL, g, "A process of %s runs as %s of the host, or can become it.",
                                GUEST_MARK(a, g), any_zero(root->uid) ? "root" : "group root");
        else
                f = finding_add(a, VERDICT_PASS, g, "No process of %s is root, or group root, of the host.",
                                GUEST_MARK(a, g));
        ids_show(a, f, g, root ? root : &g->vmm->threads.items[0]);
}

/* ---- a user of its own for each guest ---- */

struct users {
        struct audit *a;
        bool groups; /* keys are group ids */
        struct {
                const struct thread **items;
                size_t count, room;
        } threads; /* of keys (extra): the first of the guest that has that id */
        struct finding_list same_user;
        enum verdict *worst; /* [guest] */
};

static void user_key(struct users *u, struct pair_key_list *keys, size_t first, const struct guest *g,
                     const struct thread *t, uint32_t id)
{
        for (size_t i = first; i < keys->count; i++)
                if (keys->items[i].value[0] == id)
                        return;
        *GROW(u->a->arena, keys) = (struct pair_key){.value = {id}, .guest = g->index, .extra = u->threads.count};
        *GROW(u->a->arena, &u->threads) = t;
}

/* Every id that a thread of a guest has or can take: each once. */
static void user_keys(struct users *u, const struct guest *g, struct pair_key_list *keys)
{
        size_t first = keys->count;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++)
                        for (int n = 0; n < 4; n++)
                                user_key(u, keys, first, g, &l->items[k],
                                         u->groups ? l->items[k].gid[n] : l->items[k].uid[n]);
        }
}

/* Whether they all run as one user, which says more than that they share a group. Both lists rise. */
static bool one_user(const struct users *u, const size_t *guests, size_t count)
{
        for (size_t i = 0; i < u->same_user.count; i++) {
                const struct index_list *l = &u->same_user.items[i]->guests;
                size_t found = 0;

                for (size_t k = 0; k < l->count && found < count && l->items[k] <= guests[found]; k++)
                        found += l->items[k] == guests[found];
                if (found == count)
                        return true;
        }
        return false;
}

static void user_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct users *u = ctx;
        struct audit *a = u->a;
        size_t *guests = arena_array(a->arena, count, sizeof(*guests));
        bool *near = arena_array(a->arena, count, sizeof(*near));
        struct finding *f;

        for (size_t i = 0; i < count; i++)
                guests[i] = keys[i].guest;
        if (u->groups && one_user(u, guests, count))
                return;
        if (u->groups)
                f = finding_add(a, VERDICT_WARN, NULL,
                                "%zu guests share one group: files that it may use are open to each of them.", count);
        else if (pairs_unseparated(a, guests, count, LAYER_BIT(LAYER_MAC) | LAYER_BIT(LAYER_PIDNS), near))
                f = finding_add(
                        a, VERDICT_FAIL, NULL,
                        "%zu guests run as one user, and neither a MAC label nor a PID namespace keeps all of them apart.",
                        count);
        else
                f = finding_add(a, VERDICT_WARN, NULL,
                                "%zu guests run as one user: MAC labels or PID namespaces are what keeps them apart.",
                                count);
        if (!u->groups)
                *GROW(a->arena, &u->same_user) = f;
        for (size_t i = 0; i < count; i++) {
                *GROW(a->arena, &f->guests) = guests[i]; /* each comes once */
                u->worst[guests[i]] = verdict_worse(u->worst[guests[i]], f->verdict);
                ids_show(a, f, a->inv.guests.items[guests[i]], u->threads.items[keys[i].extra]);
        }
}

void privileges_users_pairs(struct audit *a)
{
        struct users u = {.a = a, .worst = arena_array(a->arena, a->inv.guests.count, sizeof(*u.worst))};

        for (int groups = 0; groups < 2; groups++) {
                struct pair_key_list keys = {0};

                u.groups = groups == 1;
                for (size_t i = 0; i < a->inv.guests.count; i++)
                        user_keys(&u, a->inv.guests.items[i], &keys);
                pair_keys_sort(&keys);
                pair_keys_shared(&keys, user_shared, &u);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                const struct process *unread = unread_process(g);
                struct finding *f;

                if (unread && u.worst[i] < VERDICT_FAIL)
                        unread_report(a, g, unread);
                if (unread || u.worst[i] > VERDICT_PASS)
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "%s shares neither user nor group with another guest.",
                                GUEST_MARK(a, g));
                ids_show(a, f, g, &g->vmm->threads.items[0]);
        }
}

/* ---- groups ---- */

static const struct {
        const char *name;
        enum verdict verdict;
} mighty_groups[] = {
        {"root", VERDICT_FAIL},    {"disk", VERDICT_FAIL},        {"kmem", VERDICT_FAIL},  {"adm", VERDICT_FAIL},
        {"shadow", VERDICT_FAIL},  {"sudo", VERDICT_FAIL},        {"wheel", VERDICT_FAIL}, {"docker", VERDICT_FAIL},
        {"libvirt", VERDICT_FAIL}, {"incus-admin", VERDICT_FAIL}, {"lxd", VERDICT_FAIL},   {"kvm", VERDICT_WARN},
};

/* One of them as this host has it. */
struct mighty_group {
        const char *name;
        enum verdict verdict;
        uint32_t gid;
        char *line;
};

struct mighty_group_list {
        struct mighty_group *items;
        size_t count, room;
};

struct group_sight {
        enum verdict verdict;
        char *names;                 /* of the mighty groups found */
        char *lines;                 /* of /etc/group that say so */
        const struct thread *thread; /* in the worst of them */
};

/* Line "name:password:gid:members" of group(5): its name, cut off, and id. */
static bool group_parse(char *line, const char **ret_name, uint32_t *ret_gid)
{
        char *fields[3] = {line}, *end;

        for (int i = 1; i < 3; i++) {
                fields[i] = strchr(fields[i - 1], ':');
                if (!fields[i])
                        return false;
                *fields[i]++ = '\0';
        }
        *ret_name = line;
        *ret_gid = (uint32_t)strtoul(fields[2], &end, 10);
        return end != fields[2] && (*end == ':' || *end == '\0');
}

static int mighty_groups_read(struct audit *a, struct mighty_group_list *ret)
{
        struct answer table;
        char *rest, *line;
        int r = observe(a->observer, &table, "read /etc/group");

        for (rest = r == 0 ? table.bytes : NULL; (line = text_next_line(&rest));) {
                char *raw = arena_text(a->arena, line);
                const char *name;
                uint32_t gid;

                if (!group_parse(line, &name, &gid))
                        continue;
                for (size_t i = 0; i < ARRAY_LEN(mighty_groups); i++)
                        if (strcmp(name, mighty_groups[i].name) == 0)
                                *GROW(a->arena, ret) = (struct mighty_group){name, mighty_groups[i].verdict, gid, raw};
        }
        return r;
}

static bool in_group(const struct thread *t, uint32_t gid)
{
        for (int i = 0; i < 4; i++)
                if (t->gid[i] == gid)
                        return true;
        for (size_t i = 0; i < t->groups.count; i++)
                if (t->groups.items[i] == gid)
                        return true;
        return false;
}

/* The first thread of a guest that is in a group, or NULL. */
static const struct thread *thread_in_group(const struct guest *g, uint32_t gid)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++)
                        if (in_group(&l->items[k], gid))
                                return &l->items[k];
        }
        return NULL;
}

static void groups_guest(struct audit *a, struct guest *g, const struct mighty_group_list *mighty)
{
        struct group_sight s = {.verdict = VERDICT_PASS,
                                .names = arena_text(a->arena, ""),
                                .lines = arena_text(a->arena, "")};
        const struct process *unread = unread_process(g);
        struct finding *f;

        for (size_t i = 0; i < mighty->count; i++) {
                const struct mighty_group *m = &mighty->items[i];
                const struct thread *t = thread_in_group(g, m->gid);

                if (!t)
                        continue;
                s.names = arena_printf(a->arena, "%s%s%s", s.names, *s.names ? ", " : "", m->name);
                s.lines = arena_printf(a->arena, "%s%s\n", s.lines, m->line);
                if (m->verdict > s.verdict) {
                        s.verdict = m->verdict;
                        s.thread = t;
                }
        }
        if (unread && s.verdict != VERDICT_FAIL) {
                unread_report(a, g, unread);
                return;
        }
        if (s.verdict == VERDICT_PASS)
                f = finding_add(a, s.verdict, g,
                                "No process of %s is in a group that commands the host or its devices.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, s.verdict, g,
                                "A process of %s is in groups that command the host or its devices: %s.",
                                GUEST_MARK(a, g), s.names);
        if (!s.thread && g->vmm->threads.count > 0)
                s.thread = &g->vmm->threads.items[0];
        if (s.thread)
                ids_show(a, f, g, s.thread);
        if (*s.lines)
                finding_show(a, f, EVIDENCE_OPERATOR, "read /etc/group", s.lines, strlen(s.lines));
}

void privileges_groups_host(struct audit *a)
{
        struct mighty_group_list mighty = {0};
        const char *question = "read /proc/self/uid_map";
        int r = privileges_ids_hosts(a);

        if (r == 0) {
                question = "read /etc/group";
                r = mighty_groups_read(a, &mighty);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (r < 0)
                        finding_unknown(a, a->inv.guests.items[i], r, question);
                else
                        groups_guest(a, a->inv.guests.items[i], &mighty);
}
