#include "audit/model/images.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define KERNEL_O_PATH 010000000U /* include/uapi/asm-generic/fcntl.h */

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

bool image_argument_names(const char *argument, const char *name)
{
        size_t n = strlen(name);

        for (const char *at = argument; n && (at = strstr(at, name)); at++)
                if ((at == argument || strchr("/=,:\"", at[-1])) && (at[n] == '\0' || strchr(",:;\"#", at[n])))
                        return true;
        return false;
}

static bool is_program_option(const char *option)
{
        static const char *const options[] = {"kernel",   "initrd",       "initramfs",   "bios",
                                              "firmware", "dtb",          "config-file", "log-file",
                                              "log-path", "metrics-path", "serial",      "cmdline"};
        size_t n;

        option += strspn(option, "-");
        n = strcspn(option, "=");
        for (size_t i = 0; i < ARRAY_LEN(options); i++)
                if (strlen(options[i]) == n && strncmp(option, options[i], n) == 0)
                        return true;
        return false;
}

/* The value of a key, as in "key=VALUE,..." or {"key":"VALUE",...}; NULL: there is none, or it is no plain word. */
static char *word_value(struct arena *a, const char *argument, const char *key)
{
        size_t n = strlen(key);

        for (const char *at = argument; (at = strstr(at, key)); at += n) {
                const char *value = at + n;

                if (at != argument && !strchr(",\"", at[-1]))
                        continue;
                if (*value == '=')
                        return arena_copy(a, value + 1, strcspn(value + 1, ","));
                if (text_has_prefix(value, "\":\""))
                        return arena_copy(a, value + 3, strcspn(value + 3, "\""));
        }
        return NULL;
}

/* What the node that an argument describes makes of the bytes below it. UNKNOWN: it hands them on. */
static enum image_choice driver_choice(struct arena *a, const char *argument)
{
        static const char *const formats[] = {"bochs", "cloop", "dmg", "luks", "parallels", "qcow",
                                              "qcow2", "qed",   "vdi", "vhdx", "vmdk",      "vpc"};

        /* {"driver":"qcow2","file":{"driver":"file",...}}: any of them, they come in any order */
        for (const char *at = argument; (at = strstr(at, "driver")); at++) {
                const char *driver = word_value(a, at, "driver");

                if (!driver)
                        break;
                if (strcmp(driver, "raw") == 0)
                        return CHOICE_RAW;
                for (size_t i = 0; i < ARRAY_LEN(formats); i++)
                        if (strcmp(driver, formats[i]) == 0)
                                return CHOICE_EXPLICIT;
        }
        return CHOICE_UNKNOWN;
}

/* -blockdev: the format is that of the node itself, or of the one that lies on it: libvirt gives a file and its format
 * apart. */
static enum image_choice node_choice(struct arena *a, const struct process *p, const char *argument)
{
        enum image_choice own = driver_choice(a, argument);
        const char *node = word_value(a, argument, "node-name"), *file;

        for (size_t i = 1; own == CHOICE_UNKNOWN && node && i < p->argc; i++) {
                file = word_value(a, p->argv[i], "file");
                if (file && strcmp(file, node) == 0)
                        return driver_choice(a, p->argv[i]);
        }
        return own;
}

static enum image_choice argument_choice(struct arena *a, const struct guest *g, const struct process *p,
                                         const char *argument, const char *option)
{
        /* It is started with the format said; the other programs know raw images alone. */
        if (strcmp(g->kind, "bulkhead") == 0 && p->argc > 0 &&
            strcmp(base_name(p->argv[0]), "qemu-storage-daemon") == 0)
                return CHOICE_EXPLICIT;
        if (strcmp(g->kind, "bulkhead") == 0 || strcmp(g->kind, "Firecracker") == 0)
                return CHOICE_RAW;
        if (strcmp(g->kind, "QEMU") == 0) {
                const char *format;

                if (!argument)
                        return CHOICE_UNKNOWN;
                if (strcmp(option, "-blockdev") == 0)
                        return node_choice(a, p, argument);
                if (strstr(argument, "json:"))
                        return CHOICE_UNKNOWN;
                format = word_value(a, argument, "format");
                if (!format)
                        format = word_value(a, argument, "driver");
                return !format ? CHOICE_PROBED : strcmp(format, "raw") == 0 ? CHOICE_RAW : CHOICE_EXPLICIT;
        }
        if (strcmp(g->kind, "Cloud Hypervisor") == 0 && argument && strstr(argument, "image_type="))
                return strstr(argument, "image_type=raw") ? CHOICE_RAW : CHOICE_EXPLICIT;
        return strcmp(g->kind, "unknown") == 0 ? CHOICE_UNKNOWN : CHOICE_PROBED;
}

/* How the command line names a file. */
struct naming {
        const char *argument, *option; /* the first that does; option: the one before it when that is an option */
        bool by_path;
        enum image_choice choice;
};

/* By its whole path, or where none does by its last name: in a jail paths are others. */
static struct naming naming_find(struct arena *a, const struct guest *g, const struct process *p, const char *path)
{
        struct naming n = {.option = "", .choice = argument_choice(a, g, p, NULL, "")};

        for (int whole = 1; whole >= 0 && !n.argument; whole--)
                for (size_t i = 1; i < p->argc; i++) {
                        const char *argument = p->argv[i],
                                   *option = argument[0] != '-' && p->argv[i - 1][0] == '-' ? p->argv[i - 1] : argument;
                        enum image_choice choice;

                        if (!image_argument_names(argument, whole ? path : base_name(path)))
                                continue;
                        choice = argument_choice(a, g, p, argument, option);
                        if (!n.argument)
                                n = (struct naming){argument, option, whole, choice};
                        else if (choice != n.choice)
                                n.choice = CHOICE_UNKNOWN;
                }
        return n;
}

/* ---- what is mapped ---- */

struct mapped {
        uint64_t dev, ino;
        uint64_t bytes; /* mapped to be shared */
        bool writable;
};

struct mapped_list {
        struct mapped *items; /* one per object once they are joined */
        size_t count, room;
};

static int by_object(const void *x, const void *y)
{
        const struct mapped *a = x, *b = y;

        if (a->dev != b->dev)
                return a->dev < b->dev ? -1 : 1;
        return (a->ino > b->ino) - (a->ino < b->ino);
}

static void mapped_read(struct arena *a, const struct process *p, struct mapped_list *ret)
{
        size_t kept = 0;

        for (size_t i = 0; i < p->maps.count; i++) {
                const struct mapping *m = &p->maps.items[i];

                if (m->ino && m->perms[3] == 's')
                        *GROW(a, ret) = (struct mapped){m->dev, m->ino, m->end - m->start, m->perms[1] == 'w'};
        }
        if (ret->count == 0)
                return;
        qsort(ret->items, ret->count, sizeof(ret->items[0]), by_object);
        for (size_t i = 0; i < ret->count; i++) {
                struct mapped *last = kept ? &ret->items[kept - 1] : NULL;

                if (last && by_object(last, &ret->items[i]) == 0) {
                        last->bytes += ret->items[i].bytes;
                        last->writable = last->writable || ret->items[i].writable;
                } else
                        ret->items[kept++] = ret->items[i];
        }
        ret->count = kept;
}

/* ---- descriptors ---- */

static bool is_image(const struct process *p, const struct image *m, const struct naming *n,
                     const struct mapped *mapped)
{
        const struct observed_stat *st = &m->fd->st;

        if (m->block)
                return true;
        if (!m->readable || st->size == 0 || (st->dev == p->exe_stat.dev && st->ino == p->exe_stat.ino) ||
            (mapped && mapped->bytes >= st->size))
                return false;
        if (n->argument) /* firmware's code is the same for many guests */
                return !is_program_option(n->option) && (m->writable || !strstr(n->argument, "pflash"));
        return st->size >= IMAGE_LEAST && st->size % 512 == 0;
}

static void file_read(struct arena *a, const struct guest *g, const struct process *p, const struct fd *fd,
                      const struct mapped_list *maps, struct image_list *ret)
{
        const struct mapped key = {.dev = fd->st.dev, .ino = fd->st.ino},
                            *mapped = maps->count ? bsearch(&key, maps->items, maps->count, sizeof(key), by_object)
                                                  : NULL;
        struct image m = {.guest = g, .process = p, .fd = fd, .block = fd->kind == FD_BLOCK};
        struct naming n;

        if (!(m.block || (fd->kind == FD_REGULAR && fd->link[0] == '/')) || fd->stat_error < 0 ||
            (fd->flags & KERNEL_O_PATH))
                return;
        m.path = arena_text(a, fd->link);
        if (text_has_suffix(m.path, " (deleted)") && fd->st.nlink == 0)
                m.path[strlen(m.path) - strlen(" (deleted)")] = '\0';
        /* Where the access mode cannot be read it counts as both. */
        m.writable = !fd->fdinfo || (fd->flags & O_ACCMODE) != O_RDONLY;
        m.readable = !fd->fdinfo || (fd->flags & O_ACCMODE) != O_WRONLY;
        m.mapped = mapped != NULL;
        m.mapped_writable = mapped && mapped->writable;
        m.object[0] = m.block ? UINT64_MAX : fd->st.dev;
        m.object[1] = m.block ? fd->st.rdev : fd->st.ino;
        n = naming_find(a, g, p, m.path);
        m.argument = n.argument;
        m.by_path = n.by_path;
        m.choice = n.choice;
        m.is_image = is_image(p, &m, &n, mapped);
        *GROW(a, ret) = m;
}

static int image_order(const void *x, const void *y)
{
        const struct image *a = x, *b = y;

        for (int i = 0; i < 2; i++)
                if (a->object[i] != b->object[i])
                        return a->object[i] < b->object[i] ? -1 : 1;
        return (a->fd->number > b->fd->number) - (a->fd->number < b->fd->number);
}

static int by_descriptor(const void *x, const void *y)
{
        int a = ((const struct image *)x)->fd->number, b = ((const struct image *)y)->fd->number;

        return (a > b) - (a < b);
}

static int by_argument(const void *x, const void *y)
{
        const char *a = ((const struct image *)x)->argument, *b = ((const struct image *)y)->argument;

        return (a > b) - (a < b);
}

/* One argument is one file: where it has the last name of several, it says nothing of those whose path it lacks. */
static void names_doubt(struct arena *a, const struct guest *g, const struct process *p, struct image *items,
                        size_t count)
{
        enum image_choice without = argument_choice(a, g, p, NULL, "");

        qsort(items, count, sizeof(items[0]), by_argument);
        for (size_t i = 0, n; i < count; i += n) {
                for (n = 1; i + n < count && by_argument(&items[i], &items[i + n]) == 0;)
                        n++;
                for (size_t k = i; n > 1 && items[i].argument && k < i + n; k++)
                        if (!items[k].by_path && items[k].choice != without)
                                items[k].choice = CHOICE_UNKNOWN;
        }
}

/* Files of one process: several descriptors of one object become the first, with the rights of all. */
static void process_read(struct arena *a, const struct guest *g, const struct process *p, struct image_list *ret)
{
        struct image_list own = {0};
        struct mapped_list maps = {0};
        size_t kept = 0;

        mapped_read(a, p, &maps);
        for (size_t i = 0; i < p->fds.count; i++)
                file_read(a, g, p, &p->fds.items[i], &maps, &own);
        if (own.count == 0)
                return;
        qsort(own.items, own.count, sizeof(own.items[0]), image_order);
        for (size_t i = 0; i < own.count; i++) {
                struct image *last = kept ? &own.items[kept - 1] : NULL, *m = &own.items[i];

                if (last && last->object[0] == m->object[0] && last->object[1] == m->object[1]) {
                        last->writable = last->writable || m->writable;
                        last->readable = last->readable || m->readable;
                        last->is_image = last->is_image || m->is_image;
                } else
                        own.items[kept++] = *m;
        }
        names_doubt(a, g, p, own.items, kept);
        qsort(own.items, kept, sizeof(own.items[0]), by_descriptor);
        for (size_t i = 0; i < kept; i++)
                *GROW(a, ret) = own.items[i];
}

static void mark_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct image_list *l = ctx;
        bool image = false;

        for (size_t i = 0; i < count; i++)
                image = image || l->items[keys[i].extra].is_image;
        for (size_t i = 0; i < count; i++)
                l->items[keys[i].extra].is_image = image;
}

const struct images *images_get(struct audit *a)
{
        size_t n = a->inv.guests.count;
        struct pair_key_list keys = {0};
        struct images *s;

        if (a->images)
                return a->images;
        s = arena_alloc(a->arena, sizeof(*s));
        s->first = arena_array(a->arena, n + 1, sizeof(s->first[0]));
        for (size_t i = 0; i < n; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t m = 0; m < g->members.count; m++)
                        process_read(a->arena, g, g->members.items[m].process, &s->all);
                s->first[i + 1] = s->all.count;
        }
        for (size_t i = 0; i < s->all.count; i++)
                *GROW(a->arena, &keys) =
                        (struct pair_key){.value = {s->all.items[i].object[0], s->all.items[i].object[1]},
                                          .guest = s->all.items[i].guest->index,
                                          .extra = i};
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, mark_shared, &s->all);
        a->images = s;
        return s;
}

void images_read(struct audit *a, const struct guest *g, struct image_list *ret)
{
        const struct images *s = images_get(a);

        for (size_t i = s->first[g->index]; i < s->first[g->index + 1]; i++)
                if (s->all.items[i].is_image)
                        *GROW(a->arena, ret) = s->all.items[i];
}
