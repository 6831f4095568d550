#include "cli/json/spec_json.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "cli/json/json_text.h"
#include "spec/backend_spec.h"
#include "spec/disk_spec.h"
#include "spec/io_device.h"

static int memory_text_set(struct guest_spec *s, const char *text, struct err *e)
{
        uint64_t bytes = UINT64_MAX; /* stays so when it is out of range: the setter says what the range is */

        if (size_parse(text, &bytes) == -EINVAL)
                return err_bad(e, STATUS_USAGE, "memory must be a size like \"512M\" or a number of bytes");
        return guest_spec_set_memory(s, bytes, e);
}

static int io_limits_read(struct guest_spec *s, const json_t *v, struct err *e);
static int disks_read(struct guest_spec *s, const json_t *v, struct err *e);
static int backends_read(struct guest_spec *s, const json_t *v, struct err *e);

/* A key takes the JSON types that it has a member for. */
static const struct spec_key {
        const char *key;
        int (*set_text)(struct guest_spec *s, const char *text, struct err *e);
        int (*set_number)(struct guest_spec *s, uint64_t number, struct err *e);
        int (*read_array)(struct guest_spec *s, const json_t *v, struct err *e);
        size_t bool_offset; /* of a uint8_t; never 0 */
        const char *expected;
} spec_keys[] = {
        {"name", .set_text = guest_spec_set_name, .expected = "a string"},
        {"kernel", .set_text = guest_spec_set_kernel, .expected = "a string"},
        {"initrd", .set_text = guest_spec_set_initrd, .expected = "a string"},
        {"cmdline", .set_text = guest_spec_set_cmdline, .expected = "a string"},
        {"memory", .set_text = memory_text_set, .set_number = guest_spec_set_memory,
         .expected = "a size like \"512M\" or a number of bytes"},
        {"cpus", .set_number = guest_spec_set_vcpus, .expected = "an integer"},
        {"cpu", .set_text = guest_spec_set_cpu_model, .expected = "a string"},
        {"on_reset", .set_text = guest_spec_set_on_reset, .expected = "a string"},
        {"cpu_limit_percent", .set_number = guest_spec_set_cpu_limit, .expected = "an integer"},
        {"io_limits", .read_array = io_limits_read, .expected = "an array of objects"},
        {"disks", .read_array = disks_read, .expected = "an array of objects"},
        {"devices", .read_array = backends_read, .expected = "an array of objects"},
        {"rng", .bool_offset = offsetof(struct guest_spec, rng), .expected = "true or false"},
        {"require_all_layers", .bool_offset = offsetof(struct guest_spec, require_all_layers),
         .expected = "true or false"},
        {"test_device", .bool_offset = offsetof(struct guest_spec, test_device), .expected = "true or false"},
};

/* The limits of one device; major, minor and device are read apart. */
static const struct {
        const char *key;
        size_t offset;
} io_rate_keys[] = {
        {"read_bytes_per_s", offsetof(struct io_limit, read_bytes_per_s)},
        {"write_bytes_per_s", offsetof(struct io_limit, write_bytes_per_s)},
        {"read_ops_per_s", offsetof(struct io_limit, read_ops_per_s)},
        {"write_ops_per_s", offsetof(struct io_limit, write_ops_per_s)},
};

static int integer_read(const char *key, const json_t *v, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
        /* A negative integer becomes one above every max. */
        uint64_t number = (uint64_t)json_integer_value(v);

        if (!json_is_integer(v) || number < min || number > max)
                return err_bad(e, STATUS_USAGE, "%s must be an integer from %llu to %llu", key, (unsigned long long)min,
                               (unsigned long long)max);
        *ret = number;
        return 0;
}

static int io_key_read(const char *key, const json_t *v, struct io_limit *l, struct err *e)
{
        uint64_t number = 0;
        int r;

        if (strcmp(key, "device") == 0) {
                if (!json_is_string(v))
                        return err_bad(e, STATUS_USAGE, "device must be a string: a path or MAJ:MIN");
                return io_device_parse(json_string_value(v), &l->major, &l->minor, e);
        }
        if (strcmp(key, "major") == 0) {
                r = integer_read(key, v, 1, SPEC_DEV_MAJOR_MAX, &number, e);
                l->major = (uint32_t)number;
                return r;
        }
        if (strcmp(key, "minor") == 0) {
                r = integer_read(key, v, 0, SPEC_DEV_MINOR_MAX, &number, e);
                l->minor = (uint32_t)number;
                return r;
        }
        for (size_t i = 0; i < ARRAY_LEN(io_rate_keys); i++)
                if (strcmp(key, io_rate_keys[i].key) == 0) {
                        r = integer_read(key, v, 1, SPEC_IO_RATE_MAX, &number, e);
                        memcpy((char *)l + io_rate_keys[i].offset, &number, sizeof(number));
                        return r;
                }
        return err_bad(e, STATUS_USAGE, "unknown key \"%.64s\"", key);
}

static int io_limit_read(struct guest_spec *s, json_t *object, struct err *e)
{
        struct io_limit limit = {0};
        bool by_path, by_number;
        const char *key;
        json_t *v;

        if (!json_is_object(object))
                return err_bad(e, STATUS_USAGE, "must be an object");
        by_path = json_object_get(object, "device");
        by_number = json_object_get(object, "major") && json_object_get(object, "minor");
        if (by_path ? json_object_get(object, "major") || json_object_get(object, "minor") : !by_number)
                return err_bad(e, STATUS_USAGE, "must have either device or major and minor");
        json_object_foreach(object, key, v)
        {
                int r = io_key_read(key, v, &limit, e);

                if (r < 0)
                        return r;
        }
        return guest_spec_add_io_limit(s, &limit, e);
}

static int io_limits_read(struct guest_spec *s, const json_t *array, struct err *e)
{
        size_t i;
        json_t *v;

        json_array_foreach(array, i, v)
        {
                int r = io_limit_read(s, v, e);

                if (r < 0)
                        return err_wrap(e, r, "io_limits[%zu]", i);
        }
        return 0;
}

/* A key of a disk has a member for the JSON type that it takes. */
static const struct disk_key {
        const char *key;
        int (*set_text)(struct disk_spec *d, const char *text, struct err *e);
        int (*set_number)(struct disk_spec *d, uint64_t number, struct err *e);
        size_t bool_offset; /* of a uint8_t; never 0 */
        const char *expected;
} disk_keys[] = {
        {"path", .set_text = disk_spec_set_path, .expected = "a string"},
        {"format", .set_text = disk_spec_set_format, .expected = "a string"},
        {"id", .set_text = disk_spec_set_id, .expected = "a string"},
        {"read_only", .bool_offset = offsetof(struct disk_spec, read_only), .expected = "true or false"},
        {"direct", .bool_offset = offsetof(struct disk_spec, direct), .expected = "true or false"},
        {"engine", .set_text = disk_spec_set_engine, .expected = "a string"},
        {"queues", .set_number = disk_spec_set_queues, .expected = "an integer"},
        {"bytes_per_s", .set_number = disk_spec_set_bytes_per_s, .expected = "an integer"},
        {"ops_per_s", .set_number = disk_spec_set_ops_per_s, .expected = "an integer"},
};

static int disk_key_read(struct disk_spec *d, const char *key, const json_t *v, struct err *e)
{
        for (size_t i = 0; i < ARRAY_LEN(disk_keys); i++) {
                const struct disk_key *k = &disk_keys[i];

                if (strcmp(key, k->key) != 0)
                        continue;
                if (k->set_text && json_is_string(v))
                        return k->set_text(d, json_string_value(v), e);
                if (k->set_number && json_is_integer(v)) /* negative: above every range, see integer_read() */
                        return k->set_number(d, (uint64_t)json_integer_value(v), e);
                if (k->bool_offset && json_is_boolean(v)) {
                        ((uint8_t *)d)[k->bool_offset] = json_is_true(v);
                        return 0;
                }
                return err_bad(e, STATUS_USAGE, "%s must be %s", key, k->expected);
        }
        return err_bad(e, STATUS_USAGE, "unknown key \"%.64s\"", key);
}

static int disk_read(struct guest_spec *s, json_t *object, struct err *e)
{
        struct disk_spec d = {0};
        const char *key;
        json_t *v;

        if (!json_is_object(object))
                return err_bad(e, STATUS_USAGE, "must be an object");
        if (!json_object_get(object, "path"))
                return err_bad(e, STATUS_USAGE, "must have a path");
        json_object_foreach(object, key, v)
        {
                int r = disk_key_read(&d, key, v, e);

                if (r < 0)
                        return r;
        }
        return guest_spec_add_disk(s, &d, e);
}

static int disks_read(struct guest_spec *s, const json_t *array, struct err *e)
{
        size_t i;
        json_t *v;

        json_array_foreach(array, i, v)
        {
                int r = disk_read(s, v, e);

                if (r < 0)
                        return err_wrap(e, r, "disks[%zu]", i);
        }
        return 0;
}

static int backend_read(struct guest_spec *s, json_t *object, struct err *e)
{
        static const struct {
                const char *key;
                int (*set)(struct backend_spec *b, const char *text, struct err *e);
        } keys[] = {{"protocol", backend_spec_set_protocol},
                    {"type", backend_spec_set_type},
                    {"socket", backend_spec_set_socket},
                    {"id", backend_spec_set_id}};
        struct backend_spec b = {0};
        const char *key;
        json_t *v;

        if (!json_is_object(object))
                return err_bad(e, STATUS_USAGE, "must be an object");
        if (!json_object_get(object, "protocol"))
                return err_bad(e, STATUS_USAGE, "must have a protocol");
        json_object_foreach(object, key, v)
        {
                size_t i = 0;
                int r;

                while (i < ARRAY_LEN(keys) && strcmp(key, keys[i].key) != 0)
                        i++;
                if (i == ARRAY_LEN(keys))
                        return err_bad(e, STATUS_USAGE, "unknown key \"%.64s\"", key);
                if (!json_is_string(v))
                        return err_bad(e, STATUS_USAGE, "%s must be a string", key);
                r = keys[i].set(&b, json_string_value(v), e);
                if (r < 0)
                        return r;
        }
        return guest_spec_add_backend(s, &b, e);
}

static int backends_read(struct guest_spec *s, const json_t *array, struct err *e)
{
        size_t i;
        json_t *v;

        json_array_foreach(array, i, v)
        {
                int r = backend_read(s, v, e);

                if (r < 0)
                        return err_wrap(e, r, "devices[%zu]", i);
        }
        return 0;
}

static int spec_key_read(struct guest_spec *s, const char *key, const json_t *v, struct err *e)
{
        for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++) {
                const struct spec_key *k = &spec_keys[i];

                if (strcmp(key, k->key) != 0)
                        continue;
                if (k->set_text && json_is_string(v))
                        return k->set_text(s, json_string_value(v), e);
                if (k->set_number && json_is_integer(v)) /* negative: above every range, see integer_read() */
                        return k->set_number(s, (uint64_t)json_integer_value(v), e);
                if (k->read_array && json_is_array(v))
                        return k->read_array(s, v, e);
                if (k->bool_offset && json_is_boolean(v)) {
                        ((uint8_t *)s)[k->bool_offset] = json_is_true(v);
                        return 0;
                }
                return err_bad(e, STATUS_USAGE, "%s must be %s", key, k->expected);
        }
        return err_bad(e, STATUS_USAGE, "unknown key \"%.64s\"", key);
}

int spec_json_parse(const char *text, size_t len, struct guest_spec *ret, struct err *e)
{
        struct guest_spec s;
        _cleanup_json_ json_t *root = NULL;
        json_error_t why;
        const char *key;
        json_t *v;

        /* Strings with \u0000 and nesting beyond JSON_PARSER_MAX_DEPTH (2048) are refused by default. */
        root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
        if (!root && json_error_code(&why) == json_error_out_of_memory)
                return err_set(e, -ENOMEM, "parse JSON");
        if (!root)
                return err_bad(e, STATUS_USAGE, "line %d, column %d: %s", why.line, why.column, why.text);
        if (!json_is_object(root))
                return err_bad(e, STATUS_USAGE, "must be a JSON object");
        guest_spec_init(&s);
        json_object_foreach(root, key, v)
        {
                int r = spec_key_read(&s, key, v, e);

                if (r < 0)
                        return r;
        }
        *ret = s;
        return 0;
}

static int text_add(json_t *object, const char *key, const char *text, struct err *e)
{
        size_t len = strlen(text);

        for (size_t i = 0, n; i < len; i += n) {
                n = utf8_sequence_len(text + i, len - i);
                if (n == 0)
                        return err_bad(e, STATUS_USAGE, "%s is not UTF-8 and cannot be written as JSON", key);
        }
        return json_add(object, key, json_string(text), e);
}

static int io_limit_print(json_t *array, const struct io_limit *l, struct err *e)
{
        _cleanup_json_ json_t *object = json_object();
        int r = json_add(object, "major", json_integer(l->major), e);

        if (r == 0)
                r = json_add(object, "minor", json_integer(l->minor), e);
        for (size_t i = 0; r == 0 && i < ARRAY_LEN(io_rate_keys); i++) {
                uint64_t rate;

                memcpy(&rate, (const char *)l + io_rate_keys[i].offset, sizeof(rate));
                if (rate)
                        r = json_add(object, io_rate_keys[i].key, json_integer((json_int_t)rate), e);
        }
        if (r == 0 && json_array_append_new(array, TAKE_PTR(object)) < 0)
                r = err_set(e, -ENOMEM, "build JSON");
        return r;
}

static int io_limits_print(json_t *root, const struct guest_spec *s, struct err *e)
{
        _cleanup_json_ json_t *array = json_array();

        for (uint32_t i = 0; i < s->io_limit_count; i++) {
                int r = io_limit_print(array, &s->io_limits[i], e);

                if (r < 0)
                        return r;
        }
        return json_add(root, "io_limits", TAKE_PTR(array), e);
}

/* What is not said is as if it had not been given. */
static int disk_print(json_t *array, const struct disk_spec *d, struct err *e)
{
        _cleanup_json_ json_t *object = json_object();
        int r = text_add(object, "path", d->path, e);

        if (r == 0)
                r = text_add(object, "format", disk_format_name(d->format), e);
        if (r == 0)
                r = text_add(object, "id", d->id, e);
        if (r == 0)
                r = json_add(object, "read_only", json_boolean(d->read_only), e);
        if (r == 0)
                r = json_add(object, "direct", json_boolean(d->direct), e);
        if (r == 0)
                r = text_add(object, "engine", disk_engine_name(d->engine), e);
        if (r == 0 && d->queues)
                r = json_add(object, "queues", json_integer(d->queues), e);
        if (r == 0 && d->bytes_per_s)
                r = json_add(object, "bytes_per_s", json_integer((json_int_t)d->bytes_per_s), e);
        if (r == 0 && d->ops_per_s)
                r = json_add(object, "ops_per_s", json_integer((json_int_t)d->ops_per_s), e);
        if (r == 0 && json_array_append_new(array, TAKE_PTR(object)) < 0)
                r = err_set(e, -ENOMEM, "build JSON");
        return r;
}

static int backend_print(json_t *array, const struct backend_spec *b, struct err *e)
{
        _cleanup_json_ json_t *object = json_object();
        int r = text_add(object, "protocol", "vhost-user", e);

        if (r == 0)
                r = text_add(object, "type", backend_type_name(b->type), e);
        if (r == 0)
                r = text_add(object, "socket", b->socket, e);
        if (r == 0)
                r = text_add(object, "id", b->id, e);
        if (r == 0 && json_array_append_new(array, TAKE_PTR(object)) < 0)
                r = err_set(e, -ENOMEM, "build JSON");
        return r;
}

static int backends_print(json_t *root, const struct guest_spec *s, struct err *e)
{
        _cleanup_json_ json_t *array = json_array();

        for (uint32_t i = 0; i < s->backend_count; i++) {
                int r = backend_print(array, &s->backends[i], e);

                if (r < 0)
                        return r;
        }
        return json_add(root, "devices", TAKE_PTR(array), e);
}

static int disks_print(json_t *root, const struct guest_spec *s, struct err *e)
{
        _cleanup_json_ json_t *array = json_array();

        for (uint32_t i = 0; i < s->disk_count; i++) {
                int r = disk_print(array, &s->disks[i], e);

                if (r < 0)
                        return r;
        }
        return json_add(root, "disks", TAKE_PTR(array), e);
}

int spec_json_print(const struct guest_spec *s, char **ret_text, struct err *e)
{
        _cleanup_json_ json_t *root = json_object();
        int r = 0;

        if (s->name[0])
                r = text_add(root, "name", s->name, e);
        if (r == 0 && s->kernel[0])
                r = text_add(root, "kernel", s->kernel, e);
        if (r == 0 && s->initrd[0])
                r = text_add(root, "initrd", s->initrd, e);
        if (r == 0)
                r = text_add(root, "cmdline", s->cmdline, e);
        if (r == 0)
                r = json_add(root, "memory", json_integer((json_int_t)s->memory_bytes), e);
        if (r == 0)
                r = json_add(root, "cpus", json_integer(s->vcpus), e);
        if (r == 0)
                r = text_add(root, "cpu", cpu_model_name(s->cpu_model), e);
        if (r == 0)
                r = text_add(root, "on_reset", on_reset_name(s->on_reset), e);
        if (r == 0 && s->cpu_limit_percent)
                r = json_add(root, "cpu_limit_percent", json_integer(s->cpu_limit_percent), e);
        if (r == 0)
                r = io_limits_print(root, s, e);
        if (r == 0)
                r = disks_print(root, s, e);
        if (r == 0)
                r = backends_print(root, s, e);
        if (r == 0)
                r = json_add(root, "rng", json_boolean(s->rng), e);
        if (r == 0)
                r = json_add(root, "require_all_layers", json_boolean(s->require_all_layers), e);
        if (r == 0)
                r = json_add(root, "test_device", json_boolean(s->test_device), e);
        return r == 0 ? json_text_new(root, ret_text, e) : r;
}
