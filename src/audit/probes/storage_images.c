/* Images that two guests hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit/probes/storage.h"
#include "audit/text.h"

bool storage_undetermined(struct audit *a, struct guest *g)
{
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return true;
                }
        }
        return false;
}

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
        struct image_list images;
        struct pair_key_list keys; /* extra: index in images */
        bool *affected;            /* [guest] */
        bool writable;             /* which kind of sharing is reported */
};

static void shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct sharing *s = ctx;
        struct audit *a = s->a;
        bool writable = false;
        struct finding *f;

        for (size_t i = 0; i < count; i++)
                writable = writable || s->images.items[keys[i].extra].writable;
        if (writable != s->writable)
                return;
        f = finding_add(
                a, writable ? VERDICT_FAIL : VERDICT_WARN, a->inv.guests.items[keys[0].guest],
                writable ? "These guests have the same disk image open, and one of them can write to it."
                         : "These guests read the same disk image: whether a block is in the host's cache tells one "
                           "what the other has read.");
        for (size_t i = 0; i < count; i++) {
                const struct image *m = &s->images.items[keys[i].extra];

                s->affected[keys[i].guest] = true;
                finding_concern(a, f, m->guest);
                finding_show(a, f, GUEST_OWNER(m->guest), storage_question(a, m), storage_describe(a, m),
                             strlen(storage_describe(a, m)));
        }
}

static void sharing_judge(struct audit *a, bool writable)
{
        struct sharing s = {.a = a, .writable = writable};
        size_t n = a->inv.guests.count;

        s.affected = arena_array(a->arena, n, sizeof(*s.affected));
        for (size_t i = 0; i < n; i++)
                images_read(a->arena, a->inv.guests.items[i], &s.images);
        for (size_t i = 0; i < s.images.count; i++)
                *GROW(a->arena, &s.keys) =
                        (struct pair_key){.value = {s.images.items[i].object[0], s.images.items[i].object[1]},
                                          .guest = s.images.items[i].guest->index,
                                          .extra = i};
        pair_keys_sort(&s.keys);
        pair_keys_shared(&s.keys, shared, &s);
        for (size_t i = 0, k = 0; i < n; i++) {
                struct guest *g = a->inv.guests.items[i];
                size_t first = k;
                struct finding *f;

                while (k < s.images.count && s.images.items[k].guest == g)
                        k++;
                if (s.affected[i] || storage_undetermined(a, g))
                        continue;
                f = finding_add(
                        a, VERDICT_PASS, g,
                        k > first
                                ? writable
                                          ? "No other guest has a disk image of %s open where one of them could write to it."
                                          : "No other guest reads a disk image that %s reads."
                                : "%s has no disk image that could be shared.",
                        GUEST_MARK(a, g));
                for (size_t m = first; m < k && m < first + 4; m++)
                        finding_showf(a, f, GUEST_OWNER(g), storage_question(a, &s.images.items[m]), "%s",
                                      storage_describe(a, &s.images.items[m]));
                if (k == first)
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

        if (storage_undetermined(a, g))
                return;
        images_read(a->arena, g, &images);
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
