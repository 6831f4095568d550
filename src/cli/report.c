#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cli/json_helper.h"

int report_open(struct report *ret, struct err *e)
{
        *ret = (struct report){0};
        ret->stream = open_memstream(&ret->text, &ret->len_bytes);
        return ret->stream ? 0 : err_set(e, -ENOMEM, "start a report");
}

void report_close(struct report *r)
{
        if (r->stream)
                fclose(r->stream);
        free(r->text);
        *r = (struct report){0};
}

__attribute__((format(printf, 3, 0))) static void head(struct report *r, char type, const char *path_fmt, va_list ap)
{
        fprintf(r->stream, "%c\t%s", type, r->prefix);
        vfprintf(r->stream, path_fmt, ap);
        fputc('\t', r->stream);
}

void report_text(struct report *r, const char *value, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        head(r, 's', path_fmt, ap);
        va_end(ap);
        for (const char *p = value; *p; p++)
                switch (*p) {
                case '\t':
                        fputs("\\t", r->stream);
                        break;
                case '\n':
                        fputs("\\n", r->stream);
                        break;
                case '\\':
                        fputs("\\\\", r->stream);
                        break;
                default:
                        fputc(*p, r->stream);
                        break;
                }
        fputc('\n', r->stream);
}

void report_integer(struct report *r, int64_t value, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        head(r, 'i', path_fmt, ap);
        va_end(ap);
        fprintf(r->stream, "%" PRId64 "\n", value);
}

void report_boolean(struct report *r, bool value, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        head(r, 'b', path_fmt, ap);
        va_end(ap);
        fputs(value ? "true\n" : "false\n", r->stream);
}

void report_null(struct report *r, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        head(r, 'n', path_fmt, ap);
        va_end(ap);
        fputc('\n', r->stream);
}

void report_array(struct report *r, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        head(r, 'a', path_fmt, ap);
        va_end(ap);
        fputc('\n', r->stream);
}

void report_under(struct report *r, const char *path_fmt, ...)
{
        va_list ap;

        va_start(ap, path_fmt);
        vsnprintf(r->prefix, sizeof(r->prefix), path_fmt, ap);
        va_end(ap);
}

int report_print(struct report *r, struct err *e)
{
        int result = 0;

        /* Only after a flush are text and length final, and memory that ran short is told. */
        if (ferror(r->stream) || fflush(r->stream) != 0)
                result = err_set(e, -ENOMEM, "write a report");
        if (result == 0)
                result = json_report_print(r->text, r->len_bytes, e);
        report_close(r);
        return result;
}
