/* Every descriptor of a guest's processes: what it is, and whether another guest holds the same. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/model/images.h"
#include "audit/model/sockets.h"
#include "audit/probes/files.h"
#include "audit/text.h"

#define SHOWN_MAX 8 /* descriptors in the evidence of one finding */

struct held {
        const struct process *process;
        const struct fd *fd;
        size_t guest;
        bool image;
};

struct held_list {
        struct held *items;
        size_t count, room;
};

struct outcome {
        enum verdict worst;
        const struct guest *other;
        const char *why;
        size_t shown;
        struct finding f; /* evidence is collected here before the verdict is known */
        size_t kinds[FD_CHAR + 1];
};

struct fds {
        struct audit *a;
        struct held_list held;
        struct pair_key_list objects, sockets; /* extra: index in held */
        struct unix_sockets unix_sockets;
        struct image_list images;
        struct outcome *of; /* [guest] */
};

static const char *const kind_names[FD_CHAR + 1] = {
        [FD_OTHER] = "other",
        [FD_KVM] = "/dev/kvm",
        [FD_KVM_VM] = "virtual machine",
        [FD_KVM_VCPU] = "vCPU",
        [FD_KVM_STATS] = "KVM statistics",
        [FD_EVENTFD] = "eventfd",
        [FD_IO_URING] = "io_uring",
        [FD_ANON] = "anonymous",
        [FD_TUN] = "tap",
        [FD_VHOST] = "vhost",
        [FD_VFIO] = "VFIO",
        [FD_MEMFD] = "memfd",
        [FD_SOCKET] = "socket",
        [FD_PIPE] = "pipe",
        [FD_REGULAR] = "file",
        [FD_DIRECTORY] = "directory",
        [FD_BLOCK] = "block device",
        [FD_CHAR] = "character device",
};

static void report(struct fds *c, size_t guest, const struct held *h, enum verdict v, const struct guest *other,
                   const char *why)
{
        struct outcome *o = &c->of[guest];

        if (v > o->worst) {
                o->worst = v;
                o->other = other;
                o->why = why;
        }
        if (o->shown++ < SHOWN_MAX)
                finding_showf(c->a, &o->f, (int)guest,
                              arena_printf(c->a->arena, "link /proc/%d/fd/%d", h->process->pid, h->fd->number),
                              "%s (flags 0%llo): %s", h->fd->link, (unsigned long long)h->fd->flags, why);
}

static bool is_mapped(const struct process *p, const struct fd *fd)
{
        return process_find_mapping(p, fd->st.dev, fd->st.ino) ||
               (fd->st.dev == p->exe_stat.dev && fd->st.ino == p->exe_stat.ino);
}

/* Files that say themselves what they are for. */
static bool is_log_or_lock(const struct fd *fd)
{
        static const char *const ends[] = {".log", ".pid", ".lock", "/lock", ".pid (deleted)", ".lock (deleted)"};

        if (((fd->flags & O_APPEND) && (fd->flags & O_ACCMODE) != O_RDONLY) || fd->number == 1 || fd->number == 2)
                return true;
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
                if (text_has_suffix(fd->link, ends[i]))
                        return true;
        return false;
}

/* A descriptor of a namespace (ns(7): "net:[4026531840]") is a way into it for who has the capabilities. */
static const char *judge_namespace(const struct fds *c, const struct process *p, const struct fd *fd)
{
        for (int i = 0; i < NS_COUNT; i++)
                if (fd->st.ino == p->ns[i])
                        return NULL;
        for (int i = 0; i < NS_COUNT; i++)
                if (fd->st.ino == c->a->host.ns[i])
                        return "a namespace of the host";
        return "a namespace that is not its own";
}

static const char *judge_regular(const struct fds *c, const struct held *h)
{
        const struct fd *fd = h->fd;

        if (fd->stat_error < 0)
                return NULL;
        if (fd->link[0] != '/')
                return text_has_prefix(fd->link, "pidfd:") ? NULL : judge_namespace(c, h->process, fd);
        if (text_has_prefix(fd->link, "/proc/") || text_has_prefix(fd->link, "/sys/"))
                return (fd->flags & O_ACCMODE) == O_RDONLY ? NULL
                                                           : "a control file of the host's kernel, open for writing";
        if (h->image || is_mapped(h->process, fd) || is_log_or_lock(fd))
                return NULL;
        return "a file of unknown purpose";
}

/* A process that another descriptor controls: it can be signalled, and its descriptors taken. */
static void judge_pidfd(struct fds *c, const struct held *h)
{
        char *pid = h->fd->fdinfo ? text_field(c->a->arena, h->fd->fdinfo, "Pid:") : NULL;
        const struct process *p = pid ? inventory_process(&c->a->inv, (pid_t)strtol(pid, NULL, 10)) : NULL;

        if (p && p->guest && p->guest->index != h->guest)
                report(c, h->guest, h, VERDICT_FAIL, p->guest, "a process of another guest");
        else if (p && !p->guest)
                report(c, h->guest, h, VERDICT_WARN, NULL, "a process of the host");
}

static bool is_image(const struct fds *c, const struct process *p, const struct fd *fd, size_t first_image)
{
        for (size_t i = first_image; i < c->images.count; i++) {
                const struct image *m = &c->images.items[i];

                if (m->process == p && m->fd->st.dev == fd->st.dev && m->fd->st.ino == fd->st.ino)
                        return true;
        }
        return false;
}

static void guest_collect(struct fds *c, struct guest *g)
{
        struct arena *arena = c->a->arena;
        size_t first_image = c->images.count;

        images_read(c->a, g, &c->images);
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count; i++) {
                        const struct fd *fd = &p->fds.items[i];
                        struct held h = {.process = p, .fd = fd, .guest = g->index};
                        struct pair_key key = {.guest = g->index, .extra = c->held.count};

                        c->of[g->index].kinds[fd->kind]++;
                        if (fd->kind == FD_REGULAR || fd->kind == FD_BLOCK)
                                h.image = is_image(c, p, fd, first_image);
                        *GROW(arena, &c->held) = h;
                        if (fd->kind == FD_SOCKET) {
                                key.value[0] = fd->socket_inode;
                                *GROW(arena, &c->sockets) = key;
                        } else if ((fd->kind == FD_REGULAR || fd->kind == FD_PIPE) && !h.image && fd->stat_error == 0 &&
                                   !(fd->kind == FD_REGULAR &&
                                     (fd->link[0] != '/' || fd->st.size == 0 || is_mapped(p, fd)))) {
                                key.value[0] = fd->st.dev;
                                key.value[1] = fd->st.ino;
                                *GROW(arena, &c->objects) = key;
                        }
                }
        }
}

/* Two guests that can only read a file, or only write into a pipe, do not reach each other by it. */
static bool can_meet(const struct fds *c, const struct pair_key *keys, size_t count)
{
        bool reads = false, writes = false;

        for (size_t i = 0; i < count; i++) {
                uint64_t mode = c->held.items[keys[i].extra].fd->flags & O_ACCMODE;

                reads = reads || mode != O_WRONLY;
                writes = writes || mode != O_RDONLY;
        }
        return c->held.items[keys[0].extra].fd->kind == FD_PIPE ? reads && writes : writes;
}

static void shared(struct fds *c, const struct pair_key *keys, size_t count, const char *why)
{
        for (size_t i = 0; i < count; i++) {
                const struct pair_key *other = keys[i].guest == keys[0].guest ? &keys[count - 1] : &keys[0];

                if (i == 0 || keys[i].guest != keys[i - 1].guest)
                        report(c, keys[i].guest, &c->held.items[keys[i].extra], VERDICT_FAIL,
                               c->a->inv.guests.items[other->guest], why);
        }
}

static void object_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct fds *c = ctx;

        if (can_meet(c, keys, count))
                shared(c, keys, count, "another guest holds the same file or pipe");
}

static void socket_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        shared(ctx, keys, count, "another guest holds the same socket");
}

/* The other end of each unix socket: a key of another guest's. */
static const struct pair_key *holder_of(const struct fds *c, uint64_t inode)
{
        size_t low = 0, high = c->sockets.count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (c->sockets.items[middle].value[0] < inode)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < c->sockets.count && c->sockets.items[low].value[0] == inode ? &c->sockets.items[low] : NULL;
}

static void peers_judge(struct fds *c)
{
        for (size_t i = 0; i < c->sockets.count; i++) {
                const struct pair_key *key = &c->sockets.items[i], *peer;
                const struct unix_socket *s = unix_socket_find(&c->unix_sockets, key->value[0]);

                peer = s && s->peer ? holder_of(c, s->peer) : NULL;
                if (peer && peer->guest != key->guest)
                        report(c, key->guest, &c->held.items[key->extra], VERDICT_FAIL,
                               c->a->inv.guests.items[peer->guest], "a socket that is connected to another guest's");
        }
}

static char *kinds_text(struct audit *a, const struct outcome *o)
{
        char *text = arena_text(a->arena, "");

        for (int i = 0; i <= FD_CHAR; i++)
                if (o->kinds[i])
                        text = arena_printf(a->arena, "%s%s%s: %zu", text, *text ? ", " : "", kind_names[i],
                                            o->kinds[i]);
        return text;
}

static void guest_conclude(struct fds *c, struct guest *g)
{
        struct audit *a = c->a;
        struct outcome *o = &c->of[g->index];
        struct finding *f;

        for (size_t m = 0; m < g->members.count && o->worst < VERDICT_FAIL; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return;
                }
        }
        if (o->worst == VERDICT_FAIL) {
                f = finding_add(a, VERDICT_FAIL, g, "%s and %s are connected by an open descriptor: %s.",
                                GUEST_MARK(a, g), GUEST_MARK(a, o->other), o->why);
                finding_concern(a, f, o->other);
        } else if (o->worst == VERDICT_WARN)
                f = finding_add(a, VERDICT_WARN, g, "%s holds %s.", GUEST_MARK(a, g), o->why);
        else
                f = finding_add(a, VERDICT_PASS, g,
                                "Every open descriptor of %s is of a known kind, and no other guest holds it.",
                                GUEST_MARK(a, g));
        f->evidence = o->f.evidence;
        finding_showf(a, f, GUEST_OWNER(g), "descriptors of all its processes, by kind", "%s", kinds_text(a, o));
}

void fds_host(struct audit *a)
{
        struct fds c = {.a = a, .of = arena_array(a->arena, a->inv.guests.count, sizeof(*c.of))};

        if (a->inv.guests.count == 0)
                return;
        for (size_t i = 0; i < a->inv.guests.count; i++)
                guest_collect(&c, a->inv.guests.items[i]);
        unix_sockets_read(a->observer, &a->host, &a->inv, &c.unix_sockets);
        pair_keys_sort(&c.objects);
        pair_keys_sort(&c.sockets);
        pair_keys_shared(&c.objects, object_shared, &c);
        pair_keys_shared(&c.sockets, socket_shared, &c);
        peers_judge(&c);
        for (size_t i = 0; i < c.held.count; i++) {
                const struct held *h = &c.held.items[i];
                const char *why = h->fd->kind == FD_REGULAR              ? judge_regular(&c, h)
                                  : h->fd->kind == FD_BLOCK && !h->image ? "a block device of unknown purpose"
                                                                         : NULL;

                if (why)
                        report(&c, h->guest, h, VERDICT_WARN, NULL, why);
                if (strcmp(h->fd->link, "anon_inode:[pidfd]") == 0 || text_has_prefix(h->fd->link, "pidfd:"))
                        judge_pidfd(&c, h);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++)
                guest_conclude(&c, a->inv.guests.items[i]);
}
