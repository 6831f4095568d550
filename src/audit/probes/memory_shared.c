/* Files and memory objects that processes of two guests map. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/probes/memory.h"
#include "audit/text.h"

#define SHOWN_MAX 8 /* guests whose mappings evidence lists */

struct shared_view {
        struct audit *a;
        struct pair_key_list keys; /* value: dev and ino; extra: index in mapped */
        struct mapped_list {
                struct mapped {
                        const struct process *process;
                        const struct mapping *mapping;
                } * items;
                size_t count, room;
        } mapped;
        bool *concerned, *unreadable; /* [guest] */
        size_t *looked_at;            /* [guest] mappings */
};

/* Of a file, or of memory that has a number like one. Anonymous inodes all have the same. */
static bool of_object(const struct mapping *m)
{
        return m->ino != 0 && !text_has_prefix(m->name, "anon_inode:");
}

static bool may_write(const struct mapping *m)
{
        return m->perms[1] == 'w' && m->perms[3] == 's';
}

/* Program text, with its data: a file that is mapped executable somewhere in the process. */
static bool is_program(const struct process *p, const struct mapping *m)
{
        for (size_t i = 0; i < p->maps.count; i++) {
                const struct mapping *other = &p->maps.items[i];

                if (other->ino == m->ino && other->dev == m->dev && other->perms[2] == 'x')
                        return true;
        }
        return false;
}

static bool is_shared(const struct process *p, const struct mapping *m)
{
        (void)p;
        return m->perms[3] == 's';
}

/* Large, and the same for all who map it: a snapshot, a disk in memory. */
static bool is_copied(const struct process *p, const struct mapping *m)
{
        return !may_write(m) && m->end - m->start >= SHARED_LEAST && (m->end - m->start) % (1U << 20) == 0 &&
               !is_program(p, m);
}

/* Collects the mappings that are wanted. Guests that cannot be read have their finding after this. */
static void mappings_collect(struct shared_view *v, bool (*wanted)(const struct process *p, const struct mapping *m))
{
        struct audit *a = v->a;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t k = 0; k < g->members.count && !v->unreadable[i]; k++) {
                        const struct process *p = g->members.items[k].process;

                        if (p->maps_error < 0) {
                                v->unreadable[i] = true;
                                finding_unknown(a, g, p->maps_error,
                                                arena_printf(a->arena, "read /proc/%d/smaps", p->pid));
                                break;
                        }
                        v->looked_at[i] += p->maps.count;
                        for (size_t m = 0; m < p->maps.count; m++) {
                                const struct mapping *mapping = &p->maps.items[m];

                                if (!of_object(mapping) || !wanted(p, mapping))
                                        continue;
                                *GROW(a->arena, &v->keys) = (struct pair_key){.value = {mapping->dev, mapping->ino},
                                                                              .guest = i,
                                                                              .extra = v->mapped.count};
                                *GROW(a->arena, &v->mapped) = (struct mapped){p, mapping};
                        }
                }
        }
        pair_keys_sort(&v->keys);
}

static void shared_init(struct audit *a, struct shared_view *v)
{
        size_t n = a->inv.guests.count;

        *v = (struct shared_view){.a = a};
        v->concerned = arena_array(a->arena, n, sizeof(*v->concerned));
        v->unreadable = arena_array(a->arena, n, sizeof(*v->unreadable));
        v->looked_at = arena_array(a->arena, n, sizeof(*v->looked_at));
}

static void shared_show(struct shared_view *v, struct finding *f, const struct pair_key *keys, size_t count)
{
        struct audit *a = v->a;
        size_t shown = 0;

        for (size_t i = 0; i < count; i++) {
                const struct guest *g = a->inv.guests.items[keys[i].guest];
                const struct mapped *m = &v->mapped.items[keys[i].extra];

                finding_concern(a, f, g);
                v->concerned[keys[i].guest] = true;
                if ((i > 0 && keys[i - 1].guest == keys[i].guest) || shown++ >= SHOWN_MAX)
                        continue;
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", m->process->pid),
                              "%" PRIx64 "-%" PRIx64 " %s %" PRIx64 " %x:%x %" PRIu64 " %s", m->mapping->start,
                              m->mapping->end, m->mapping->perms, m->mapping->offset, OBSERVED_MAJOR(m->mapping->dev),
                              OBSERVED_MINOR(m->mapping->dev), m->mapping->ino, SHOW(a, m->mapping->name));
        }
}

/* A device's memory is not what its node's number says: what each mapping shows is up to the driver. */
static bool is_device(struct audit *a, const struct mapped *m)
{
        struct observed_stat st;
        char *path = arena_printf(a->arena, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, m->process->pid,
                                  m->mapping->start, m->mapping->end);

        return text_has_prefix(m->mapping->name, "/dev/") && observe_stat(a->observer, path, &st) == 0 &&
               S_ISCHR(st.mode);
}

static size_t guests_in(const struct pair_key *keys, size_t count)
{
        size_t n = 1;

        for (size_t i = 1; i < count; i++)
                n += keys[i].guest != keys[i - 1].guest;
        return n;
}

static void writable_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct shared_view *v = ctx;
        struct audit *a = v->a;
        const struct mapped *writer = NULL;
        struct finding *f;

        for (size_t i = 0; i < count; i++)
                if (may_write(v->mapped.items[keys[i].extra].mapping))
                        writer = &v->mapped.items[keys[i].extra];
        if (!writer)
                return;
        if (is_device(a, writer))
                f = finding_add(a, VERDICT_WARN, NULL,
                                "%zu guests map memory of the same device: its driver decides what they share.",
                                guests_in(keys, count));
        else
                f = finding_add(a, VERDICT_FAIL, NULL,
                                "%zu guests map the same memory, and one or more can write to it: what one writes, "
                                "the others see.",
                                guests_in(keys, count));
        shared_show(v, f, keys, count);
}

static void readable_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct shared_view *v = ctx;
        struct finding *f = finding_add(v->a, VERDICT_WARN, NULL,
                                        "%zu guests map the same large file: they share its pages in the host's "
                                        "memory, and one can measure which of them another has just read.",
                                        guests_in(keys, count));

        shared_show(v, f, keys, count);
}

static void others_pass(struct shared_view *v, const char *what)
{
        struct audit *a = v->a;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (v->concerned[i] || v->unreadable[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g, "No process of %s maps %s that another guest maps.",
                                GUEST_MARK(a, g), what);
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", g->vmm->pid),
                              "mappings of %zu processes: %zu, none of them in common", g->members.count,
                              v->looked_at[i]);
        }
}

void memory_writable_pairs(struct audit *a)
{
        struct shared_view v;

        shared_init(a, &v);
        mappings_collect(&v, is_shared);
        pair_keys_shared(&v.keys, writable_shared, &v);
        others_pass(&v, "writable memory");
}

void memory_readable_pairs(struct audit *a)
{
        struct shared_view v;

        shared_init(a, &v);
        mappings_collect(&v, is_copied);
        pair_keys_shared(&v.keys, readable_shared, &v);
        others_pass(&v, "a large file");
}
