/*
 * Page frames that are mapped into the RAM of two guests, now. Page frames are not kept: a first pass over all guests
 * marks in two bitmaps which were seen, and which were seen again; a second collects those seen again, guest by guest;
 * a third asks the guests concerned once more. What a guest had both times it had in between, when the next guest was
 * asked: only that counts, since a page may be freed by one and taken by another between two reads.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/model/pfn_set.h"
#include "audit/probes/memory.h"
#include "audit/text.h"

#define PIECE_BYTES   (1ULL << 30) /* asked for at once */
#define SHARED_MAX    (2U << 20)   /* guests' page frames kept; when there are more, the rest is UNKNOWN */
#define CLASSIFY_MAX  (16U << 10)  /* page frames whose kind is asked for */
#define SETS_MAX      64           /* distinct sets of guests that share; those beyond are one finding */
#define SHOWN_MAX     4            /* page frames that evidence lists */
#define KPF_ANON      12           /* Documentation/admin-guide/mm/pagemap.rst */
#define KPF_KSM       21
#define KPF_ZERO_PAGE 24

enum page_class { PAGE_KSM, PAGE_ANON, PAGE_FILE, PAGE_UNKNOWN, PAGE_CLASSES };

static const char *const class_names[PAGE_CLASSES] = {"merged equal pages (KSM)", "anonymous memory",
                                                      "a file or shared memory", "of unknown kind"};

/* Guests that have the same page frames in common. */
struct sharing {
        size_t *guests, count;
        uint64_t hash;
        uint64_t pages[PAGE_CLASSES];
        char *shown;
        size_t shown_count;
};

struct sharing_list {
        struct sharing *items;
        size_t count, room;
};

struct pages_view {
        struct audit *a;
        struct pfn_set own, seen, again; /* of the guest that is walked; of those before; of two or more */
        struct pair_key_list keys;       /* value[0] the page frame; extra: 1 when seen in the last pass, too */
        bool cut;                        /* there are more */
        struct sharing_list sets;
        bool *concerned, *unreadable; /* [guest] */
        bool *common;                 /* [guest] has page frames that were seen in another, too */
        uint64_t *pages;              /* [guest] */
        size_t classified;
        int class_error;
};

/* Called for each run of page frames. */
typedef void run_fn(struct pages_view *v, size_t guest, uint64_t pfn, uint64_t count);

static int runs_parse(struct pages_view *v, size_t guest, char *text, run_fn *fn)
{
        char *line;

        while ((line = text_next_line(&text))) {
                char *end;
                uint64_t pfn = strtoull(line, &end, 10), count = *end == ' ' ? strtoull(end, &end, 10) : 0;

                if (*end != '\0' || count == 0 || pfn >= PFN_LIMIT || count > PFN_LIMIT - pfn)
                        return -EPROTO;
                fn(v, guest, pfn, count);
        }
        return 0;
}

/* Answers are read and dropped: those of a host with much memory are too many to keep. */
static int piece_walk(struct pages_view *v, const struct guest *g, uint64_t start, uint64_t end, run_fn *fn)
{
        struct arena *kept = v->a->observer->arena, dropped = {.exhausted = kept->exhausted};
        struct answer answer;
        int r;

        v->a->observer->arena = &dropped;
        r = observe(v->a->observer, &answer, "pages %d %" PRIx64 " %" PRIx64, g->vmm->pid, start, end);
        v->a->observer->arena = kept;
        if (r == 0)
                r = runs_parse(v, g->index, answer.bytes, fn);
        arena_free(&dropped);
        return r;
}

static char *piece_question(struct audit *a, const struct guest *g)
{
        const struct mapping *m = g->ram.items[0].mapping;

        return arena_printf(a->arena, "pages %d %" PRIx64 " %" PRIx64 "%s", g->vmm->pid, m->start, m->end,
                            g->ram.count > 1 ? " and the other mappings of RAM" : "");
}

static int guest_walk(struct pages_view *v, const struct guest *g, run_fn *fn)
{
        int r = 0;

        for (size_t i = 0; i < g->ram.count && r == 0; i++) {
                const struct mapping *m = g->ram.items[i].mapping;

                for (uint64_t at = m->start; at < m->end && r == 0; at += PIECE_BYTES)
                        r = piece_walk(v, g, at, m->end - at < PIECE_BYTES ? m->end : at + PIECE_BYTES, fn);
        }
        return r;
}

static void run_check(struct pages_view *v, size_t guest, uint64_t pfn, uint64_t count)
{
        v->pages[guest] += count;
        for (uint64_t i = 0; i < count; i++)
                pfn_set_add(v->a->arena, &v->own, pfn + i);
}

static void run_collect(struct pages_view *v, size_t guest, uint64_t pfn, uint64_t count)
{
        for (uint64_t i = 0; i < count; i++) {
                if (!pfn_set_has(&v->again, pfn + i))
                        continue;
                v->common[guest] = true;
                if (v->keys.count == SHARED_MAX) {
                        v->cut = true;
                        return;
                }
                *GROW(v->a->arena, &v->keys) = (struct pair_key){.value = {pfn + i}, .guest = guest};
        }
}

static int by_frame(const void *x, const void *y)
{
        const struct pair_key *a = x, *b = y;

        if (a->value[0] != b->value[0])
                return a->value[0] < b->value[0] ? -1 : 1;
        return (a->guest > b->guest) - (a->guest < b->guest);
}

static void run_confirm(struct pages_view *v, size_t guest, uint64_t pfn, uint64_t count)
{
        for (uint64_t i = 0; i < count; i++) {
                const struct pair_key wanted = {.value = {pfn + i}, .guest = guest};
                struct pair_key *found;

                if (!pfn_set_has(&v->again, pfn + i))
                        continue;
                found = bsearch(&wanted, v->keys.items, v->keys.count, sizeof(wanted), by_frame);
                if (found)
                        found->extra = 1;
        }
}

/* Leaves what was confirmed, each guest's page frame once. */
static void keys_keep_confirmed(struct pair_key_list *keys)
{
        size_t kept = 0;

        for (size_t i = 0; i < keys->count; i++)
                if (keys->items[i].extra && (kept == 0 || by_frame(&keys->items[kept - 1], &keys->items[i]) != 0))
                        keys->items[kept++] = keys->items[i];
        keys->count = kept;
}

static void keys_unique(struct pair_key_list *keys)
{
        for (size_t i = 0; i < keys->count; i++)
                keys->items[i].extra = 1;
        keys_keep_confirmed(keys);
        for (size_t i = 0; i < keys->count; i++)
                keys->items[i].extra = 0;
}

static bool page_classify(struct pages_view *v, uint64_t pfn, enum page_class *ret)
{
        struct answer answer;
        uint64_t flags;

        *ret = PAGE_UNKNOWN;
        if (v->classified == CLASSIFY_MAX)
                return true;
        v->classified++;
        if (observe(v->a->observer, &answer, "pageflags %" PRIu64, pfn) < 0) {
                v->class_error = answer.error;
                return true;
        }
        flags = strtoull(answer.bytes, NULL, 10);
        *ret = flags >> KPF_KSM & 1 ? PAGE_KSM : flags >> KPF_ANON & 1 ? PAGE_ANON : PAGE_FILE;
        return !(flags >> KPF_ZERO_PAGE & 1);
}

static uint64_t set_hash(const struct pair_key *keys, size_t count)
{
        uint64_t h = 0xcbf29ce484222325ULL;

        for (size_t i = 0; i < count; i++)
                h = (h ^ keys[i].guest) * 0x100000001b3ULL;
        return h;
}

static bool set_is(const struct sharing *s, const struct pair_key *keys, size_t count, uint64_t hash)
{
        if (s->hash != hash || s->count != count)
                return false;
        for (size_t i = 0; i < count; i++)
                if (s->guests[i] != keys[i].guest)
                        return false;
        return true;
}

static void set_widen(struct pages_view *v, struct sharing *s, const struct pair_key *keys, size_t count)
{
        bool *in = arena_array(v->a->arena, v->a->inv.guests.count, sizeof(*in));

        for (size_t i = 0; i < s->count; i++)
                in[s->guests[i]] = true;
        for (size_t i = 0; i < count; i++)
                in[keys[i].guest] = true;
        s->guests = arena_array(v->a->arena, v->a->inv.guests.count, sizeof(s->guests[0]));
        s->count = 0;
        for (size_t i = 0; i < v->a->inv.guests.count; i++)
                if (in[i])
                        s->guests[s->count++] = i;
}

static bool set_covers(const struct sharing *s, const struct pair_key *keys, size_t count)
{
        size_t at = 0;

        for (size_t i = 0; i < count; i++) {
                while (at < s->count && s->guests[at] < keys[i].guest)
                        at++;
                if (at == s->count || s->guests[at] != keys[i].guest)
                        return false;
        }
        return true;
}

/* The set of exactly these guests; when there are too many sets, the last one, which takes them in. */
static struct sharing *set_of(struct pages_view *v, const struct pair_key *keys, size_t count)
{
        uint64_t hash = set_hash(keys, count);
        struct sharing *s;

        for (size_t i = v->sets.count; i-- > 0;)
                if (set_is(&v->sets.items[i], keys, count, hash))
                        return &v->sets.items[i];
        if (v->sets.count < SETS_MAX) {
                s = GROW(v->a->arena, &v->sets);
                *s = (struct sharing){.hash = hash, .count = count, .shown = arena_text(v->a->arena, "")};
                s->guests = arena_array(v->a->arena, count, sizeof(s->guests[0]));
                for (size_t i = 0; i < count; i++)
                        s->guests[i] = keys[i].guest;
                return s;
        }
        s = &v->sets.items[SETS_MAX - 1];
        if (!set_covers(s, keys, count))
                set_widen(v, s, keys, count);
        return s;
}

static void frame_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct pages_view *v = ctx;
        enum page_class class;
        struct sharing *s;

        if (!page_classify(v, keys[0].value[0], &class))
                return; /* the page of zeros, which belongs to nobody */
        s = set_of(v, keys, count);
        s->pages[class]++;
        if (s->shown_count++ < SHOWN_MAX)
                s->shown = arena_printf(v->a->arena, "%spage frame %" PRIu64 ": %s\n", s->shown, keys[0].value[0],
                                        class_names[class]);
}

static char *classes_text(struct audit *a, const struct sharing *s)
{
        char *text = arena_text(a->arena, "");

        for (int i = 0; i < PAGE_CLASSES; i++)
                if (s->pages[i])
                        text = arena_printf(a->arena, "%s%s%" PRIu64 " %s", text, *text ? ", " : "", s->pages[i],
                                            class_names[i]);
        return text;
}

static void sharing_report(struct pages_view *v, const struct sharing *s)
{
        struct audit *a = v->a;
        uint64_t total = 0;
        struct finding *f;

        for (int i = 0; i < PAGE_CLASSES; i++)
                total += s->pages[i];
        f = finding_add(a, v->class_error && s->pages[PAGE_UNKNOWN] == total ? VERDICT_UNKNOWN : VERDICT_FAIL, NULL,
                        "%zu guests have %s%" PRIu64 " page frames of RAM in common at this moment: %s.", s->count,
                        v->cut ? "at least " : "", total, classes_text(a, s));
        if (f->verdict == VERDICT_UNKNOWN) { /* it may be the page of zeros */
                f->needs = a->check->needs;
                finding_show_error(a, f, EVIDENCE_HOST, "pageflags", v->class_error);
        }
        for (size_t i = 0; i < s->count; i++) {
                const struct guest *g = a->inv.guests.items[s->guests[i]];

                finding_concern(a, f, g);
                v->concerned[g->index] = true;
                if (i < SHOWN_MAX)
                        finding_showf(a, f, GUEST_OWNER(g), piece_question(a, g),
                                      "asked three times: %" PRIu64 " of %" PRIu64
                                      " page frames are another guest's, too",
                                      total, v->pages[g->index]);
        }
        finding_showf(a, f, EVIDENCE_OPERATOR, "pageflags of the page frames in common", "%s", s->shown);
}

static void guest_error(struct pages_view *v, struct guest *g, int error)
{
        if (v->unreadable[g->index])
                return;
        v->unreadable[g->index] = true;
        if (g->ram.count > 0)
                finding_unknown(v->a, g, error, piece_question(v->a, g));
        else
                finding_unknown(v->a, g, error, arena_printf(v->a->arena, "RAM in read /proc/%d/smaps", g->vmm->pid));
}

/* wanted: only those guests; NULL: all. */
static void all_walk(struct pages_view *v, const bool *wanted, run_fn *fn)
{
        for (size_t i = 0; i < v->a->inv.guests.count; i++) {
                struct guest *g = v->a->inv.guests.items[i];
                int r;

                if (v->unreadable[i] || (wanted && !wanted[i]))
                        continue;
                r = g->ram.count > 0 ? guest_walk(v, g, fn) : -ENODATA;
                pfn_set_move(v->a->arena, &v->own, &v->seen, &v->again);
                if (r < 0)
                        guest_error(v, g, r);
        }
}

static void shared_find(struct pages_view *v)
{
        bool *wanted = arena_array(v->a->arena, v->a->inv.guests.count, sizeof(*wanted));

        all_walk(v, NULL, run_collect);
        pair_keys_sort(&v->keys);
        keys_unique(&v->keys);
        for (size_t i = 0; i < v->keys.count; i++)
                wanted[v->keys.items[i].guest] = true;
        all_walk(v, wanted, run_confirm);
        keys_keep_confirmed(&v->keys);
        pair_keys_shared(&v->keys, frame_shared, v);
}

void memory_pfn_pairs(struct audit *a)
{
        size_t n = a->inv.guests.count;
        struct pages_view v = {.a = a};

        v.concerned = arena_array(a->arena, n, sizeof(*v.concerned));
        v.unreadable = arena_array(a->arena, n, sizeof(*v.unreadable));
        v.common = arena_array(a->arena, n, sizeof(*v.common));
        v.pages = arena_array(a->arena, n, sizeof(*v.pages));
        all_walk(&v, NULL, run_check);
        if (v.again.count > 0)
                shared_find(&v);
        for (size_t i = 0; i < v.sets.count; i++)
                sharing_report(&v, &v.sets.items[i]);
        for (size_t i = 0; i < n; i++) {
                const struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (v.concerned[i] || v.unreadable[i])
                        continue;
                if (v.cut && v.common[i]) {
                        f = finding_add(a, VERDICT_UNKNOWN, g,
                                        "More page frames were seen in several guests than are compared here, some of "
                                        "them in the RAM of %s.",
                                        GUEST_MARK(a, g));
                        f->needs = "fewer pages in common: see the other findings of this check";
                        finding_showf(a, f, GUEST_OWNER(g), piece_question(a, g), "%" PRIu64 " page frames",
                                      v.pages[i]);
                        continue;
                }
                f = finding_add(a, VERDICT_PASS, g,
                                "No page frame of the RAM of %s is mapped into that of another guest.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), piece_question(a, g),
                              "%" PRIu64 " page frames, none of them another guest's", v.pages[i]);
        }
}
