#include "spec/disk_spec.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "spec/spec_field.h"

static const char *const engines[] = {
        [DISK_ENGINE_AUTO] = "auto", [DISK_ENGINE_URING] = "io_uring", [DISK_ENGINE_SYNC] = "sync"};

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

static int disk_check(const struct disk_spec *d, struct err *e)
{
        int r = path_check(d->path, e);

        if (r == 0)
                r = spec_field_check_id(d->id, e);
        if (r == 0 && (d->read_only > 1 || d->direct > 1 || d->reserved))
                r = err_bad(e, STATUS_USAGE, "read_only and direct must be 0 or 1");
        if (r == 0 && d->engine >= ARRAY_LEN(engines))
                r = err_bad(e, STATUS_USAGE, "engine has the unknown value %u", d->engine);
        if (r == 0 && d->queues)
                r = queues_check(d->queues, e);
        if (r == 0 && d->bytes_per_s)
                r = rate_check("bytes_per_s", d->bytes_per_s, e);
        if (r == 0 && d->ops_per_s)
                r = rate_check("ops_per_s", d->ops_per_s, e);
        return r;
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
        if (strcmp(word, "raw") == 0)
                return 0;
        if (strcmp(word, "qcow2") != 0)
                return err_bad(e, STATUS_USAGE, "format must be raw");
        err_bad(e, STATUS_USAGE, "a disk in format qcow2 cannot be used yet");
        err_hint(
                e,
                "make a raw image of it with qemu-img convert -O raw, or have qemu-storage-daemon serve it (--device)");
        return -EINVAL;
}

int disk_spec_set_engine(struct disk_spec *d, const char *word, struct err *e)
{
        for (uint8_t i = 0; i < ARRAY_LEN(engines); i++)
                if (strcmp(word, engines[i]) == 0) {
                        d->engine = i;
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
