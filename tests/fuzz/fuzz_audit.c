/*
 * A recorded host: the input is the fixture that `bulkhead audit --fixture` reads, and with it everything that
 * processes can say of themselves. The whole audit runs over it, and all reports are made, for the operator and for a
 * tenant.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/report/report.h"
#include "fuzz.h"

static struct reader input;
static bool input_read;

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

/* The fixture is the input; what it says it is based on is not there. */
FILE *__wrap_fopen64(const char *path, const char *mode)
{
        if (!target_runs)
                return __real_fopen64(path, mode);
        if (input_read) {
                errno = ENOENT;
                return NULL;
        }
        input_read = true;
        return input.len ? fmemopen((void *)(uintptr_t)input.data, input.len, "r") : __real_fopen64("/dev/null", "r");
}

static __attribute__((noreturn)) void exhausted(void)
{
        must_failed(__FILE__, __LINE__, "memory for an audit of a small fixture");
}

/* Printable, as far as a terminal can tell, and UTF-8, which jansson judges. */
static void must_be_text(const char *text, size_t len)
{
        json_t *as_json = json_stringn(text, len);

        MUST(as_json);
        json_decref(as_json);
        for (size_t i = 0; i < len; i++)
                MUST(((unsigned char)text[i] >= 0x20 && text[i] != 0x7f) || text[i] == '\n');
}

enum report { REPORT_TEXT, REPORT_JSON, REPORT_HTML, REPORTS };

static void report_make(const struct report_view *v, enum report which)
{
        struct err e = ERR_INIT;
        char *text = NULL;
        size_t len = 0;
        FILE *to = open_memstream(&text, &len);

        MUST(to);
        if (which == REPORT_TEXT)
                report_print_text(v, to);
        else if (which == REPORT_HTML)
                report_print_html(v, to);
        else
                MUST(report_print_json(v, to, &e) == 0);
        MUST(fclose(to) == 0);
        must_be_text(text, len);
        if (which == REPORT_JSON) {
                json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

                MUST(root && json_integer_value(json_object_get(root, "version")) == REPORT_JSON_VERSION);
                json_decref(root);
        }
        free(text);
}

static void reports_make(struct audit *a, const struct guest *tenant)
{
        struct report_view v;

        report_view_make(a, tenant, &v);
        v.verbose = true;
        for (enum report i = 0; i < REPORTS; i++)
                report_make(&v, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct arena arena = {.exhausted = exhausted};
        struct audit a = {.arena = &arena};
        struct err e = ERR_INIT;

        input = (struct reader){data, len};
        input_read = false;
        target_runs = true;
        a.observer = observer_fixture(&arena, "input", &e);
        if (a.observer) {
                if (host_read(a.observer, true, &a.host, &e) == 0 &&
                    inventory_read(a.observer, &a.host, &a.inv, &e) == 0) {
                        pairs_read(&a);
                        audit_run(&a, NULL, NULL);
                        reports_make(&a, NULL);
                        if (a.inv.guests.count)
                                reports_make(&a, a.inv.guests.items[a.inv.guests.count - 1]);
                }
                a.observer->close(a.observer);
        }
        target_runs = false;
        arena_free(&arena);
        return 0;
}
