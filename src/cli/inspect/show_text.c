#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/inspect/show.h"
#include "jail/layers.h"

#define LABEL "  %-16s "

void seals_print(char *buf, size_t size, int seals)
{
        static const struct {
                int bit;
                const char *name;
        } names[] = {{F_SEAL_SEAL, "seal"},   {F_SEAL_SHRINK, "shrink"}, {F_SEAL_GROW, "grow"},
                     {F_SEAL_WRITE, "write"}, {0x0010, "future_write"}, /* F_SEAL_FUTURE_WRITE, Linux 5.1 */
                     {0x0020, "exec"}};                                 /* F_SEAL_EXEC, Linux 6.3 */
        size_t used = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < ARRAY_LEN(names) && used < size; i++)
                if (seals & names[i].bit) {
                        int n = snprintf(buf + used, size - used, "%s%s", used ? ", " : "", names[i].name);

                        used += n > 0 ? (size_t)n : 0;
                }
}

const struct backend_spec *device_backend(const struct guest_state *s, uint32_t index)
{
        for (uint32_t i = 0; s->devices[index].outside && i < s->spec.backend_count; i++)
                if (strcmp(s->spec.backends[i].id, s->devices[index].id) == 0)
                        return &s->spec.backends[i];
        return NULL;
}

static void print_ids(const char *label, const uint32_t ids[4])
{
        printf(LABEL "real %u, effective %u, saved %u, file system %u\n", label, ids[0], ids[1], ids[2], ids[3]);
}

static void print_process(const struct inspect_facts *f)
{
        const struct thread_facts *t = &f->threads[0];

        printf("Process\n");
        printf(LABEL "%d outside, ", "pid", (int)f->pid);
        if (t->pid_inside < 0)
                printf("in no PID namespace of its own\n");
        else
                printf("%" PRId64 " inside\n", t->pid_inside);
        print_ids("uids", t->uids);
        print_ids("gids", t->gids);
        printf(LABEL "%u\n", "groups", t->groups);
        for (int i = 0; i < CAPS_COUNT; i++)
                printf(LABEL "%016" PRIx64 " %s\n", i == 0 ? "capabilities" : "", t->caps[i], cap_set_names[i]);
        printf(LABEL "%s (its files in /proc belong to uid %u)\n", "dumpable",
               f->owner == 0 && t->uids[1] != 0 ? "no" : "yes", f->owner);
        printf(LABEL "%" PRId64 "\n", "oom_score_adj", f->oom_score_adj);
}

/* vmm: of a device's process, the guest's; NULL: it is the guest's. */
static void print_namespaces(const struct inspect_facts *f, const struct inspect_facts *vmm)
{
        printf("\nNamespaces        %-12s %-12s\n", "guest", "here");
        for (int i = 0; i < NS_COUNT; i++) {
                const struct ns_facts *ns = &f->ns[i];

                printf(LABEL "%-12" PRIu64 " %-12" PRIu64 " %s\n", ns_names[i], ns->guest, ns->own,
                       ns->guest == 0                                  ? "cannot be seen"
                       : ns->guest == ns->own || ns->guest == ns->init ? "SHARED WITH THE HOST"
                       : vmm && ns->guest != vmm->ns[i].guest          ? "NOT THE GUEST'S"
                       : vmm                                           ? "the guest's"
                                                                       : "own");
        }
        printf(LABEL "%zu", "interfaces", f->inside.interfaces);
        printf(", loopback %s\n", !f->inside.net_known ? "not known" : f->inside.loopback_up ? "up" : "down");
}

static bool same_ids(const struct thread_facts *a, const struct thread_facts *b)
{
        return memcmp(a->uids, b->uids, sizeof(a->uids)) == 0 && memcmp(a->gids, b->gids, sizeof(a->gids)) == 0 &&
               a->groups == b->groups;
}

static void print_threads(const struct inspect_facts *f)
{
        printf("\nThreads\n  %-8s %-16s %-5s %-12s %-12s %-7s %-7s  %s\n", "tid", "name", "ids", "capabilities",
               "no_new_privs", "seccomp", "filters", "speculation");
        for (size_t i = 0; i < f->thread_count; i++) {
                const struct thread_facts *t = &f->threads[i];
                uint64_t caps = 0;

                for (int k = 0; k < CAPS_COUNT; k++)
                        caps |= t->caps[k];
                printf("  %-8d %-16s %-5s %-12s %-12d %-7d %-7d  store bypass %s, indirect branch %s\n", (int)t->tid,
                       t->name, same_ids(t, &f->threads[0]) ? "same" : "OTHER", caps ? "SOME" : "none", t->no_new_privs,
                       t->seccomp_mode, t->seccomp_filters, t->store_bypass[0] ? t->store_bypass : "not told",
                       t->indirect_branch[0] ? t->indirect_branch : "not told");
        }
}

static void print_limit(const char *name, const struct limit_facts *l)
{
        char soft[24] = "unlimited", hard[24] = "unlimited";

        if (l->soft != LIMIT_UNLIMITED)
                snprintf(soft, sizeof(soft), "%" PRIu64, l->soft);
        if (l->hard != LIMIT_UNLIMITED)
                snprintf(hard, sizeof(hard), "%" PRIu64, l->hard);
        printf(LABEL "soft %s, hard %s\n", name, soft, hard);
}

static void print_files(const struct inspect_facts *f)
{
        printf("\nFiles\n" LABEL "%zu: %s, mount %s, file system %s\n", "mounts", f->root.mounts, f->root.fs_type,
               f->root.mount_read_only ? "read-only" : "WRITABLE", f->root.fs_read_only ? "read-only" : "WRITABLE");
        if (!f->fds_known)
                printf(LABEL "shown to root\n", "descriptors");
        else
                printf(LABEL "%zu\n", "descriptors", f->fd_count);
        for (size_t i = 0; i < f->fd_count; i++)
                printf("  %16d %s\n", f->fds[i].number, fd_kind_names[f->fds[i].kind]);
        printf("\nResource limits\n");
        for (int i = 0; i < LIMIT_COUNT; i++)
                print_limit(limit_names[i], &f->limits[i]);
}

static void print_cgroup(const struct cgroup_facts *c)
{
        printf("\nControl group (%s)\n", c->unified ? "v2" : "v1");
        for (size_t i = 0; i < CGROUP_PARTS; i++) {
                bool is_io = i == CGROUP_PARTS - 1;

                printf(LABEL "%s", c->parts[i].controller,
                       c->parts[i].value[0] ? c->parts[i].value
                       : is_io              ? "no block device named for the guest"
                                            : "none");
                printf("  (%s%s)\n", c->parts[i].path[0] ? c->parts[i].path : "in no group",
                       c->parts[i].of_guest ? "" : ": NOT THE GUEST'S");
                if (i == 0)
                        printf(LABEL "%s\n", "swap", c->swap);
        }
}

static void print_memory(const struct memory_facts *m)
{
        char seals[SEALS_TEXT_MAX] = "cannot be read";

        if (m->seals_known)
                seals_print(seals, sizeof(seals), m->seals);
        printf("\nGuest memory\n");
        if (m->ram_mappings == 0) {
                printf("  NO MAPPING of a memfd named guest_ram\n");
                return;
        }
        printf(LABEL "%" PRIu64 " MiB in %zu %s of memfd guest_ram, %s\n", "mapped", m->ram_bytes >> 20,
               m->ram_mappings, m->ram_mappings == 1 ? "mapping" : "mappings", m->ram_shared ? "shared" : "NOT SHARED");
        printf(LABEL "%s\n", "in core dumps", m->ram_dontdump ? "no" : "YES");
        printf(LABEL "%s\n", "mergeable", m->mergeable ? "SOME MAPPINGS" : "no");
        printf(LABEL "%s\n", "seals", seals);
}

static void print_layers(const struct layer_view *layers, bool of_device)
{
        size_t name_width = 0;

        for (int i = 0; i < LAYER_COUNT; i++)
                if (strlen(jail_layers[i].name) > name_width)
                        name_width = strlen(jail_layers[i].name);
        printf("\nLayers\n");
        for (int i = 0; i < LAYER_COUNT; i++) {
                const struct layer_view *v = &layers[i];

                printf("  %-*s  %-18s  %-20s  %s", (int)name_width, jail_layers[i].name, layer_verdict_text(v->verdict),
                       layer_source_text((enum jail_layer)i, v->verdict, of_device), v->detail);
                if (v->verdict == LAYER_ABSENT)
                        printf("%sneeds %s", v->detail[0] ? "; " : "", v->needs);
                printf("\n");
        }
}

/* There is nothing to judge: it has no layer of ours. */
static void print_outside(const struct device_state *d, const struct backend_spec *b)
{
        printf("\nDevice %s (%s), connected to again %u times\n\n", d->id, device_type_name(d->type), d->restarts);
        if (d->given_up) {
                printf("  no process: it was given up\n");
                return;
        }
        printf("  DEGRADED: a process outside of the jail maps all guest RAM\n");
        printf(LABEL "%s, made by pid %d of uid %u\n", "socket", b->socket, d->peer_pid, d->peer_uid);
}

/* vmm: NULL for a device alone. */
static void print_device(const struct device_state *d, const struct device_inspection *di, bool storage,
                         const struct inspect_facts *vmm)
{
        printf("\nDevice %s (%s), started again %u times\n\n", d->id, device_type_name(d->type), d->restarts);
        if (!di->running) {
                printf("  no process: %s\n", !vmm          ? "it has no front end"
                                             : d->given_up ? "it was given up"
                                                           : "it is being started again");
                return;
        }
        if (storage)
                printf("  DEGRADED: " STORAGE_DEGRADED "\n\n");
        print_process(&di->facts);
        print_namespaces(&di->facts, vmm);
        print_threads(&di->facts);
        print_files(&di->facts);
        if (!vmm)
                print_cgroup(&di->facts.cgroup);
        print_layers(di->layers, true);
}

void inspection_print(const struct inspection *x)
{
        if (x->state.alone) {
                printf("Device %s, alone\n", x->state.spec.name);
                print_device(&x->state.devices[0], &x->devices[0], device_is_storage(&x->state, 0), NULL);
                return;
        }
        printf("Guest %s\n\n", x->state.spec.name);
        print_process(&x->facts);
        print_namespaces(&x->facts, NULL);
        print_threads(&x->facts);
        print_files(&x->facts);
        print_cgroup(&x->facts.cgroup);
        print_memory(&x->facts.memory);
        print_layers(x->layers, false);
        for (uint32_t i = 0; i < x->state.device_count; i++)
                if (device_backend(&x->state, i))
                        print_outside(&x->state.devices[i], device_backend(&x->state, i));
                else
                        print_device(&x->state.devices[i], &x->devices[i], device_is_storage(&x->state, i), &x->facts);
}
