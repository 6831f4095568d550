#include "audit/model/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/text.h"
#include "base/number.h"

/* ---- namespaces and their links ---- */

char *net_word_take(char **rest)
{
        char *word = *rest;
        size_t n = strcspn(word, " ");

        *rest = word + n + (word[n] == ' ');
        word[n] = '\0';
        return word;
}

char *net_link_word(struct audit *a, const struct net_link *l, const char *word)
{
        size_t n = strlen(word);

        for (const char *p = l->words; *p; p += strcspn(p, " "), p += *p == ' ')
                if (strncmp(p, word, n) == 0 && p[n] == '=')
                        return arena_copy(a->arena, p + n + 1, strcspn(p + n + 1, " "));
        return NULL;
}

static uint32_t number_word(struct audit *a, const struct net_link *l, const char *word)
{
        char *value = net_link_word(a, l, word);

        return value ? (uint32_t)strtoul(value, NULL, 10) : 0;
}

static bool link_parse(struct audit *a, char *line, struct net_link *ret)
{
        struct net_link l = {.line = arena_text(a->arena, line)};
        size_t len;
        char *name;

        l.index = (uint32_t)strtoul(net_word_take(&line), NULL, 10);
        name = net_word_take(&line);
        l.name = text_unescape(a->arena, name, strlen(name), &len);
        l.kind = net_word_take(&line);
        l.words = line;
        if (l.index == 0 || !l.name || !*l.kind)
                return false;
        l.master = number_word(a, &l, "master");
        l.below = number_word(a, &l, "link");
        l.below_elsewhere = net_link_word(a, &l, "linkns");
        l.port = net_link_word(a, &l, "isolated");
        l.isolated = number_word(a, &l, "isolated");
        l.filtered = number_word(a, &l, "xdp");
        *ret = l;
        return true;
}

static int by_index(const void *x, const void *y)
{
        uint32_t a = ((const struct net_link *)x)->index, b = ((const struct net_link *)y)->index;

        return (a > b) - (a < b);
}

static int by_name(const void *x, const void *y)
{
        return strcmp((*(struct net_link *const *)x)->name, (*(struct net_link *const *)y)->name);
}

struct net_link *net_link_by_index(const struct net_space *s, uint32_t index)
{
        const struct net_link key = {.index = index};

        return s->links.count ? bsearch(&key, s->links.items, s->links.count, sizeof(key), by_index) : NULL;
}

struct net_link *net_link_by_name(const struct net_space *s, const char *name)
{
        struct net_link key = {.name = (char *)(uintptr_t)name}, *want = &key, **found;

        found = s->links.count ? bsearch(&want, s->by_name, s->links.count, sizeof(want), by_name) : NULL;
        return found ? *found : NULL;
}

struct net_link *net_link_master(const struct net_space *s, const struct net_link *l)
{
        return l->master ? net_link_by_index(s, l->master) : NULL;
}

static void ingress_read(struct audit *a, struct net_space *s)
{
        struct answer answer;
        char *rest, *line;

        if (observe(a->observer, &answer, "ingress %s", s->subject) < 0) { /* they may be */
                for (size_t i = 0; i < s->links.count; i++)
                        s->links.items[i].filtered = true;
                return;
        }
        for (rest = answer.bytes; (line = text_next_line(&rest));) {
                struct net_link *l = net_link_by_index(s, (uint32_t)strtoul(line, NULL, 10));

                if (l)
                        l->filtered = true;
        }
}

static void links_read(struct audit *a, struct net_space *s)
{
        struct answer answer;
        char *rest, *line;

        s->error = observe(a->observer, &answer, "links %s", s->subject);
        for (rest = s->error < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));) {
                struct net_link l;

                if (!text_has_prefix(line, "vf ") && link_parse(a, line, &l))
                        *GROW(a->arena, &s->links) = l;
        }
        if (s->links.count > 0)
                qsort(s->links.items, s->links.count, sizeof(s->links.items[0]), by_index);
        s->by_name = arena_array(a->arena, s->links.count, sizeof(s->by_name[0]));
        for (size_t i = 0; i < s->links.count; i++)
                s->by_name[i] = &s->links.items[i];
        if (s->links.count > 0) {
                qsort(s->by_name, s->links.count, sizeof(s->by_name[0]), by_name);
                ingress_read(a, s);
        }
}

struct net_space *net_space_get(struct audit *a, struct network *net, uint64_t inode, pid_t pid)
{
        struct net_space *s;
        struct observed_stat own;
        bool is_own;

        for (size_t i = 0; i < net->spaces.count; i++)
                if (net->spaces.items[i]->inode == inode)
                        return net->spaces.items[i];
        is_own = observe_stat(a->observer, "/proc/self/ns/net", &own) == 0 && own.ino == inode;
        s = arena_alloc(a->arena, sizeof(*s));
        s->inode = inode;
        s->is_host = inode == a->host.ns[NS_NET];
        s->subject = is_own ? arena_text(a->arena, "self") : arena_printf(a->arena, "%d", (int)pid);
        links_read(a, s);
        s->base = net->links;
        net->links += s->links.count;
        *GROW(a->arena, &net->spaces) = s;
        return s;
}

/* ---- the interfaces of guests ---- */

static struct net_link *nic_link(const struct net_space *s, const struct nic *n)
{
        struct net_link *l;
        uint64_t index;

        if (!n->macvtap)
                return net_link_by_name(s, n->name);
        if (number_parse(n->name, UINT32_MAX, &index) < 0)
                return NULL;
        l = net_link_by_index(s, (uint32_t)index);
        return l && (strcmp(l->kind, "macvtap") == 0 || strcmp(l->kind, "ipvtap") == 0) ? l : NULL;
}

static bool nic_look(struct audit *a, struct nic *n, struct net_space *s)
{
        n->question = arena_printf(a->arena, "links %s", s->subject);
        n->error = s->error < 0 ? s->error : -ENODEV;
        n->link = s->error < 0 ? NULL : nic_link(s, n);
        if (!n->link)
                return false;
        n->space = s;
        n->error = 0;
        return true;
}

/* The namespace may be one that processes of another guest are in. */
static bool others_look(struct audit *a, struct network *net, struct nic *n, uint64_t inode)
{
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct member_list *members = &a->inv.guests.items[i]->members;

                for (size_t k = 0; k < members->count; k++) {
                        const struct process *p = members->items[k].process;

                        if (p->ns_error[NS_NET] == 0 && p->ns[NS_NET] == inode)
                                return nic_look(a, n, net_space_get(a, net, inode, p->pid));
                }
        }
        return false;
}

/* The kernel says which namespace; else the host's comes before the monitor's. */
static void nic_find(struct audit *a, struct network *net, struct nic *n)
{
        struct answer answer;
        const struct guest *g = n->guest;
        uint64_t inode = 0;
        int first_error = 0;

        if (!n->macvtap && observe(a->observer, &answer, "tun-netns %d %d", n->holder->pid, n->fd->number) == 0)
                inode = strtoull(answer.bytes, NULL, 10);
        n->question = arena_printf(a->arena, "tun-netns %d %d", n->holder->pid, n->fd->number);
        n->error = -ENODEV;
        if (inode == 0 || inode == a->host.ns[NS_NET]) {
                if (nic_look(a, n, net->spaces.items[0]))
                        return;
                first_error = n->error;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->ns_error[NS_NET] == 0 && (inode == 0 || inode == p->ns[NS_NET]) &&
                    nic_look(a, n, net_space_get(a, net, p->ns[NS_NET], p->pid)))
                        return;
        }
        if (inode != 0 && others_look(a, net, n, inode))
                return;
        /* A namespace that could not be read may be the one. */
        if (first_error < 0 && first_error != -ENODEV)
                n->error = first_error;
}

/* Each queue of an interface has a descriptor. */
static bool nic_known(const struct network *net, const struct nic *n)
{
        for (size_t i = net->first[n->guest->index]; i < net->nics.count; i++) {
                const struct nic *old = &net->nics.items[i];

                if (old->link ? old->link == n->link : !n->link && strcmp(old->name, n->name) == 0)
                        return true;
        }
        return false;
}

static void nics_of_process(struct audit *a, struct network *net, struct guest *g, const struct process *p)
{
        for (size_t i = 0; i < p->fds.count; i++) {
                const struct fd *fd = &p->fds.items[i];
                struct nic n = {.guest = g, .holder = p, .fd = fd};

                if (fd->kind == FD_TUN)
                        n.name = fd->fdinfo ? text_field(a->arena, fd->fdinfo, "iff:") : NULL;
                else if (fd->kind == FD_CHAR && text_has_prefix(fd->link, "/dev/tap")) {
                        n.macvtap = true;
                        n.name = fd->link + 8;
                }
                if (!n.name || !*n.name) /* a descriptor without an interface */
                        continue;
                nic_find(a, net, &n);
                if (!nic_known(net, &n))
                        *GROW(a->arena, &net->nics) = n;
        }
}

struct network *network(struct audit *a)
{
        struct network *net = a->network;

        if (net)
                return net;
        a->network = net = arena_alloc(a->arena, sizeof(*net));
        net_space_get(a, net, a->host.ns[NS_NET], 1);
        net->first = arena_array(a->arena, a->inv.guests.count + 1, sizeof(net->first[0]));
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];

                net->first[i] = net->nics.count;
                for (size_t k = 0; k < g->members.count; k++)
                        nics_of_process(a, net, g, g->members.items[k].process);
        }
        net->first[a->inv.guests.count] = net->nics.count;
        return net;
}

size_t nic_count(const struct network *net, const struct guest *g)
{
        return net->first[g->index + 1] - net->first[g->index];
}

struct net_link *nic_host_side(const struct nic *n)
{
        struct net_link *master = n->link ? net_link_master(n->space, n->link) : NULL;

        return master ? master : n->link;
}
