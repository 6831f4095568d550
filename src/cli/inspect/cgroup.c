#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/inspect/parse.h"
#include "jail/jail_cgroup.h"

enum { MEMORY, PIDS, CPU, IO };

#define TEXT_MAX      4096
#define NO_LIMIT_FROM (1ULL << 62) /* v1 shows "no limit" as the largest number of pages, in bytes */

static int value_read(int dir, const char *file, char *ret, size_t size)
{
        ssize_t n = io_read_file_at(dir, file, ret, size);

        return n < 0 ? (int)n : 0;
}

static bool is_limit(const char *value)
{
        char *end;
        uint64_t v = strtoull(value, &end, 10);

        return end != value && v < NO_LIMIT_FROM && value[0] != '-';
}

/* Is there a line for the device, with key in it when key is not NULL? */
static bool device_listed(const char *text, const struct io_limit *io, const char *key)
{
        char start[32];
        int len = snprintf(start, sizeof(start), "%u:%u ", io->major, io->minor);

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                char copy[256];

                line += *line == '\n';
                if (strncmp(line, start, (size_t)len) != 0)
                        continue;
                snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "\n"), line);
                return !key || (strstr(copy, key) && is_limit(strstr(copy, key) + strlen(key)));
        }
        return false;
}

/* Reads the limits of block devices; the part is limited when every device of the spec is listed with its
 * limits. */
static int io_read(int dir, bool unified, const struct guest_spec *spec, char *ret, size_t size, bool *ret_limited)
{
        static const char *const keys[] = {"rbps=", "wbps=", "riops=", "wiops="};
        static const char *const files[] = {"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
                                            "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"};
        bool limited = true;
        size_t used = 0;

        ret[0] = '\0';
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
                char text[TEXT_MAX];
                int r = value_read(dir, unified ? "io.max" : files[k], text, sizeof(text));

                if (r < 0)
                        return r;
                for (uint32_t i = 0; i < spec->io_limit_count; i++) {
                        const struct io_limit *io = &spec->io_limits[i];
                        const uint64_t asked[] = {io->read_bytes_per_s, io->write_bytes_per_s, io->read_ops_per_s,
                                                  io->write_ops_per_s};

                        if (asked[k] && !device_listed(text, io, unified ? keys[k] : NULL))
                                limited = false;
                }
                for (char *p = text; (p = strchr(p, '\n')); p++) /* one line for people */
                        *p = ',';
                if (text[0] && (!unified || k == 0) && used < size) {
                        int n = snprintf(ret + used, size - used, "%s%s%s", used ? "; " : "", unified ? "" : keys[k],
                                         text);

                        used += n > 0 ? (size_t)n : 0;
                }
        }
        *ret_limited = limited;
        return 0;
}

static int memory_read(int dir, bool unified, struct cgroup_facts *c)
{
        char swappiness[16];
        int r = value_read(dir, unified ? "memory.max" : "memory.limit_in_bytes", c->parts[MEMORY].value,
                           sizeof(c->parts[MEMORY].value));

        if (r < 0)
                return r;
        c->parts[MEMORY].limited = is_limit(c->parts[MEMORY].value);
        if (unified) {
                r = value_read(dir, "memory.swap.max", c->swap, sizeof(c->swap));
                c->swap_limited = r == 0 && strcmp(c->swap, "0") == 0;
                return r;
        }
        /* v1 limits memory and swap together: no swap when that is no more than memory alone. */
        r = value_read(dir, "memory.memsw.limit_in_bytes", c->swap, sizeof(c->swap));
        if (r == 0) {
                c->swap_limited = strcmp(c->swap, c->parts[MEMORY].value) == 0;
                if (c->swap_limited)
                        snprintf(c->swap, sizeof(c->swap), "0");
                return 0;
        }
        r = value_read(dir, "memory.swappiness", swappiness, sizeof(swappiness));
        c->swap_limited = r == 0 && strcmp(swappiness, "0") == 0;
        snprintf(c->swap, sizeof(c->swap), "not counted by this kernel, swappiness %.16s", r == 0 ? swappiness : "?");
        return r;
}

static int cpu_read(int dir, bool unified, char *ret, size_t size, bool *ret_limited)
{
        char quota[32], period[32];
        int r;

        if (unified) {
                r = value_read(dir, "cpu.max", ret, size);
                *ret_limited = r == 0 && is_limit(ret);
                return r;
        }
        r = value_read(dir, "cpu.cfs_quota_us", quota, sizeof(quota));
        if (r == 0)
                r = value_read(dir, "cpu.cfs_period_us", period, sizeof(period));
        if (r < 0)
                return r;
        *ret_limited = is_limit(quota);
        snprintf(ret, size, "%s %s", quota, period);
        return 0;
}

static int part_read(int dir, int part, const struct guest_spec *spec, struct cgroup_facts *c)
{
        char *value = c->parts[part].value;
        size_t size = sizeof(c->parts[part].value);
        int r;

        switch (part) {
        case MEMORY:
                return memory_read(dir, c->unified, c);
        case PIDS:
                r = value_read(dir, "pids.max", value, size);
                c->parts[PIDS].limited = r == 0 && is_limit(value);
                return r;
        case CPU:
                return cpu_read(dir, c->unified, value, size, &c->parts[CPU].limited);
        default:
                /* Where the controller was not delegated to the user, a guest can only do without limits. */
                if (c->unified && spec->io_limit_count == 0 && faccessat(dir, "io.max", F_OK, 0) < 0) {
                        snprintf(value, size, "no controller, no limit asked for");
                        c->parts[IO].limited = true;
                        return 0;
                }
                return io_read(dir, c->unified, spec, value, size, &c->parts[IO].limited);
        }
}

/* On v1 a thread can be elsewhere than its process. */
static int threads_compare(int proc_fd, const struct inspect_facts *f, const char *process, bool *ret_same)
{
        *ret_same = true;
        for (size_t i = 0; i < f->thread_count; i++) {
                char path[48], text[TEXT_MAX];
                ssize_t n;

                snprintf(path, sizeof(path), "task/%d/cgroup", (int)f->threads[i].tid);
                n = io_read_file_at(proc_fd, path, text, sizeof(text));
                if (n == -ENOENT || n == -ESRCH)
                        continue;
                if (n < 0)
                        return (int)n;
                if (strcmp(text, process) != 0)
                        *ret_same = false;
        }
        return 0;
}

int inspect_cgroup(int proc_fd, const struct guest_spec *spec, const char *base, struct inspect_facts *ret)
{
        static const char *const v1_names[CGROUP_PARTS] = {"memory", "pids", "cpu", "blkio"};
        static const char *const v2_names[CGROUP_PARTS] = {"memory", "pids", "cpu", "io"};
        struct cgroup_facts *c = &ret->cgroup;
        char text[TEXT_MAX], expected[CGROUP_BASE_MAX + SPEC_NAME_MAX + 16];
        bool same = false;
        ssize_t n = io_read_file_at(proc_fd, "cgroup", text, sizeof(text));
        int r = n < 0 ? (int)n : threads_compare(proc_fd, ret, text, &same);

        if (r < 0)
                return r;
        *c = (struct cgroup_facts){.unified = jail_cgroup_is_unified()};
        snprintf(expected, sizeof(expected), "%s/" CGROUP_PARENT "/%s", base, spec->name);
        for (int i = 0; i < CGROUP_PARTS; i++) {
                const char *v1 = v1_names[i];
                char path[sizeof(c->parts[i].path) + 64];
                _cleanup_fd_ int dir = -1;

                c->parts[i].controller = v2_names[i];
                if (parse_cgroup(text, c->unified ? "" : v1, c->parts[i].path, sizeof(c->parts[i].path)) < 0)
                        continue;
                c->parts[i].of_guest = same && strcmp(c->parts[i].path, expected) == 0;
                snprintf(path, sizeof(path), CGROUP_ROOT "%s%s%s", c->unified ? "" : "/", c->unified ? "" : v1,
                         c->parts[i].path);
                dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                /* A root cgroup has no files of limits: shown as such, for being there is wrong. */
                if (dir < 0 || part_read(dir, i, spec, c) < 0)
                        snprintf(c->parts[i].value, sizeof(c->parts[i].value), "cannot be read");
        }
        return 0;
}
