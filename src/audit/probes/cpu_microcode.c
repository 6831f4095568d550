/* Processors: their microcode, and what single threads ask of them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/cpu.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* Documentation/admin-guide/hw-vuln/srso.rst */
void cpu_srso_host(struct audit *a)
{
        static const char name[] = "spec_rstack_overflow";
        int r;
        char *line = cpu_vulnerability(a, name, &r);
        enum verdict v;
        struct finding *f;

        if (!line) {
                finding_unknown(a, NULL, r, "read /sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow");
                return;
        }
        v = cpu_line_verdict(a, line);
        if (v == VERDICT_PASS && strcasecmp(line, "Mitigation: microcode") == 0)
                v = VERDICT_WARN;
        f = cpu_finding(
                a, v, NULL,
                v == VERDICT_FAIL
                        ? "A guest can steer returns of the host's kernel or of another guest (speculative return stack overflow)."
                : v == VERDICT_WARN
                        ? "A guest cannot steer another guest's returns, but those of the host's kernel (speculative return stack overflow)."
                : v == VERDICT_PASS
                        ? "A guest cannot steer returns of the host's kernel or of another guest."
                        : "The kernel does not know whether a guest can steer returns of the host's kernel.");
        cpu_vulnerability_show(a, f, name, line);
}

void cpu_ucode_host(struct audit *a)
{
        char *old = cpu_vulnerability(a, "old_microcode", NULL), *first = NULL, *line;
        struct cpu_set online;
        struct finding *f;
        bool differ = false, is_old = old && cpu_line_verdict(a, old) == VERDICT_FAIL;
        int r;

        line = observe_line(a->observer, "/sys/devices/system/cpu/online", &r);
        if (!line || !cpu_set_parse(line, &online)) {
                finding_unknown(a, NULL, line ? -EPROTO : r, "read /sys/devices/system/cpu/online");
                return;
        }
        for (unsigned int cpu = 0; cpu < CPUS_MAX && !differ; cpu++) {
                char *path = arena_printf(a->arena, "/sys/devices/system/cpu/cpu%u/microcode/version", cpu);

                if (!(online.bits[cpu / 64] >> (cpu % 64) & 1))
                        continue;
                line = observe_line(a->observer, path, &r);
                if (!line && !is_old) { /* a virtual machine has none */
                        finding_unknown(a, NULL, r, arena_printf(a->arena, "read %s", path));
                        return;
                }
                differ = first && line && strcmp(first, line) != 0;
                if (!first || differ)
                        first = line && first ? arena_printf(a->arena, "%s and %s", first, line) : line;
        }
        f = cpu_finding(a, differ || is_old ? VERDICT_FAIL : VERDICT_PASS, NULL, "%s%s.",
                        differ   ? "The processors of this host run different microcode"
                        : is_old ? "The kernel knows newer microcode for these processors"
                                 : "All processors of this host run the same microcode",
                        old && !differ && !is_old ? ", and the kernel knows none newer" : "");
        finding_showf(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/cpu*/microcode/version", "%s",
                      first ? SHOW(a, first) : "none");
        if (old)
                cpu_vulnerability_show(a, f, "old_microcode", old);
}

/* What a thread may be attacked by from the other thread of its core: "vulnerable", "thread vulnerable"; "always
 * enabled", "conditional enabled" (arch/x86/kernel/cpu/bugs.c, fs/proc/array.c). */
static bool thread_open(const struct thread *t)
{
        return (t->store_bypass && text_has_suffix(t->store_bypass, "vulnerable") &&
                !text_has_prefix(t->store_bypass, "not")) ||
               (t->indirect_branch && text_has_suffix(t->indirect_branch, "enabled"));
}

void cpu_spec_guest(struct audit *a, struct guest *g)
{
        const struct thread *shown = NULL;
        const struct process *of = NULL;
        struct finding *f;
        struct smt smt;
        bool open = false;

        smt_read(a, &smt);
        if (smt.error < 0) {
                finding_unknown(a, g, smt.error, "read /sys/devices/system/cpu/smt/active");
                return;
        }
        for (size_t i = 0; i < g->members.count && !open; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->threads_error < 0) {
                        finding_unknown(a, g, p->threads_error, arena_printf(a->arena, "list /proc/%d/task", p->pid));
                        return;
                }
                for (size_t k = 0; k < p->threads.count && !open; k++) {
                        shown = &p->threads.items[k];
                        of = p;
                        open = thread_open(shown);
                }
        }
        assert(of && shown); /* a process without threads is no member */
        f = cpu_finding(
                a, open && smt.active ? VERDICT_WARN : VERDICT_PASS, g,
                open && smt.active
                        ? "A thread of %s asks for no protection from what runs on the other thread of its core."
                : open ? "A thread of %s asks for no protection from the other thread of its core, but there is none."
                       : "Every thread of %s is protected from what runs on the other thread of its core.",
                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/task/%d/status", of->pid, shown->tid),
                      "Speculation_Store_Bypass: %s; SpeculationIndirectBranch: %s",
                      shown->store_bypass ? SHOW(a, shown->store_bypass) : "(none)",
                      shown->indirect_branch ? SHOW(a, shown->indirect_branch) : "(none)");
        smt_show(a, f, &smt);
}
