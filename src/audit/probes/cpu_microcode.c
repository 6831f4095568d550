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
        int old_error, r;
        char *old = cpu_vulnerability(a, "old_microcode", &old_error), *first = NULL, *line;
        struct cpu_set online;
        struct finding *f;
        enum verdict v = old ? cpu_line_verdict(a, old) : VERDICT_PASS;
        bool differ = false, is_old = v == VERDICT_FAIL;

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
        if (!old && old_error != -ENOENT && !differ) { /* older kernels have none */
                finding_unknown(a, NULL, old_error, "read /sys/devices/system/cpu/vulnerabilities/old_microcode");
                return;
        }
        f = cpu_finding(a, differ ? VERDICT_FAIL : v, NULL, "%s%s.",
                        differ   ? "The processors of this host run different microcode"
                        : is_old ? "The kernel knows newer microcode for these processors"
                                 : "All processors of this host run the same microcode",
                        differ || is_old || !old ? ""
                        : v == VERDICT_PASS      ? ", and the kernel knows none newer"
                                                 : ", and whether there is newer is not known");
        if (v == VERDICT_UNKNOWN && !differ && !f->needs)
                f->needs = a->check->needs;
        finding_showf(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/cpu*/microcode/version", "%s",
                      first ? SHOW(a, first) : "none");
        if (old)
                cpu_vulnerability_show(a, f, "old_microcode", old);
}

/* What a thread may be attacked by from the other thread of its core (fs/proc/array.c): WARN, PASS or UNKNOWN. */
static enum verdict thread_verdict(const struct thread *t)
{
        static const char *const closed[] = {
                "not vulnerable", "thread force mitigated",     "thread mitigated",     "globally mitigated",
                "not affected",   "conditional force disabled", "conditional disabled", "always disabled",
        };
        static const char *const open[] = {"vulnerable", "thread vulnerable", "always enabled", "conditional enabled"};
        const char *const said[] = {t->store_bypass, t->indirect_branch};
        enum verdict worst = VERDICT_PASS;

        for (size_t i = 0; i < ARRAY_LEN(said); i++) {
                enum verdict v = VERDICT_UNKNOWN;

                for (size_t k = 0; said[i] && k < ARRAY_LEN(closed); k++)
                        if (strcmp(said[i], closed[k]) == 0)
                                v = VERDICT_PASS;
                for (size_t k = 0; said[i] && k < ARRAY_LEN(open); k++)
                        if (strcmp(said[i], open[k]) == 0)
                                return VERDICT_WARN;
                worst = verdict_worse(worst, v);
        }
        return worst;
}

void cpu_spec_guest(struct audit *a, struct guest *g)
{
        const struct thread *shown = NULL;
        const struct process *of = NULL;
        struct finding *f;
        const struct process *unread = NULL;
        enum verdict worst = VERDICT_NA, v;
        struct smt smt;
        bool open;

        smt_read(a, &smt);
        if (smt.error < 0) {
                finding_unknown(a, g, smt.error, "read /sys/devices/system/cpu/smt/active");
                return;
        }
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->threads_error < 0 && !unread)
                        unread = p;
                for (size_t k = 0; k < p->threads.count && worst != VERDICT_WARN; k++) {
                        v = thread_verdict(&p->threads.items[k]);
                        if (v <= worst && v != VERDICT_WARN) /* the least that is good is to know it */
                                continue;
                        worst = v;
                        shown = &p->threads.items[k];
                        of = p;
                }
        }
        open = worst == VERDICT_WARN;
        if (unread && !(open && smt.active)) {
                finding_unknown(a, g, unread->threads_error, arena_printf(a->arena, "list /proc/%d/task", unread->pid));
                return;
        }
        assert(of && shown); /* a process without threads is no member */
        f = cpu_finding(
                a, smt.active ? worst : VERDICT_PASS, g,
                open && smt.active
                        ? "A thread of %s asks for no protection from what runs on the other thread of its core."
                : open ? "A thread of %s asks for no protection from the other thread of its core, but there is none."
                : worst == VERDICT_PASS
                        ? "Every thread of %s is protected from what runs on the other thread of its core."
                : smt.active
                        ? "Whether every thread of %s is protected from the other thread of its core is not known."
                        : "Whether threads of %s ask for protection from the other thread of their core is not known, but there is none.",
                GUEST_MARK(a, g));
        if (f->verdict == VERDICT_UNKNOWN && !f->needs)
                f->needs = a->check->needs;
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/task/%d/status", of->pid, shown->tid),
                      "Speculation_Store_Bypass: %s; SpeculationIndirectBranch: %s",
                      shown->store_bypass ? SHOW(a, shown->store_bypass) : "(none)",
                      shown->indirect_branch ? SHOW(a, shown->indirect_branch) : "(none)");
        smt_show(a, f, &smt);
}
