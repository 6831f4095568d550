/* The recorded host. See fixture.h for the format. */
#include "audit/observe/fixture.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/observe/observe.h"
#include "audit/text.h"
#include "base/number.h"

struct record {
        char *question;
        struct answer answer;
        size_t room; /* bytes of answer.bytes */
        bool gone;
};

struct fixture {
        struct observer o;
        void *records[FIXTURE_BASE_MAX]; /* tsearch(3) trees of struct record, the nearest first */
        size_t layers;
};

static int by_question(const void *a, const void *b)
{
        return strcmp(((const struct record *)a)->question, ((const struct record *)b)->question);
}

static void fixture_ask(struct observer *o, const char *question, struct answer *ret)
{
        struct fixture *f = (struct fixture *)o;
        const struct record key = {.question = (char *)(uintptr_t)question};

        ret->error = -ENOENT;
        for (size_t i = 0; i < f->layers; i++) {
                struct record *const *found = tfind(&key, &f->records[i], by_question);

                if (!found)
                        continue;
                if (!(*found)->gone) {
                        *ret = (*found)->answer;
                        if (ret->bytes) /* askers cut answers into lines in place */
                                ret->bytes = arena_copy(o->arena, ret->bytes, ret->len);
                }
                return;
        }
}

static void nothing(void *p)
{
        (void)p; /* records are in the arena */
}

static void fixture_close(struct observer *o)
{
        struct fixture *f = (struct fixture *)o;

        for (size_t i = 0; i < f->layers; i++)
                tdestroy(f->records[i], nothing);
}

struct reader {
        struct fixture *f;
        const char *path;
        size_t line;
        struct record *current;
        char *base;
};

static int malformed(const struct reader *r, const char *why, struct err *e)
{
        return err_bad(e, STATUS_USAGE, "read fixture %s, line %zu: %s", r->path, r->line, why);
}

static struct record *record_add(struct reader *r, const char *question, size_t len)
{
        struct arena *a = r->f->o.arena;
        struct record *new = arena_alloc(a, sizeof(*new)), **found;

        *new = (struct record){.question = text_unescape(a, question, len, &len),
                               .answer = {.bytes = arena_copy(a, "", 0)}};
        if (!new->question)
                return NULL;
        found = tsearch(new, &r->f->records[r->f->layers], by_question);
        if (!found)
                a->exhausted();
        **found = *new;
        return *found;
}

static int answer_append(struct reader *r, const char *text, size_t len, bool newline, struct err *e)
{
        struct arena *a = r->f->o.arena;
        struct answer *answer = &r->current->answer;
        char *more = text_unescape(a, text, len, &len);

        if (!more)
                return malformed(r, "an escape that does not end", e);
        if (!answer->bytes)
                return malformed(r, "a text after an error", e);
        if (answer->len + len + 2 > r->current->room) {
                char *moved;

                r->current->room = 2 * (answer->len + len + 2);
                moved = arena_alloc(a, r->current->room);
                memcpy(moved, answer->bytes, answer->len);
                answer->bytes = moved;
        }
        memcpy(answer->bytes + answer->len, more, len);
        answer->len += len;
        if (newline)
                answer->bytes[answer->len++] = '\n';
        answer->bytes[answer->len] = '\0';
        return 0;
}

static int line_read(struct reader *r, const char *line, size_t len, struct err *e)
{
        uint64_t number;

        if (r->line == 1)
                return strcmp(line, FIXTURE_MAGIC) == 0 ? 0 : malformed(r, "not \"" FIXTURE_MAGIC "\"", e);
        if (len == 0 || line[0] == '#')
                return 0;
        if (text_has_prefix(line, "base ")) {
                r->base = arena_text(r->f->o.arena, line + 5);
                return 0;
        }
        if (text_has_prefix(line, "? ") || text_has_prefix(line, "gone ")) {
                size_t skip = line[0] == '?' ? 2 : 5;

                r->current = record_add(r, line + skip, len - skip);
                if (!r->current)
                        return malformed(r, "an escape that does not end", e);
                r->current->gone = line[0] == 'g';
                return 0;
        }
        if (!r->current)
                return malformed(r, "an answer before any question", e);
        if (text_has_prefix(line, "! ")) {
                if (number_parse(line + 2, 4095, &number) < 0 || number == 0)
                        return malformed(r, "not an error number", e);
                r->current->answer = (struct answer){.error = -(int)number};
                return 0;
        }
        if (text_has_prefix(line, "= "))
                return answer_append(r, line + 2, len - 2, false, e);
        if (line[0] == '|' || line[0] == '\\')
                return answer_append(r, line + 1, len - 1, line[0] == '|', e);
        return malformed(r, "neither question nor answer", e);
}

static int file_read(struct fixture *f, const char *path, char **ret_base, struct err *e)
{
        struct reader r = {.f = f, .path = path};
        char *line = NULL;
        size_t room = 0;
        ssize_t n;
        int result = 0;
        FILE *file = fopen(path, "re");

        if (!file)
                return err_set(e, -errno, "open fixture %s", path);
        while (result == 0 && (n = getline(&line, &room, file)) >= 0) {
                if (n > 0 && line[n - 1] == '\n')
                        line[--n] = '\0';
                r.line++;
                result = line_read(&r, line, (size_t)n, e);
        }
        if (result == 0 && ferror(file))
                result = err_set(e, -EIO, "read fixture %s", path);
        if (result == 0 && r.line == 0)
                result = malformed(&r, "empty", e);
        free(line);
        fclose(file);
        f->layers++;
        *ret_base = r.base;
        return result;
}

struct observer *observer_fixture(struct arena *a, const char *path, struct err *e)
{
        struct fixture *f = arena_alloc(a, sizeof(*f));
        const char *slash = strrchr(path, '/');
        int directory = slash ? (int)(slash - path) + 1 : 0;
        const char *next = path;
        char *base = NULL;

        f->o = (struct observer){.arena = a, .ask = fixture_ask, .close = fixture_close};
        do {
                if (f->layers == FIXTURE_BASE_MAX) {
                        err_bad(e, STATUS_USAGE, "read fixture %s: more than %d on top of each other", path,
                                FIXTURE_BASE_MAX);
                        fixture_close(&f->o);
                        return NULL;
                }
                if (file_read(f, next, &base, e) < 0) {
                        fixture_close(&f->o);
                        return NULL;
                }
                next = base ? arena_printf(a, "%.*s%s", directory, path, base) : NULL;
        } while (next);
        return &f->o;
}
