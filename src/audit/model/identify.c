#include "audit/model/identify.h"

#include <stdio.h>
#include <string.h>

#include "audit/text.h"
#include "base/cleanup.h"

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* The value of "--name VALUE" or "--name=VALUE"; NULL: none. */
static const char *option(const struct process *p, const char *name)
{
        size_t n = strlen(name);

        for (size_t i = 1; i < p->argc; i++) {
                if (strcmp(p->argv[i], name) == 0 && i + 1 < p->argc)
                        return p->argv[i + 1];
                if (strncmp(p->argv[i], name, n) == 0 && p->argv[i][n] == '=')
                        return p->argv[i] + n + 1;
        }
        return NULL;
}

static bool any_thread_named(const struct process *p, const char *prefix)
{
        for (size_t i = 0; i < p->threads.count; i++)
                if (text_has_prefix(p->threads.items[i].comm, prefix))
                        return true;
        return false;
}

static bool any_mapping_named(const struct process *p, const char *prefix)
{
        for (size_t i = 0; i < p->maps.count; i++)
                if (text_has_prefix(p->maps.items[i].name, prefix))
                        return true;
        return false;
}

/* What tells a monitor: its program, or, where that is not known or is none of these, two of its name, threads, memory.
 */
static const struct {
        const char *kind, *program, *thread, *memory;
} monitors[] = {
        {"bulkhead", "bulkhead-vmm", "vcpu", "/memfd:guest_ram"},
        {"Firecracker", "firecracker", "fc_vcpu", "/memfd:guest_mem"},
        {"Cloud Hypervisor", "cloud-hyperviso", "vcpu", "/memfd:ch_ram"},
        {"crosvm", "crosvm", "crosvm_vcpu", "/memfd:crosvm_guest"},
        {"kvmtool", "lkvm", "kvm-vcpu-", "/memfd:lkvm"},
        {"QEMU", "qemu-", "CPU ", "/memfd:memory-backend"},
};

static const char *kind_of(const struct process *p)
{
        const char *best = "unknown", *argv0 = !p->exe && p->argc ? base_name(p->argv[0]) : "";
        int best_signals = 1;

        for (size_t i = 0; i < ARRAY_LEN(monitors) && p->exe; i++)
                if (text_has_prefix(base_name(p->exe), monitors[i].program))
                        return monitors[i].kind;
        for (size_t i = 0; i < ARRAY_LEN(monitors); i++) {
                int signals = text_has_prefix(argv0, monitors[i].program) * 2 +
                              text_has_prefix(p->comm, monitors[i].program) + any_thread_named(p, monitors[i].thread) +
                              any_mapping_named(p, monitors[i].memory);

                if (signals > best_signals) {
                        best_signals = signals;
                        best = monitors[i].kind;
                }
        }
        return best;
}

/* -name guest=X,debug-threads=on or -name X; a comma in a name is written twice. */
static char *qemu_name(struct arena *a, const struct process *p)
{
        const char *value = option(p, "-name");
        char *out;
        size_t used = 0;

        if (!value)
                return NULL;
        if (text_has_prefix(value, "guest="))
                value += 6;
        else if (strchr(value, '=') && strcspn(value, "=") < strcspn(value, ","))
                return NULL; /* other settings only */
        out = arena_alloc(a, strlen(value) + 1);
        for (; *value && !(*value == ',' && value[1] != ','); value++) {
                value += *value == ',';
                out[used++] = *value;
        }
        return used ? out : NULL;
}

/* .../machine-qemu\x2d3\x2dweb.scope: the name that libvirt gave. */
static bool in_libvirt_cgroup(const struct process *p)
{
        for (size_t i = 0; i < p->cgroups.count; i++)
                if (strstr(p->cgroups.items[i].path, "machine-qemu") ||
                    strstr(p->cgroups.items[i].path, ".libvirt-qemu"))
                        return true;
        return false;
}

/* As `bulkhead run NAME` was told; where a file said it, by the cgroup .../bulkhead/NAME. */
static const char *bulkhead_name(const struct guest *g)
{
        const struct process *supervisor = g->supervisor;

        for (size_t i = 0; supervisor && i + 1 < supervisor->argc; i++)
                if (strcmp(supervisor->argv[i], "run") == 0 && supervisor->argv[i + 1][0] != '-')
                        return supervisor->argv[i + 1];
        for (size_t i = 0; i < g->vmm->cgroups.count; i++) {
                const char *path = g->vmm->cgroups.items[i].path, *name = strrchr(path, '/');

                if (name && name - path >= 9 && strncmp(name - 9, "/bulkhead", 9) == 0)
                        return name + 1;
        }
        return NULL;
}

static char *name_of(struct observer *o, const struct guest *g)
{
        const struct process *p = g->vmm;
        const char *claimed = NULL;

        if (strcmp(g->kind, "QEMU") == 0)
                claimed = qemu_name(o->arena, p);
        else if (strcmp(g->kind, "Firecracker") == 0)
                claimed = option(p, "--id");
        else if (strcmp(g->kind, "kvmtool") == 0)
                claimed = option(p, "--name");
        else if (strcmp(g->kind, "bulkhead") == 0)
                claimed = bulkhead_name(g);
        if (!claimed || !*claimed)
                claimed = arena_printf(o->arena, "%s-%d", p->comm, p->pid);
        return text_printable(o->arena, claimed, strlen(claimed), TEXT_NAME_MAX, false);
}

void guest_identify(struct observer *o, const struct inventory *inv, struct guest *g)
{
        struct process *parent = inventory_process(inv, g->vmm->ppid);

        g->kind = arena_text(o->arena, kind_of(g->vmm));
        if (strcmp(g->kind, "bulkhead") == 0 && parent && text_has_prefix(parent->comm, "bulkhead-superv")) {
                g->supervisor = parent;
                g->manager = arena_text(o->arena, "bulkhead");
                process_read_full(o, parent);
        } else if (in_libvirt_cgroup(g->vmm))
                g->manager = arena_text(o->arena, "libvirt");
        g->name = name_of(o, g);
}
