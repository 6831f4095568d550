/*
 * bulkhead-json MODE: everything about JSON, in a short-lived process without privileges, so that no program
 * that has some parses a user's file. Reads fd 0, writes fd 1; nothing else.
 *
 *     parse-spec   a configuration in JSON -> struct guest_spec, name and kernel possibly empty
 *     print-spec   struct guest_spec -> a configuration in JSON
 *     report       typed lines (report_json.h) -> JSON
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/json/json_text.h"
#include "cli/json/report_json.h"
#include "cli/json/seal.h"
#include "cli/json/spec_json.h"

/* Reads fd 0 to its end: at most max bytes, more is an error with status. *ret is for free(3). */
static int input_read(size_t max, enum exit_status status, char **ret, size_t *ret_len, struct err *e)
{
        _cleanup_free_ char *buf = malloc(max + 1);
        size_t len = 0;

        if (!buf)
                return err_set(e, -ENOMEM, "read the input");
        for (;;) {
                ssize_t n = read(STDIN_FILENO, buf + len, max + 1 - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set(e, -errno, "read the input");
                if (n == 0)
                        break;
                len += (size_t)n;
                if (len > max)
                        return err_bad(e, status, "larger than %zu bytes", max);
        }
        *ret = TAKE_PTR(buf);
        *ret_len = len;
        return 0;
}

static int output_write(const void *buf, size_t len, struct err *e)
{
        int r = io_write_all(STDOUT_FILENO, buf, len);

        return r < 0 ? err_set(e, r, "write the output") : 0;
}

static int parse_spec(struct err *e)
{
        _cleanup_free_ char *text = NULL;
        struct guest_spec s;
        size_t len;
        int r = input_read(SPEC_JSON_MAX, STATUS_USAGE, &text, &len, e);

        if (r == 0)
                r = spec_json_parse(text, len, &s, e);
        return r == 0 ? output_write(&s, sizeof(s), e) : r;
}

static int print_spec(struct err *e)
{
        _cleanup_free_ char *bytes = NULL, *text = NULL;
        struct guest_spec s;
        size_t len = 0;
        int r = input_read(sizeof(s), STATUS_FAILURE, &bytes, &len, e);

        if (r == 0)
                r = guest_spec_draft_from_bytes(bytes, len, &s, e);
        if (r == 0)
                r = spec_json_print(&s, &text, e);
        return r == 0 ? output_write(text, strlen(text), e) : r;
}

static int report(struct err *e)
{
        _cleanup_free_ char *lines = NULL, *text = NULL;
        size_t len = 0;
        int r = input_read(REPORT_JSON_MAX, STATUS_FAILURE, &lines, &len, e);

        if (r == 0)
                r = report_json_build(lines, len, &text, e);
        return r == 0 ? output_write(text, strlen(text), e) : r;
}

static const struct {
        const char *name;
        int (*run)(struct err *e);
        bool stats_devices;
} modes[] = {{"parse-spec", parse_spec, true}, {"print-spec", print_spec, false}, {"report", report, false}};

int main(int argc, char *argv[])
{
        struct err e = ERR_INIT;
        size_t i = 0;
        int r;

        while (argc == 2 && i < ARRAY_LEN(modes) && strcmp(argv[1], modes[i].name) != 0)
                i++;
        if (argc != 2 || i == ARRAY_LEN(modes)) {
                err_bad(&e, STATUS_USAGE, "usage: bulkhead-json parse-spec|print-spec|report");
                err_print(&e, STDERR_FILENO, "bulkhead-json");
                return e.status;
        }
        /* The seed of jansson's hash tables comes from a file, which cannot be opened later. */
        json_object_seed(0);
        r = seal_self(modes[i].stats_devices, &e);
        if (r == 0)
                r = modes[i].run(&e);
        if (r < 0) {
                err_print(&e, STDERR_FILENO, "bulkhead-json");
                return e.status;
        }
        return STATUS_OK;
}
