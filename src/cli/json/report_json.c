#include "cli/json/report_json.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "cli/json/json_text.h"

static void text_clean(char *text, size_t len)
{
        for (size_t i = 0, n; i < len; i += n) {
                n = utf8_sequence_len(text + i, len - i);
                if (n == 0 || text[i] == '\0') {
                        text[i] = '?';
                        n = 1;
                }
        }
}

static int unescape(char *text, struct err *e)
{
        char *out = text;

        for (const char *p = text; *p; p++) {
                if (*p != '\\') {
                        *out++ = *p;
                        continue;
                }
                p++;
                if (*p != 't' && *p != 'n' && *p != '\\')
                        return err_bad(e, STATUS_FAILURE, "backslash without t, n or backslash after it");
                *out++ = (char)(*p == 't' ? '\t' : *p == 'n' ? '\n' : '\\');
        }
        *out = '\0';
        return 0;
}

static int integer_new(const char *text, json_t **ret, struct err *e)
{
        bool negative = text[0] == '-';
        uint64_t v;

        if (number_parse(text + negative, INT64_MAX, &v) < 0)
                return err_bad(e, STATUS_FAILURE, "'%.32s' is not an integer of 64 bits with sign", text);
        *ret = json_integer(negative ? -(json_int_t)v : (json_int_t)v);
        return 0;
}

/* *ret is NULL, with 0 returned, when memory is short: json_add() and its like make an error of that. */
static int value_new(char type, char *text, json_t **ret, struct err *e)
{
        int r;

        switch (type) {
        case 's':
                r = unescape(text, e);
                if (r == 0)
                        *ret = json_string(text);
                return r;
        case 'i':
                return integer_new(text, ret, e);
        case 'b':
                if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
                        return err_bad(e, STATUS_FAILURE, "'%.32s' is not true or false", text);
                *ret = json_boolean(text[0] == 't');
                return 0;
        case 'n':
        case 'a':
        case 'o':
                if (text[0] != '\0')
                        return err_bad(e, STATUS_FAILURE, "type %c takes no value", type);
                *ret = type == 'n' ? json_null() : type == 'a' ? json_array() : json_object();
                return 0;
        default:
                return err_bad(e, STATUS_FAILURE, "unknown type '%c'", type);
        }
}

static bool is_index(const char *component)
{
        return component[0] != '\0' && component[strspn(component, "0123456789")] == '\0';
}

/* The kind of container that has component as a member. */
static json_t *container_new(const char *component)
{
        return is_index(component) ? json_array() : json_object();
}

/* The member, not owned by the caller, or NULL when there is none yet. */
static int member_get(json_t *container, const char *component, json_t **ret, struct err *e)
{
        uint64_t i;

        if (component[0] == '\0')
                return err_bad(e, STATUS_FAILURE, "empty component in the path");
        if (!is_index(component)) {
                if (!json_is_object(container))
                        return err_bad(e, STATUS_FAILURE, "'%.64s' is a key, but not of an object", component);
                *ret = json_object_get(container, component);
                return 0;
        }
        if (!json_is_array(container))
                return err_bad(e, STATUS_FAILURE, "'%.64s' is an index, but not into an array", component);
        if (number_parse(component, json_array_size(container), &i) < 0)
                return err_bad(e, STATUS_FAILURE, "index %.64s is not at most the next one", component);
        *ret = json_array_get(container, i);
        return 0;
}

/* Adds a member that member_get() did not find; takes v over. */
static int member_add(json_t *container, const char *component, json_t *v, struct err *e)
{
        if (!json_is_array(container))
                return json_add(container, component, v, e);
        if (json_array_append_new(container, v) < 0)
                return err_set(e, -ENOMEM, "build JSON");
        return 0;
}

/* Puts v, which it takes over, at path, cutting path into its components. */
static int value_put(json_t **root, char *path, json_t *v, struct err *e)
{
        _cleanup_json_ json_t *value = v;
        char *rest = path;
        const char *component = strsep(&rest, "/");
        const char *above;
        json_t *container, *next = NULL;

        if (!*root && !(*root = container_new(component)))
                return err_set(e, -ENOMEM, "build JSON");
        container = *root;
        for (int depth = 1;; depth++) {
                int r = member_get(container, component, &next, e);

                if (r < 0)
                        return r;
                if (!rest)
                        break;
                if (depth == REPORT_DEPTH_MAX)
                        return err_bad(e, STATUS_FAILURE, "path has more than %d components", REPORT_DEPTH_MAX);
                above = component;
                component = strsep(&rest, "/");
                if (!next) {
                        next = container_new(component);
                        r = member_add(container, above, next, e);
                        if (r < 0)
                                return r;
                }
                container = next;
        }
        if (next)
                return err_bad(e, STATUS_FAILURE, "'%.64s' is set twice", component);
        return member_add(container, component, TAKE_PTR(value), e);
}

/* Takes one line, terminated by a zero instead of its newline. */
static int line_read(json_t **root, char *line, struct err *e)
{
        char *rest = line;
        const char *type = strsep(&rest, "\t");
        char *path = strsep(&rest, "\t");
        json_t *v = NULL;
        int r;

        if (!rest || strlen(type) != 1)
                return err_bad(e, STATUS_FAILURE, "not TYPE, tab, PATH, tab, VALUE");
        if (strchr(rest, '\t'))
                return err_bad(e, STATUS_FAILURE, "tab in the value");
        r = value_new(type[0], rest, &v, e);
        if (r < 0)
                return r;
        if (path[0] != '\0')
                return value_put(root, path, v, e);
        if (*root || (type[0] != 'a' && type[0] != 'o')) {
                json_decref(v);
                return err_bad(e, STATUS_FAILURE, "empty path");
        }
        *root = v;
        return v ? 0 : err_set(e, -ENOMEM, "build JSON");
}

int report_json_build(char *lines, size_t len, char **ret_text, struct err *e)
{
        _cleanup_json_ json_t *root = NULL;
        char *end = lines + len;
        unsigned int number = 1;

        for (char *line = lines; line < end; number++) {
                char *newline = memchr(line, '\n', (size_t)(end - line));
                int r;

                if (!newline)
                        return err_bad(e, STATUS_FAILURE, "report, line %u: no newline at its end", number);
                text_clean(line, (size_t)(newline - line));
                *newline = '\0';
                r = line_read(&root, line, e);
                if (r < 0)
                        return err_wrap(e, r, "report, line %u", number);
                line = newline + 1;
        }
        if (!root && !(root = json_object()))
                return err_set(e, -ENOMEM, "build JSON");
        return json_text_new(root, ret_text, e);
}
