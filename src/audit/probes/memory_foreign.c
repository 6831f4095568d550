/* Processes that have a guest's RAM and are not its own, and those that have that of several. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/model/mac.h"
#include "audit/model/sockets.h"
#include "audit/probes/memory.h"
#include "audit/text.h"

#define SHOWN_MAX 8

/* A file or memory object that is RAM of a guest. */
struct ram_key {
        uint64_t dev, ino;
        size_t guest;
};

struct ram_key_list {
        struct ram_key *items;
        size_t count, room;
};

/* The names under which they are mapped: of memory without a file, descriptors have links that read like that. */
struct name_set {
        const char **items;
        size_t count, room;
};

/* A process that has RAM of a guest that it is not the monitor of. */
struct ram_user {
        const struct process *process;
        size_t guest;
        int fd; /* -1: mapped */
        const char *name;
};

struct ram_user_list {
        struct ram_user *items; /* by process, then guest: each pair once */
        size_t count, room;
};

struct foreign_view {
        struct audit *a;
        struct ram_key_list keys;
        struct name_set names;
        bool named; /* some RAM is a file with a name, which may have others */
        struct ram_user_list users;
        struct unix_sockets sockets;
        size_t unreadable;
        int error; /* of the first that is unreadable */
};

static int by_object(const void *x, const void *y)
{
        const struct ram_key *a = x, *b = y;

        if (a->dev != b->dev)
                return a->dev < b->dev ? -1 : 1;
        if (a->ino != b->ino)
                return a->ino < b->ino ? -1 : 1;
        return (a->guest > b->guest) - (a->guest < b->guest);
}

static int by_name(const void *x, const void *y)
{
        return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void ram_keys_read(struct foreign_view *v)
{
        struct audit *a = v->a;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct ram_list *ram = &a->inv.guests.items[i]->ram;

                for (size_t k = 0; k < ram->count; k++) {
                        const struct mapping *m = ram->items[k].mapping;

                        if (!m->ino)
                                continue;
                        *GROW(a->arena, &v->keys) = (struct ram_key){m->dev, m->ino, i};
                        *GROW(a->arena, &v->names) = m->name;
                        v->named = v->named || (m->name[0] == '/' && !text_has_prefix(m->name, "/memfd:"));
                }
        }
        if (v->keys.count == 0)
                return;
        qsort(v->keys.items, v->keys.count, sizeof(v->keys.items[0]), by_object);
        qsort(v->names.items, v->names.count, sizeof(v->names.items[0]), by_name);
}

/* The first key of that object, or NULL. */
static const struct ram_key *ram_key_find(const struct foreign_view *v, uint64_t dev, uint64_t ino)
{
        size_t low = 0, high = v->keys.count;
        const struct ram_key wanted = {.dev = dev, .ino = ino};

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (by_object(&v->keys.items[middle], &wanted) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < v->keys.count && v->keys.items[low].dev == dev && v->keys.items[low].ino == ino
                       ? &v->keys.items[low]
                       : NULL;
}

static void users_add(struct foreign_view *v, const struct process *p, uint64_t dev, uint64_t ino, int fd,
                      const char *name)
{
        const struct ram_key *key = ram_key_find(v, dev, ino), *end = v->keys.items + v->keys.count;
        bool monitor = p->guest && p->guest->vmm == p;

        for (; key && key < end && key->dev == dev && key->ino == ino; key++)
                if (!monitor || p->guest->index != key->guest)
                        *GROW(v->a->arena, &v->users) = (struct ram_user){p, key->guest, fd, name};
}

static void unreadable_add(struct foreign_view *v, const struct process *p, int error)
{
        if (error < 0 && error != -ESRCH && p->pid != 1 && v->unreadable++ == 0)
                v->error = error;
}

static void fd_look(struct foreign_view *v, const struct process *p, const struct fd *fd)
{
        struct observed_stat st = fd->st;
        const char *name = fd->link;
        int r;

        if (!(v->named && name[0] == '/') && !bsearch(&name, v->names.items, v->names.count, sizeof(name), by_name))
                return;
        r = fd->stat_error < 0
                    ? observe_stat(v->a->observer, arena_printf(v->a->arena, "/proc/%d/fd/%d", p->pid, fd->number), &st)
                    : 0;
        if (r == 0)
                users_add(v, p, st.dev, st.ino, fd->number, fd->link);
        else if (r != -ENOENT) /* closed meanwhile */
                unreadable_add(v, p, r);
}

static int by_user(const void *x, const void *y)
{
        const struct ram_user *a = x, *b = y;

        if (a->process->pid != b->process->pid)
                return a->process->pid < b->process->pid ? -1 : 1;
        return (a->guest > b->guest) - (a->guest < b->guest);
}

/* Process 1 is the host itself: that it keeps its secrets from this auditor hides no stranger. */
static void users_find(struct foreign_view *v)
{
        const struct process_list *all = &v->a->inv.processes;
        size_t kept = 0;

        for (size_t i = 0; i < all->count && v->keys.count > 0; i++) {
                const struct process *p = all->items[i];

                unreadable_add(v, p, p->maps_error < 0 ? p->maps_error : p->fds_error);
                for (size_t k = 0; k < p->maps.count; k++)
                        if (p->maps.items[k].ino)
                                users_add(v, p, p->maps.items[k].dev, p->maps.items[k].ino, -1, p->maps.items[k].name);
                for (size_t k = 0; k < p->fds.count; k++)
                        fd_look(v, p, &p->fds.items[k]);
        }
        if (v->users.count == 0)
                return;
        qsort(v->users.items, v->users.count, sizeof(v->users.items[0]), by_user);
        for (size_t i = 0; i < v->users.count; i++)
                if (kept == 0 || by_user(&v->users.items[kept - 1], &v->users.items[i]) != 0)
                        v->users.items[kept++] = v->users.items[i];
        v->users.count = kept;
        unix_sockets_read(v->a->observer, &v->a->host, &v->a->inv, &v->sockets);
}

static void foreign_read(struct audit *a, struct foreign_view *v)
{
        *v = (struct foreign_view){.a = a};
        ram_keys_read(v);
        users_find(v);
}

/* A child of the monitor, a process of its own jail, or one that a socket connects with it: the monitor gave it the
 * RAM. */
static bool is_declared(const struct foreign_view *v, const struct ram_user *u)
{
        const struct guest *g = v->a->inv.guests.items[u->guest];

        if (u->process->guest && u->process->guest->vmm == u->process)
                return false; /* another monitor */
        for (size_t i = 0; i < g->members.count; i++)
                if (g->members.items[i].process == u->process && g->members.items[i].role != MEMBER_BACKEND)
                        return true;
        return unix_sockets_connect(&v->sockets, u->process, g->vmm);
}

static char *user_question(struct audit *a, const struct ram_user *u)
{
        return u->fd < 0 ? arena_printf(a->arena, "read /proc/%d/maps", u->process->pid)
                         : arena_printf(a->arena, "link /proc/%d/fd/%d", u->process->pid, u->fd);
}

/* "2" when every thread has a filter, else the first that is otherwise: of a process that was read in brief, too. */
static const char *seccomp_of(struct audit *a, const struct process *p)
{
        struct name_list tids = {0};
        const char *mode = NULL;

        if (observe_list(a->observer, arena_printf(a->arena, "/proc/%d/task", p->pid), &tids) < 0)
                return NULL;
        for (size_t i = 0; i < tids.count; i++) {
                struct answer status;
                int r = observe(a->observer, &status, "read /proc/%d/task/%s/status", p->pid, tids.items[i]);
                const char *own = r < 0 ? NULL : text_field(a->arena, status.bytes, "Seccomp:");

                if (r == -ENOENT || r == -ESRCH)
                        continue; /* that thread has ended */
                if (!own || strcmp(own, "2") != 0)
                        return own;
                mode = own;
        }
        return mode;
}

/* Filtered, or confined by a label. *ret_text says how. */
static bool is_sandboxed(struct audit *a, const struct process *p, char **ret_text)
{
        char *label = mac_confining_label(a->observer, &a->host, p);
        const char *mode = seccomp_of(a, p);

        *ret_text = arena_printf(a->arena, "%s: Seccomp: %s, label: %s", SHOW(a, p->comm), mode ? mode : "not known",
                                 label ? SHOW(a, label) : "none that confines");
        return (mode && strcmp(mode, "2") == 0) || label;
}

/* A process of several guests is the operator's matter; one of this guest's alone is its tenant's, too. */
static int owner_of(const struct ram_user *u, const struct guest *g)
{
        return u->process->guest == g ? GUEST_OWNER(g) : EVIDENCE_OPERATOR;
}

#define EVERYBODY "maps and descriptors of every process but the first"

static const struct mapping *ram_object(const struct guest *g)
{
        for (size_t i = 0; i < g->ram.count; i++)
                if (g->ram.items[i].mapping->ino)
                        return g->ram.items[i].mapping;
        return NULL;
}

/* A guest about which nothing can be said has its finding after this. */
static bool is_unknown(struct foreign_view *v, struct guest *g)
{
        if (g->ram.count == 0)
                finding_unknown(v->a, g, g->vmm->maps_error < 0 ? g->vmm->maps_error : -ENODATA,
                                arena_printf(v->a->arena, "RAM in read /proc/%d/smaps", g->vmm->pid));
        else if (v->unreadable > 0 && ram_object(g))
                finding_unknown(v->a, g, v->error, EVERYBODY);
        else
                return false;
        return true;
}

static const char *ram_name(const struct guest *g)
{
        const struct mapping *m = ram_object(g);

        return m ? m->name : "anonymous memory";
}

static void foreign_judge(struct foreign_view *v, struct guest *g, const struct ram_user *const *users, size_t count)
{
        struct audit *a = v->a;
        size_t strangers = 0, open = 0;
        bool blind = v->unreadable > 0;
        struct finding *f;

        if (count == 0 && is_unknown(v, g))
                return;
        f = finding_add(a, VERDICT_PASS, g, "No process but those of %s has its RAM.", GUEST_MARK(a, g));
        for (size_t i = 0; i < count; i++) {
                char *sandbox;
                bool declared = is_declared(v, users[i]), closed = is_sandboxed(a, users[i]->process, &sandbox);

                strangers += !declared && v->sockets.error == 0;
                blind = blind || (!declared && v->sockets.error < 0);
                open += !closed;
                if (i < SHOWN_MAX) {
                        finding_showf(a, f, owner_of(users[i], g), user_question(a, users[i]), "%s",
                                      SHOW(a, users[i]->name));
                        finding_showf(a, f, owner_of(users[i], g),
                                      arena_printf(a->arena, "read /proc/%d/task/TID/status", users[i]->process->pid),
                                      "%s; %s", sandbox,
                                      declared ? "the monitor's own, or connected with it"
                                               : "not connected with the monitor");
                }
        }
        finding_showf(a, f, GUEST_OWNER(g), EVERYBODY, "RAM: %s; other processes that have it: %zu",
                      SHOW(a, ram_name(g)), count);
        if (strangers > 0) {
                f->verdict = f->unsoftened = VERDICT_FAIL;
                f->text = arena_printf(a->arena, "A process that has nothing to do with %s has its RAM.",
                                       GUEST_MARK(a, g));
        } else if (blind && count > 0) {
                f->verdict = f->unsoftened = VERDICT_UNKNOWN;
                f->needs = a->check->needs;
                f->text = arena_printf(a->arena,
                                       "Processes other than those of %s have its RAM, and not every process or "
                                       "socket could be looked at.",
                                       GUEST_MARK(a, g));
                finding_show_error(a, f, EVIDENCE_OPERATOR, v->unreadable ? EVERYBODY : v->sockets.question,
                                   v->unreadable ? v->error : v->sockets.error);
        } else if (open > 0) {
                f->verdict = f->unsoftened = VERDICT_WARN;
                f->text =
                        arena_printf(a->arena, "A device process of %s has its RAM, and nothing confines that process.",
                                     GUEST_MARK(a, g));
        } else if (count > 0)
                f->text =
                        arena_printf(a->arena, "Only confined device processes of %s have its RAM.", GUEST_MARK(a, g));
}

static int by_guest(const void *x, const void *y)
{
        const struct ram_user *a = *(const struct ram_user *const *)x, *b = *(const struct ram_user *const *)y;

        return (a->guest > b->guest) - (a->guest < b->guest);
}

void memory_foreign_host(struct audit *a)
{
        struct foreign_view v;
        const struct ram_user **users;
        size_t at = 0;

        foreign_read(a, &v);
        users = arena_array(a->arena, v.users.count, sizeof(*users));
        for (size_t i = 0; i < v.users.count; i++)
                users[i] = &v.users.items[i];
        qsort(users, v.users.count, sizeof(*users), by_guest);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                size_t first = at;

                while (at < v.users.count && users[at]->guest == i)
                        at++;
                foreign_judge(&v, a->inv.guests.items[i], users + first, at - first);
        }
}

/* ---- MEM-BACKEND ---- */

static void backend_report(struct foreign_view *v, const struct ram_user *users, size_t count, bool *concerned)
{
        struct audit *a = v->a;
        char *sandbox;
        bool closed = is_sandboxed(a, users[0].process, &sandbox);
        struct finding *f = finding_add(
                a, closed ? VERDICT_WARN : VERDICT_FAIL, NULL,
                closed ? "One process has the RAM of %zu guests: a mistake in it is enough to get from one into another."
                       : "One process, which nothing confines, has the RAM of %zu guests: a mistake in it is enough to get "
                         "from one into another, and into the host.",
                count);

        for (size_t i = 0; i < count; i++) {
                finding_concern(a, f, a->inv.guests.items[users[i].guest]);
                concerned[users[i].guest] = true;
                if (i < SHOWN_MAX)
                        finding_showf(a, f, EVIDENCE_OPERATOR, user_question(a, &users[i]), "%s",
                                      SHOW(a, users[i].name));
        }
        finding_showf(a, f, EVIDENCE_OPERATOR,
                      arena_printf(a->arena, "read /proc/%d/task/TID/status", users[0].process->pid), "%s", sandbox);
}

void memory_backend_pairs(struct audit *a)
{
        bool *concerned = arena_array(a->arena, a->inv.guests.count, sizeof(*concerned));
        struct foreign_view v;
        size_t end;

        foreign_read(a, &v);
        for (size_t i = 0; i < v.users.count; i = end) {
                const struct process *p = v.users.items[i].process;

                for (end = i + 1; end < v.users.count && v.users.items[end].process == p;)
                        end++;
                /* Two monitors with the same memory are another check's. */
                if (end - i > 1 && !(p->guest && p->guest->vmm == p))
                        backend_report(&v, &v.users.items[i], end - i, concerned);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (concerned[i] || is_unknown(&v, g))
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "No process that has RAM of %s has that of another guest.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), EVERYBODY, "RAM: %s", SHOW(a, ram_name(g)));
        }
}
