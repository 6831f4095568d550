/* Questions about facts that are already there. */
#include <stdlib.h>
#include <string.h>

#include "audit/model/process.h"
#include "audit/text.h"
#include "base/cleanup.h"

const struct mapping *process_find_mapping(const struct process *p, uint64_t dev, uint64_t ino)
{
        for (size_t i = 0; i < p->maps.count; i++)
                if (p->maps.items[i].ino == ino && p->maps.items[i].dev == dev && ino != 0)
                        return &p->maps.items[i];
        return NULL;
}

uint32_t id_map_to_host(const struct id_map *m, uint32_t inside)
{
        for (size_t i = 0; i < m->count; i++)
                if (inside >= m->items[i].inside && inside - m->items[i].inside < m->items[i].count)
                        return m->items[i].outside + (inside - m->items[i].inside);
        return UINT32_MAX;
}

bool id_map_covers_host(const struct id_map *m, uint32_t outside)
{
        for (size_t i = 0; i < m->count; i++)
                if (outside >= m->items[i].outside && outside - m->items[i].outside < m->items[i].count)
                        return true;
        return false;
}

bool cpu_sets_meet(const struct cpu_set *a, const struct cpu_set *b)
{
        for (size_t i = 0; i < ARRAY_LEN(a->bits); i++)
                if (a->bits[i] & b->bits[i])
                        return true;
        return false;
}

bool cpu_set_parse(const char *list, struct cpu_set *ret)
{
        struct cpu_set set = {0};

        while (*list && *list != '\n') {
                char *end;
                unsigned long first = strtoul(list, &end, 10), last = first;

                if (end == list)
                        return false;
                if (*end == '-') {
                        list = end + 1;
                        last = strtoul(list, &end, 10);
                        if (end == list)
                                return false;
                }
                if (last >= CPUS_MAX || first > last)
                        return false;
                for (unsigned long i = first; i <= last; i++)
                        set.bits[i / 64] |= 1ULL << (i % 64);
                list = end + (*end == ',');
                if (list == end && *end != '\0' && *end != '\n')
                        return false;
        }
        *ret = set;
        return true;
}

static uint64_t limit_value(char **text)
{
        uint64_t v = UINT64_MAX;

        *text += strspn(*text, " ");
        if (!text_has_prefix(*text, "unlimited"))
                v = strtoull(*text, NULL, 10);
        *text += strcspn(*text, " ");
        return v;
}

bool limit_read(const char *limits, const char *name, uint64_t *ret_soft, uint64_t *ret_hard)
{
        const char *line = limits ? strstr(limits, name) : NULL;
        char *p;

        if (!line || (line != limits && line[-1] != '\n'))
                return false;
        p = (char *)(uintptr_t)line + strlen(name);
        *ret_soft = limit_value(&p);
        *ret_hard = limit_value(&p);
        return true;
}

const char *process_cgroup(const struct process *p, const char *controller)
{
        size_t n = strlen(controller);

        for (size_t i = 0; i < p->cgroups.count; i++) {
                const char *word = p->cgroups.items[i].controllers;

                if (n == 0 && *word == '\0')
                        return p->cgroups.items[i].path;
                for (; n > 0 && *word; word += strcspn(word, ","), word += *word == ',')
                        if (strncmp(word, controller, n) == 0 && (word[n] == ',' || word[n] == '\0'))
                                return p->cgroups.items[i].path;
        }
        return NULL;
}
