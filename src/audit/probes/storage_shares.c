/* Directories of the host that guests see: virtio-fs and 9p. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit/model/access.h"
#include "audit/model/sockets.h"
#include "audit/probes/storage.h"
#include "audit/text.h"

struct share {
        struct guest *guest;
        const struct process *server; /* who opens files for the guest */
        bool backend;                 /* a process of its own, which should be in a sandbox */
        char *path;
        struct path_walk walk;
};

struct share_list {
        struct share *items;
        size_t count, room;
};

struct shares {
        struct audit *a;
        struct share_list all;
        struct pair_key_list leaves; /* dev and inode of each shared directory; extra: index in all */
};

/* "--name VALUE", "--name=VALUE", or the value of key in a list of them ("source=/srv" for "-o"). */
static const char *argument_value(const struct process *p, size_t i, const char *name)
{
        size_t n = strlen(name);

        assert(i < p->argc);
        if (strcmp(p->argv[i], name) == 0)
                return i + 1 < p->argc ? p->argv[i + 1] : NULL;
        return strncmp(p->argv[i], name, n) == 0 && p->argv[i][n] == '=' ? p->argv[i] + n + 1 : NULL;
}

static char *list_value(struct arena *a, const char *list, const char *key)
{
        size_t n = strlen(key);

        for (; *list; list += strcspn(list, ","), list += *list == ',')
                if (strncmp(list, key, n) == 0 && list[n] == '=')
                        return arena_copy(a, list + n + 1, strcspn(list + n + 1, ","));
        return NULL;
}

static void share_add(struct shares *s, struct guest *g, const struct process *server, bool backend, char *path)
{
        struct share share = {.guest = g, .server = server, .backend = backend, .path = path};

        path_walk(s->a->observer, "", path, &share.walk);
        if (path[0] != '/')
                share.walk.error = -EINVAL; /* relative to a directory that nothing shows */
        *GROW(s->a->arena, &s->all) = share;
}

static bool is_virtiofsd(const struct process *p)
{
        return text_has_prefix(p->comm, "virtiofsd");
}

/* The directory that an argument of a server or a monitor shares, or NULL. */
static char *shared_by(struct arena *a, const struct process *p, size_t i)
{
        const char *v;

        if (is_virtiofsd(p)) {
                v = argument_value(p, i, "--shared-dir");
                if (v)
                        return arena_text(a, v);
                v = argument_value(p, i, "-o");
                return v ? list_value(a, v, "source") : NULL;
        }
        for (int k = 0; k < 2; k++) {
                v = argument_value(p, i, k ? "-virtfs" : "-fsdev");
                if (v && text_has_prefix(v, "local"))
                        return list_value(a, v, "path");
        }
        v = argument_value(p, i, "--9p"); /* kvmtool: DIRECTORY,TAG */
        if (v)
                return arena_copy(a, v, strcspn(v, ","));
        v = argument_value(p, i, "--shared-dir"); /* crosvm: DIRECTORY:TAG... */
        return v ? arena_copy(a, v, strcspn(v, ":")) : NULL;
}

static void process_shares(struct shares *s, struct guest *g, const struct process *p)
{
        for (size_t i = 1; i < p->argc; i++) {
                char *path = shared_by(s->a->arena, p, i);

                if (path)
                        share_add(s, g, p, is_virtiofsd(p), path);
        }
}

/* Servers that are no members are their guests' by the socket between them. */
static void servers_find(struct shares *s)
{
        struct inventory *inv = &s->a->inv;
        struct unix_sockets sockets = {0};
        bool asked = false;

        for (size_t i = 0; i < inv->processes.count; i++) {
                struct process *p = inv->processes.items[i];
                struct guest *g = NULL;

                if (p->guest || !is_virtiofsd(p))
                        continue;
                if (!asked)
                        unix_sockets_read(s->a->observer, &s->a->host, inv, &sockets);
                asked = true;
                for (size_t k = 0; k < p->fds.count && !g; k++) {
                        const struct unix_socket *own =
                                p->fds.items[k].kind == FD_SOCKET
                                        ? unix_socket_find(&sockets, p->fds.items[k].socket_inode)
                                        : NULL;

                        for (size_t n = 0; own && own->peer && n < inv->guests.count && !g; n++)
                                for (size_t f = 0; f < inv->guests.items[n]->vmm->fds.count; f++)
                                        if (inv->guests.items[n]->vmm->fds.items[f].socket_inode == own->peer)
                                                g = inv->guests.items[n];
                }
                if (g && process_read_full(s->a->observer, p) == 0)
                        process_shares(s, g, p);
        }
}

static bool without_sandbox(const struct audit *a, const struct process *p)
{
        for (size_t i = 1; i < p->argc; i++) {
                const char *v = argument_value(p, i, "--sandbox");

                if (v && strcmp(v, "none") == 0)
                        return true;
        }
        return p->root_error == 0 && a->host.root_error == 0 && p->root_stat.dev == a->host.root.dev &&
               p->root_stat.ino == a->host.root.ino;
}

/* A directory of another guest's on the way: it contains what the walk ends at, or is it. */
static const struct guest *other_on_the_way(const struct shares *s, const struct path_walk *w, const struct guest *g)
{
        for (size_t i = 0; i < w->steps.count; i++) {
                uint64_t dev = w->steps.items[i].st.dev, ino = w->steps.items[i].st.ino;
                size_t low = 0, high = s->leaves.count;

                while (low < high) {
                        size_t middle = low + (high - low) / 2;
                        const uint64_t *v = s->leaves.items[middle].value;

                        if (v[0] < dev || (v[0] == dev && v[1] < ino))
                                low = middle + 1;
                        else
                                high = middle;
                }
                for (; low < s->leaves.count && s->leaves.items[low].value[0] == dev &&
                       s->leaves.items[low].value[1] == ino;
                     low++)
                        if (s->leaves.items[low].guest != g->index)
                                return s->a->inv.guests.items[s->leaves.items[low].guest];
        }
        return NULL;
}

struct outcome {
        enum verdict v;
        const char *why;
        const struct guest *other;
};

static void worse(struct outcome *o, enum verdict v, const char *why, const struct guest *other)
{
        if (v <= o->v)
                return;
        *o = (struct outcome){v, why, other};
}

/* Images of g that lie in a directory which another guest sees: that other guest's directory is at fault. */
static const struct guest *image_exposed(struct shares *s, struct guest *g)
{
        struct image_list images = {0};

        images_read(s->a, g, &images);
        for (size_t i = 0; i < images.count; i++) {
                struct path_walk w;
                const struct guest *other;

                if (images.items[i].path[0] != '/' || images.items[i].process->ns[NS_MNT] != s->a->host.ns[NS_MNT])
                        continue;
                path_walk(s->a->observer, "", images.items[i].path, &w);
                other = w.error == 0 ? other_on_the_way(s, &w, g) : NULL;
                if (other)
                        return other;
        }
        return NULL;
}

static void guest_judge(struct shares *s, struct guest *g, struct outcome *exposes)
{
        struct audit *a = s->a;
        struct outcome o = exposes[g->index];
        struct finding evidence = {0}, *f;
        size_t n = 0;

        for (size_t i = 0; i < s->all.count; i++) {
                struct share *share = &s->all.items[i];
                const struct path_step *leaf;

                if (share->guest != g)
                        continue;
                if (n++ < 4)
                        finding_showf(a, &evidence, GUEST_OWNER(g),
                                      arena_printf(a->arena, "read /proc/%d/cmdline", share->server->pid), "shares %s",
                                      share->path);
                if (share->walk.error < 0) {
                        finding_unknown(a, g, share->walk.error,
                                        share->walk.question ? share->walk.question : "a relative path");
                        return;
                }
                leaf = &share->walk.steps.items[share->walk.steps.count - 1];
                if (leaf->st.dev == a->host.root.dev && leaf->st.ino == a->host.root.ino)
                        worse(&o, VERDICT_FAIL, "sees the host's whole tree of files", NULL);
                if (share->backend && without_sandbox(a, share->server))
                        worse(&o, VERDICT_FAIL, "has a server of files outside of any sandbox", NULL);
        }
        if (n == 0) {
                f = finding_add(a, VERDICT_NA, g, "%s sees no directory of the host's.", GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g),
                              "virtio-fs and 9p on its processes' command lines, and servers connected to it", "0");
                return;
        }
        f = o.v == VERDICT_FAIL
                    ? finding_add(a, VERDICT_FAIL, g, "%s %s.", GUEST_MARK(a, g), o.why)
                    : finding_add(a, VERDICT_PASS, g,
                                  "Each directory of the host's that %s sees is its own, from inside a sandbox.",
                                  GUEST_MARK(a, g));
        if (o.other)
                finding_concern(a, f, o.other);
        f->evidence = evidence.evidence;
}

void storage_sharefs_host(struct audit *a)
{
        size_t n = a->inv.guests.count;
        struct shares s = {.a = a};
        struct outcome *exposes = arena_array(a->arena, n, sizeof(*exposes));

        for (size_t i = 0; i < n; i++)
                for (size_t m = 0; m < a->inv.guests.items[i]->members.count; m++)
                        process_shares(&s, a->inv.guests.items[i], a->inv.guests.items[i]->members.items[m].process);
        servers_find(&s);
        for (size_t i = 0; i < s.all.count; i++)
                if (s.all.items[i].walk.error == 0) {
                        const struct observed_stat *st =
                                &s.all.items[i].walk.steps.items[s.all.items[i].walk.steps.count - 1].st;

                        *GROW(a->arena, &s.leaves) = (struct pair_key){.value = {st->dev, st->ino},
                                                                       .guest = s.all.items[i].guest->index,
                                                                       .extra = i};
                }
        pair_keys_sort(&s.leaves);
        for (size_t i = 0; i < s.all.count; i++) {
                struct guest *g = s.all.items[i].guest;
                const struct guest *other =
                        s.all.items[i].walk.error == 0 ? other_on_the_way(&s, &s.all.items[i].walk, g) : NULL;

                if (!other)
                        continue;
                worse(&exposes[g->index], VERDICT_FAIL, "sees a directory that another guest sees, too", other);
                worse(&exposes[other->index], VERDICT_FAIL,
                      "sees a directory in which another guest's lies, or the same", g);
        }
        for (size_t i = 0; i < n; i++) {
                const struct guest *other = s.leaves.count ? image_exposed(&s, a->inv.guests.items[i]) : NULL;

                if (other)
                        worse(&exposes[other->index], VERDICT_FAIL,
                              "sees the directory in which another guest's image lies", a->inv.guests.items[i]);
        }
        for (size_t i = 0; i < n; i++)
                guest_judge(&s, a->inv.guests.items[i], exposes);
}
