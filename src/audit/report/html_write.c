/* The page as a file, and text as markup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "audit/report/html.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define TEMPORARY_TRIES 100

void html_put(const struct html *h, const char *markup)
{
        fputs(markup, h->to);
}

void html_text(const struct html *h, const char *text)
{
        char *harmless = text_harmless(h->view->audit->arena, text, strlen(text), true);

        for (const char *p = harmless; *p; p++)
                switch (*p) {
                case '&':
                        html_put(h, "&amp;");
                        break;
                case '<':
                        html_put(h, "&lt;");
                        break;
                case '>':
                        html_put(h, "&gt;");
                        break;
                case '"':
                        html_put(h, "&quot;");
                        break;
                case '\'':
                        html_put(h, "&#39;");
                        break;
                default:
                        fputc(*p, h->to);
                }
}

void html_textf(const struct html *h, const char *fmt, ...)
{
        va_list ap;
        char *text;

        va_start(ap, fmt);
        text = arena_vprintf(h->view->audit->arena, fmt, ap);
        va_end(ap);
        html_text(h, text);
}

void html_number(const struct html *h, size_t n)
{
        fprintf(h->to, "%zu", n);
}

void html_time(const struct html *h, int64_t time_ms)
{
        time_t t = (time_t)(time_ms / 1000);
        char text[sizeof("2026-01-01 00:00:00 UTC") + 16] = "";
        struct tm tm;

        if (gmtime_r(&t, &tm))
                strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
        html_text(h, text);
}

/* What concerns all guests is for root's eyes: it holds what the kernel shows of them to nobody else. */
#define OPERATORS_MODE 0600
#define TENANTS_MODE   0644

/* A new file beside path's last component. Returns its descriptor, its name in *ret_name. */
static int temporary_open(struct arena *a, int dir, const char *base, mode_t mode, char **ret_name)
{
        int fd = -EEXIST;

        for (int i = 0; i < TEMPORARY_TRIES && fd == -EEXIST; i++) {
                *ret_name = arena_printf(a, ".%.200s.%d-%d", base, getpid(), i);
                fd = openat(dir, *ret_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
                fd = fd < 0 ? -errno : fd;
        }
        return fd;
}

/* Takes fd over. */
static int page_write(const struct report_view *v, int fd)
{
        FILE *to = fdopen(fd, "w");
        int r;

        if (!to) {
                r = -errno;
                close(fd);
                return r;
        }
        report_print_html(v, to);
        r = fflush(to) == EOF || fsync(fd) < 0 ? -errno : ferror(to) ? -EIO : 0;
        return fclose(to) == EOF && r == 0 ? -errno : r;
}

/* Only what a rename may replace: nothing, or a regular file. A link would not be followed, but its owner meant it to
 * be. */
static int target_check(int dir, const char *base, const char *path, struct err *e)
{
        struct stat st;

        if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : err_set(e, -errno, "write the page %s", path);
        if (S_ISREG(st.st_mode))
                return 0;
        return err_bad(e, STATUS_FAILURE,
                       "write the page %s: it is %s, no regular file; name a file that may be replaced", path,
                       S_ISLNK(st.st_mode)   ? "a symbolic link"
                       : S_ISDIR(st.st_mode) ? "a directory"
                                             : "a device, pipe or socket");
}

int report_write_html(const struct report_view *v, const char *path, struct err *e)
{
        struct arena *a = v->audit->arena;
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
        _cleanup_fd_ int dir = open(slash ? arena_printf(a, "%.*s", (int)(slash - path) + 1, path) : ".",
                                    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char *name;
        int fd, r;

        if (dir < 0)
                return err_set(e, -errno, "write the page %s", path);
        r = target_check(dir, *base ? base : ".", path, e);
        if (r < 0)
                return r;
        fd = temporary_open(a, dir, base, v->tenant ? TENANTS_MODE : OPERATORS_MODE, &name);
        if (fd < 0)
                return err_set(e, fd, "write the page %s", path);
        r = page_write(v, fd);
        if (r == 0 && renameat(dir, name, dir, base) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dir, name, 0);
                return err_set(e, r, "write the page %s", path);
        }
        return 0;
}

int report_open_html(const char *path, bool tenant, struct err *e)
{
        int r = target_check(AT_FDCWD, path, path, e), fd;

        if (r < 0)
                return r;
        fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                  tenant ? TENANTS_MODE : OPERATORS_MODE);
        return fd < 0 ? err_set(e, -errno, "write the page %s", path) : fd;
}

int report_fill_html(const struct report_view *v, int fd, const char *path, struct err *e)
{
        int r = ftruncate(fd, 0) < 0 ? -errno : 0;

        if (r < 0)
                close(fd);
        else
                r = page_write(v, fd);
        return r < 0 ? err_set(e, r, "write the page %s", path) : 0;
}
