/* A configuration file, as bulkhead-json parses it. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/json/spec_json.h"
#include "spec_check.h"

/* What the file says, read without the product's parser: a key that is there is what is in the field. */
static void must_say(const json_t *root, const char *key, const char *field)
{
        const char *said = json_string_value(json_object_get(root, key));

        MUST(!said || strcmp(said, field) == 0);
}

static void compare(const uint8_t *data, size_t len, const struct guest_spec *s)
{
        json_t *root = json_loadb((const char *)data, len, 0, NULL), *disk;
        size_t i;

        MUST(json_is_object(root));
        must_say(root, "name", s->name);
        must_say(root, "kernel", s->kernel);
        must_say(root, "initrd", s->initrd);
        must_say(root, "cmdline", s->cmdline);
        must_say(root, "cpu", cpu_model_name(s->cpu_model));
        must_say(root, "on_reset", on_reset_name(s->on_reset));
        MUST(!json_object_get(root, "cpus") || json_integer_value(json_object_get(root, "cpus")) == s->vcpus);
        if (json_is_integer(json_object_get(root, "memory")))
                MUST((uint64_t)json_integer_value(json_object_get(root, "memory")) == s->memory_bytes);
        MUST(json_is_true(json_object_get(root, "test_device")) == s->test_device);
        MUST(json_is_false(json_object_get(root, "rng")) == !s->rng);
        json_array_foreach(json_object_get(root, "disks"), i, disk)
        {
                MUST(i < s->disk_count);
                must_say(disk, "path", s->disks[i].path);
                must_say(disk, "id", s->disks[i].id);
                MUST(json_is_true(json_object_get(disk, "read_only")) == s->disks[i].read_only);
                MUST(json_is_true(json_object_get(disk, "direct")) == s->disks[i].direct);
        }
        MUST(json_array_size(json_object_get(root, "disks")) == s->disk_count);
        MUST(json_array_size(json_object_get(root, "devices")) == s->backend_count);
        json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct guest_spec s, untouched;
        struct err e = ERR_INIT;
        int r;

        memset(&s, 0x5a, sizeof(s));
        memset(&untouched, 0x5a, sizeof(s));
        target_runs = true;
        r = spec_json_parse((const char *)data, len, &s, &e);
        target_runs = false;
        if (r == 0) {
                spec_must_be_good(&s);
                compare(data, len, &s);
                return 0;
        }
        MUST(r == -EINVAL);
        must_be_error(&e, r, SPEC_STATUSES);
        MUST(memcmp(&s, &untouched, sizeof(s)) == 0);
        return 0;
}
