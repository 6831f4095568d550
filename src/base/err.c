#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"

__attribute__((format(printf, 2, 0))) static void append(struct err *e, const char *fmt, va_list ap)
{
        size_t used = strlen(e->text);

        vsnprintf(e->text + used, sizeof(e->text) - used, fmt, ap);
}

static void append_text(struct err *e, const char *text)
{
        size_t used = strlen(e->text);

        snprintf(e->text + used, sizeof(e->text) - used, "%s", text);
}

int err_set(struct err *e, int r, const char *fmt, ...)
{
        va_list ap;

        if (!e)
                return r;
        e->status = STATUS_FAILURE;
        e->text[0] = '\0';
        va_start(ap, fmt);
        append(e, fmt, ap);
        va_end(ap);
        append_text(e, ": ");
        append_text(e, strerror(-r));
        return r;
}

int err_bad(struct err *e, enum exit_status status, const char *fmt, ...)
{
        va_list ap;

        if (!e)
                return -EINVAL;
        e->status = status;
        e->text[0] = '\0';
        va_start(ap, fmt);
        append(e, fmt, ap);
        va_end(ap);
        return -EINVAL;
}

int err_wrap(struct err *e, int r, const char *fmt, ...)
{
        char inner[ERR_TEXT_MAX];
        va_list ap;

        if (!e)
                return r;
        memcpy(inner, e->text, sizeof(inner));
        e->text[0] = '\0';
        va_start(ap, fmt);
        append(e, fmt, ap);
        va_end(ap);
        append_text(e, ": ");
        append_text(e, inner);
        return r;
}

void err_hint(struct err *e, const char *fmt, ...)
{
        va_list ap;

        if (!e)
                return;
        append_text(e, "; ");
        va_start(ap, fmt);
        append(e, fmt, ap);
        va_end(ap);
}

void err_print(const struct err *e, int fd, const char *prefix)
{
        char line[ERR_TEXT_MAX + 64];
        int n = snprintf(line, sizeof(line) - 1, "%s: %s", prefix, e->text);

        if (n < 0)
                return;
        if ((size_t)n > sizeof(line) - 2)
                n = sizeof(line) - 2;
        for (int i = 0; i < n; i++)
                if (line[i] < 0x20 || line[i] > 0x7e)
                        line[i] = '?';
        line[n] = '\n';
        /* Nobody is left to tell when this write fails. */
        (void)io_write_all(fd, line, (size_t)n + 1);
}
