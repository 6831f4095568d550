/* See spec_check.h. */
#include "spec_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "cli/json/spec_json.h"

int __real_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st);

int __wrap_stat(const char *path, struct stat *st)
{
        if (!target_runs)
                return __real_stat(path, st);
        *st = (struct stat){.st_mode = S_IFREG};
        if (strcmp(path, "/dev/a") == 0) {
                st->st_mode = S_IFBLK;
                st->st_rdev = makedev(8, 1);
        } else if (strcmp(path, "/f") != 0) {
                errno = ENOENT;
                return -1;
        }
        return 0;
}

static void text_must_be_clean(const char *field, size_t size)
{
        size_t len = strnlen(field, size);

        MUST(len < size);
        for (size_t i = len; i < size; i++)
                MUST(field[i] == '\0');
}

void spec_must_be_good(const struct guest_spec *s)
{
        struct guest_spec again;
        struct err e = ERR_INIT;
        _cleanup_free_ char *text = NULL;
        int r;

        MUST(guest_spec_draft_from_bytes(s, sizeof(*s), &again, &e) == 0);
        MUST(memcmp(&again, s, sizeof(*s)) == 0);
        MUST((guest_spec_validate(s, NULL) == 0) == (s->name[0] && s->kernel[0]));
        text_must_be_clean(s->name, sizeof(s->name));
        text_must_be_clean(s->kernel, sizeof(s->kernel));
        text_must_be_clean(s->initrd, sizeof(s->initrd));
        text_must_be_clean(s->cmdline, sizeof(s->cmdline));
        MUST(s->name[0] == '\0' || guest_name_valid(s->name));
        for (uint32_t i = s->io_limit_count; i < SPEC_IO_LIMITS_MAX; i++)
                MUST(memcmp(&s->io_limits[i], &(struct io_limit){0}, sizeof(struct io_limit)) == 0);

        r = spec_json_print(s, &text, &e);
        if (r < 0) { /* a path or a command line that is not UTF-8 */
                must_be_error(&e, r, STATUS_BIT(STATUS_USAGE));
                return;
        }
        for (const char *p = text; *p; p++)
                MUST((*p >= 0x20 && *p <= 0x7f) || *p == '\n'); /* ASCII, and nothing that moves a cursor */
        memset(&again, 0x5a, sizeof(again));
        MUST(spec_json_parse(text, strlen(text), &again, &e) == 0);
        MUST(memcmp(&again, s, sizeof(*s)) == 0);
}
