#include "audit/probes/reach.h"

#include "audit/text.h"

void reach_init(struct audit *a, struct reach *r)
{
        *r = (struct reach){0};
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t m = 0; m < g->members.count; m++) {
                        const struct process *p = g->members.items[m].process;
                        const struct thread *t = p->threads.count ? &p->threads.items[0] : NULL;

                        if (!t)
                                continue;
                        *GROW(a->arena, &r->uids) = (struct pair_key){.value = {t->uid[1]}, .guest = i, .extra = m};
                        *GROW(a->arena, &r->gids) = (struct pair_key){.value = {t->gid[1]}, .guest = i, .extra = m};
                        for (size_t k = 0; k < t->groups.count; k++)
                                *GROW(a->arena, &r->gids) =
                                        (struct pair_key){.value = {t->groups.items[k]}, .guest = i, .extra = m};
                }
        }
        pair_keys_sort(&r->uids);
        pair_keys_sort(&r->gids);
        (void)mount_list_read(a->observer, a->host.ns_of_init ? "/proc/1/mountinfo" : "/proc/self/mountinfo",
                              &r->mounts);
}

bool reach_everybody(const struct path_walk *w, unsigned int wanted)
{
        const struct identity anybody = {.anybody = true};

        return w->steps.count > 0 && !path_stops(w, &anybody, wanted);
}

static bool key_may(struct audit *a, const struct pair_key *k, const struct path_walk *w, unsigned int wanted)
{
        const struct thread *t = &a->inv.guests.items[k->guest]->members.items[k->extra].process->threads.items[0];
        const struct identity who = {.uid = t->uid[1], .gid = t->gid[1], .groups = &t->groups};

        return !path_stops(w, &who, wanted);
}

/* Of the keys with that value (or of all), the first of another guest that may. */
static const struct guest *keys_search(struct audit *a, const struct pair_key_list *keys, const uint64_t *value,
                                       const struct path_walk *w, const struct guest *g, unsigned int wanted)
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
                if (keys->items[i].guest != g->index && key_may(a, &keys->items[i], w, wanted))
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
        /* Whoever passes the step that stops everybody has its owner's id, a group of it, or is named in its list. */
        id = s->st.uid;
        found = keys_search(a, &r->uids, &id, w, g, wanted);
        if (!found) {
                id = s->st.gid;
                found = keys_search(a, &r->gids, &id, w, g, wanted);
        }
        return found || !s->acl ? found : keys_search(a, &r->uids, NULL, w, g, wanted);
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
