/* Resources: what a process may do by itself, and what all guests were promised together. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/resources.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* ---- console and logs ---- */

/* FAIL: printed to by everything. WARN: appended to, or called a log. PASS: no log, or limited. */
static enum verdict log_verdict(const struct fd *fd)
{
        static const char *const names[] = {".log", "serial", "console"};
        const char *slash = strrchr(fd->link, '/'), *base = slash ? slash + 1 : fd->link;

        if (fd->kind != FD_REGULAR || (fd->flags & O_ACCMODE) == O_RDONLY)
                return VERDICT_PASS;
        if (fd->number == 1 || fd->number == 2)
                return VERDICT_FAIL;
        if (fd->flags & O_APPEND)
                return VERDICT_WARN;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (strstr(base, names[i]))
                        return VERDICT_WARN;
        return VERDICT_PASS;
}

static void console_show(struct audit *a, struct finding *f, const struct guest *g, const struct process *p,
                         const struct fd *fd, uint64_t limit)
{
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid, fd->number), "%s",
                      SHOW(a, fd->link));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/limits", p->pid),
                      limit == UINT64_MAX ? "Max file size: unlimited" : "Max file size: %" PRIu64, limit);
}

void res_console_guest(struct audit *a, struct guest *g)
{
        const struct process *worst_process = NULL;
        const struct fd *worst_fd = NULL;
        enum verdict worst = VERDICT_PASS;
        uint64_t soft, hard, limit = UINT64_MAX;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->fds_error < 0) {
                        finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                        return;
                }
                if (!limit_read(p->limits, "Max file size", &soft, &hard))
                        soft = UINT64_MAX;
                assert(p->fds.items || p->fds.count == 0);
                for (size_t k = 0; k < p->fds.count; k++) {
                        const struct fd *fd = &p->fds.items[k];
                        enum verdict v = soft == UINT64_MAX ? log_verdict(fd) : VERDICT_PASS;

                        /* Without a bad one, standard error stands for all. */
                        if (v > worst || (!worst_fd && fd->number == 2)) {
                                worst = v;
                                worst_fd = fd;
                                worst_process = p;
                                limit = soft;
                        }
                }
        }
        f = finding_add(a, worst, g,
                        worst == VERDICT_FAIL
                                ? "What %s prints goes to a file without a limit of size: it can fill the host's disk."
                        : worst == VERDICT_WARN
                                ? "%s has a log without a limit of size open: it can fill the host's disk."
                                : "What %s prints cannot fill the host's disk.",
                        GUEST_MARK(a, g));
        if (worst_fd)
                console_show(a, f, g, worst_process, worst_fd, limit);
        else
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "list /proc/%d/fd", g->vmm->pid),
                              "neither 1 nor 2, and no log");
}

/* ---- real-time priority ---- */

#define POLICY_FIFO     1U /* include/uapi/linux/sched.h */
#define POLICY_RR       2U
#define POLICY_DEADLINE 6U

static bool within(const struct cpu_set *part, const struct cpu_set *whole)
{
        for (size_t i = 0; i < ARRAY_LEN(part->bits); i++)
                if (part->bits[i] & ~whole->bits[i])
                        return false;
        return true;
}

void res_rt_guest(struct audit *a, struct guest *g)
{
        static const char path[] = "/sys/devices/system/cpu/isolated";
        char *isolated = observe_line(a->observer, path, NULL);
        const struct thread *shown = NULL;
        const struct process *of = NULL;
        enum verdict worst = VERDICT_PASS;
        bool some = false;
        struct cpu_set free_cpus;
        struct finding *f;

        if (!isolated || !cpu_set_parse(isolated, &free_cpus))
                free_cpus = (struct cpu_set){0};
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->threads_error < 0) {
                        finding_unknown(a, g, p->threads_error, arena_printf(a->arena, "list /proc/%d/task", p->pid));
                        return;
                }
                for (size_t k = 0; k < p->threads.count; k++) {
                        const struct thread *t = &p->threads.items[k];
                        bool rt = t->policy == POLICY_FIFO || t->policy == POLICY_RR || t->policy == POLICY_DEADLINE;
                        bool bad = rt && !(t->cpus && within(t->cpus, &free_cpus));

                        some = some || rt;
                        if (!shown || (bad && worst == VERDICT_PASS)) {
                                shown = t;
                                of = p;
                        }
                        worst = bad ? VERDICT_FAIL : worst;
                }
        }
        assert(of && shown); /* a process without threads is no member */
        f = finding_add(a, worst, g,
                        worst == VERDICT_FAIL
                                ? "A thread of %s runs ahead of everything else on processors of the host."
                        : some ? "Threads of %s run ahead of everything else, but only on processors kept for such."
                               : "No thread of %s runs ahead of the host's own work.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/task/%d/stat", of->pid, shown->tid),
                      "policy %u, rt_priority %u, thread %s", shown->policy, shown->rt_priority, SHOW(a, shown->comm));
        if (some)
                finding_showf(a, f, EVIDENCE_HOST, "read /sys/devices/system/cpu/isolated", "%s",
                              isolated ? SHOW(a, isolated) : "");
}

/* ---- limits of a process ---- */

#define NOFILE_MUCH 65536U

void res_nofile_guest(struct audit *a, struct guest *g)
{
        const struct process *of = NULL;
        uint64_t soft, hard, most = 0;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (!limit_read(p->limits, "Max open files", &soft, &hard)) {
                        finding_unknown(a, g, -EACCES, arena_printf(a->arena, "read /proc/%d/limits", p->pid));
                        return;
                }
                if (!of || hard > most) { /* up to the hard limit it may raise the soft one itself */
                        most = hard;
                        of = p;
                }
        }
        assert(of); /* a guest has its monitor */
        f = finding_add(a, most > NOFILE_MUCH ? VERDICT_WARN : VERDICT_PASS, g,
                        most > NOFILE_MUCH
                                ? "A process of %s may open so many files that the host can run out of them."
                                : "No process of %s may open so many files that the host can run out of them.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/limits", of->pid),
                      most == UINT64_MAX ? "Max open files: unlimited" : "Max open files: %" PRIu64, most);
}

void res_oom_guest(struct audit *a, struct guest *g)
{
        int64_t least = 0, value;
        pid_t of = g->vmm->pid;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                char *path = arena_printf(a->arena, "/proc/%d/oom_score_adj", g->members.items[i].process->pid);
                int r = observe_number(a->observer, path, &value);

                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "read %s", path));
                        return;
                }
                if (i == 0 || value < least) {
                        least = value;
                        of = g->members.items[i].process->pid;
                }
        }
        f = finding_add(a,
                        least <= -1000 ? VERDICT_FAIL
                        : least < 0    ? VERDICT_WARN
                                       : VERDICT_PASS,
                        g,
                        least <= -1000 ? "When memory runs out, a process of %s is never ended."
                        : least < 0    ? "When memory runs out, processes of the host are ended before one of %s."
                                       : "When memory runs out, no process of %s is spared.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/oom_score_adj", of), "%" PRId64,
                      least);
}

/* ---- threads of the kernel ---- */

/* kvm-pit/TID, of the thread that made the timer, and vhost-PID of kernels before 6.4, where they are threads of the
 * monitor. */
static bool serves(const struct process *k, const struct guest *g)
{
        const char *number = text_has_prefix(k->comm, "kvm-pit/") ? k->comm + 8
                             : text_has_prefix(k->comm, "vhost-") ? k->comm + 6
                                                                  : NULL;
        long tid = number ? strtol(number, NULL, 10) : 0;

        for (size_t i = 0; number && i < g->vmm->threads.count; i++)
                if (g->vmm->threads.items[i].tid == tid)
                        return true;
        return false;
}

/* The path in the hierarchy of cpu, from the text of /proc/PID/cgroup. */
static char *cpu_path(struct audit *a, const char *text)
{
        char *copy = arena_text(a->arena, text), *line, *unified = NULL;

        while ((line = text_next_line(&copy))) {
                char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

                if (!path)
                        continue;
                *path++ = '\0';
                controllers++;
                if (*controllers == '\0')
                        unified = path;
                else if (strcmp(controllers, "cpu") == 0 || text_has_prefix(controllers, "cpu,") ||
                         text_has_suffix(controllers, ",cpu"))
                        return path;
        }
        return unified;
}

void res_kthr_guest(struct audit *a, struct guest *g)
{
        const struct process *k = NULL;
        char *path = NULL, *question = NULL;
        struct finding *f;

        for (size_t i = 0; i < a->inv.kernel_threads.count; i++) {
                struct answer answer;
                int r;

                if (!serves(a->inv.kernel_threads.items[i], g))
                        continue;
                k = a->inv.kernel_threads.items[i];
                question = arena_printf(a->arena, "read /proc/%d/cgroup", k->pid);
                r = observe(a->observer, &answer, "%s", question);
                if (r < 0) {
                        finding_unknown(a, g, r, question);
                        return;
                }
                path = cpu_path(a, answer.bytes);
                if (path && strcmp(path, "/") == 0)
                        break;
        }
        if (!k) {
                f = finding_add(a, VERDICT_PASS, g, "No thread of the kernel works for %s alone.", GUEST_MARK(a, g));
                finding_showf(a, f, EVIDENCE_HOST, "names of kernel threads", "none of kvm-pit/TID, vhost-PID for it");
                return;
        }
        f = finding_add(a,
                        path && strcmp(path, "/") == 0 ? VERDICT_WARN
                        : path                         ? VERDICT_PASS
                                                       : VERDICT_UNKNOWN,
                        g,
                        path && strcmp(path, "/") == 0 ? "A thread of the kernel works for %s outside of its limits."
                        : path ? "Threads of the kernel that work for %s are in a cgroup with limits."
                               : "Whether a thread of the kernel that works for %s is limited is not known.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), question, "%s: cpu %s", SHOW(a, k->comm), path ? SHOW(a, path) : "(none)");
}

/* ---- promises ---- */

void res_over_host(struct audit *a)
{
        static const char *const shown[] = {"/proc/swaps", "/proc/sys/vm/overcommit_memory", "/proc/pressure/memory"};
        uint64_t ram = 0, vcpus = 0;
        size_t unknown = 0;
        bool over;
        struct finding *f;

        if (a->inv.guests.count == 0)
                return;
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                ram += g->ram_bytes;
                vcpus += g->vcpus;
                unknown += g->ram.count == 0;
        }
        over = ram > a->host.memory_bytes;
        if (a->host.memory_bytes == 0) {
                finding_unknown(a, NULL, -ENOENT, "read /proc/meminfo");
                return;
        }
        f = finding_add(a,
                        over      ? VERDICT_WARN
                        : unknown ? VERDICT_UNKNOWN
                                  : VERDICT_PASS,
                        NULL,
                        "The guests were promised %" PRIu64 "%% of the host's memory and %" PRIu64
                        " vCPUs on %u processors.%s",
                        (uint64_t)((double)ram * 100 / (double)a->host.memory_bytes), vcpus, a->host.cpus_online,
                        unknown ? " The memory of some is not known." : "");
        if (unknown && !over)
                f->needs = a->check->needs;
        finding_showf(a, f, EVIDENCE_OPERATOR, "RAM of all guests", "%" PRIu64 " bytes of %zu guests, not known of %zu",
                      ram, a->inv.guests.count, unknown);
        finding_showf(a, f, EVIDENCE_HOST, "read /proc/meminfo", "MemTotal: %" PRIu64 " bytes", a->host.memory_bytes);
        for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
                struct answer answer;

                if (observe(a->observer, &answer, "read %s", shown[i]) == 0)
                        finding_show(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", shown[i]), answer.bytes,
                                     answer.len);
        }
}
