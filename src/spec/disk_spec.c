#include "spec/disk_spec.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "spec/spec_field.h"

static const char *const engines[] = {
        [DISK_ENGINE_AUTO] = "auto", [DISK_ENGINE_URING] = "io_uring", [DISK_ENGINE_SYNC] = "sync"};

static const char *const formats[] = {[DISK_FORMAT_RAW] = "raw", [DISK_FORMAT_QCOW2] = "qcow2"};

const char *disk_format_name(uint32_t format)
{
        return format < ARRAY_LEN(formats) ? formats[format] : "unknown";
}

const char *disk_engine_name(uint32_t engine)
{
        return engine < ARRAY_LEN(engines) ? engines[engine] : "unknown";
}

static int path_check(const char *path, struct err *e)
{
        size_t len = strnlen(path, SPEC_PATH_MAX);

        if (len > 0 && len < SPEC_PATH_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "path must be 1 to %d bytes", SPEC_PATH_MAX - 1);
}

static int queues_check(uint64_t queues, struct err *e)
{
        if (queues >= 1 && queues <= SPEC_QUEUES_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "queues must be 1 to %d", SPEC_QUEUES_MAX);
}

static int rate_check(const char *key, uint64_t rate, struct err *e)
{
        if (rate >= 1 && rate <= SPEC_IO_RATE_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "%s must be 1 to %llu", key, SPEC_IO_RATE_MAX);
}

/* What is done by bulkhead-blk, which knows no format. */
static int format_check(const struct disk_spec *d, struct err *e)
{
        if (d->format == DISK_FORMAT_RAW || (d->engine == DISK_ENGINE_AUTO && !d->bytes_per_s && !d->ops_per_s))
                return 0;
        return err_bad(e, STATUS_USAGE, "engine, bytes_per_s and ops_per_s cannot be chosen for a disk in format %s",
                       disk_format_name(d->format));
}

static int disk_check(const struct disk_spec *d, struct err *e)
{
        int r = path_check(d->path, e);

        if (r == 0)
                r = spec_field_check_id(d->id, e);
        if (r == 0 && (d->read_only > 1 || d->direct > 1))
                r = err_bad(e, STATUS_USAGE, "read_only and direct must be 0 or 1");
        if (r == 0 && d->format >= ARRAY_LEN(formats))
                r = err_bad(e, STATUS_USAGE, "format has the unknown value %u", d->format);
        if (r == 0 && d->engine >= ARRAY_LEN(engines))
                r = err_bad(e, STATUS_USAGE, "engine has the unknown value %u", d->engine);
        if (r == 0 && d->queues)
                r = queues_check(d->queues, e);
        if (r == 0 && d->bytes_per_s)
                r = rate_check("bytes_per_s", d->bytes_per_s, e);
        if (r == 0 && d->ops_per_s)
                r = rate_check("ops_per_s", d->ops_per_s, e);
        return r < 0 ? r : format_check(d, e);
}

int disk_specs_check(const struct disk_spec *disks, size_t count, struct err *e)
{
        if (count > SPEC_DISKS_MAX)
                return err_bad(e, STATUS_USAGE, "disks must be at most %d", SPEC_DISKS_MAX);
        for (size_t i = 0; i < count; i++) {
                int r = disk_check(&disks[i], e);

                if (r < 0)
                        return err_wrap(e, r, "disks[%zu]", i);
                for (size_t k = 0; k < i; k++)
                        if (strcmp(disks[k].id, disks[i].id) == 0)
                                return err_bad(e, STATUS_USAGE, "disks: two have the id \"%s\"", disks[i].id);
        }
        return 0;
}

int disk_spec_set_path(struct disk_spec *d, const char *path, struct err *e)
{
        int r = path_check(path, e);

        if (r == 0)
                spec_field_set_text(d->path, sizeof(d->path), path);
        return r;
}

int disk_spec_set_id(struct disk_spec *d, const char *id, struct err *e)
{
        int r = spec_field_check_id(id, e);

        if (r == 0)
                spec_field_set_text(d->id, sizeof(d->id), id);
        return r;
}

int disk_spec_set_format(struct disk_spec *d, const char *word, struct err *e)
{
        for (uint32_t i = 0; i < ARRAY_LEN(formats); i++)
                if (strcmp(word, formats[i]) == 0) {
                        d->format = i;
                        return 0;
                }
        return err_bad(e, STATUS_USAGE, "format must be raw or qcow2");
}

int disk_spec_set_engine(struct disk_spec *d, const char *word, struct err *e)
{
        for (size_t i = 0; i < ARRAY_LEN(engines); i++)
                if (strcmp(word, engines[i]) == 0) {
                        d->engine = (uint8_t)i;
                        return 0;
                }
        return err_bad(e, STATUS_USAGE, "engine must be auto, io_uring or sync");
}

int disk_spec_set_queues(struct disk_spec *d, uint64_t queues, struct err *e)
{
        int r = queues_check(queues, e);

        if (r == 0)
                d->queues = (uint32_t)queues;
        return r;
}

int disk_spec_set_bytes_per_s(struct disk_spec *d, uint64_t rate, struct err *e)
{
        int r = rate_check("bytes_per_s", rate, e);

        if (r == 0)
                d->bytes_per_s = rate;
        return r;
}

int disk_spec_set_ops_per_s(struct disk_spec *d, uint64_t rate, struct err *e)
{
        int r = rate_check("ops_per_s", rate, e);

        if (r == 0)
                d->ops_per_s = rate;
        return r;
}
