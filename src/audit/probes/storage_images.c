/* Images that two guests hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit/probes/fds.h"
#include "audit/probes/storage.h"
#include "audit/text.h"

static size_t fds_of(const struct guest *g)
{
        size_t n = 0;

        for (size_t m = 0; m < g->members.count; m++)
                n += g->members.items[m].process->fds.count;
        return n;
}

static void show_none(struct audit *a, struct finding *f, const struct guest *g)
{
        finding_showf(a, f, GUEST_OWNER(g), "descriptors of all its processes", "%zu, of which 0 are disk images",
                      fds_of(g));
}

void storage_no_image(struct audit *a, struct guest *g)
{
        show_none(a, finding_add(a, VERDICT_NA, g, "%s has no disk image.", GUEST_MARK(a, g)), g);
}

char *storage_question(struct audit *a, const struct image *m)
{
        return arena_printf(a->arena, "link /proc/%d/fd/%d", m->process->pid, m->fd->number);
}

char *storage_describe(struct audit *a, const struct image *m)
{
        return arena_printf(a->arena, "%s (%s %u:%u inode %llu, open for %s)", m->fd->link,
                            m->block ? "block device" : "device",
                            OBSERVED_MAJOR(m->block ? m->fd->st.rdev : m->fd->st.dev),
                            OBSERVED_MINOR(m->block ? m->fd->st.rdev : m->fd->st.dev),
                            (unsigned long long)m->fd->st.ino, m->writable ? "writing" : "reading");
}

struct sharing {
        struct audit *a;
        const struct images *files;
        struct pair_key_list keys; /* extra: index in files */
        bool *affected;            /* [guest] */
        bool writable;             /* which kind of sharing is reported */
};

/* What the guests of one run of keys make of the file that they share. */
struct use {
        bool image;   /* it is a disk image */
        bool written; /* one writes what another reads */
        bool memory;  /* all have it mapped, and one can write to it there: MEM-SHRW tells that */
};

static struct use use_of(const struct sharing *s, const struct pair_key *keys, size_t count)
{
        size_t writer = SIZE_MAX, reader = SIZE_MAX;
        bool writers = false, readers = false; /* more than the one guest */
        bool mapped = false, mapped_writable = false;
        struct use u = {.memory = true};

        for (size_t i = 0; i < count; i++) {
                const struct image *m = &s->files->all.items[keys[i].extra];

                u.image = u.image || m->is_image;
                if (m->writable) {
                        writers = writers || (writer != SIZE_MAX && writer != keys[i].guest);
                        writer = keys[i].guest;
                }
                if (m->readable) {
                        readers = readers || (reader != SIZE_MAX && reader != keys[i].guest);
                        reader = keys[i].guest;
                }
                mapped_writable = mapped_writable || m->mapped_writable;
                mapped = (i > 0 && keys[i - 1].guest == keys[i].guest && mapped) || m->mapped;
                if (i + 1 == count || keys[i + 1].guest != keys[i].guest) /* the last of this guest */
                        u.memory = u.memory && mapped;
        }
        u.written = writer != SIZE_MAX && reader != SIZE_MAX && (writers || readers || writer != reader);
        u.memory = u.memory && mapped_writable;
        return u;
}

static void shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct sharing *s = ctx;
        struct audit *a = s->a;
        struct use u = use_of(s, keys, count);
        struct finding *f;

        if (u.memory || u.written != s->writable || (!u.written && !u.image))
                return;
        f = finding_add(
                a, u.written ? VERDICT_FAIL : VERDICT_WARN, NULL,
                u.written && u.image ? "These guests have the same disk image open, and one of them can write to it."
                : u.written          ? "These guests have the same file open, and one of them can write to it."
                            : "These guests read the same disk image: whether a block is in the host's cache tells one "
                              "what the other has read.");
        for (size_t i = 0; i < count; i++) {
                const struct image *m = &s->files->all.items[keys[i].extra];

                if (i == 0 || keys[i].guest != keys[i - 1].guest)
                        *GROW(a->arena, &f->guests) = keys[i].guest; /* none is twice: finding_concern() would look */
                s->affected[keys[i].guest] = true;
                finding_showf(a, f, GUEST_OWNER(m->guest), storage_question(a, m), "%s", storage_describe(a, m));
        }
}

static void sharing_judge(struct audit *a, bool writable)
{
        size_t n = a->inv.guests.count;
        struct sharing s = {.a = a,
                            .files = images_get(a),
                            .affected = arena_array(a->arena, n, sizeof(*s.affected)),
                            .writable = writable};

        for (size_t i = 0; i < s.files->all.count; i++) {
                const struct image *m = &s.files->all.items[i];

                *GROW(a->arena, &s.keys) =
                        (struct pair_key){.value = {m->object[0], m->object[1]}, .guest = m->guest->index, .extra = i};
        }
        pair_keys_sort(&s.keys);
        pair_keys_shared(&s.keys, shared, &s);
        for (size_t i = 0; i < n; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct image_list own = {0};
                struct finding *f;

                if (fds_unread(a, g) || s.affected[i])
                        continue;
                images_read(a, g, &own);
                f = finding_add(
                        a, VERDICT_PASS, g,
                        own.count == 0 ? "%s has no disk image that could be shared."
                        : writable ? "No other guest has a disk image of %s open where one of them could write to it."
                                   : "No other guest reads a disk image that %s reads.",
                        GUEST_MARK(a, g));
                for (size_t m = 0; m < own.count && m < 4; m++)
                        finding_showf(a, f, GUEST_OWNER(g), storage_question(a, &own.items[m]), "%s",
                                      storage_describe(a, &own.items[m]));
                if (own.count == 0)
                        show_none(a, f, g);
        }
}

void storage_rw_pairs(struct audit *a)
{
        sharing_judge(a, true);
}

void storage_ro_pairs(struct audit *a)
{
        sharing_judge(a, false);
}

void storage_lock_guest(struct audit *a, struct guest *g)
{
        struct image_list images = {0};
        const struct image *bare = NULL, *locked = NULL;
        struct finding *f;

        if (fds_unread(a, g))
                return;
        images_read(a, g, &images);
        for (size_t i = 0; i < images.count; i++) {
                const struct image *m = &images.items[i];

                if (!m->writable || m->block)
                        continue;
                if (!m->fd->fdinfo) {
                        finding_unknown(a, g, -EACCES,
                                        arena_printf(a->arena, "read /proc/%d/fdinfo/%d", m->process->pid,
                                                     m->fd->number));
                        return;
                }
                if (strstr(m->fd->fdinfo, "\nlock:"))
                        locked = m;
                else
                        bare = m;
        }
        if (!bare && !locked) {
                struct finding *none =
                        finding_add(a, VERDICT_NA, g, "%s has no image file that it writes to.", GUEST_MARK(a, g));

                finding_showf(a, none, GUEST_OWNER(g), "disk images among its descriptors", "%zu, none written to",
                              images.count);
                return;
        }
        f = bare ? finding_add(a, VERDICT_WARN, g,
                               "%s writes to an image that is not locked: a second guest could be started on it.",
                               GUEST_MARK(a, g))
                 : finding_add(a, VERDICT_PASS, g, "Every image file that %s writes to is locked.", GUEST_MARK(a, g));
        if (!bare)
                bare = locked;
        finding_showf(a, f, GUEST_OWNER(g),
                      arena_printf(a->arena, "read /proc/%d/fdinfo/%d", bare->process->pid, bare->fd->number), "%s\n%s",
                      bare->fd->link, bare->fd->fdinfo);
}
