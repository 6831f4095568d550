/* See spec_check.h. */
#include "spec_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "cli/json/spec_json.h"

int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);

int __wrap_stat64(const char *path, struct stat *st)
{
        if (!target_runs)
                return __real_stat64(path, st);
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

static void text_must_end(const char *field, size_t size)
{
        MUST(memchr(field, '\0', size));
}

static void text_must_be_clean(const char *field, size_t size)
{
        for (size_t i = strnlen(field, size); i < size; i++)
                MUST(field[i] == '\0');
}

static void io_limit_must_be_in_range(const struct io_limit *l)
{
        MUST(l->major >= 1 && l->major <= 4095 && l->minor <= 1048575);
        MUST(l->read_bytes_per_s || l->write_bytes_per_s || l->read_ops_per_s || l->write_ops_per_s);
        MUST(l->read_bytes_per_s <= 1ULL << 50 && l->write_bytes_per_s <= 1ULL << 50);
        MUST(l->read_ops_per_s <= 1ULL << 50 && l->write_ops_per_s <= 1ULL << 50);
}

static void disk_must_be_in_range(const struct disk_spec *d)
{
        text_must_end(d->path, sizeof(d->path));
        text_must_end(d->id, sizeof(d->id));
        MUST(d->path[0] && d->id[0] && strcmp(d->id, "rng") != 0);
        for (const char *c = d->id; *c; c++)
                MUST((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     (c > d->id && (*c == '.' || *c == '_' || *c == '-')));
        MUST(d->read_only <= 1 && d->direct <= 1 && d->engine <= 2 && d->queues <= 16 && d->format <= 1);
        MUST(d->format == 0 || (d->engine == 0 && d->bytes_per_s == 0 && d->ops_per_s == 0));
        MUST(d->bytes_per_s <= 1ULL << 50 && d->ops_per_s <= 1ULL << 50);
}

static void backend_must_be_in_range(const struct backend_spec *b)
{
        text_must_end(b->socket, sizeof(b->socket));
        text_must_end(b->id, sizeof(b->id));
        MUST(b->socket[0] && b->id[0] && strcmp(b->id, "rng") != 0);
        MUST(b->type == BACKEND_BLK || b->type == BACKEND_RNG);
}

void spec_must_be_in_range(const struct guest_spec *s)
{
        MUST(s->version == SPEC_VERSION && s->size_bytes == sizeof(*s));
        text_must_end(s->name, sizeof(s->name));
        text_must_end(s->kernel, sizeof(s->kernel));
        text_must_end(s->initrd, sizeof(s->initrd));
        text_must_end(s->cmdline, sizeof(s->cmdline));
        for (const char *c = s->name; *c; c++) /* it becomes the name of directories */
                MUST((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     (c > s->name && (*c == '.' || *c == '_' || *c == '-')));
        MUST(s->memory_bytes >= 2 * 0x100000ULL && s->memory_bytes <= 1ULL << 46 && s->memory_bytes % 0x100000 == 0);
        MUST(s->vcpus >= 1 && s->vcpus <= 64);
        MUST(s->cpu_model <= 1 && s->on_reset <= 1 && s->require_all_layers <= 1 && s->test_device <= 1);
        MUST(s->cpu_limit_percent <= 6500 && s->rng <= 1);
        MUST(s->disk_count <= SPEC_DISKS_MAX);
        for (uint32_t i = 0; i < s->disk_count; i++) {
                disk_must_be_in_range(&s->disks[i]);
                for (uint32_t j = 0; j < i; j++)
                        MUST(strcmp(s->disks[i].id, s->disks[j].id) != 0);
        }
        MUST(s->backend_count <= SPEC_BACKENDS_MAX);
        for (uint32_t i = 0; i < s->backend_count; i++) {
                backend_must_be_in_range(&s->backends[i]);
                for (uint32_t j = 0; j < i; j++)
                        MUST(strcmp(s->backends[i].id, s->backends[j].id) != 0);
                for (uint32_t j = 0; j < s->disk_count; j++)
                        MUST(strcmp(s->backends[i].id, s->disks[j].id) != 0);
        }
        MUST(s->io_limit_count <= SPEC_IO_LIMITS_MAX);
        for (uint32_t i = 0; i < s->io_limit_count; i++) {
                io_limit_must_be_in_range(&s->io_limits[i]);
                for (uint32_t j = 0; j < i; j++)
                        MUST(s->io_limits[i].major != s->io_limits[j].major ||
                             s->io_limits[i].minor != s->io_limits[j].minor);
        }
}

void spec_must_be_good(const struct guest_spec *s)
{
        struct guest_spec again;
        struct err e = ERR_INIT;
        _cleanup_free_ char *text = NULL;
        int r;

        spec_must_be_in_range(s);
        MUST(guest_spec_draft_from_bytes(s, sizeof(*s), &again, &e) == 0);
        MUST(memcmp(&again, s, sizeof(*s)) == 0);
        MUST((guest_spec_validate(s, NULL) == 0) == (s->name[0] && s->kernel[0]));
        text_must_be_clean(s->name, sizeof(s->name));
        text_must_be_clean(s->kernel, sizeof(s->kernel));
        text_must_be_clean(s->initrd, sizeof(s->initrd));
        text_must_be_clean(s->cmdline, sizeof(s->cmdline));
        for (uint32_t i = 0; i < s->disk_count; i++) {
                text_must_be_clean(s->disks[i].path, sizeof(s->disks[i].path));
                text_must_be_clean(s->disks[i].id, sizeof(s->disks[i].id));
        }
        for (uint32_t i = s->disk_count; i < SPEC_DISKS_MAX; i++)
                MUST(memcmp(&s->disks[i], &(struct disk_spec){0}, sizeof(struct disk_spec)) == 0);
        for (uint32_t i = 0; i < s->backend_count; i++) {
                text_must_be_clean(s->backends[i].socket, sizeof(s->backends[i].socket));
                text_must_be_clean(s->backends[i].id, sizeof(s->backends[i].id));
        }
        for (uint32_t i = s->backend_count; i < SPEC_BACKENDS_MAX; i++)
                MUST(memcmp(&s->backends[i], &(struct backend_spec){0}, sizeof(struct backend_spec)) == 0);
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
