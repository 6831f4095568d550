/* The texts of /proc, as `inspect` parses them: the first byte says which, the rest is the text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/inspect/parse.h"
#include "fuzz.h"

static void must_be_printable(const char *text, size_t size)
{
        MUST(strnlen(text, size) < size);
        for (; *text; text++)
                MUST(*text >= 0x20 && *text <= 0x7e);
}

static bool untouched(const void *p, size_t size)
{
        for (size_t i = 0; i < size; i++)
                if (((const uint8_t *)p)[i] != 0x5a)
                        return false;
        return true;
}

static void status(char *text)
{
        struct thread_facts t;
        int r;

        memset(&t, 0x5a, sizeof(t));
        r = parse_status(text, &t);
        if (r < 0) {
                MUST(r == -EPROTO && untouched(&t, sizeof(t)));
                return;
        }
        must_be_printable(t.name, sizeof(t.name));
        must_be_printable(t.store_bypass, sizeof(t.store_bypass));
        must_be_printable(t.indirect_branch, sizeof(t.indirect_branch));
        MUST(t.no_new_privs == 0 || t.no_new_privs == 1);
}

static void limits(const char *text)
{
        struct limit_facts l[LIMIT_COUNT];
        int r;

        memset(l, 0x5a, sizeof(l));
        r = parse_limits(text, l);
        MUST(r == 0 || (r == -EPROTO && untouched(l, sizeof(l))));
}

static void mountinfo(FILE *f)
{
        struct root_facts root;
        int r;

        memset(&root, 0x5a, sizeof(root));
        r = parse_mountinfo(f, &root);
        if (r < 0) {
                MUST((r == -EPROTO || r == -E2BIG) && untouched(&root, sizeof(root)));
                return;
        }
        MUST(root.mounts <= INSPECT_MOUNTS_MAX);
        MUST(strnlen(root.fs_type, sizeof(root.fs_type)) < sizeof(root.fs_type));
}

static void smaps(FILE *f)
{
        struct memory_facts m;
        struct ram_range ram;
        int r;

        memset(&m, 0x5a, sizeof(m));
        memset(&ram, 0x5a, sizeof(ram));
        r = parse_smaps(f, &m, &ram);
        if (r < 0) {
                MUST((r == -EPROTO || r == -E2BIG) && untouched(&m, sizeof(m)) && untouched(&ram, sizeof(ram)));
                return;
        }
        MUST(m.ram_mappings <= INSPECT_MAPPINGS_MAX && m.writable_executable <= INSPECT_MAPPINGS_MAX);
        if (m.ram_mappings == 0)
                MUST(!m.ram_shared && !m.ram_dontdump && ram.start == 0 && ram.end == 0);
}

static void cgroup(const char *text, const char *controller)
{
        char path[32];
        int r;

        memset(path, 0x5a, sizeof(path));
        r = parse_cgroup(text, controller, path, sizeof(path));
        if (r < 0) {
                MUST((r == -ENOENT || r == -ENAMETOOLONG) && untouched(path, sizeof(path)));
                return;
        }
        MUST(strnlen(path, sizeof(path)) < sizeof(path) && !strchr(path, '\n') && strstr(text, path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};
        uint8_t which = read_u8(&r) % 7;
        _cleanup_free_ char *text = read_text(&r);
        FILE *f = which == 2 || which == 3 ? fmemopen(text, strlen(text) ? strlen(text) : 1, "r") : NULL;

        switch (which) {
        case 0:
                status(text);
                break;
        case 1:
                limits(text);
                break;
        case 2:
                MUST(f);
                mountinfo(f);
                break;
        case 3:
                MUST(f);
                smaps(f);
                break;
        case 4:
                cgroup(text, "");
                break;
        case 5:
                cgroup(text, "memory");
                break;
        default:
                MUST(parse_net_dev(text) <= strlen(text));
                break;
        }
        if (f)
                fclose(f);
        return 0;
}
