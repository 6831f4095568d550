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

        if (observe(a->observer, &map, "read /proc/self/uid_map") < 0)
                return 0; /* a kernel without user namespaces */
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
        struct finding *f;

        if (privileges_ids_hosts(a) < 0) {
                finding_unknown(a, g, -EXDEV, "read /proc/self/uid_map");
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
        bool groups;    /* keys are group ids */
        bool *affected; /* [guest] */
};

static void user_key(struct audit *a, struct pair_key_list *keys, size_t first, const struct guest *g, uint32_t id)
{
        for (size_t i = first; i < keys->count; i++)
                if (keys->items[i].value[0] == id)
                        return;
        *GROW(a->arena, keys) = (struct pair_key){.value = {id}, .guest = g->index};
}

/* Every id that a thread of a guest has or can take: each once. */
static void user_keys(const struct users *u, const struct guest *g, struct pair_key_list *keys)
{
        size_t first = keys->count;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++)
                        for (int n = 0; n < 4; n++)
                                user_key(u->a, keys, first, g, u->groups ? l->items[k].gid[n] : l->items[k].uid[n]);
        }
}

static void user_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct users *u = ctx;
        struct audit *a = u->a;
        size_t *guests = arena_array(a->arena, count, sizeof(*guests));
        bool *near = arena_array(a->arena, count, sizeof(*near)), all_known = u->groups;
        struct finding *f;

        for (size_t i = 0; i < count; i++) {
                guests[i] = keys[i].guest;
                all_known = all_known && u->affected[keys[i].guest];
        }
        if (all_known) /* they share the user as well, which says it all */
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
        for (size_t i = 0; i < count; i++) {
                struct guest *g = a->inv.guests.items[guests[i]];

                *GROW(a->arena, &f->guests) = g->index; /* each comes once */
                u->affected[g->index] = true;
                ids_show(a, f, g, &g->vmm->threads.items[0]);
        }
}

void privileges_users_pairs(struct audit *a)
{
        struct users u = {.a = a, .affected = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};
        bool *unread = arena_array(a->arena, a->inv.guests.count, sizeof(bool));

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct process *p = unread_process(a->inv.guests.items[i]);

                if (!p)
                        continue;
                unread_report(a, a->inv.guests.items[i], p);
                unread[i] = true;
        }
        for (int groups = 0; groups < 2; groups++) {
                struct pair_key_list keys = {0};

                u.groups = groups == 1;
                for (size_t i = 0; i < a->inv.guests.count; i++)
                        if (!unread[i])
                                user_keys(&u, a->inv.guests.items[i], &keys);
                pair_keys_sort(&keys);
                pair_keys_shared(&keys, user_shared, &u);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (u.affected[i] || unread[i])
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

struct group_sight {
        enum verdict verdict;
        char *names;                 /* of the mighty groups found */
        char *lines;                 /* of /etc/group that say so */
        size_t groups;               /* of the guest's threads, each once */
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

static void group_judge(struct audit *a, const struct thread *t, uint32_t gid, const char *table, struct group_sight *s)
{
        char *rest = arena_text(a->arena, table), *line;

        while ((line = text_next_line(&rest))) {
                char *raw = arena_text(a->arena, line);
                const char *name;
                uint32_t id;

                if (!group_parse(line, &name, &id) || id != gid)
                        continue;
                for (size_t i = 0; i < ARRAY_LEN(mighty_groups); i++) {
                        if (strcmp(name, mighty_groups[i].name) != 0)
                                continue;
                        s->names = arena_printf(a->arena, "%s%s%s", s->names, *s->names ? ", " : "", name);
                        s->lines = arena_printf(a->arena, "%s%s\n", s->lines, raw);
                        if (mighty_groups[i].verdict > s->verdict || !s->thread)
                                s->thread = t;
                        s->verdict = verdict_worse(s->verdict, mighty_groups[i].verdict);
                }
        }
}

static bool id_add(struct audit *a, struct id_list *l, uint32_t id)
{
        for (size_t i = 0; i < l->count; i++)
                if (l->items[i] == id)
                        return false;
        *GROW(a->arena, l) = id;
        return true;
}

static void thread_groups(struct audit *a, const struct thread *t, const char *table, struct id_list *seen,
                          struct group_sight *s)
{
        for (int i = 0; i < 4; i++)
                if (id_add(a, seen, t->gid[i]))
                        group_judge(a, t, t->gid[i], table, s);
        for (size_t i = 0; i < t->groups.count; i++)
                if (id_add(a, seen, t->groups.items[i]))
                        group_judge(a, t, t->groups.items[i], table, s);
}

void privileges_groups_guest(struct audit *a, struct guest *g)
{
        struct group_sight s = {.names = arena_text(a->arena, ""), .lines = arena_text(a->arena, "")};
        const struct process *unread = unread_process(g);
        struct id_list seen = {0};
        struct answer table;
        struct finding *f;
        int r = privileges_ids_hosts(a);

        s.verdict = VERDICT_PASS;
        if (r == 0)
                r = observe(a->observer, &table, "read /etc/group");
        if (r < 0) {
                finding_unknown(a, g, r, r == -EXDEV ? "read /proc/self/uid_map" : "read /etc/group");
                return;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++)
                        thread_groups(a, &l->items[k], table.bytes, &seen, &s);
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
