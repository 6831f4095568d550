#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "audit/observe/live.h"

/* Room for len bytes more and a zero behind them. */
static void room_make(struct live_lines *out, size_t len)
{
        size_t room = 2 * (out->room + len) + 4096;
        char *moved;

        if (out->room - out->len > len)
                return;
        moved = arena_alloc(live_arena(out->l), room);
        if (out->len > 0)
                memcpy(moved, out->text, out->len);
        out->text = moved;
        out->room = room;
}

void live_line(struct live_lines *out, const char *fmt, ...)
{
        va_list ap;
        int n;

        va_start(ap, fmt);
        n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0 || out->len + (size_t)n > OBSERVE_FILE_MAX)
                out->error = -EFBIG;
        if (out->error < 0)
                return;
        room_make(out, (size_t)n);
        va_start(ap, fmt);
        vsnprintf(out->text + out->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        out->len += (size_t)n;
}

int live_lines_answer(struct live_lines *out, int error, struct answer *ret)
{
        ret->bytes = out->text ? out->text : arena_text(live_arena(out->l), "");
        ret->len = out->len;
        return error < 0 ? error : out->error;
}
