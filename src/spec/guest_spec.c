#include "spec/guest_spec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "spec/backend_spec.h"
#include "spec/disk_spec.h"
#include "spec/spec_field.h"

/* The struct crosses processes as bytes: no padding may carry what lay in memory before. */
static_assert(sizeof(struct io_limit) == 40, "io_limit has padding");
static_assert(sizeof(struct disk_spec) == SPEC_PATH_MAX + SPEC_ID_MAX + 3 + 2 * 4 + 2 * 8, "disk_spec has padding");
static_assert(sizeof(struct backend_spec) == SPEC_SOCKET_MAX + SPEC_ID_MAX + 7, "backend_spec has padding");
static_assert(sizeof(struct guest_spec) == 8 + SPEC_NAME_MAX + 2 * SPEC_PATH_MAX + SPEC_CMDLINE_MAX + 8 + 7 * 4 + 4 +
                                                   SPEC_DISKS_MAX * sizeof(struct disk_spec) +
                                                   SPEC_BACKENDS_MAX * sizeof(struct backend_spec) +
                                                   SPEC_IO_LIMITS_MAX * sizeof(struct io_limit),
              "guest_spec has padding");

static const char *const cpu_models[] = {[CPU_HOST] = "host", [CPU_BASELINE] = "baseline"};
static const char *const on_resets[] = {[ON_RESET_RESTART] = "restart", [ON_RESET_EXIT] = "exit"};

const char *cpu_model_name(uint32_t model)
{
        return model < ARRAY_LEN(cpu_models) ? cpu_models[model] : "unknown";
}

const char *on_reset_name(uint32_t on_reset)
{
        return on_reset < ARRAY_LEN(on_resets) ? on_resets[on_reset] : "unknown";
}

void guest_spec_init(struct guest_spec *s)
{
        *s = (struct guest_spec){
                .version = SPEC_VERSION,
                .size_bytes = sizeof(*s),
                .cmdline = SPEC_DEFAULT_CMDLINE,
                .memory_bytes = SPEC_DEFAULT_MEMORY,
                .vcpus = 1,
                .cpu_model = CPU_HOST,
                .on_reset = ON_RESET_RESTART,
                .rng = 1,
        };
}

/* Not isalnum(): the alphabet must not depend on a locale. */
static bool is_alphanumeric(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool guest_name_valid(const char *name)
{
        size_t len = strnlen(name, SPEC_NAME_MAX);

        if (len == 0 || len == SPEC_NAME_MAX || !is_alphanumeric(name[0]))
                return false;
        for (size_t i = 1; i < len; i++)
                if (!is_alphanumeric(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
                        return false;
        return true;
}

/* The checks of one value each, shared by its setter and by validation. */

static int name_check(const char *name, struct err *e)
{
        if (guest_name_valid(name))
                return 0;
        return err_bad(e, STATUS_USAGE, "name must be 1 to %d of A-Z a-z 0-9 . _ - and start with a letter or digit",
                       SPEC_NAME_MAX - 1);
}

static int path_check(const char *key, const char *path, struct err *e)
{
        if (strnlen(path, SPEC_PATH_MAX) < SPEC_PATH_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "%s must be a path of at most %d bytes", key, SPEC_PATH_MAX - 1);
}

static int cmdline_check(const char *text, struct err *e)
{
        if (strnlen(text, SPEC_CMDLINE_MAX) < SPEC_CMDLINE_MAX)
                return 0;
        return err_bad(e, STATUS_IMAGE, "cmdline must be at most %d bytes", SPEC_CMDLINE_MAX - 1);
}

static int vcpus_check(uint64_t vcpus, struct err *e)
{
        if (vcpus >= 1 && vcpus <= SPEC_VCPUS_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "cpus must be 1 to %d", SPEC_VCPUS_MAX);
}

static int memory_check(uint64_t bytes, struct err *e)
{
        if (bytes >= SPEC_MEMORY_MIN && bytes <= SPEC_MEMORY_MAX && bytes % (1 << 20) == 0)
                return 0;
        return err_bad(e, STATUS_USAGE, "memory must be a multiple of 1M from %lluM to %lluT", SPEC_MEMORY_MIN >> 20,
                       SPEC_MEMORY_MAX >> 40);
}

static int cpu_limit_check(uint64_t percent, struct err *e)
{
        if (percent >= 1 && percent <= SPEC_CPU_LIMIT_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "cpu_limit_percent must be 1 to %llu", SPEC_CPU_LIMIT_MAX);
}

static int io_limit_check(const struct io_limit *l, struct err *e)
{
        /* Major 0 is for file systems without a device. */
        if (l->major < 1 || l->major > SPEC_DEV_MAJOR_MAX || l->minor > SPEC_DEV_MINOR_MAX)
                return err_bad(e, STATUS_USAGE, "io_limits: device must be 1:0 to %d:%d", SPEC_DEV_MAJOR_MAX,
                               SPEC_DEV_MINOR_MAX);
        if (!l->read_bytes_per_s && !l->write_bytes_per_s && !l->read_ops_per_s && !l->write_ops_per_s)
                return err_bad(e, STATUS_USAGE, "io_limits: device %u:%u has no limit", l->major, l->minor);
        if (l->read_bytes_per_s > SPEC_IO_RATE_MAX || l->write_bytes_per_s > SPEC_IO_RATE_MAX ||
            l->read_ops_per_s > SPEC_IO_RATE_MAX || l->write_ops_per_s > SPEC_IO_RATE_MAX)
                return err_bad(e, STATUS_USAGE, "io_limits: a limit of device %u:%u is above %llu per second", l->major,
                               l->minor, SPEC_IO_RATE_MAX);
        return 0;
}

static int io_limits_check(const struct guest_spec *s, struct err *e)
{
        if (s->io_limit_count > SPEC_IO_LIMITS_MAX)
                return err_bad(e, STATUS_USAGE, "io_limits must be at most %d devices", SPEC_IO_LIMITS_MAX);
        for (uint32_t i = 0; i < s->io_limit_count; i++) {
                const struct io_limit *l = &s->io_limits[i];
                int r = io_limit_check(l, e);

                if (r < 0)
                        return r;
                for (uint32_t j = 0; j < i; j++)
                        if (s->io_limits[j].major == l->major && s->io_limits[j].minor == l->minor)
                                return err_bad(e, STATUS_USAGE, "io_limits: device %u:%u is listed twice", l->major,
                                               l->minor);
        }
        return 0;
}

/* Everything but that name and kernel are there. */
static int draft_validate(const struct guest_spec *s, struct err *e)
{
        int r = s->name[0] ? name_check(s->name, e) : 0;

        if (r == 0)
                r = path_check("kernel", s->kernel, e);
        if (r == 0)
                r = path_check("initrd", s->initrd, e);
        if (r == 0)
                r = cmdline_check(s->cmdline, e);
        if (r == 0)
                r = memory_check(s->memory_bytes, e);
        if (r == 0)
                r = vcpus_check(s->vcpus, e);
        if (r == 0 && s->cpu_model >= ARRAY_LEN(cpu_models))
                r = err_bad(e, STATUS_USAGE, "cpu has the unknown value %u", s->cpu_model);
        if (r == 0 && s->on_reset >= ARRAY_LEN(on_resets))
                r = err_bad(e, STATUS_USAGE, "on_reset has the unknown value %u", s->on_reset);
        if (r == 0 && s->cpu_limit_percent)
                r = cpu_limit_check(s->cpu_limit_percent, e);
        if (r == 0 && (s->require_all_layers > 1 || s->test_device > 1 || s->rng > 1 || s->reserved))
                r = err_bad(e, STATUS_USAGE, "require_all_layers, test_device and rng must be 0 or 1");
        if (r == 0)
                r = disk_specs_check(s->disks, s->disk_count, e);
        if (r == 0)
                r = backend_specs_check(s, e);
        return r == 0 ? io_limits_check(s, e) : r;
}

int guest_spec_validate(const struct guest_spec *s, struct err *e)
{
        if (s->name[0] == '\0')
                return err_bad(e, STATUS_USAGE, "name is missing");
        if (s->kernel[0] == '\0')
                return err_bad(e, STATUS_USAGE, "kernel is missing");
        return draft_validate(s, e);
}

static int bytes_copy(const void *buf, size_t len, struct guest_spec *copy, struct err *e)
{
        if (len != sizeof(*copy))
                return err_bad(e, STATUS_FAILURE, "guest description has %zu bytes instead of %zu", len, sizeof(*copy));
        memcpy(copy, buf, sizeof(*copy));
        if (copy->version != SPEC_VERSION || copy->size_bytes != sizeof(*copy))
                return err_bad(e, STATUS_FAILURE,
                               "guest description is of version %u (%u bytes) instead of %d (%zu bytes)", copy->version,
                               copy->size_bytes, SPEC_VERSION, sizeof(*copy));
        return 0;
}

int guest_spec_draft_from_bytes(const void *buf, size_t len, struct guest_spec *ret, struct err *e)
{
        struct guest_spec copy = {0};
        int r = bytes_copy(buf, len, &copy, e);

        if (r == 0)
                r = draft_validate(&copy, e);
        if (r == 0)
                *ret = copy;
        return r;
}

int guest_spec_set_name(struct guest_spec *s, const char *name, struct err *e)
{
        int r = name_check(name, e);

        if (r == 0)
                spec_field_set_text(s->name, sizeof(s->name), name);
        return r;
}

int guest_spec_set_kernel(struct guest_spec *s, const char *path, struct err *e)
{
        int r = path_check("kernel", path, e);

        if (r == 0 && path[0] == '\0')
                r = err_bad(e, STATUS_USAGE, "kernel must not be empty");
        if (r == 0)
                spec_field_set_text(s->kernel, sizeof(s->kernel), path);
        return r;
}

int guest_spec_set_initrd(struct guest_spec *s, const char *path, struct err *e)
{
        int r = path_check("initrd", path, e);

        if (r == 0)
                spec_field_set_text(s->initrd, sizeof(s->initrd), path);
        return r;
}

int guest_spec_set_cmdline(struct guest_spec *s, const char *text, struct err *e)
{
        int r = cmdline_check(text, e);

        if (r == 0)
                spec_field_set_text(s->cmdline, sizeof(s->cmdline), text);
        return r;
}

int guest_spec_set_vcpus(struct guest_spec *s, uint64_t vcpus, struct err *e)
{
        int r = vcpus_check(vcpus, e);

        if (r == 0)
                s->vcpus = (uint32_t)vcpus;
        return r;
}

int guest_spec_set_memory(struct guest_spec *s, uint64_t bytes, struct err *e)
{
        int r = memory_check(bytes, e);

        if (r == 0)
                s->memory_bytes = bytes;
        return r;
}

int guest_spec_set_cpu_model(struct guest_spec *s, const char *word, struct err *e)
{
        for (uint32_t i = 0; i < ARRAY_LEN(cpu_models); i++)
                if (strcmp(word, cpu_models[i]) == 0) {
                        s->cpu_model = i;
                        return 0;
                }
        return err_bad(e, STATUS_USAGE, "cpu must be host or baseline");
}

int guest_spec_set_on_reset(struct guest_spec *s, const char *word, struct err *e)
{
        for (uint32_t i = 0; i < ARRAY_LEN(on_resets); i++)
                if (strcmp(word, on_resets[i]) == 0) {
                        s->on_reset = i;
                        return 0;
                }
        return err_bad(e, STATUS_USAGE, "on_reset must be restart or exit");
}

int guest_spec_set_cpu_limit(struct guest_spec *s, uint64_t percent, struct err *e)
{
        int r = cpu_limit_check(percent, e);

        if (r == 0)
                s->cpu_limit_percent = (uint32_t)percent;
        return r;
}

/* Overwrites the limits of have that are given in more. */
static void io_limit_merge(struct io_limit *have, const struct io_limit *more)
{
        if (more->read_bytes_per_s)
                have->read_bytes_per_s = more->read_bytes_per_s;
        if (more->write_bytes_per_s)
                have->write_bytes_per_s = more->write_bytes_per_s;
        if (more->read_ops_per_s)
                have->read_ops_per_s = more->read_ops_per_s;
        if (more->write_ops_per_s)
                have->write_ops_per_s = more->write_ops_per_s;
}

int guest_spec_add_io_limit(struct guest_spec *s, const struct io_limit *limit, struct err *e)
{
        int r = io_limit_check(limit, e);

        if (r < 0)
                return r;
        assert(s->io_limit_count <= SPEC_IO_LIMITS_MAX);
        for (uint32_t i = 0; i < s->io_limit_count; i++)
                if (s->io_limits[i].major == limit->major && s->io_limits[i].minor == limit->minor) {
                        io_limit_merge(&s->io_limits[i], limit);
                        return 0;
                }
        if (s->io_limit_count == SPEC_IO_LIMITS_MAX)
                return err_bad(e, STATUS_USAGE, "io_limits must be at most %d devices", SPEC_IO_LIMITS_MAX);
        s->io_limits[s->io_limit_count++] = *limit;
        return 0;
}

int guest_spec_add_disk(struct guest_spec *s, const struct disk_spec *disk, struct err *e)
{
        uint32_t i = s->disk_count;
        int r;

        if (i >= SPEC_DISKS_MAX)
                return err_bad(e, STATUS_USAGE, "disks must be at most %d", SPEC_DISKS_MAX);
        s->disks[i] = *disk;
        if (disk->id[0] == '\0')
                snprintf(s->disks[i].id, sizeof(s->disks[i].id), "disk%u", i);
        s->disk_count = i + 1;
        r = disk_specs_check(s->disks, i + 1, e);
        if (r == 0)
                r = backend_specs_check(s, e);
        if (r < 0) {
                s->disks[i] = (struct disk_spec){0};
                s->disk_count = i;
        }
        return r;
}

int guest_spec_add_backend(struct guest_spec *s, const struct backend_spec *backend, struct err *e)
{
        uint32_t i = s->backend_count;
        int r;

        if (i >= SPEC_BACKENDS_MAX)
                return err_bad(e, STATUS_USAGE, "devices must be at most %d", SPEC_BACKENDS_MAX);
        s->backends[i] = *backend;
        if (backend->id[0] == '\0')
                snprintf(s->backends[i].id, sizeof(s->backends[i].id), "vhost-user%u", i);
        s->backend_count = i + 1;
        r = backend_specs_check(s, e);
        if (r < 0) {
                s->backends[i] = (struct backend_spec){0};
                s->backend_count = i;
        }
        return r;
}
