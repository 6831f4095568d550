#include "cli/inspect/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The value of a line "KEY:\tVALUE" in text, or NULL. */
static const char *line_find(const char *text, const char *key)
{
        size_t len = strlen(key);

        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, len) == 0 && line[len] == ':')
                        return line + len + 1 + strspn(line + len + 1, " \t");
        }
        return NULL;
}

/* Numbers of one line, at most max of them. Returns how many there are. */
static size_t numbers_read(const char *p, int base, uint64_t *ret, size_t max)
{
        size_t n = 0;

        while (p && *p && *p != '\n') {
                char *end;
                uint64_t v = strtoull(p, &end, base);

                if (end == p)
                        break;
                if (n < max)
                        ret[n] = v;
                n++;
                p = end + strspn(end, " \t");
        }
        return n;
}

/* One number of a line that must be there. */
static int number_read(const char *text, const char *key, int base, uint64_t *ret)
{
        return numbers_read(line_find(text, key), base, ret, 1) == 1 ? 0 : -EPROTO;
}

/* The rest of the line, printable ASCII; a line that is not there gives an empty text. */
static void text_read(const char *text, const char *key, char *ret, size_t size)
{
        const char *p = line_find(text, key);
        size_t n = 0;

        for (; p && p[n] && p[n] != '\n' && n + 1 < size; n++)
                ret[n] = (char)(p[n] < 0x20 || p[n] > 0x7e ? '?' : p[n]);
        ret[n] = '\0';
}

static int ids_read(const char *text, const char *key, uint32_t ret[4])
{
        uint64_t v[4];

        if (numbers_read(line_find(text, key), 10, v, 4) != 4)
                return -EPROTO;
        for (int i = 0; i < 4; i++)
                ret[i] = (uint32_t)v[i];
        return 0;
}

int parse_status(char *text, struct thread_facts *ret)
{
        static const char *const cap_keys[CAPS_COUNT] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
        struct thread_facts t = {.seccomp_filters = -1, .pid_inside = -1};
        uint64_t v = 0, pids[33]; /* PID namespaces nest 32 deep (pid_namespaces(7)) */
        size_t n;
        int r;

        text_read(text, "Name", t.name, sizeof(t.name));
        r = number_read(text, "Pid", 10, &v);
        t.tid = (pid_t)v;
        if (r == 0)
                r = ids_read(text, "Uid", t.uids);
        if (r == 0)
                r = ids_read(text, "Gid", t.gids);
        for (int i = 0; r == 0 && i < CAPS_COUNT; i++)
                r = number_read(text, cap_keys[i], 16, &t.caps[i]);
        if (r == 0)
                r = number_read(text, "NoNewPrivs", 10, &v);
        if (r == 0) {
                t.no_new_privs = v == 1;
                r = number_read(text, "Seccomp", 10, &v);
        }
        if (r == 0)
                t.seccomp_mode = (int)v;
        if (r < 0 || !line_find(text, "Groups"))
                return -EPROTO;
        t.groups = (unsigned int)numbers_read(line_find(text, "Groups"), 10, &v, 1);
        if (number_read(text, "Seccomp_filters", 10, &v) == 0)
                t.seccomp_filters = (int)v;
        n = numbers_read(line_find(text, "NSpid"), 10, pids, ARRAY_LEN(pids));
        if (n > 1 && n <= ARRAY_LEN(pids))
                t.pid_inside = (int64_t)pids[n - 1];
        text_read(text, "Speculation_Store_Bypass", t.store_bypass, sizeof(t.store_bypass));
        text_read(text, "SpeculationIndirectBranch", t.indirect_branch, sizeof(t.indirect_branch));
        *ret = t;
        return 0;
}

static const char *limit_value(const char *p, uint64_t *ret)
{
        char *end;

        p += strspn(p, " ");
        if (strncmp(p, "unlimited", strlen("unlimited")) == 0) {
                *ret = LIMIT_UNLIMITED;
                return p + strlen("unlimited");
        }
        *ret = strtoull(p, &end, 10);
        return end == p ? NULL : end;
}

int parse_limits(const char *text, struct limit_facts ret[LIMIT_COUNT])
{
        static const char *const keys[LIMIT_COUNT] = {
                [LIMIT_CORE] = "Max core file size",   [LIMIT_FSIZE] = "Max file size",
                [LIMIT_MEMLOCK] = "Max locked memory", [LIMIT_MSGQUEUE] = "Max msgqueue size",
                [LIMIT_NOFILE] = "Max open files",     [LIMIT_NPROC] = "Max processes",
        };
        struct limit_facts limits[LIMIT_COUNT];

        for (int i = 0; i < LIMIT_COUNT; i++) {
                const char *p = strstr(text, keys[i]);

                p = p ? limit_value(p + strlen(keys[i]), &limits[i].soft) : NULL;
                p = p ? limit_value(p, &limits[i].hard) : NULL;
                if (!p)
                        return -EPROTO;
        }
        memcpy(ret, limits, sizeof(limits));
        return 0;
}

/* Is word one of the words in a list that commas separate? */
static bool word_in_list(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; p; p = strchr(p, ',')) {
                p += *p == ',';
                if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
                        return true;
        }
        return false;
}

/* "36 35 98:0 ROOT MOUNTPOINT OPTIONS [optional]... - TYPE SOURCE SUPEROPTIONS": proc_pid_mountinfo(5). */
static int mount_read(char *line, struct root_facts *ret)
{
        char *save = NULL, *field = strtok_r(line, " \n", &save), *point = NULL, *options = NULL, *type, *super;

        for (int i = 1; field && strcmp(field, "-") != 0; i++, field = strtok_r(NULL, " \n", &save)) {
                if (i == 5)
                        point = field;
                if (i == 6)
                        options = field;
        }
        type = field ? strtok_r(NULL, " \n", &save) : NULL;
        (void)strtok_r(NULL, " \n", &save); /* the source */
        super = type ? strtok_r(NULL, " \n", &save) : NULL;
        if (!point || !options || !super)
                return -EPROTO;
        snprintf(ret->fs_type, sizeof(ret->fs_type), "%s", type);
        ret->at_root = strcmp(point, "/") == 0;
        ret->mount_read_only = word_in_list(options, "ro");
        ret->fs_read_only = word_in_list(super, "ro");
        return 0;
}

int parse_mountinfo(FILE *f, struct root_facts *ret)
{
        struct root_facts root = {0};
        char line[4096];
        int r = 0;

        while (r == 0 && fgets(line, sizeof(line), f)) {
                if (!strchr(line, '\n') || root.mounts == INSPECT_MOUNTS_MAX)
                        return -E2BIG;
                if (root.mounts++ == 0)
                        r = mount_read(line, &root);
        }
        if (r == 0)
                *ret = root;
        return r;
}

/* "START-END PERMISSIONS OFFSET DEVICE INODE PATH": proc_pid_maps(5). Returns false for the lines below such
 * a one. */
static bool mapping_read(const char *line, struct ram_range *ret, char permissions[5])
{
        return sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s ", &ret->start, &ret->end, permissions) == 3;
}

static void flags_read(const char *flags, bool is_ram, struct memory_facts *m)
{
        bool dontdump = false;

        for (const char *p = flags; *p && *p != '\n'; p += strcspn(p, " \n")) {
                p += strspn(p, " ");
                if (strncmp(p, "dd", 2) == 0)
                        dontdump = true;
                if (strncmp(p, "mg", 2) == 0)
                        m->mergeable++;
        }
        if (is_ram && !dontdump)
                m->ram_dontdump = false;
}

int parse_smaps(FILE *f, struct memory_facts *ret, struct ram_range *ret_ram)
{
        struct memory_facts m = {.ram_shared = true, .ram_dontdump = true};
        struct ram_range range, ram = {0};
        char line[512], permissions[5];
        size_t mappings = 0, flag_lines = 0;
        bool is_ram = false;

        while (fgets(line, sizeof(line), f)) {
                if (!strchr(line, '\n'))
                        return -E2BIG;
                if (strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0) {
                        flag_lines++;
                        flags_read(line + strlen("VmFlags:"), is_ram, &m);
                        continue;
                }
                if (!mapping_read(line, &range, permissions))
                        continue;
                if (++mappings > INSPECT_MAPPINGS_MAX)
                        return -E2BIG;
                is_ram = strstr(line, " /memfd:guest_ram (deleted)\n") != NULL;
                m.writable_executable += permissions[1] == 'w' && permissions[2] == 'x';
                if (!is_ram)
                        continue;
                if (m.ram_mappings++ == 0)
                        ram = range;
                m.ram_bytes += range.end - range.start;
                if (permissions[3] != 's')
                        m.ram_shared = false;
        }
        if (mappings == 0 || flag_lines != mappings)
                return -EPROTO;
        if (m.ram_mappings == 0)
                m.ram_shared = m.ram_dontdump = false;
        *ret = m;
        *ret_ram = ram;
        return 0;
}

int parse_cgroup(const char *text, const char *controller, char *ret_path, size_t size)
{
        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                const char *list, *path;
                char controllers[128];
                size_t len;

                line += *line == '\n';
                list = strchr(line, ':');
                path = list ? strchr(list + 1, ':') : NULL;
                if (!path)
                        return -ENOENT;
                len = (size_t)(path - list - 1);
                if (len >= sizeof(controllers))
                        continue;
                memcpy(controllers, list + 1, len);
                controllers[len] = '\0';
                if (*controller ? !word_in_list(controllers, controller) : len != 0)
                        continue;
                len = strcspn(path + 1, "\n");
                if (len >= size)
                        return -ENAMETOOLONG;
                memcpy(ret_path, path + 1, len);
                ret_path[len] = '\0';
                return 0;
        }
        return -ENOENT;
}

size_t parse_net_dev(const char *text)
{
        size_t n = 0;

        /* Two lines of heading, in which no colon is. */
        for (const char *p = text; (p = strchr(p, ':')); n++) {
                p = strchr(p, '\n');
                if (!p)
                        return n + 1;
        }
        return n;
}
