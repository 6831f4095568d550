/* Resources that a guest can use up: what the cgroup of each of its processes limits, and the table of checks. */
#include "audit/probes/resources.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/number.h"

/* What is found about one process; of a guest's processes the worst counts. */
struct judged {
        enum verdict verdict;
        const char *text; /* the rest of a sentence that begins with the guest */
        struct cgroup_limit limit;
        const struct process *process;
};

typedef void judge(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                   struct judged *ret);

static void guest_judge(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, judge *fn)
{
        struct judged worst = {0}, j;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                j = (struct judged){.process = g->members.items[i].process};
                fn(a, m, g, j.process, &j);
                if (i == 0 || j.verdict > worst.verdict)
                        worst = j;
        }
        if (worst.limit.error < 0) {
                finding_unknown(a, g, worst.limit.error, worst.limit.question);
                return;
        }
        assert(worst.process); /* a guest has its monitor */
        f = finding_add(a, worst.verdict, g, "%s %s%s.", GUEST_MARK(a, g), worst.text,
                        cgroup_level_text(a, &worst.limit));
        if (worst.limit.raw)
                finding_show(a, f, GUEST_OWNER(g), worst.limit.question, worst.limit.raw, strlen(worst.limit.raw));
        else
                finding_showf(a, f, GUEST_OWNER(g), worst.limit.question, "there is no such file");
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/stat", worst.process->pid),
                      "process %s", SHOW(a, worst.process->comm));
}

static void each_guest(struct audit *a, judge *fn)
{
        struct cgroup_mounts mounts;

        cgroup_mounts_read(a, &mounts);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                guest_judge(a, &mounts, a->inv.guests.items[i], fn);
}

/* ---- memory ---- */

static int memory_level(struct audit *a, const char *dir, bool v1, uint64_t *ret, char **ret_question, char **ret_raw)
{
        return cgroup_number(a, dir, v1 ? "memory.limit_in_bytes" : "memory.max", ret, ret_question, ret_raw);
}

static int swap_level(struct audit *a, const char *dir, bool v1, uint64_t *ret, char **ret_question, char **ret_raw)
{
        return cgroup_number(a, dir, v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", ret, ret_question,
                             ret_raw);
}

/* The host swaps at all: /proc/swaps has a line below its heading. */
static bool host_swaps(struct audit *a)
{
        struct answer answer;
        char *second = observe(a->observer, &answer, "read /proc/swaps") == 0 ? strchr(answer.bytes, '\n') : NULL;

        return second && second[1] != '\0';
}

static void memory_judge(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                         struct judged *j)
{
        struct cgroup_limit swap;

        cgroup_limit_read(a, m, g, p, CGROUP_MEMORY, memory_level, &j->limit);
        j->verdict = VERDICT_WARN;
        if (j->limit.error < 0)
                j->verdict = VERDICT_UNKNOWN;
        else if (j->limit.value == UINT64_MAX) {
                j->verdict = VERDICT_FAIL;
                j->text = "has a process whose memory is not limited: it can use up the host's";
        } else if (a->host.memory_bytes && j->limit.value > a->host.memory_bytes)
                j->text = "may use more memory than the host has";
        else if (j->limit.shared)
                j->text = "has a limit of memory only together with other guests, whose share it can use up";
        else if (p == g->vmm && j->limit.value < g->ram_bytes)
                j->text = "may use less memory than its RAM is large: it is ended when it uses it";
        else {
                j->verdict = VERDICT_PASS;
                j->text = "cannot use more memory than it was given";
        }
        if (j->verdict != VERDICT_PASS || !host_swaps(a))
                return;
        cgroup_limit_read(a, m, g, p, CGROUP_MEMORY, swap_level, &swap);
        if (swap.error < 0 || swap.value == UINT64_MAX) {
                j->verdict = swap.error < 0 ? VERDICT_UNKNOWN : VERDICT_WARN;
                j->text = "cannot use more memory than it was given, but all of the host's swap";
                j->limit = swap;
        }
}

static void mem_host(struct audit *a)
{
        each_guest(a, memory_judge);
}

/* ---- processors ---- */

/* The quota in thousandths of a processor: cpu.max is "QUOTA PERIOD", version 1 has a file for each. */
static int cpu_level(struct audit *a, const char *dir, bool v1, uint64_t *ret, char **ret_question, char **ret_raw)
{
        char *period = NULL, *question, *raw, *path = arena_printf(a->arena, "%s/cpu.max", dir);
        uint64_t quota, divisor;
        int r;

        if (v1) {
                r = cgroup_number(a, dir, "cpu.cfs_quota_us", &quota, ret_question, ret_raw);
                if (r < 0 || quota == UINT64_MAX)
                        return r;
                r = cgroup_number(a, dir, "cpu.cfs_period_us", &divisor, &question, &raw);
                if (r < 0)
                        return r;
                *ret_raw = arena_printf(a->arena, "%s (cpu.cfs_period_us: %s)", *ret_raw, raw);
        } else {
                char *line = observe_line(a->observer, path, &r);

                *ret_question = arena_printf(a->arena, "read %s", path);
                *ret_raw = line;
                if (!line)
                        return r;
                if (text_has_prefix(line, "max"))
                        return 0;
                line = arena_text(a->arena, line);
                period = strchr(line, ' ');
                if (!period)
                        return -EPROTO;
                *period++ = '\0';
                if (number_parse(line, UINT64_MAX, &quota) < 0 || number_parse(period, UINT64_MAX, &divisor) < 0)
                        return -EPROTO;
        }
        if (divisor == 0 || quota > UINT64_MAX / 1000)
                return -EPROTO;
        *ret = quota * 1000 / divisor;
        return 0;
}

static size_t vcpus_of_all(const struct audit *a)
{
        size_t n = 0;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                n += a->inv.guests.items[i]->vcpus;
        return n;
}

static void cpu_judge(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                      struct judged *j)
{
        size_t vcpus = vcpus_of_all(a);
        bool crowded = a->host.cpus_online == 0 || vcpus > a->host.cpus_online;

        cgroup_limit_read(a, m, g, p, CGROUP_CPU, cpu_level, &j->limit);
        j->verdict = crowded ? VERDICT_WARN : VERDICT_PASS;
        if (j->limit.error < 0)
                j->verdict = VERDICT_UNKNOWN;
        else if (j->limit.value == UINT64_MAX)
                j->text =
                        arena_printf(a->arena,
                                     "has no quota of processor time, and the guests have %zu vCPUs for %u processors",
                                     vcpus, a->host.cpus_online);
        else if (j->limit.shared)
                j->text = arena_printf(
                        a->arena,
                        "has a quota of processor time only together with other guests, and the guests have %zu vCPUs for %u processors",
                        vcpus, a->host.cpus_online);
        else {
                j->verdict = VERDICT_PASS;
                j->text = arena_printf(a->arena, "cannot use more than %" PRIu64 ".%" PRIu64 " processors",
                                       j->limit.value / 1000, j->limit.value % 1000 / 100);
        }
}

static void cpu_host(struct audit *a)
{
        each_guest(a, cpu_judge);
}

/* ---- processes ---- */

static int pids_level(struct audit *a, const char *dir, bool v1, uint64_t *ret, char **ret_question, char **ret_raw)
{
        (void)v1; /* the same file in both */
        return cgroup_number(a, dir, "pids.max", ret, ret_question, ret_raw);
}

static void pids_judge(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                       struct judged *j)
{
        cgroup_limit_read(a, m, g, p, CGROUP_PIDS, pids_level, &j->limit);
        if (j->limit.error < 0)
                j->verdict = VERDICT_UNKNOWN;
        else if (j->limit.value == UINT64_MAX) {
                j->verdict = VERDICT_FAIL;
                j->text = "has a process that may start any number of others: it can use up the host's";
        } else if (j->limit.shared) {
                j->verdict = VERDICT_WARN;
                j->text = arena_printf(a->arena,
                                       "may have %" PRIu64 " processes and threads only together with other guests",
                                       j->limit.value);
        } else {
                j->verdict = VERDICT_PASS;
                j->text = arena_printf(a->arena, "may have no more than %" PRIu64 " processes and threads",
                                       j->limit.value);
        }
}

static void pids_host(struct audit *a)
{
        each_guest(a, pids_judge);
}

#define CGROUPS_NEEDED "a mount of the cgroup hierarchies where the auditor runs"

const struct check checks_resources[] = {
        {
                .id = "RES-MEM",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot use up the host's memory.",
                .examined =
                        "memory.max and memory.swap.max (memory.limit_in_bytes, memory.memsw.limit_in_bytes) from the cgroup of each process up to the root",
                .rule = "the smallest limit counts; none FAIL; below the guest's RAM, above the host's memory, shared with other guests, or swap without limit WARN",
                .source = "Linux Documentation/admin-guide/cgroup-v2.rst; Firecracker docs/prod-host-setup.md",
                .remedy = "give each guest a cgroup with memory.max (libvirt: memtune hard_limit; jailer: --cgroup)",
                .needs = CGROUPS_NEEDED,
                .host = mem_host,
        },
        {
                .id = "RES-CONSOLE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot fill the host's disk with what it prints.",
                .examined =
                        "descriptors 1 and 2 and files that are appended to, of every process of the guest; Max file size in /proc/PID/limits",
                .rule = "1 or 2 a regular file without a limit FAIL; another log without a limit WARN",
                .source = "Firecracker docs/prod-host-setup.md, \"Serial device\" and \"Log files\"",
                .remedy = "print into a pipe that is read into a bounded buffer, or set RLIMIT_FSIZE",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = res_console_guest,
        },
        {
                .id = "RES-CPU",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "A guest cannot take the processor time of the others.",
                .examined =
                        "cpu.max (cpu.cfs_quota_us) from the cgroup of each process up to the root; vCPUs of all guests, processors online",
                .rule = "a quota, or no more vCPUs than processors PASS; else WARN",
                .source = "Linux Documentation/admin-guide/cgroup-v2.rst; Firecracker docs/prod-host-setup.md",
                .remedy = "set cpu.max in each guest's cgroup, or start fewer vCPUs",
                .needs = CGROUPS_NEEDED,
                .host = cpu_host,
        },
        {
                .id = "RES-PIDS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes cannot use up the host's process numbers.",
                .examined = "pids.max from the cgroup of each process up to the root",
                .rule = "the smallest limit counts; none FAIL; shared with other guests WARN",
                .source = "Linux Documentation/admin-guide/cgroup-v2.rst, PID",
                .remedy = "set pids.max in each guest's cgroup",
                .needs = CGROUPS_NEEDED,
                .host = pids_host,
        },
        {
                .id = "RES-IO",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "A guest cannot take the disk bandwidth of the others.",
                .examined =
                        "io.max (blkio.throttle.*) from the cgroup of each process with files or disks open up to the root; limits inside a monitor are not visible",
                .rule = "a limit for the device of every image PASS; else WARN; no image NA",
                .source =
                        "Linux Documentation/admin-guide/cgroup-v2.rst, IO; Firecracker docs/prod-host-setup.md, \"Mitigating noisy neighbours\"",
                .remedy = "set io.max in each guest's cgroup, or the monitor's own limits",
                .needs = CGROUPS_NEEDED,
                .host = res_io_host,
        },
        {
                .id = "RES-CGOWN",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest's processes cannot lift their own limits.",
                .examined = "owner and mode of each process's cgroup directories and of cgroup.procs and tasks in them",
                .rule = "writable by one of the guest's host ids FAIL",
                .source = "Linux Documentation/admin-guide/cgroup-v2.rst, Delegation",
                .remedy = "leave the cgroup of a guest to root",
                .needs = CGROUPS_NEEDED,
                .host = res_cgown_host,
        },
        {
                .id = "RES-CGSHARE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "No two guests share a cgroup, and so each other's limits.",
                .examined = "the cgroup of each process in the hierarchies of memory, cpu, pids and io",
                .rule = "the same cgroup for processes of two guests FAIL",
                .source = "Firecracker docs/jailer.md; Linux Documentation/admin-guide/cgroup-v2.rst",
                .remedy = "give each guest a cgroup of its own",
                .needs = "",
                .pairs = res_cgshare_pairs,
        },
        {
                .id = "RES-RT",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No thread of a guest runs ahead of the host's own work.",
                .examined =
                        "scheduling policy of every thread (/proc/PID/task/TID/stat), /sys/devices/system/cpu/isolated",
                .rule = "FIFO, RR or DEADLINE FAIL, except on isolated processors",
                .source = "sched(7)",
                .remedy = "run vCPUs with SCHED_OTHER, or on processors kept free with isolcpus=",
                .needs = "",
                .guest = res_rt_guest,
        },
        {
                .id = "RES-OVER",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The guests were not promised more memory than the host has.",
                .examined =
                        "RAM and vCPUs of all guests, /proc/meminfo, /proc/swaps, overcommit_memory, /proc/pressure/memory",
                .rule = "RAM of all guests above the host's WARN; vCPUs are only reported",
                .source = "Linux Documentation/mm/overcommit-accounting.rst; Firecracker docs/ballooning.md",
                .remedy = "start fewer or smaller guests",
                .needs = "CAP_SYS_PTRACE or the guests' own users",
                .host = res_over_host,
        },
        {
                .id = "RES-NOFILE",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "A guest's processes cannot use up the host's open files.",
                .examined = "Max open files in /proc/PID/limits of every process of the guest",
                .rule = "more than 65536 WARN",
                .source = "Firecracker docs/jailer.md, --resource-limit no-file",
                .remedy = "set RLIMIT_NOFILE for the monitor",
                .needs = "",
                .guest = res_nofile_guest,
        },
        {
                .id = "RES-OOM",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_FAIL,
                .claim = "When memory runs out, a guest is not kept at the cost of the host's own processes.",
                .examined = "oom_score_adj of every process of the guest",
                .rule = "-1000 FAIL, another number below 0 WARN",
                .source = "proc_pid_oom_score_adj(5)",
                .remedy = "write 0 or more to oom_score_adj of the monitor",
                .needs = "",
                .guest = res_oom_guest,
        },
        {
                .id = "RES-KTHR",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "What the kernel does for a guest in threads of its own counts as the guest's.",
                .examined = "/proc/PID/cgroup of kernel threads kvm-pit/TID and vhost-PID of the guest",
                .rule = "in the root cgroup of cpu WARN",
                .source = "Firecracker docs/prod-host-setup.md, on kvm-pit; Linux arch/x86/kvm/i8254.c",
                .remedy = "move the thread into the guest's cgroup, or start guests without a PIT",
                .needs = "",
                .guest = res_kthr_guest,
        },
        {.id = NULL},
};
