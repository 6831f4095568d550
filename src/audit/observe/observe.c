#include "audit/observe/observe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

int observe(struct observer *o, struct answer *ret, const char *fmt, ...)
{
        va_list ap;
        char *question;

        va_start(ap, fmt);
        question = arena_vprintf(o->arena, fmt, ap);
        va_end(ap);
        *ret = (struct answer){0};
        o->ask(o, question, ret);
        return ret->error;
}

static int stat_parse(const char *text, struct observed_stat *ret)
{
        struct observed_stat s;
        unsigned int dev[2], rdev[2];

        if (sscanf(text, "%" SCNo32 " %" SCNu32 " %" SCNu32 " %u:%u %" SCNu64 " %u:%u %" SCNu64 " %" SCNu64 " %" SCNd64,
                   &s.mode, &s.uid, &s.gid, &dev[0], &dev[1], &s.ino, &rdev[0], &rdev[1], &s.size, &s.nlink,
                   &s.mtime_s) != 11)
                return -EPROTO;
        s.dev = OBSERVED_DEV(dev[0], dev[1]);
        s.rdev = OBSERVED_DEV(rdev[0], rdev[1]);
        *ret = s;
        return 0;
}

int observe_stat(struct observer *o, const char *path, struct observed_stat *ret)
{
        struct answer a;
        int r = observe(o, &a, "stat %s", path);

        return r < 0 ? r : stat_parse(a.bytes, ret);
}

int observe_lstat(struct observer *o, const char *path, struct observed_stat *ret)
{
        struct answer a;
        int r = observe(o, &a, "lstat %s", path);

        return r < 0 ? r : stat_parse(a.bytes, ret);
}

int observe_list(struct observer *o, const char *path, struct name_list *ret)
{
        struct name_list l = {0};
        struct answer a;
        char *rest, *line;
        int r = observe(o, &a, "list %s", path);

        if (r < 0)
                return r;
        rest = a.bytes;
        while ((line = text_next_line(&rest))) {
                size_t len;
                char *name = text_unescape(o->arena, line, strlen(line), &len);

                if (!name || strlen(name) != len)
                        return -EPROTO;
                *GROW(o->arena, &l) = name;
        }
        *ret = l;
        return 0;
}

char *observe_line(struct observer *o, const char *path, int *ret_error)
{
        struct answer a;
        int r = observe(o, &a, "read %s", path);

        if (ret_error)
                *ret_error = r;
        if (r < 0)
                return NULL;
        a.bytes[strcspn(a.bytes, "\n")] = '\0';
        return a.bytes;
}

int observe_number(struct observer *o, const char *path, int64_t *ret)
{
        int r;
        char *end, *line = observe_line(o, path, &r);
        long long v;

        if (!line)
                return r;
        errno = 0;
        v = strtoll(line, &end, 10);
        if (end == line || *end != '\0' || errno != 0)
                return -EPROTO;
        *ret = v;
        return 0;
}

void observe_forget(struct observer *o, pid_t pid)
{
        if (o->forget)
                o->forget(o, pid);
}
