#include "audit/probes/reach.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "audit/text.h"

static uint64_t caps_of(const struct thread *t)
{
        return (t->caps[CAP_SET_EFF] | t->caps[CAP_SET_PRM]) &
               (CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH));
}

/* Most threads are like their process's first. */
static bool same_ids(const struct thread *t, const struct thread *first)
{
        return memcmp(t->uid, first->uid, sizeof(t->uid)) == 0 && memcmp(t->gid, first->gid, sizeof(t->gid)) == 0 &&
               caps_of(t) == caps_of(first);
}

static void reacher_add(struct audit *a, struct reach *r, const struct guest *g, const struct process *p,
                        const struct thread *t)
{
        struct pair_key key = {.guest = g->index, .extra = r->reachers.count};

        *GROW(a->arena, &r->reachers) = (struct reacher){p, t};
        key.value[0] = t->uid[1];
        *GROW(a->arena, &r->uids) = key;
        if (caps_of(t))
                *GROW(a->arena, &r->capable) = key;
        key.value[0] = t->gid[1];
        *GROW(a->arena, &r->gids) = key;
        for (size_t k = 0; k < t->groups.count; k++) {
                key.value[0] = t->groups.items[k];
                *GROW(a->arena, &r->gids) = key;
        }
}

static void reach_unread(struct reach *r, const struct guest *g, int error)
{
        if (r->unread[0] == g || r->unread[1])
                return;
        r->unread[r->unread[0] ? 1 : 0] = g;
        r->unread_error = error;
}

void reach_init(struct audit *a, struct reach *r)
{
        *r = (struct reach){0};
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t m = 0; m < g->members.count; m++) {
                        const struct process *p = g->members.items[m].process;

                        if (p->threads_error < 0 && p->threads_error != -ESRCH)
                                reach_unread(r, g, p->threads_error);
                        for (size_t k = 0; k < p->threads.count; k++)
                                if (k == 0 || !same_ids(&p->threads.items[k], &p->threads.items[0]))
                                        reacher_add(a, r, g, p, &p->threads.items[k]);
                }
        }
        pair_keys_sort(&r->uids);
        pair_keys_sort(&r->gids);
        r->mounts_error =
                mount_list_read(a->observer, a->host.ns_of_init ? "/proc/1/mountinfo" : "/proc/self/mountinfo",
                                &r->mounts);
}

int reach_error(struct audit *a, const struct reach *r, const struct guest *g, const char **ret_question)
{
        const struct guest *unread = r->unread[0] == g ? r->unread[1] : r->unread[0];

        if (r->mounts_error < 0) {
                *ret_question = arena_printf(a->arena, "read /proc/%s/mountinfo", a->host.ns_of_init ? "1" : "self");
                return r->mounts_error;
        }
        *ret_question = arena_text(a->arena, "read /proc/PID/task/TID/status of every other guest");
        return unread ? r->unread_error : 0;
}

bool reach_everybody(const struct path_walk *w, unsigned int wanted)
{
        const struct identity anybody = {.anybody = true};

        return w->steps.count > 0 && !path_stops(w, &anybody, wanted);
}

static bool key_may(const struct reach *r, const struct pair_key *k, const struct path_walk *w, unsigned int wanted)
{
        const struct reacher *by = &r->reachers.items[k->extra];
        const struct identity who = {
                .uid = by->thread->uid[1],
                .gid = by->thread->gid[1],
                .groups = &by->thread->groups,
                .caps = caps_of(by->thread),
                .uid_map = by->process->uid_map_error < 0 ? NULL : &by->process->uid_map,
                .gid_map = by->process->gid_map_error < 0 ? NULL : &by->process->gid_map,
        };

        return !path_stops(w, &who, wanted);
}

/* Of the keys with that value (or of all), the first of another guest that may. */
static const struct guest *keys_search(struct audit *a, const struct reach *r, const struct pair_key_list *keys,
                                       const uint64_t *value, const struct path_walk *w, const struct guest *g,
                                       unsigned int wanted)
{
        size_t low = 0, high = keys->count;

        while (value && low < high) {
                size_t middle = low + (high - low) / 2;

                if (keys->items[middle].value[0] < *value)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (size_t i = low; i < keys->count && (!value || keys->items[i].value[0] == *value); i++)
                if (keys->items[i].guest != g->index && key_may(r, &keys->items[i], w, wanted))
                        return a->inv.guests.items[keys->items[i].guest];
        return NULL;
}

const struct guest *reach_other(struct audit *a, const struct reach *r, const struct path_walk *w,
                                const struct guest *g, unsigned int wanted)
{
        const struct identity anybody = {.anybody = true};
        const struct path_step *s = path_stops(w, &anybody, wanted);
        const struct guest *found;
        uint64_t id;

        if (!s)
                return NULL;
        /* Whoever passes the step that stops everybody has its owner's id, a group of it, is named in its list, or has
         * a capability. */
        id = s->st.uid;
        found = keys_search(a, r, &r->uids, &id, w, g, wanted);
        if (!found) {
                id = s->st.gid;
                found = keys_search(a, r, &r->gids, &id, w, g, wanted);
        }
        if (!found && s->acl)
                found = keys_search(a, r, &r->uids, NULL, w, g, wanted);
        return found ? found : keys_search(a, r, &r->capable, NULL, w, g, wanted);
}

/* A mount namespace of its own may show the host's tree nevertheless: libvirt gives each guest one for /dev. */
static bool sees_host_tree(const struct audit *a, const struct guest *g)
{
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                if (p->root_error < 0 || a->host.root_error < 0 ||
                    (p->root_stat.dev == a->host.root.dev && p->root_stat.ino == a->host.root.ino))
                        return true;
        }
        return false;
}

bool reach_kept_away(const struct audit *a, const struct guest *g, const struct guest *other)
{
        const uint64_t *mine = a->pairs.values + g->index * LAYER_COUNT,
                       *its = a->pairs.values + other->index * LAYER_COUNT;

        return (its[LAYER_MNTNS] && its[LAYER_MNTNS] != mine[LAYER_MNTNS] && !sees_host_tree(a, other)) ||
               (its[LAYER_MAC] && its[LAYER_MAC] != mine[LAYER_MAC]);
}

char *reach_host_path(struct audit *a, const struct reach *r, const struct process *p, const char *path)
{
        bool same_mounts = p->ns_error[NS_MNT] == 0 && p->ns[NS_MNT] == a->host.ns[NS_MNT];
        bool same_tree = p->root_error == 0 && a->host.root_error == 0 && p->root_stat.dev == a->host.root.dev &&
                         p->root_stat.ino == a->host.root.ino;

        return path_on_host(a->observer, p, same_tree, same_mounts, &r->mounts, path);
}

char *reach_show(struct audit *a, const struct path_walk *w)
{
        char *text = arena_text(a->arena, "mode uid gid path");

        for (size_t i = 0; i < w->steps.count; i++) {
                const struct path_step *s = &w->steps.items[i];

                text = arena_printf(a->arena, "%s\n%o %u %u %s%s", text, s->st.mode, s->st.uid, s->st.gid, s->path,
                                    s->acl ? " (with an access list)" : "");
        }
        return text;
}
