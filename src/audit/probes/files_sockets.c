/* Sockets with a name, by which a guest is managed: whoever can connect to one rules the guest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/model/sockets.h"
#include "audit/probes/files.h"
#include "audit/probes/reach.h"
#include "audit/text.h"

#define SHOWN_MAX 4 /* sockets in the evidence of one finding */

struct ctlsock {
        struct audit *a;
        struct reach reach;
        struct unix_sockets sockets;
        struct pair_key_list netns; /* of guests, sorted */
};

/* What became of one guest. */
struct outcome {
        struct guest *g;
        enum verdict worst;
        const struct guest *other; /* who can connect; NULL with FAIL: everybody */
        size_t named, shown;
        struct finding *f; /* evidence is collected here before the verdict is known */
        int error;
        const char *question;
};

static void show(struct ctlsock *c, struct outcome *o, const struct unix_socket *s, const char *rest)
{
        if (o->shown++ < SHOWN_MAX)
                finding_showf(c->a, o->f, GUEST_OWNER(o->g), "sock_diag(7): inode type state peer uid file name",
                              "%s\n%s", s->line, rest);
}

static void judge(struct outcome *o, enum verdict v, const struct guest *other)
{
        if (v <= o->worst)
                return;
        o->worst = v;
        o->other = other;
}

/* Names in the abstract namespace have no permissions: whoever is in the network namespace can connect. */
static void judge_abstract(struct ctlsock *c, struct outcome *o, const struct unix_socket *s)
{
        const struct pair_key_list *keys = &c->netns;

        if (s->netns == c->a->host.ns[NS_NET]) {
                show(c, o, s, "abstract name in the host's network namespace");
                judge(o, VERDICT_FAIL, NULL);
                return;
        }
        for (size_t i = 0; i < keys->count; i++)
                if (keys->items[i].value[0] == s->netns && keys->items[i].guest != o->g->index) {
                        show(c, o, s, "abstract name in a network namespace that another guest is in");
                        judge(o, VERDICT_FAIL, c->a->inv.guests.items[keys->items[i].guest]);
                        return;
                }
        show(c, o, s, "abstract name in a network namespace without another guest");
}

static bool mounts_shared_with_another(const struct audit *a, const struct guest *g, const struct process *p)
{
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (i != g->index && a->inv.guests.items[i]->vmm->ns[NS_MNT] == p->ns[NS_MNT])
                        return true;
        return false;
}

static void judge_path(struct ctlsock *c, struct outcome *o, const struct process *p, const struct unix_socket *s)
{
        struct audit *a = c->a;
        struct path_walk w;
        struct answer cwd;
        char *name = s->name, *path;
        const struct path_step *leaf;
        const struct guest *other;

        if (name[0] != '/') {
                if (observe(a->observer, &cwd, "link /proc/%d/cwd", p->pid) < 0) {
                        o->error = cwd.error;
                        o->question = arena_printf(a->arena, "link /proc/%d/cwd", p->pid);
                        return;
                }
                name = arena_printf(a->arena, "%s/%s", cwd.bytes, name);
        }
        path = reach_host_path(a, &c->reach, p, name);
        if (!path && !mounts_shared_with_another(a, o->g, p)) {
                show(c, o, s, "a path of its own mount namespace only");
                return;
        }
        path_walk(a->observer, path ? "" : arena_printf(a->arena, "/proc/%d/root", p->pid), path ? path : name, &w);
        if (w.error == -ENOENT || w.error == -ENOTDIR) {
                show(c, o, s, "the name leads nowhere any more");
                return;
        }
        if (w.error < 0) {
                o->error = w.error;
                o->question = w.question;
                return;
        }
        leaf = &w.steps.items[w.steps.count - 1];
        if (s->has_file && (!S_ISSOCK(leaf->st.mode) || (uint32_t)leaf->st.ino != s->ino)) {
                show(c, o, s, "the name leads to another file now");
                return;
        }
        show(c, o, s, reach_show(a, &w));
        if (reach_everybody(&w, ACCESS_WRITE)) {
                judge(o, VERDICT_FAIL, NULL);
                return;
        }
        other = reach_other(a, &c->reach, &w, o->g, ACCESS_WRITE);
        if (other)
                judge(o, reach_kept_away(a, o->g, other) ? VERDICT_WARN : VERDICT_FAIL, other);
}

/* Five hexadecimal digits that the kernel chose (unix(7), autobind): an address to answer to. */
static bool is_autobound(const struct unix_socket *s)
{
        return s->abstract && s->datagram && strlen(s->name) == 5 && strspn(s->name, "0123456789abcdef") == 5;
}

static void process_judge(struct ctlsock *c, struct outcome *o, const struct process *p)
{
        if (p->fds_error < 0) {
                o->error = p->fds_error;
                o->question = arena_printf(c->a->arena, "list /proc/%d/fd", p->pid);
                return;
        }
        for (size_t i = 0; i < p->fds.count; i++) {
                const struct fd *fd = &p->fds.items[i];
                const struct unix_socket *s =
                        fd->kind == FD_SOCKET ? unix_socket_find(&c->sockets, fd->socket_inode) : NULL;

                if (!s && fd->kind == FD_SOCKET && c->sockets.error < 0) {
                        o->error = c->sockets.error;
                        o->question = c->sockets.question;
                }
                if (!s || !s->name || !(s->listens || s->datagram) || is_autobound(s))
                        continue;
                o->named++;
                if (s->abstract)
                        judge_abstract(c, o, s);
                else
                        judge_path(c, o, p, s);
        }
}

static void guest_judge(struct ctlsock *c, struct guest *g)
{
        struct audit *a = c->a;
        struct finding evidence = {0};
        struct outcome o = {.g = g, .worst = VERDICT_PASS, .f = &evidence};
        struct finding *f;

        for (size_t m = 0; m < g->members.count; m++)
                process_judge(c, &o, g->members.items[m].process);
        if (g->supervisor)
                process_judge(c, &o, g->supervisor);
        if (o.error == 0 && o.named > 0)
                o.error = reach_error(a, &c->reach, g, &o.question);
        if (o.error < 0 && o.worst < VERDICT_FAIL) {
                finding_unknown(a, g, o.error, o.question);
                return;
        }
        if (o.worst == VERDICT_PASS)
                f = finding_add(a, VERDICT_PASS, g,
                                o.named ? "No other guest and no local user can connect to a socket of %s."
                                        : "%s has no socket that could be connected to by name.",
                                GUEST_MARK(a, g));
        else if (!o.other)
                f = finding_add(a, o.worst, g, "Every local user can connect to a socket of %s.", GUEST_MARK(a, g));
        else {
                f = finding_add(a, o.worst, g, "The ids or capabilities of %s let it connect to a socket of %s%s.",
                                GUEST_MARK(a, o.other), GUEST_MARK(a, g),
                                o.worst == VERDICT_WARN
                                        ? ", which only its view of the file system or its label prevents"
                                        : "");
                finding_concern(a, f, o.other);
        }
        f->evidence = evidence.evidence;
        finding_showf(a, f, GUEST_OWNER(g), "sockets of its processes, and of its supervisor, that have a name", "%zu",
                      o.named);
}

void ctlsock_host(struct audit *a)
{
        struct ctlsock c = {.a = a};

        if (a->inv.guests.count == 0)
                return;
        reach_init(a, &c.reach);
        unix_sockets_read(a->observer, &a->host, &a->inv, &c.sockets);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (size_t m = 0; m < a->inv.guests.items[i]->members.count; m++)
                        *GROW(a->arena, &c.netns) = (struct pair_key){
                                .value = {a->inv.guests.items[i]->members.items[m].process->ns[NS_NET]}, .guest = i};
        for (size_t i = 0; i < a->inv.guests.count; i++)
                guest_judge(&c, a->inv.guests.items[i]);
}
