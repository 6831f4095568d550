/* Namespaces: compared with the host's and among guests. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/probes/tables.h"
#include "audit/text.h"

/* The namespaces of every process of a guest against the host's. */
static void own_namespace(struct audit *a, struct guest *g, enum ns_kind kind, enum verdict when_shared, const char *reach)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                char *question = arena_printf(a->arena, "stat /proc/%d/ns/%s", p->pid, ns_names[kind]);
                struct finding *f;

                if (p->ns_error[kind] < 0) {
                        finding_unknown(a, g, p->ns_error[kind], question);
                        return;
                }
                if (p->ns[kind] != a->host.ns[kind] && i + 1 < g->members.count)
                        continue;
                if (p->ns[kind] == a->host.ns[kind])
                        f = finding_add(a, when_shared, g, "A process of %s is in the host's %s namespace: %s",
                                        GUEST_MARK(a, g), ns_names[kind], reach);
                else
                        f = finding_add(a, VERDICT_PASS, g, "Every process of %s is in a %s namespace other than the host's.",
                                        GUEST_MARK(a, g), ns_names[kind]);
                finding_showf(a, f, GUEST_OWNER(g), question, "inode %llu; the host's is %llu",
                              (unsigned long long)p->ns[kind], (unsigned long long)a->host.ns[kind]);
                return;
        }
}

static void pid_guest(struct audit *a, struct guest *g)
{
        own_namespace(a, g, NS_PID, VERDICT_FAIL, "it can name every process of the host.");
}

const struct check checks_namespaces[] = {
        {
                .id = "NS-PID",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes cannot name the processes of the host or of another guest.",
                .examined = "inode of /proc/PID/ns/pid of every process of the guest, against pid 1's and every other guest's",
                .rule = "own PASS; the host's FAIL (WARN while at least three other layers separate every pair)",
                .source = "pid_namespaces(7); Firecracker docs/jailer.md, --new-pid-ns",
                .remedy = "start the monitor with clone(CLONE_NEWPID)",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .softened = LAYER_BIT(LAYER_PIDNS),
                .guest = pid_guest,
        },
        {.id = NULL},
};
