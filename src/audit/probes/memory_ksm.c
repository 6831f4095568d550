/* Kernel samepage merging: whether it runs, what it has merged, and what of a guest it may merge. */
#include <errno.h>
#include <string.h>

#include "audit/probes/memory.h"
#include "audit/probes/rows.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define KSM       "/sys/kernel/mm/ksm/"
#define SHOWN_MAX 8 /* mappings that evidence lists */

enum ksm_run { KSM_STOPPED, KSM_RUNNING, KSM_UNMERGED };

struct ksm {
        int error; /* -ENOENT: not in this kernel */
        const char *question;
        int64_t run, shared, sharing;
};

static void ksm_read(struct audit *a, struct ksm *ret)
{
        struct {
                const char *path;
                int64_t *value;
        } parts[] = {{KSM "run", &ret->run}, {KSM "pages_shared", &ret->shared}, {KSM "pages_sharing", &ret->sharing}};

        *ret = (struct ksm){0};
        for (size_t i = 0; i < ARRAY_LEN(parts) && ret->error == 0; i++) {
                ret->error = observe_number(a->observer, parts[i].path, parts[i].value);
                ret->question = parts[i].path;
        }
}

static bool mergeable(const struct mapping *m)
{
        return m->vm_flags & VM_MERGEABLE;
}

/* Bytes of a guest's memory that merging may touch, and that it has. */
static void guest_mergeable(const struct guest *g, uint64_t *ret_bytes, uint64_t *ret_merged_kb)
{
        *ret_bytes = *ret_merged_kb = 0;
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                for (size_t k = 0; k < p->maps.count; k++) {
                        const struct mapping *m = &p->maps.items[k];

                        *ret_bytes += mergeable(m) ? m->end - m->start : 0;
                        *ret_merged_kb += m->ksm_kb;
                }
        }
}

static void ksm_show(struct audit *a, struct finding *f, const struct ksm *k)
{
        finding_showf(a, f, EVIDENCE_HOST, "read " KSM "run, pages_shared, pages_sharing", "%lld, %lld, %lld",
                      (long long)k->run, (long long)k->shared, (long long)k->sharing);
}

void memory_ksm_host(struct audit *a)
{
        struct ksm k;
        size_t able = 0, unknown = 0;
        struct finding *f;

        ksm_read(a, &k);
        if (k.error == -ENOENT) {
                f = finding_add(a, VERDICT_PASS, NULL, "This kernel cannot merge equal pages.");
                finding_show_error(a, f, EVIDENCE_HOST, k.question, k.error);
                return;
        }
        if (k.error < 0) {
                finding_unknown(a, NULL, k.error, k.question);
                return;
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                uint64_t bytes, merged_kb;

                guest_mergeable(a->inv.guests.items[i], &bytes, &merged_kb);
                able += bytes > 0;
                unknown += MEMBERS_UNREAD(a->inv.guests.items[i], maps_error) != NULL;
        }
        if (k.run == KSM_RUNNING && able > 0)
                f = finding_add(a, VERDICT_FAIL, NULL,
                                "The host merges equal pages, and memory of guests is offered to it: by the time "
                                "that a write takes, one guest learns what another has in memory.");
        else if (k.run == KSM_RUNNING && unknown > 0)
                f = finding_add(a, VERDICT_UNKNOWN, NULL,
                                "The host merges equal pages; whether it may merge those of every guest could "
                                "not be seen.");
        else if (k.run == KSM_RUNNING)
                f = finding_add(a, VERDICT_WARN, NULL,
                                "The host merges equal pages. No guest's memory is offered to it now; the next "
                                "guest's may be, as QEMU's is by default.");
        else if (k.shared > 0)
                f = finding_add(a, VERDICT_FAIL, NULL,
                                "The host has stopped merging equal pages, but those that were merged still are.");
        else
                f = finding_add(a, VERDICT_PASS, NULL, "The host merges no pages, and none are merged.");
        if (f->verdict == VERDICT_UNKNOWN)
                f->needs = "CAP_SYS_PTRACE";
        ksm_show(a, f, &k);
        finding_showf(a, f, EVIDENCE_OPERATOR, "VmFlags: of /proc/PID/smaps of every guest",
                      "guests with mergeable memory: %zu; not "
                      "readable: %zu; of %zu",
                      able, unknown, a->inv.guests.count);
}

/* The mappings, and what the kernel counts for each process. */
static void ksm_show_guest(struct audit *a, struct finding *f, const struct guest *g)
{
        size_t shown = 0;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                char *question = arena_printf(a->arena, "read /proc/%d/smaps", p->pid);
                struct answer stat;

                for (size_t k = 0; k < p->maps.count; k++) {
                        const struct mapping *m = &p->maps.items[k];

                        if ((mergeable(m) || m->ksm_kb) && shown++ < SHOWN_MAX)
                                finding_showf(a, f, GUEST_OWNER(g), question,
                                              "%llx-%llx %s %s\nKSM: %llu kB\nVmFlags:%s", (unsigned long long)m->start,
                                              (unsigned long long)m->end, m->perms, SHOW(a, m->name),
                                              (unsigned long long)m->ksm_kb, mergeable(m) ? " mg" : "");
                }
                if (observe(a->observer, &stat, "read /proc/%d/ksm_stat", p->pid) == 0)
                        finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/ksm_stat", p->pid),
                                     stat.bytes, stat.len);
        }
}

void memory_ksm_guest(struct audit *a, struct guest *g)
{
        const struct process *unread = MEMBERS_UNREAD(g, maps_error);
        uint64_t bytes, merged_kb;
        struct finding *f;
        struct ksm k;

        ksm_read(a, &k);
        if (k.error < 0 && k.error != -ENOENT) {
                finding_unknown(a, g, k.error, k.question);
                return;
        }
        guest_mergeable(g, &bytes, &merged_kb);
        if (merged_kb > 0)
                f = finding_add(a, VERDICT_FAIL, g,
                                "%llu kB of %s's memory are merged with equal pages of other memory.",
                                (unsigned long long)merged_kb, GUEST_MARK(a, g));
        else if (bytes == 0)
                f = finding_add(a, VERDICT_PASS, g, "None of %s's memory is offered for merging.", GUEST_MARK(a, g));
        else if (k.run == KSM_RUNNING)
                f = finding_add(a, VERDICT_FAIL, g, "Memory of %s is offered for merging, and the host merges.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_WARN, g,
                                "Memory of %s is offered for merging: when the host begins to merge, its pages are "
                                "shared with other guests.",
                                GUEST_MARK(a, g));
        ksm_show_guest(a, f, g);
        finding_showf(a, f, GUEST_OWNER(g), "KSM: and VmFlags: of /proc/PID/smaps of every process",
                      "%zu processes: %llu kB mergeable, "
                      "%llu kB merged",
                      g->members.count, (unsigned long long)(bytes >> 10), (unsigned long long)merged_kb);
        if (k.error == 0)
                ksm_show(a, f, &k);
        if (unread && f->verdict != VERDICT_FAIL)
                finding_turn_unknown(a, f, g, unread->maps_error,
                                     arena_printf(a->arena, "read /proc/%d/smaps", unread->pid));
}
