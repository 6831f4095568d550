/* Numbers and names: integer literals, and the `#define` lines of headers given with --defines. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "policy.h"

static int digit_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return 16;
}

int number_literal_parse(const char *text, struct number *ret, const char **ret_end)
{
        bool negative = *text == '-';
        const char *p = text + negative;
        unsigned int base = 10;
        uint64_t v = 0;
        const char *digits;

        if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
                base = 16;
                p += 2;
        } else if (p[0] == '0' && isdigit((unsigned char)p[1])) {
                return -EINVAL; /* octal in C, decimal to most readers: neither is meant */
        }
        for (digits = p; (unsigned int)digit_value(*p) < base; p++)
                if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
                    __builtin_add_overflow(v, (uint64_t)digit_value(*p), &v))
                        return -ERANGE;
        if (p == digits)
                return -EINVAL;
        if (negative && v > (uint64_t)INT64_MAX)
                return -ERANGE;
        *ret = (struct number){.bits = negative ? -v : v, .negative = negative && v != 0};
        *ret_end = p;
        return 0;
}

bool policy_name_char(char c)
{
        return isalnum((unsigned char)c) || c == '_';
}

int policy_symbol_find(const struct policy *p, const char *name, struct number *ret)
{
        for (unsigned int i = 0; i < p->symbol_count; i++)
                if (strcmp(p->symbols[i].name, name) == 0) {
                        *ret = p->symbols[i].value;
                        return 0;
                }
        return constant_find(name, ret);
}

int policy_read_text(const char *path, char **ret, struct err *e)
{
        _cleanup_free_ char *text = malloc(POLICY_FILE_BYTES_MAX);
        ssize_t n;

        if (!text)
                return err_set(e, -ENOMEM, "%s", path);
        n = io_read_file_at(AT_FDCWD, path, text, POLICY_FILE_BYTES_MAX);
        if (n < 0)
                return err_set(e, (int)n, "%s", path);
        if (strlen(text) != (size_t)n)
                return err_bad(e, STATUS_FAILURE, "%s: a zero byte inside", path);
        *ret = TAKE_PTR(text);
        return 0;
}

char *policy_next_line(char **cursor)
{
        char *line = *cursor;
        char *end;

        if (!line)
                return NULL;
        end = strchr(line, '\n');
        if (end)
                *end++ = '\0';
        *cursor = end;
        return line;
}

int policy_add_file(struct policy *p, const char *path, unsigned int *ret, struct err *e)
{
        if (p->file_count == POLICY_FILES_MAX)
                return err_set(e, -E2BIG, "%s: more than %d files", path, POLICY_FILES_MAX);
        if (strlen(path) >= POLICY_PATH_MAX)
                return err_set(e, -ENAMETOOLONG, "%s", path);
        memcpy(p->files[p->file_count], path, strlen(path) + 1);
        *ret = p->file_count++;
        return 0;
}

/* Is the rest of a #define nothing but an integer's suffix, blanks and a comment? */
static bool rest_is_nothing(const char *text)
{
        text += strspn(text, "uUlL");
        text += strspn(text, " \t\r");
        return *text == '\0' || strncmp(text, "/*", 2) == 0 || strncmp(text, "//", 2) == 0;
}

/*
 * Takes `#define NAME INTEGER` apart. Returns 1, 0 for any other line, or a negative errno for an integer
 * that does not fit.
 */
static int define_parse(const char *line, struct symbol *ret)
{
        static const char word[] = "#define";
        const char *name = line + sizeof(word) - 1;
        const char *end;
        size_t len;
        int r;

        if (strncmp(line, word, sizeof(word) - 1) != 0)
                return 0;
        name += strspn(name, " \t");
        for (len = 0; policy_name_char(name[len]); len++)
                ;
        if (len == 0 || (name[len] != ' ' && name[len] != '\t'))
                return 0;
        if (len >= sizeof(ret->name))
                return -ENAMETOOLONG;
        end = name + len + strspn(name + len, " \t");
        r = number_literal_parse(end, &ret->value, &end);
        if (r == -ERANGE)
                return r;
        if (r < 0 || !rest_is_nothing(end))
                return 0;
        memcpy(ret->name, name, len);
        ret->name[len] = '\0';
        return 1;
}

static int symbol_add(struct policy *p, const struct symbol *s, struct err *e)
{
        struct number known;

        if (policy_symbol_find(p, s->name, &known) == 0) {
                if (known.bits == s->value.bits && known.negative == s->value.negative)
                        return 0;
                return err_bad(e, STATUS_FAILURE, "%s is already known with another value", s->name);
        }
        if (p->symbol_count == POLICY_SYMBOLS_MAX)
                return err_bad(e, STATUS_FAILURE, "more than %d names", POLICY_SYMBOLS_MAX);
        p->symbols[p->symbol_count++] = *s;
        return 0;
}

int policy_read_defines(struct policy *p, const char *path, struct err *e)
{
        _cleanup_free_ char *text = NULL;
        unsigned int file, number = 0;
        char *cursor, *line;
        int r = policy_read_text(path, &text, e);

        if (r < 0)
                return r;
        r = policy_add_file(p, path, &file, e);
        if (r < 0)
                return r;
        for (cursor = text; (line = policy_next_line(&cursor));) {
                struct symbol s;

                number++;
                r = define_parse(line, &s);
                if (r < 0)
                        r = err_set(e, r, "a #define");
                else if (r > 0)
                        r = symbol_add(p, &s, e);
                if (r < 0)
                        return err_wrap(e, r, "%s:%u", path, number);
        }
        return 0;
}
