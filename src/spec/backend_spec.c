#include "spec/backend_spec.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "spec/spec_field.h"

static const char *const types[] = {[BACKEND_BLK] = "blk", [BACKEND_RNG] = "rng"};

const char *backend_type_name(uint32_t type)
{
        return type < ARRAY_LEN(types) && types[type] ? types[type] : "unknown";
}

static int socket_check(const char *path, struct err *e)
{
        size_t len = strnlen(path, SPEC_SOCKET_MAX);

        if (len > 0 && len < SPEC_SOCKET_MAX)
                return 0;
        return err_bad(e, STATUS_USAGE, "socket must be 1 to %d bytes", SPEC_SOCKET_MAX - 1);
}

static int type_check(uint32_t type, struct err *e)
{
        if (type == BACKEND_BLK || type == BACKEND_RNG)
                return 0;
        return err_bad(e, STATUS_USAGE, "type must be blk or rng");
}

static int backend_check(const struct backend_spec *b, struct err *e)
{
        int r = socket_check(b->socket, e);

        if (r == 0)
                r = spec_field_check_id(b->id, e);
        if (r == 0)
                r = type_check(b->type, e);
        for (size_t i = 0; i < sizeof(b->reserved) && r == 0; i++)
                if (b->reserved[i])
                        r = err_bad(e, STATUS_USAGE, "reserved bytes must be 0");
        return r;
}

static bool id_is_before(const struct guest_spec *s, size_t index)
{
        const char *id = s->backends[index].id;

        for (size_t i = 0; i < s->disk_count; i++)
                if (strcmp(s->disks[i].id, id) == 0)
                        return true;
        for (size_t i = 0; i < index; i++)
                if (strcmp(s->backends[i].id, id) == 0)
                        return true;
        return false;
}

int backend_specs_check(const struct guest_spec *s, struct err *e)
{
        if (s->backend_count > SPEC_BACKENDS_MAX)
                return err_bad(e, STATUS_USAGE, "devices must be at most %d", SPEC_BACKENDS_MAX);
        for (size_t i = 0; i < s->backend_count; i++) {
                int r = backend_check(&s->backends[i], e);

                if (r < 0)
                        return err_wrap(e, r, "devices[%zu]", i);
                if (id_is_before(s, i))
                        return err_bad(e, STATUS_USAGE, "devices: two have the id \"%s\"", s->backends[i].id);
        }
        return 0;
}

int backend_spec_set_protocol(struct backend_spec *b, const char *word, struct err *e)
{
        return strcmp(word, "vhost-user") == 0 ? 0 : err_bad(e, STATUS_USAGE, "protocol must be vhost-user");
}

int backend_spec_set_type(struct backend_spec *b, const char *word, struct err *e)
{
        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                if (types[i] && strcmp(word, types[i]) == 0) {
                        b->type = (uint8_t)i;
                        return 0;
                }
        return type_check(0, e);
}

int backend_spec_set_socket(struct backend_spec *b, const char *path, struct err *e)
{
        int r = socket_check(path, e);

        if (r == 0)
                spec_field_set_text(b->socket, sizeof(b->socket), path);
        return r;
}

int backend_spec_set_id(struct backend_spec *b, const char *id, struct err *e)
{
        int r = spec_field_check_id(id, e);

        if (r == 0)
                spec_field_set_text(b->id, sizeof(b->id), id);
        return r;
}
