#include <stdio.h>

#include "cli/inspect/show.h"
#include "cli/report.h"

static void report_ids(struct report *r, const uint32_t ids[4], size_t thread, const char *key)
{
        for (int i = 0; i < 4; i++)
                report_integer(r, ids[i], "threads/%zu/%s/%d", thread, key, i);
}

static void report_threads(struct report *r, const struct inspect_facts *f)
{
        for (size_t i = 0; i < f->thread_count; i++) {
                const struct thread_facts *t = &f->threads[i];

                report_integer(r, t->tid, "threads/%zu/tid", i);
                report_text(r, t->name, "threads/%zu/name", i);
                report_ids(r, t->uids, i, "uids");
                report_ids(r, t->gids, i, "gids");
                report_integer(r, t->groups, "threads/%zu/groups", i);
                for (int k = 0; k < CAPS_COUNT; k++) {
                        char hex[20];

                        snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)t->caps[k]);
                        report_text(r, hex, "threads/%zu/capabilities/%s", i, cap_set_names[k]);
                }
                report_boolean(r, t->no_new_privs, "threads/%zu/no_new_privs", i);
                report_integer(r, t->seccomp_mode, "threads/%zu/seccomp_mode", i);
                if (t->seccomp_filters >= 0)
                        report_integer(r, t->seccomp_filters, "threads/%zu/seccomp_filters", i);
                report_text(r, t->store_bypass, "threads/%zu/store_bypass", i);
                report_text(r, t->indirect_branch, "threads/%zu/indirect_branch", i);
        }
}

static void report_namespaces(struct report *r, const struct inspect_facts *f)
{
        for (int i = 0; i < NS_COUNT; i++) {
                const struct ns_facts *ns = &f->ns[i];

                if (ns->guest == 0) {
                        report_null(r, "namespaces/%s", ns_names[i]);
                        continue;
                }
                report_integer(r, (int64_t)ns->guest, "namespaces/%s/inode", ns_names[i]);
                report_boolean(r, ns->guest != ns->own && ns->guest != ns->init, "namespaces/%s/differs_from_host",
                               ns_names[i]);
        }
        report_integer(r, (int64_t)f->inside.interfaces, "network/interfaces");
        if (f->inside.net_known)
                report_boolean(r, f->inside.loopback_up, "network/loopback_up");
}

static void report_limit(struct report *r, uint64_t value, const char *name, const char *kind)
{
        if (value == LIMIT_UNLIMITED)
                report_null(r, "resource_limits/%s/%s", name, kind);
        else
                report_integer(r, (int64_t)value, "resource_limits/%s/%s", name, kind);
}

static void report_files(struct report *r, const struct inspect_facts *f)
{
        report_integer(r, (int64_t)f->root.mounts, "root/mounts");
        report_text(r, f->root.fs_type, "root/type");
        report_boolean(r, f->root.mount_read_only, "root/mount_read_only");
        report_boolean(r, f->root.fs_read_only, "root/file_system_read_only");
        if (f->fds_known)
                report_array(r, "descriptors");
        else
                report_null(r, "descriptors"); /* only root may list them */
        for (size_t i = 0; i < f->fd_count; i++) {
                report_integer(r, f->fds[i].number, "descriptors/%zu/number", i);
                report_text(r, fd_kind_names[f->fds[i].kind], "descriptors/%zu/kind", i);
        }
        for (int i = 0; i < LIMIT_COUNT; i++) {
                report_limit(r, f->limits[i].soft, limit_names[i], "soft");
                report_limit(r, f->limits[i].hard, limit_names[i], "hard");
        }
}

static void report_cgroup(struct report *r, const struct cgroup_facts *c)
{
        report_integer(r, c->unified ? 2 : 1, "cgroup/version");
        for (size_t i = 0; i < CGROUP_PARTS; i++) {
                const char *name = c->parts[i].controller;

                report_text(r, c->parts[i].path, "cgroup/%s/path", name);
                report_boolean(r, c->parts[i].of_guest, "cgroup/%s/of_guest", name);
                report_boolean(r, c->parts[i].limited, "cgroup/%s/as_asked", name);
                report_text(r, c->parts[i].value, "cgroup/%s/value", name);
        }
        report_text(r, c->swap, "cgroup/swap/value");
        report_boolean(r, c->swap_limited, "cgroup/swap/none");
}

static void report_memory(struct report *r, const struct memory_facts *m)
{
        char seals[SEALS_TEXT_MAX];

        report_integer(r, (int64_t)m->ram_bytes, "guest_memory/bytes");
        report_integer(r, (int64_t)m->ram_mappings, "guest_memory/mappings");
        report_boolean(r, m->ram_shared, "guest_memory/shared");
        report_boolean(r, !m->ram_dontdump, "guest_memory/in_core_dumps");
        report_integer(r, (int64_t)m->mergeable, "guest_memory/mergeable_mappings");
        if (m->seals_known) {
                seals_print(seals, sizeof(seals), m->seals);
                report_text(r, seals, "guest_memory/seals");
        } else
                report_null(r, "guest_memory/seals");
}

static void report_layers(struct report *r, const struct layer_view *layers, uint64_t claimed, bool of_device)
{
        static const char *const verdicts[] = {
                [LAYER_IN_FORCE] = "in_force", [LAYER_ATTESTED] = "attested",         [LAYER_UNCLAIMED] = "unclaimed",
                [LAYER_ABSENT] = "absent",     [LAYER_CONTRADICTED] = "contradicted",
        };

        for (int i = 0; i < LAYER_COUNT; i++) {
                const struct layer_view *v = &layers[i];

                report_text(r, jail_layers[i].name, "layers/%d/name", i);
                report_text(r, verdicts[v->verdict], "layers/%d/verdict", i);
                report_text(r, layer_source_text((enum jail_layer)i, v->verdict, of_device), "layers/%d/source", i);
                report_boolean(r, claimed & LAYER_BIT(i), "layers/%d/claimed", i);
                if (v->detail[0])
                        report_text(r, v->detail, "layers/%d/detail", i);
                if (v->verdict == LAYER_ABSENT)
                        report_text(r, v->needs, "layers/%d/needs", i);
        }
}

/* Outside of the jail: what it is is not known, what it has is all guest RAM. */
static void report_outside(struct report *r, const struct device_state *d, const struct backend_spec *b)
{
        report_boolean(r, true, "degraded");
        report_text(r, "maps all guest RAM outside of the jail", "why_degraded");
        report_text(r, b->socket, "socket");
        report_integer(r, d->peer_pid, "peer_pid");
        report_integer(r, d->peer_uid, "peer_uid");
}

/* vmm: NULL for a device alone. */
static void report_device(struct report *r, const struct device_state *d, const struct device_inspection *di,
                          const struct backend_spec *b, bool storage, const struct inspect_facts *vmm)
{
        const struct inspect_facts *f = &di->facts;

        report_text(r, d->id, "id");
        report_text(r, device_type_name(d->type), "type");
        report_integer(r, d->restarts, "restarts");
        report_boolean(r, d->given_up, "given_up");
        report_boolean(r, b != NULL, "outside");
        if (b)
                report_outside(r, d, b);
        if (storage) {
                report_boolean(r, true, "degraded");
                report_text(r, STORAGE_DEGRADED, "why_degraded");
        }
        if (b || !di->running) {
                report_null(r, "pid");
                return;
        }
        report_integer(r, f->pid, "pid");
        report_integer(r, f->threads[0].pid_inside, "pid_inside");
        report_boolean(r, f->owner != 0 || f->threads[0].uids[1] == 0, "dumpable");
        report_integer(r, f->oom_score_adj, "oom_score_adj");
        report_namespaces(r, f);
        for (int i = 0; i < NS_COUNT; i++)
                if (vmm && f->ns[i].guest != 0)
                        report_boolean(r, f->ns[i].guest == vmm->ns[i].guest, "namespaces/%s/of_guest", ns_names[i]);
        report_threads(r, f);
        report_files(r, f);
        report_cgroup(r, &f->cgroup);
        report_layers(r, di->layers, d->layers, true);
}

static void report_guest(struct report *r, const struct inspection *x)
{
        const struct inspect_facts *f = &x->facts;

        report_integer(r, f->pid, "vmm_pid");
        if (f->threads[0].pid_inside >= 0)
                report_integer(r, f->threads[0].pid_inside, "vmm_pid_inside");
        report_boolean(r, f->owner != 0 || f->threads[0].uids[1] == 0, "dumpable");
        report_integer(r, f->oom_score_adj, "oom_score_adj");
        report_namespaces(r, f);
        report_threads(r, f);
        report_files(r, f);
        report_cgroup(r, &f->cgroup);
        report_memory(r, &f->memory);
        report_layers(r, x->layers, x->state.layers, false);
}

int inspection_print_json(const struct inspection *x, struct err *e)
{
        struct report rep;
        int r = report_open(&rep, e);

        if (r < 0)
                return r;
        report_text(&rep, x->state.spec.name, "name");
        report_boolean(&rep, x->state.alone, "alone");
        if (!x->state.alone)
                report_guest(&rep, x);
        report_array(&rep, "devices");
        for (uint32_t i = 0; i < x->state.device_count; i++) {
                report_under(&rep, "devices/%u/", i);
                report_device(&rep, &x->state.devices[i], &x->devices[i], device_backend(&x->state, i),
                              device_is_storage(&x->state, i), x->state.alone ? NULL : &x->facts);
        }
        return report_print(&rep, e);
}
