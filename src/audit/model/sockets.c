#include "audit/model/sockets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

static int by_inode(const void *a, const void *b)
{
        uint64_t x = ((const struct unix_socket *)a)->inode, y = ((const struct unix_socket *)b)->inode;

        return (x > y) - (x < y);
}

static bool socket_parse(struct arena *a, char *line, uint64_t netns, struct unix_socket *ret)
{
        struct unix_socket s = {.netns = netns, .line = arena_text(a, line)};
        char type[12], state[12], file[48];
        unsigned int dev[2];
        size_t len;
        int name = 0;

        if (sscanf(line, "%" SCNu64 " %11s %11s %" SCNu64 " %" SCNu32 " %47s%n", &s.inode, type, state, &s.peer, &s.uid,
                   file, &name) != 6 ||
            line[name] != ' ')
                return false;
        s.listens = strcmp(state, "listen") == 0;
        s.datagram = strcmp(type, "dgram") == 0 && strcmp(state, "closed") == 0;
        s.has_file = sscanf(file, "%u:%u:%" SCNu64, &dev[0], &dev[1], &s.ino) == 3;
        if (s.has_file)
                s.dev = OBSERVED_DEV(dev[0], dev[1]);
        line += name + 1;
        if (strcmp(line, "-") != 0) {
                s.abstract = *line == '@';
                s.name = text_unescape(a, line + s.abstract, strlen(line + s.abstract), &len);
        }
        *ret = s;
        return true;
}

struct asked_list {
        uint64_t *items;
        size_t count, room;
};

/* Those of others are not needed: most guests' sockets were made by their supervisor, in the host's namespace. */
static bool holds_unknown_socket(const struct process *p, const struct unix_sockets *s)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == FD_SOCKET && !unix_socket_find(s, p->fds.items[i].socket_inode))
                        return true;
        return false;
}

static void namespace_read(struct observer *o, uint64_t netns, pid_t pid, struct asked_list *asked,
                           struct unix_sockets *s)
{
        struct unix_socket one;
        struct answer a;
        char *rest, *line, who[16] = "self";
        int r;

        for (size_t i = 0; i < asked->count; i++)
                if (asked->items[i] == netns)
                        return;
        *GROW(o->arena, asked) = netns;
        if (pid)
                snprintf(who, sizeof(who), "%d", pid);
        r = observe(o, &a, "unix-sockets %s", who);
        if (r < 0 && r != -ESRCH) {
                s->error = r;
                s->question = arena_printf(o->arena, "unix-sockets %s", who);
        }
        for (rest = r == 0 ? a.bytes : NULL; (line = text_next_line(&rest));)
                if (socket_parse(o->arena, line, netns, &one))
                        *GROW(o->arena, &s->all) = one;
}

void unix_sockets_read(struct observer *o, const struct host *h, const struct inventory *inv, struct unix_sockets *ret)
{
        struct unix_sockets s = {0}, first;
        struct asked_list asked = {0};

        namespace_read(o, h->ns[NS_NET], h->ns_of_init ? 1 : 0, &asked, &s);
        if (s.all.count > 0)
                qsort(s.all.items, s.all.count, sizeof(s.all.items[0]), by_inode);
        first = s;
        for (size_t i = 0; i < inv->guests.count; i++) {
                const struct guest *g = inv->guests.items[i];

                for (size_t m = 0; m < g->members.count; m++) {
                        const struct process *p = g->members.items[m].process;

                        if (p->ns_error[NS_NET] == 0 && holds_unknown_socket(p, &first))
                                namespace_read(o, p->ns[NS_NET], p->pid, &asked, &s);
                }
                if (g->supervisor && g->supervisor->ns_error[NS_NET] == 0 &&
                    holds_unknown_socket(g->supervisor, &first))
                        namespace_read(o, g->supervisor->ns[NS_NET], g->supervisor->pid, &asked, &s);
        }
        if (s.all.count > 0)
                qsort(s.all.items, s.all.count, sizeof(s.all.items[0]), by_inode);
        *ret = s;
}

const struct unix_socket *unix_socket_find(const struct unix_sockets *s, uint64_t inode)
{
        const struct unix_socket key = {.inode = inode};

        return s->all.count ? bsearch(&key, s->all.items, s->all.count, sizeof(key), by_inode) : NULL;
}

static bool holds_socket(const struct process *p, uint64_t inode)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == FD_SOCKET && p->fds.items[i].socket_inode == inode)
                        return true;
        return false;
}

static bool is_connected_to(const struct unix_sockets *s, const struct process *p, const struct process *other)
{
        for (size_t i = 0; i < p->fds.count; i++) {
                const struct fd *fd = &p->fds.items[i];
                const struct unix_socket *own = fd->kind == FD_SOCKET ? unix_socket_find(s, fd->socket_inode) : NULL;

                if (own && own->peer && holds_socket(other, own->peer))
                        return true;
        }
        return false;
}

bool unix_sockets_connect(const struct unix_sockets *s, const struct process *p, const struct process *q)
{
        return is_connected_to(s, p, q) || is_connected_to(s, q, p);
}
