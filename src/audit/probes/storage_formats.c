/* What a guest can make of an image's first bytes, and which other files those name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/model/access.h"
#include "audit/model/image_header.h"
#include "audit/probes/fds.h"
#include "audit/probes/storage.h"
#include "audit/text.h"

#define CHAIN_MAX 16 /* images on top of each other */

static int head_parse(struct audit *a, const char *path, struct image_header *ret, struct answer *ret_head)
{
        int r = observe(a->observer, ret_head, "head %s", path);

        if (r == 0)
                image_header_parse(a->arena, ret_head->bytes, ret_head->len, ret);
        return r;
}

static char *fd_path(struct audit *a, const struct image *m)
{
        return arena_printf(a->arena, "/proc/%d/fd/%d", m->process->pid, m->fd->number);
}

/* The first bytes, as hexadecimal numbers: a magic is seldom text. */
static char *head_text(struct audit *a, const struct answer *head)
{
        char *text = arena_text(a->arena, "");

        for (size_t i = 0; i < head->len && i < 16; i++)
                text = arena_printf(a->arena, "%s%s%02x", text, i ? " " : "", (unsigned char)head->bytes[i]);
        return text;
}

static void show_head(struct audit *a, struct finding *f, const struct image *m, const struct image_header *h,
                      const struct answer *head)
{
        finding_showf(a, f, GUEST_OWNER(m->guest), arena_printf(a->arena, "head %s", fd_path(a, m)),
                      "%s: format %s by its first bytes: %s\ncommand line: %s", m->fd->link,
                      image_format_names[h->format], head_text(a, head),
                      m->argument ? m->argument : "does not name it");
}

/* ---- probing ---- */

static enum verdict probe_verdict(const struct image *m, const struct image_header *h, const char **ret_why)
{
        if (!m->writable) {
                *ret_why = "cannot write to it";
                return VERDICT_PASS;
        }
        switch (m->choice) {
        case CHOICE_EXPLICIT:
                *ret_why = "cannot reach the header: the monitor was told its format";
                return VERDICT_PASS;
        case CHOICE_RAW:
                *ret_why = h->format == IMAGE_RAW
                                   ? "gains nothing by writing a header: the monitor takes the image for raw"
                                   : "has written a header of another format into a raw image: whatever "
                                     "else opens it must be told that it is raw";
                return h->format == IMAGE_RAW ? VERDICT_PASS : VERDICT_WARN;
        case CHOICE_PROBED:
                *ret_why = h->format == IMAGE_RAW
                                   ? "can write a header that names files of the host: its monitor looks at the first "
                                     "bytes of a raw image to find out its format"
                                   : "cannot reach the header, but nobody has told its monitor which format to expect";
                return h->format == IMAGE_RAW ? VERDICT_FAIL : VERDICT_WARN;
        case CHOICE_UNKNOWN:
                break;
        }
        *ret_why = "writes to an image, and nothing shows how its monitor finds out the format";
        return VERDICT_UNKNOWN;
}

void storage_probe_guest(struct audit *a, struct guest *g)
{
        struct image_list images = {0};
        struct image_header header = {0}, worst_header = {0};
        struct answer head, worst_head = {0};
        const struct image *worst = NULL;
        enum verdict verdict = VERDICT_NA;
        const char *why = "", *worst_why = "";
        struct finding *f;

        if (fds_unread(a, g))
                return;
        images_read(a, g, &images);
        for (size_t i = 0; i < images.count; i++) {
                enum verdict v;
                int r = head_parse(a, fd_path(a, &images.items[i]), &header, &head);

                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "head %s", fd_path(a, &images.items[i])));
                        return;
                }
                v = probe_verdict(&images.items[i], &header, &why);
                if (v > verdict) {
                        verdict = v;
                        worst = &images.items[i];
                        worst_why = why;
                        worst_header = header;
                        worst_head = head;
                }
        }
        if (!worst) {
                storage_no_image(a, g);
                return;
        }
        f = finding_add(a, verdict, g, "%s %s.", GUEST_MARK(a, g), worst_why);
        show_head(a, f, worst, &worst_header, &worst_head);
}

/* ---- chains ---- */

struct chain {
        struct audit *a;
        struct image_list images;     /* of all guests */
        size_t *first;                /* [guest]: where its own begin; one more: the end */
        struct pair_key_list writers; /* object of each image that is written to; extra: index in images */
        struct pair_key_list bases;   /* objects that chains end at; extra: index in images of the top */
        bool *done;                   /* [guest]: has its finding */
};

struct verdict_of {
        enum verdict v;
        const char *below; /* "" or "/proc/PID/root": the tree that the monitor of the image at hand sees */
        const char *why;
        char *evidence;
        const struct guest *other;
        int error;
        char *question;
};

static void worse(struct verdict_of *o, enum verdict v, const char *why)
{
        if (v <= o->v)
                return;
        o->v = v;
        o->why = why;
}

static const struct image *writer_of(const struct chain *c, const struct observed_stat *st)
{
        const uint64_t object[2] = {S_ISBLK(st->mode) ? UINT64_MAX : st->dev, S_ISBLK(st->mode) ? st->rdev : st->ino};
        size_t low = 0, high = c->writers.count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const uint64_t *v = c->writers.items[middle].value;

                if (v[0] < object[0] || (v[0] == object[0] && v[1] < object[1]))
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low < c->writers.count && c->writers.items[low].value[0] == object[0] &&
            c->writers.items[low].value[1] == object[1])
                return &c->images.items[c->writers.items[low].extra];
        return NULL;
}

/* Whoever starts the monitor has named the file: it is no surprise that an image brought. */
static bool is_declared(const struct process *p, const char *path)
{
        for (size_t i = 1; i < p->argc; i++)
                if (image_argument_names(p->argv[i], path))
                        return true;
        return false;
}

/* Up to the last slash, which stays out: "" for one in the root directory, and for a path without a slash. */
static char *directory_of(struct audit *a, const char *path)
{
        const char *slash = strrchr(path, '/');

        return arena_copy(a->arena, path, slash ? (size_t)(slash - path) : 0);
}

static bool below(const char *path, const char *directory)
{
        size_t n = strlen(directory);

        return strncmp(path, directory, n) == 0 && (path[n] == '/' || (n > 0 && directory[n - 1] == '/'));
}

static void judge_place(struct chain *c, const struct image *top, const char *resolved, const struct observed_stat *st,
                        bool is_base, struct verdict_of *o)
{
        static const char *const never[] = {"/dev", "/etc", "/proc", "/sys", "/root", "/boot"};
        char *directory = directory_of(c->a, top->path);
        struct identity vmm = {.anybody = true};
        const struct thread *t = top->process->threads.count ? &top->process->threads.items[0] : NULL;
        struct path_step file = {.st = *st};
        const struct image *writer = writer_of(c, st);

        if (writer && (is_base || writer->guest != top->guest)) {
                worse(o, VERDICT_FAIL, "names a file that a guest can write to");
                o->other = writer->guest == top->guest ? NULL : writer->guest;
        }
        if (is_declared(top->process, resolved))
                return;
        for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
                if (below(resolved, never[i]))
                        worse(o, VERDICT_FAIL, "names a file of the host's that is no image");
        if (!below(resolved, *directory ? directory : "/"))
                worse(o, VERDICT_FAIL,
                      "names a file outside of its own directory, and nobody who starts the monitor has named that");
        if (t)
                vmm = (struct identity){.uid = t->uid[1], .gid = t->gid[1], .groups = &t->groups};
        if (is_base && step_grants(&file, &vmm, ACCESS_WRITE))
                worse(o, VERDICT_WARN, "names a file that the monitor's user could write to");
}

static bool chain_follow(struct chain *c, const struct image *top, const char *path, int depth, struct verdict_of *o);

/* One name in the header of the image at path, both as the monitor sees them. */
static void name_judge(struct chain *c, const struct image *top, const char *path, const struct image_name *n,
                       int depth, struct verdict_of *o)
{
        struct audit *a = c->a;
        const char *name = text_has_prefix(n->name, "file:") ? n->name + 5 : n->name;
        char *full;
        struct path_walk w;
        const struct path_step *leaf;
        bool is_base = strcmp(n->role, "data file") != 0 && strcmp(n->role, "extent") != 0; /* which are its own */

        o->evidence = arena_printf(a->arena, "%s%s: %s %s\n", o->evidence, path, n->role, n->name);
        if (name[strcspn(name, ":/")] == ':') {
                worse(o, VERDICT_FAIL, "names something that is not a file by a protocol");
                return;
        }
        full = name[0] == '/' ? arena_text(a->arena, name)
                              : arena_printf(a->arena, "%s/%s", directory_of(a, path), name);
        path_walk(a->observer, o->below, full, &w);
        if (w.error == -ENOENT || w.error == -ENOTDIR) {
                worse(o, VERDICT_FAIL, "names a file that is not there: whoever makes one gives it to the guest");
                return;
        }
        if (w.error < 0) {
                o->error = w.error;
                o->question = w.question;
                return;
        }
        leaf = &w.steps.items[w.steps.count - 1];
        o->evidence = arena_printf(a->arena, "%s  which is %s, mode %o uid %u\n", o->evidence, w.resolved,
                                   leaf->st.mode, leaf->st.uid);
        if (!S_ISREG(leaf->st.mode) && !S_ISBLK(leaf->st.mode)) {
                worse(o, VERDICT_FAIL, "names what is neither a file nor a block device");
                return;
        }
        judge_place(c, top, w.resolved, &leaf->st, is_base, o);
        *GROW(a->arena, &c->bases) = (struct pair_key){.value = {S_ISBLK(leaf->st.mode) ? UINT64_MAX : leaf->st.dev,
                                                                 S_ISBLK(leaf->st.mode) ? leaf->st.rdev : leaf->st.ino},
                                                       .guest = top->guest->index,
                                                       .extra = (size_t)(top - c->images.items)};
        if (is_base)
                chain_follow(c, top, w.resolved, depth + 1, o);
}

/* Follows what the image at path names. Returns whether it names anything. A loop is as deep as any chain that is too
 * deep. */
static bool chain_follow(struct chain *c, const struct image *top, const char *path, int depth, struct verdict_of *o)
{
        struct image_header h = {0};
        struct answer head;
        char *where = depth == 0 ? fd_path(c->a, top) : arena_printf(c->a->arena, "%s%s", o->below, path);
        int r;

        if (depth == CHAIN_MAX) {
                worse(o, VERDICT_FAIL, "is at the top of a chain that is a loop, or longer than 16 images");
                return true;
        }
        r = head_parse(c->a, where, &h, &head);
        if (r < 0) {
                o->error = r;
                o->question = arena_printf(c->a->arena, "head %s", where);
                return false;
        }
        if (h.malformed)
                worse(o, VERDICT_FAIL, "has a header that contradicts itself");
        if (h.unresolved) {
                o->evidence =
                        arena_printf(c->a->arena, "%s%s: format %s, names other files where this audit does not read\n",
                                     o->evidence, path, image_format_names[h.format]);
                worse(o, VERDICT_UNKNOWN, "may depend on other files, which are named where this audit does not read");
        }
        for (size_t i = 0; i < h.names.count && o->v != VERDICT_FAIL; i++)
                name_judge(c, top, path, &h.names.items[i], depth, o);
        return h.names.count > 0;
}

static void guest_follow(struct chain *c, struct guest *g, struct verdict_of *o, size_t *ret_images)
{
        for (size_t i = c->first[g->index]; i < c->first[g->index + 1]; i++) {
                const struct image *m = &c->images.items[i];

                ++*ret_images;
                /* What a raw image's bytes say is the guest's own business. */
                if (m->choice == CHOICE_RAW)
                        continue;
                o->below = m->process->ns[NS_MNT] == c->a->host.ns[NS_MNT]
                                   ? ""
                                   : arena_printf(c->a->arena, "/proc/%d/root", m->process->pid);
                chain_follow(c, m, m->path, 0, o);
        }
}

static void base_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct chain *c = ctx;
        struct audit *a = c->a;
        struct finding *f = NULL;

        for (size_t i = 0; i < count; i++) {
                const struct image *top = &c->images.items[keys[i].extra];

                if (c->done[keys[i].guest])
                        continue;
                if (!f)
                        f = finding_add(
                                a, VERDICT_WARN, NULL,
                                "Disk images of these guests rest on the same file: whether a block of it is in the host's cache "
                                "tells one what another has read.");
                c->done[keys[i].guest] = true;
                *GROW(a->arena, &f->guests) = keys[i].guest; /* none is twice: finding_concern() would look */
                finding_showf(a, f, GUEST_OWNER(top->guest), arena_printf(a->arena, "head %s", fd_path(a, top)),
                              "%s rests on device %u:%u inode %llu", top->path, OBSERVED_MAJOR(keys[i].value[0]),
                              OBSERVED_MINOR(keys[i].value[0]), (unsigned long long)keys[i].value[1]);
        }
}

static void guest_conclude(struct chain *c, struct guest *g, const struct verdict_of *o, size_t images)
{
        struct audit *a = c->a;
        struct finding *f;

        if (o->error < 0 && o->v < VERDICT_FAIL) {
                finding_unknown(a, g, o->error, o->question);
        } else if (o->v > VERDICT_PASS) {
                f = finding_add(a, o->v, g, "A disk image of %s %s.", GUEST_MARK(a, g), o->why);
                if (o->other)
                        finding_concern(a, f, o->other);
                finding_showf(a, f, GUEST_OWNER(g), "headers of its disk images", "%s", o->evidence);
        } else if (images == 0)
                storage_no_image(a, g);
        else
                return;
        c->done[g->index] = true;
}

void storage_chain_host(struct audit *a)
{
        size_t n = a->inv.guests.count;
        struct chain c = {.a = a,
                          .first = arena_array(a->arena, n + 1, sizeof(*c.first)),
                          .done = arena_array(a->arena, n, sizeof(*c.done))};
        struct verdict_of *of = arena_array(a->arena, n, sizeof(*of));

        if (n == 0)
                return;
        for (size_t i = 0; i < n; i++) {
                images_read(a, a->inv.guests.items[i], &c.images);
                c.first[i + 1] = c.images.count;
        }
        for (size_t i = 0; i < c.images.count; i++)
                if (c.images.items[i].writable)
                        *GROW(a->arena, &c.writers) =
                                (struct pair_key){.value = {c.images.items[i].object[0], c.images.items[i].object[1]},
                                                  .guest = c.images.items[i].guest->index,
                                                  .extra = i};
        pair_keys_sort(&c.writers);
        for (size_t i = 0; i < n; i++) {
                struct guest *g = a->inv.guests.items[i];
                size_t images = 0;

                if (fds_unread(a, g)) {
                        c.done[i] = true;
                        continue;
                }
                of[i] = (struct verdict_of){.v = VERDICT_PASS, .evidence = arena_text(a->arena, "")};
                guest_follow(&c, g, &of[i], &images);
                guest_conclude(&c, g, &of[i], images);
        }
        pair_keys_sort(&c.bases);
        pair_keys_shared(&c.bases, base_shared, &c);
        for (size_t i = 0; i < n; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (c.done[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g,
                                "The disk images of %s name no other file, or only some of their own.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "headers of its disk images", "%s",
                              *of[i].evidence ? of[i].evidence
                                              : "none is of a format that names other files, or is read as one");
        }
}
