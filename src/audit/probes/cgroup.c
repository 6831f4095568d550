#include "audit/probes/cgroup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"
#include "base/number.h"

static const char *const v1_names[CGROUP_CONTROLLERS] = {
        [CGROUP_MEMORY] = "memory", [CGROUP_CPU] = "cpu", [CGROUP_PIDS] = "pids", [CGROUP_IO] = "blkio"};

#define V1_UNLIMITED (1ULL << 62) /* memory.limit_in_bytes is as many pages as a counter holds, in bytes */

static const char *raw_path(const struct process *p, enum cgroup_controller c)
{
        const char *path = process_cgroup(p, v1_names[c]);

        return path ? path : process_cgroup(p, "");
}

static int by_path(const void *x, const void *y)
{
        return strcmp(((const struct cgroup_tenant *)x)->path, ((const struct cgroup_tenant *)y)->path);
}

void cgroup_mounts_read(struct audit *a, struct cgroup_mounts *ret)
{
        *ret = (struct cgroup_mounts){0};
        ret->error = mount_list_read(a->observer, "/proc/self/mountinfo", &ret->mounts);
        for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
                struct cgroup_tenant_list *l = &ret->tenants[c];

                for (size_t i = 0; i < a->inv.guests.count; i++) {
                        const struct guest *g = a->inv.guests.items[i];
                        const char *path = raw_path(g->vmm, (enum cgroup_controller)c);

                        if (path)
                                *GROW(a->arena, l) = (struct cgroup_tenant){.path = path, .guest = g};
                }
                if (l->count > 0)
                        qsort(l->items, l->count, sizeof(l->items[0]), by_path);
        }
}

static bool has_word(const char *list, const char *word)
{
        size_t n = strlen(word);

        for (; *list; list += strcspn(list, ","), list += *list == ',')
                if (strncmp(list, word, n) == 0 && (list[n] == ',' || list[n] == '\0'))
                        return true;
        return false;
}

/* controller "": version 2. */
static const struct mount *mount_of(const struct cgroup_mounts *m, const char *controller)
{
        for (size_t i = 0; i < m->mounts.count; i++) {
                const struct mount *mount = &m->mounts.items[i];

                if (strcmp(mount->type, *controller ? "cgroup" : "cgroup2") == 0 &&
                    (!*controller || has_word(mount->super_options, controller)))
                        return mount;
        }
        return NULL;
}

/* Where path of the hierarchy is below mount; NULL: outside of it. Paths with "/.." lie above this auditor's cgroup
 * namespace. */
static const char *below(const struct mount *mount, const char *path)
{
        size_t n = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);

        if (strstr(path, "/..") || strncmp(path, mount->root, n) != 0)
                return NULL;
        path += n;
        return *path == '\0' ? "/" : *path == '/' ? path : NULL;
}

int cgroup_find(struct audit *a, const struct cgroup_mounts *m, const struct process *p, enum cgroup_controller c,
                struct cgroup_place *ret)
{
        const char *path = process_cgroup(p, v1_names[c]);
        bool v1 = path != NULL;
        const struct mount *mount;

        (void)a;
        if (p->cgroups_error < 0 || m->error < 0)
                return p->cgroups_error < 0 ? p->cgroups_error : m->error;
        if (!v1)
                path = process_cgroup(p, "");
        if (!path)
                return -ENODATA;
        mount = mount_of(m, v1 ? v1_names[c] : "");
        path = mount ? below(mount, path) : NULL;
        if (!path)
                return -ENOENT;
        *ret = (struct cgroup_place){.v1 = v1, .mount = mount->point, .path = path};
        return 0;
}

char *cgroup_directory(struct audit *a, const struct cgroup_mounts *m, const struct cgroup_path *c)
{
        const char *first = c->controllers, *path;
        const struct mount *mount = mount_of(m, arena_copy(a->arena, first, strcspn(first, ",")));

        path = mount ? below(mount, c->path) : NULL;
        return path ? arena_printf(a->arena, "%s%s", mount->point, strcmp(path, "/") == 0 ? "" : path) : NULL;
}

int cgroup_number(struct audit *a, const char *dir, const char *file, uint64_t *ret, char **ret_question,
                  char **ret_raw)
{
        char *path = arena_printf(a->arena, "%s/%s", dir, file);
        uint64_t v;
        int r;
        char *line = observe_line(a->observer, path, &r);

        *ret_question = arena_printf(a->arena, "read %s", path);
        *ret_raw = line;
        if (!line)
                return r;
        if (strcmp(line, "max") == 0 || line[0] == '-')
                v = UINT64_MAX;
        else if (number_parse(line, UINT64_MAX, &v) < 0)
                return -EPROTO;
        *ret = v >= V1_UNLIMITED ? UINT64_MAX : v;
        return 0;
}

/* The first of the list whose path is not before text. */
static size_t tenant_search(const struct cgroup_tenant_list *l, const char *text)
{
        size_t low = 0, high = l->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(l->items[middle].path, text) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* A guest other than g has its monitor in the cgroup that is the first n bytes of path, or below it. */
static bool holds_another(struct audit *a, const struct cgroup_mounts *m, const struct guest *g,
                          enum cgroup_controller c, const char *path, size_t n)
{
        const struct cgroup_tenant_list *l = &m->tenants[c];
        char *own = arena_copy(a->arena, path, n), *children = arena_printf(a->arena, "%s/", own);

        for (size_t i = tenant_search(l, own); i < l->count && strcmp(l->items[i].path, own) == 0; i++)
                if (l->items[i].guest != g)
                        return true;
        for (size_t i = tenant_search(l, children); i < l->count && text_has_prefix(l->items[i].path, children); i++)
                if (l->items[i].guest != g)
                        return true;
        return false;
}

/* Before Linux 5.11 a memory cgroup of version 1 could be told not to count what is below it. */
static bool counts_children(struct audit *a, const char *dir, const struct cgroup_place *place,
                            enum cgroup_controller c)
{
        char *line = place->v1 && c == CGROUP_MEMORY
                             ? observe_line(a->observer, arena_printf(a->arena, "%s/memory.use_hierarchy", dir), NULL)
                             : NULL;

        return !line || strcmp(line, "0") != 0;
}

void cgroup_limit_read(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                       enum cgroup_controller c, cgroup_reader *reader, struct cgroup_limit *ret)
{
        struct cgroup_limit l = {.value = UINT64_MAX};
        struct cgroup_place place = {0};
        struct observed_stat st;
        size_t n, at = 0;
        char *dir;

        l.question = arena_printf(a->arena, "read /proc/%d/cgroup", p->pid);
        l.error = cgroup_find(a, m, p, c, &place);
        if (l.error == -ENODATA) { /* known: nothing limits it */
                l.error = 0;
                l.raw = arena_printf(a->arena, "no hierarchy has the controller %s", v1_names[c]);
        }
        if (l.error < 0 || l.raw) {
                *ret = l;
                return;
        }
        assert(place.path);
        n = strlen(place.path);
        while (n > 0 && place.path[n - 1] == '/')
                n--;
        dir = arena_printf(a->arena, "%s%.*s", place.mount, (int)n, place.path);
        l.question = arena_printf(a->arena, "stat %s", dir);
        l.error = observe_stat(a->observer, dir, &st);
        for (unsigned int level = 0; l.error == 0; level++) {
                char *question, *raw = NULL;
                uint64_t value = UINT64_MAX;
                int r;

                dir = arena_printf(a->arena, "%s%.*s", place.mount, (int)n, place.path);
                if (level > 0 && !counts_children(a, dir, &place, c))
                        break;
                r = reader(a, dir, place.v1, &value, &question, &raw);
                if (r < 0 && r != -ENOENT)
                        l.error = r;
                if (level == 0 || l.error < 0 || value < l.value) {
                        l.question = question;
                        l.raw = raw;
                }
                if (value < l.value) {
                        l.value = value;
                        l.levels = level;
                        at = n;
                }
                if (n == 0)
                        break;
                while (n > 0 && place.path[n - 1] != '/')
                        n--;
                while (n > 0 && place.path[n - 1] == '/')
                        n--;
        }
        if (l.error == 0 && l.value != UINT64_MAX) {
                const char *raw = raw_path(p, c); /* ends with place.path, or is the mounted cgroup itself */
                size_t skipped = strlen(raw) - (strcmp(place.path, "/") == 0 ? 0 : strlen(place.path));

                if (strcmp(raw, "/") == 0)
                        skipped = 0;
                l.shared = holds_another(a, m, g, c, raw, skipped + at);
        }
        *ret = l;
}

const char *cgroup_level_text(struct audit *a, const struct cgroup_limit *l)
{
        return l->levels == 0   ? ""
               : l->levels == 1 ? " (set one level above its own cgroup)"
                                : arena_printf(a->arena, " (set %u levels above its own cgroup)", l->levels);
}
