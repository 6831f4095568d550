/* Policy files: lines, includes, and what must hold between entries. One line: entry.c. */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy.h"

/* A file that is being read, and the one whose include line led to it. */
struct source {
        struct source *from;
        bool require_fd;    /* `require fd` stands in it */
        bool error_placed;  /* an error came out of an include, and already says where it is */
        unsigned int depth; /* 1 for the file on the command line */
        const char *path;
        dev_t dev;
        ino_t ino;
};

static int file_parse(struct policy *p, const char *path, struct source *from, struct err *e);

struct policy *policy_new(void)
{
        return calloc(1, sizeof(struct policy));
}

bool policy_rule_is_first(const struct policy *p, unsigned int i)
{
        for (unsigned int j = 0; j < i; j++)
                if (p->rules[j].nr == p->rules[i].nr)
                        return false;
        return true;
}

static bool condition_equal(const struct condition *a, const struct condition *b)
{
        return a->arg == b->arg && a->wide == b->wide && a->op == b->op && a->value == b->value && a->mask == b->mask;
}

/* Does every condition of a stand in b too? */
static bool conditions_within(const struct rule *a, const struct rule *b)
{
        for (unsigned int i = 0; i < a->condition_count; i++) {
                bool found = false;

                for (unsigned int j = 0; j < b->condition_count && !found; j++)
                        found = condition_equal(&a->conditions[i], &b->conditions[j]);
                if (!found)
                        return false;
        }
        return true;
}

/*
 * An entry that another one of the same call already covers is dead text: at best a repetition, at worst a
 * narrow-looking line that hides a wide one.
 */
static int rule_add(struct policy *p, const struct rule *r, struct err *e)
{
        for (unsigned int i = 0; i < p->rule_count; i++) {
                struct rule *old = &p->rules[i];
                bool old_covers = conditions_within(old, r), new_covers = conditions_within(r, old);

                if (old->nr != r->nr || (!old_covers && !new_covers))
                        continue;
                /* Between two files it is what their union means: the wider one holds. */
                if (old->file != r->file) {
                        if (!old_covers)
                                continue;
                        if (r->mark < old->mark) /* one of them needs it more often */
                                old->mark = r->mark;
                        return 0;
                }
                return err_bad(e, STATUS_FAILURE, "%s: %s %s:%u", r->call,
                               old_covers && new_covers ? "duplicate of"
                               : old_covers             ? "already allowed by the wider entry at"
                                                        : "wider than, and so hides, the entry at",
                               p->files[old->file], old->line);
        }
        if (p->rule_count == POLICY_RULES_MAX)
                return err_bad(e, STATUS_FAILURE, "more than %d entries", POLICY_RULES_MAX);
        p->rules[p->rule_count++] = *r;
        return 0;
}

/* Reads the file named by an include line; a relative name starts at the including file's directory. */
static int include_parse(struct policy *p, const char *name, struct source *from, struct err *e)
{
        char path[POLICY_PATH_MAX], dir[POLICY_PATH_MAX];
        int n;

        if (*name == '\0')
                return err_bad(e, STATUS_FAILURE, "include names no file");
        if (from->depth == POLICY_INCLUDE_DEPTH_MAX)
                return err_bad(e, STATUS_FAILURE, "includes are more than %d deep", POLICY_INCLUDE_DEPTH_MAX);
        snprintf(dir, sizeof(dir), "%s", from->path);
        n = snprintf(path, sizeof(path), "%s/%s", dirname(dir), name);
        if (*name == '/')
                n = snprintf(path, sizeof(path), "%s", name);
        if (n < 0 || (size_t)n >= sizeof(path))
                return err_set(e, -ENAMETOOLONG, "include %s", name);
        return file_parse(p, path, from, e);
}

/* Blanks at both ends go. */
static char *trim(char *text)
{
        char *end;

        text += strspn(text, " \t\r");
        for (end = text + strlen(text); end > text && strchr(" \t\r", end[-1]); end--)
                ;
        *end = '\0';
        return text;
}

/* Does the line start with this word? *ret_rest is what follows it. */
static bool word_is(char *line, const char *word, char **ret_rest)
{
        size_t len = strlen(word);

        if (strncmp(line, word, len) != 0 || !(line[len] == '\0' || strchr(" \t", line[len])))
                return false;
        *ret_rest = trim(line + len);
        return true;
}

static int line_parse(struct policy *p, char *line, struct source *s, unsigned int file, unsigned int number,
                      struct err *e)
{
        struct rule rule;
        char *rest;
        int r;

        line = trim(line);
        if (*line == '\0' || *line == '#')
                return 0;
        if (word_is(line, "include", &rest))
                return include_parse(p, rest, s, e);
        if (word_is(line, "require", &rest)) {
                if (strcmp(rest, "fd") != 0)
                        return err_bad(e, STATUS_FAILURE, "require %s: only fd can be required", rest);
                s->require_fd = true;
                return 0;
        }
        r = policy_entry_parse(p, line, &rule, e);
        if (r < 0)
                return r;
        rule.file = file;
        rule.line = number;
        return rule_add(p, &rule, e);
}

static int cycle_check(const struct source *s, struct err *e)
{
        for (const struct source *up = s->from; up; up = up->from)
                if (up->dev == s->dev && up->ino == s->ino)
                        return err_bad(e, STATUS_FAILURE, "%s includes itself", s->path);
        return 0;
}

/* What a file requires holds for all its entries, also above the line and in what it includes. */
static int requirements_check(const struct policy *p, unsigned int first, struct err *e)
{
        for (unsigned int i = first; i < p->rule_count; i++) {
                int r = fd_check(&p->rules[i], e);

                if (r < 0)
                        return err_wrap(e, r, "%s:%u", p->files[p->rules[i].file], p->rules[i].line);
        }
        return 0;
}

static int file_parse(struct policy *p, const char *path, struct source *from, struct err *e)
{
        struct source s = {.from = from, .depth = from ? from->depth + 1 : 1, .path = path};
        _cleanup_free_ char *text = NULL;
        unsigned int file = 0, number = 0, first = p->rule_count;
        char *cursor, *line;
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return err_set(e, -errno, "%s", path);
        s.dev = st.st_dev;
        s.ino = st.st_ino;
        r = cycle_check(&s, e);
        if (r == 0)
                r = policy_read_text(path, &text, e);
        if (r == 0)
                r = policy_add_file(p, path, &file, e);
        if (r < 0)
                return r;
        for (cursor = text; (line = policy_next_line(&cursor));) {
                number++;
                r = line_parse(p, line, &s, file, number, e);
                if (r == 0)
                        continue;
                if (from)
                        from->error_placed = true;
                return s.error_placed ? r : err_wrap(e, r, "%s:%u", path, number);
        }
        if (!from)
                p->require_fd = s.require_fd;
        r = s.require_fd ? requirements_check(p, first, e) : 0;
        if (r < 0 && from)
                from->error_placed = true;
        return r;
}

int policy_parse(struct policy *p, const char *path, struct err *e)
{
        int r = file_parse(p, path, NULL, e);

        if (r < 0)
                return r;
        /* An empty policy kills the process that installs it at its next step: never what was meant. */
        if (p->rule_count == 0)
                return err_bad(e, STATUS_FAILURE, "%s:1: no entries", path);
        return 0;
}
