/* What guests have in common on the processors: cores whose threads run at once, and processors used in turn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/cpu.h"
#include "audit/probes/rows.h"
#include "audit/text.h"
#include "base/cleanup.h"

void smt_read(struct audit *a, struct smt *ret)
{
        int64_t active = 0;

        *ret = (struct smt){.error = observe_number(a->observer, "/sys/devices/system/cpu/smt/active", &active)};
        ret->active = active > 0;
        ret->control = observe_line(a->observer, "/sys/devices/system/cpu/smt/control", NULL);
}

void smt_show(struct audit *a, struct finding *f, const struct smt *s)
{
        if (s->error < 0)
                finding_show_error(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/smt/active", s->error);
        else
                finding_showf(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/smt/active", "%d", s->active);
        if (s->control)
                finding_show(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/smt/control", s->control,
                             strlen(s->control));
}

void cpu_smt_host(struct audit *a)
{
        struct finding *f;
        struct smt s;

        smt_read(a, &s);
        if (s.error < 0) {
                finding_unknown(a, NULL, s.error, "read /sys/devices/system/cpu/smt/active");
                return;
        }
        f = cpu_finding(a, s.active ? VERDICT_WARN : VERDICT_PASS, NULL,
                        s.active ? "Cores of this host run two threads at once, which share caches and execution units."
                                 : "No core of this host runs two threads at once.");
        smt_show(a, f, &s);
}

static bool set_has(const struct cpu_set *s, unsigned int cpu)
{
        return s->bits[cpu / 64] >> (cpu % 64) & 1;
}

static void set_join(struct cpu_set *s, const struct cpu_set *more)
{
        for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
                s->bits[i] |= more->bits[i];
}

/* A thread that runs guest code; where none is known yet (a guest that never ran), any of the monitor's. */
static bool counts_as_vcpu(const struct guest *g, const struct thread *t)
{
        return g->vcpus == 0 || t->is_vcpu;
}

/* Processors that the vCPUs of g may use. False when they are not known. */
static bool guest_cpus(const struct guest *g, struct cpu_set *ret)
{
        bool any = false;

        *ret = (struct cpu_set){0};
        for (size_t i = 0; i < g->vmm->threads.count; i++) {
                const struct thread *t = &g->vmm->threads.items[i];

                if (!counts_as_vcpu(g, t))
                        continue;
                if (!t->cpus)
                        return false;
                set_join(ret, t->cpus);
                any = true;
        }
        return any;
}

static void guest_cpus_show(struct audit *a, struct finding *f, const struct guest *g)
{
        for (size_t i = 0; i < g->vmm->threads.count; i++) {
                const struct thread *t = &g->vmm->threads.items[i];

                if (!counts_as_vcpu(g, t))
                        continue;
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "read /proc/%d/task/%d/status", g->vmm->pid, t->tid),
                              "Cpus_allowed_list: %s", t->cpus_text ? t->cpus_text : "(none)");
                return; /* one thread stands for all: excerpts are read by people */
        }
}

static bool cpus_online(struct audit *a, struct cpu_set *ret)
{
        char *line = observe_line(a->observer, "/sys/devices/system/cpu/online", NULL);

        return line && cpu_set_parse(line, ret);
}

/*
 * A row for each processor, or with cores for each core, with the guests that may use it; unknown is marked for guests
 * whose processors are not known. Returns 0, or a negative errno with the question in *ret_question.
 */
static int rows_read(struct audit *a, bool cores, struct row_list *rows, bool *unknown, const char **ret_question)
{
        struct cpu_set online, *sets = arena_array(a->arena, a->inv.guests.count, sizeof(*sets)), done = {0};

        *ret_question = "read /sys/devices/system/cpu/online";
        if (!cpus_online(a, &online))
                return -ENOENT;
        for (size_t i = 0; i < a->inv.guests.count; i++)
                unknown[i] = !guest_cpus(a->inv.guests.items[i], &sets[i]);
        for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++) {
                struct cpu_set core = {0};
                struct row *row;

                if (!set_has(&online, cpu) || set_has(&done, cpu))
                        continue;
                core.bits[cpu / 64] |= 1ULL << (cpu % 64);
                if (cores) {
                        char *path = arena_printf(a->arena,
                                                  "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
                        int r;
                        char *line = observe_line(a->observer, path, &r);

                        *ret_question = arena_printf(a->arena, "read %s", path);
                        if (!line || !cpu_set_parse(line, &core))
                                return line ? -EPROTO : r;
                }
                set_join(&done, &core);
                row = row_add(a, rows, arena_printf(a->arena, cores ? "core of CPU %u" : "CPU %u", cpu));
                for (size_t i = 0; i < a->inv.guests.count; i++)
                        if (cpu_sets_meet(&core, &sets[i]))
                                row_mark(row, a->inv.guests.items[i]);
        }
        rows_merge(a, rows);
        return 0;
}

/* ---- core scheduling ---- */

struct cookie_list {
        uint64_t *items; /* of each vCPU; 0: none */
        size_t count, room;
        int error;
        bool none; /* one of them is 0 */
        pid_t tid; /* asked last */
};

/* The cookies of a guest's vCPUs: prctl(2), PR_SCHED_CORE_GET. */
static void cookies_read(struct audit *a, const struct guest *g, struct cookie_list *l)
{
        for (size_t i = 0; i < g->vmm->threads.count && l->error == 0; i++) {
                const struct thread *t = &g->vmm->threads.items[i];
                struct answer answer;
                uint64_t value = 0;

                if (!counts_as_vcpu(g, t))
                        continue;
                l->tid = t->tid;
                l->error = observe(a->observer, &answer, "cookie %d", t->tid);
                if (l->error == 0)
                        value = strtoull(answer.bytes, NULL, 10);
                else if (l->error == -EINVAL || l->error == -ENODEV) /* a kernel without core scheduling; no SMT */
                        l->error = 0;
                if (l->error < 0)
                        return;
                l->none = l->none || value == 0;
                *GROW(a->arena, l) = value;
        }
}

struct smt_pairs {
        struct smt smt;
        struct row_list rows;
        bool *unknown;               /* [guest]: its processors */
        struct cookie_list *cookies; /* [guest], of those that share a core */
        bool *shares;                /* [guest]: a core with another */
        int error;
        const char *question;
};

static void smt_pairs_read(struct audit *a, struct smt_pairs *s)
{
        size_t n = a->inv.guests.count;

        *s = (struct smt_pairs){0};
        smt_read(a, &s->smt);
        s->question = "read /sys/devices/system/cpu/smt/active";
        s->error = s->smt.error;
        if (s->error < 0 || !s->smt.active)
                return;
        s->unknown = arena_array(a->arena, n, sizeof(s->unknown[0]));
        s->cookies = arena_array(a->arena, n, sizeof(s->cookies[0]));
        s->shares = arena_array(a->arena, n, sizeof(s->shares[0]));
        s->error = rows_read(a, true, &s->rows, s->unknown, &s->question);
        for (size_t r = 0; s->error == 0 && r < s->rows.count; r++)
                for (size_t i = 0; s->rows.items[r].count > 1 && i < n; i++)
                        s->shares[i] = s->shares[i] || s->rows.items[r].has[i];
        for (size_t i = 0; s->error == 0 && i < n; i++)
                if (s->shares[i])
                        cookies_read(a, a->inv.guests.items[i], &s->cookies[i]);
}

static void same_cookie(void *ctx, const struct pair_key *keys, size_t count)
{
        (void)keys;
        (void)count;
        *(enum verdict *)ctx = VERDICT_FAIL;
}

/* What the cookies make of the guests of one row: threads with the same cookie, or both without, may run on one core at
 * once, others never do. */
static enum verdict row_verdict(struct audit *a, const struct smt_pairs *s, const struct row *row)
{
        struct pair_key_list keys = {0};
        enum verdict v = VERDICT_PASS;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct cookie_list *c = &s->cookies[i];

                if (!row->has[i])
                        continue;
                if (c->error < 0)
                        v = VERDICT_UNKNOWN;
                for (size_t k = 0; k < c->count; k++)
                        *GROW(a->arena, &keys) = (struct pair_key){.value = {c->items[k], 0}, .guest = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, same_cookie, &v);
        return v;
}

bool smt_guests_apart(struct audit *a)
{
        struct smt_pairs s;

        if (a->inv.guests.count < 2)
                return false; /* nothing is proved by no pair */
        smt_pairs_read(a, &s);
        if (s.error < 0)
                return false;
        if (!s.smt.active)
                return true;
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (s.unknown[i])
                        return false;
        for (size_t i = 0; i < s.rows.count; i++)
                if (s.rows.items[i].count > 1 && row_verdict(a, &s, &s.rows.items[i]) != VERDICT_PASS)
                        return false;
        return true;
}

/* The first line that tells of a leak across threads that cookies do not stop: from the host's own kernel. */
static const char *across_threads(struct audit *a, char **ret_line)
{
        static const char *const names[] = {"l1tf", "mds", "tsx_async_abort", "mmio_stale_data"};

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                *ret_line = cpu_vulnerability(a, names[i], NULL);
                if (*ret_line && strstr(*ret_line, "SMT vulnerable"))
                        return names[i];
        }
        return NULL;
}

static void smt_row_report(struct audit *a, const struct smt_pairs *s, const struct row *row)
{
        enum verdict v = row_verdict(a, s, row);
        char *line = NULL;
        const char *leak = v == VERDICT_PASS ? across_threads(a, &line) : NULL;
        struct finding *f = cpu_finding(
                a, leak ? VERDICT_WARN : v, NULL,
                leak ? "These guests share cores and never run on one at the same time, but what the host's kernel does on the other thread can leak."
                : v == VERDICT_PASS
                        ? "These guests share cores, but cookies keep them from running on one at the same time."
                : v == VERDICT_FAIL
                        ? "These guests can run on the two threads of one core at the same time."
                        : "Whether these guests can run on the two threads of one core at the same time could not be determined.");

        row_concern(a, f, row);
        if (v == VERDICT_UNKNOWN && !f->needs)
                f->needs = a->check->needs;
        if (leak)
                cpu_vulnerability_show(a, f, leak, line);
        smt_show(a, f, &s->smt);
        finding_show(a, f, EVIDENCE_HOST, "in common", row->label, strlen(row->label));
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                char *question = arena_printf(a->arena, "cookie %d", s->cookies[i].tid);

                if (!row->has[i])
                        continue;
                guest_cpus_show(a, f, g);
                if (s->cookies[i].error < 0)
                        finding_show_error(a, f, GUEST_OWNER(g), question, s->cookies[i].error);
                else /* the value is an address of the kernel */
                        finding_showf(a, f, GUEST_OWNER(g), question, "%s",
                                      s->cookies[i].none ? "0: none" : "a cookie");
        }
}

void cpu_smtpair_pairs(struct audit *a)
{
        struct smt_pairs s;
        struct finding *f;

        smt_pairs_read(a, &s);
        if (s.error < 0) {
                finding_unknown(a, NULL, s.error, s.question);
                return;
        }
        for (size_t i = 0; i < s.rows.count; i++)
                if (s.rows.items[i].count > 1)
                        smt_row_report(a, &s, &s.rows.items[i]);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                if (s.smt.active && s.unknown[i]) { /* besides those of its processors that are known */
                        finding_unknown(a, g, g->vmm->threads_error < 0 ? g->vmm->threads_error : -ENODATA,
                                        arena_printf(a->arena, "read /proc/%d/task/%d/status", g->vmm->pid,
                                                     g->vmm->pid));
                        continue;
                }
                if (s.smt.active && s.shares[i])
                        continue;
                f = cpu_finding(
                        a, VERDICT_PASS, g,
                        s.smt.active
                                ? "%s shares no core with another guest."
                                : "%s shares no core with another guest at the same time: no core runs two threads.",
                        GUEST_MARK(a, g));
                smt_show(a, f, &s.smt);
                guest_cpus_show(a, f, g);
        }
}

/* ---- one processor after another ---- */

static void share_row_report(struct audit *a, const struct row *row, const char *line)
{
        const char *ibpb = strstr(line, "IBPB");
        bool flushed = text_has_prefix(line, "Not affected") || (ibpb && !text_has_prefix(ibpb, "IBPB: disabled"));
        struct finding *f = cpu_finding(
                a, flushed ? VERDICT_PASS : VERDICT_FAIL, NULL,
                flushed ? "These guests may use the same processors, and what the branch predictor learnt from one is not used by the next."
                        : "These guests may use the same processors, and the branch predictor is not flushed between them.");

        row_concern(a, f, row);
        cpu_vulnerability_show(a, f, "spectre_v2", line);
        finding_show(a, f, EVIDENCE_HOST, "in common", row->label, strlen(row->label));
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (row->has[i])
                        guest_cpus_show(a, f, a->inv.guests.items[i]);
}

void cpu_share_pairs(struct audit *a)
{
        bool *unknown = arena_array(a->arena, a->inv.guests.count, sizeof(*unknown)),
             *shares = arena_array(a->arena, a->inv.guests.count, sizeof(*shares));
        struct row_list rows = {0};
        const char *question;
        int r, error;
        char *line = cpu_vulnerability(a, "spectre_v2", &error);

        r = rows_read(a, false, &rows, unknown, &question);
        if (r < 0) {
                finding_unknown(a, NULL, r, question);
                return;
        }
        for (size_t i = 0; i < rows.count; i++) {
                if (rows.items[i].count < 2)
                        continue;
                for (size_t k = 0; k < a->inv.guests.count; k++)
                        shares[k] = shares[k] || rows.items[i].has[k];
                if (line)
                        share_row_report(a, &rows.items[i], line);
                else
                        row_concern(a,
                                    finding_unknown(a, NULL, error,
                                                    "read /sys/devices/system/cpu/vulnerabilities/spectre_v2"),
                                    &rows.items[i]);
        }
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                if (unknown[i]) /* besides those of its processors that are known */
                        finding_unknown(a, g, g->vmm->threads_error < 0 ? g->vmm->threads_error : -ENODATA,
                                        arena_printf(a->arena, "read /proc/%d/task/%d/status", g->vmm->pid,
                                                     g->vmm->pid));
                else if (!shares[i])
                        guest_cpus_show(a,
                                        cpu_finding(a, VERDICT_PASS, g, "%s shares no processor with another guest.",
                                                    GUEST_MARK(a, g)),
                                        g);
        }
}
