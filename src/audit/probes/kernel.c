/* The host's kernel: what it keeps from local users, and from root. */
#include "audit/probes/kernel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* ---- sysctls ---- */

static const struct {
        const char *name;
        int64_t least, most; /* that are good */
} sysctls[] = {
        {"kernel/kptr_restrict", 1, INT64_MAX},       {"kernel/dmesg_restrict", 1, INT64_MAX},
        {"kernel/perf_event_paranoid", 2, INT64_MAX}, {"kernel/unprivileged_bpf_disabled", 1, INT64_MAX},
        {"kernel/kexec_load_disabled", 1, INT64_MAX}, {"vm/unprivileged_userfaultfd", 0, 0},
        {"fs/protected_hardlinks", 1, INT64_MAX},     {"fs/protected_symlinks", 1, INT64_MAX},
        {"fs/protected_fifos", 1, INT64_MAX},         {"fs/protected_regular", 1, INT64_MAX},
};

/* fs/suid_dumpable 2 lets only root read such dumps. */
static bool suid_dumpable_bad(int64_t v)
{
        return v == 1;
}

static void sysctl_host(struct audit *a)
{
        char *bad = arena_text(a->arena, ""), *shown = arena_text(a->arena, ""), *path;
        struct finding *f;
        size_t known = 0;
        int64_t v;
        int r = 0;

        for (size_t i = 0; i <= ARRAY_LEN(sysctls); i++) {
                const char *name = i < ARRAY_LEN(sysctls) ? sysctls[i].name : "fs/suid_dumpable";

                path = arena_printf(a->arena, "/proc/sys/%s", name);
                r = observe_number(a->observer, path, &v);
                if (r == -ENOENT) /* this kernel was built without what it governs */
                        continue;
                if (r < 0) {
                        finding_unknown(a, NULL, r, arena_printf(a->arena, "read %s", path));
                        return;
                }
                known++;
                shown = arena_printf(a->arena, "%s%s = %" PRId64 "\n", shown, name, v);
                if (i < ARRAY_LEN(sysctls) ? v < sysctls[i].least || v > sysctls[i].most : suid_dumpable_bad(v))
                        bad = arena_printf(a->arena, "%s%s%s = %" PRId64, bad, *bad ? ", " : "", name, v);
        }
        if (known == 0) {
                finding_unknown(a, NULL, -ENOENT, "read /proc/sys/kernel/kptr_restrict");
                return;
        }
        f = *bad ? finding_add(a, VERDICT_WARN, NULL, "The kernel tells or lets local users more than it has to: %s.",
                               bad)
                 : finding_add(a, VERDICT_PASS, NULL, "The kernel tells and lets local users no more than it has to.");
        finding_show(a, f, EVIDENCE_HOST, "read /proc/sys/...", shown, strlen(shown));
}

static void yama_host(struct audit *a)
{
        static const char path[] = "/proc/sys/kernel/yama/ptrace_scope";
        int64_t scope = 0;
        int r = observe_number(a->observer, path, &scope);
        struct finding *f;

        if (r < 0 && r != -ENOENT) {
                finding_unknown(a, NULL, r, arena_printf(a->arena, "read %s", path));
                return;
        }
        if (r == 0 && scope > 0)
                f = finding_add(
                        a, VERDICT_PASS, NULL,
                        "A process may not trace another of its user (which does not keep it from opening /proc/PID/fd).");
        else
                f = finding_add(a, VERDICT_WARN, NULL,
                                "A process may trace any other of its user that does not forbid it.");
        if (r < 0)
                finding_show_error(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path), r);
        else
                finding_showf(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path), "%" PRId64, scope);
}

/* ---- debugfs ---- */

static bool has_mount(const struct mount_list *l, int id)
{
        for (size_t i = 0; i < l->count; i++)
                if (l->items[i].id == id)
                        return true;
        return false;
}

/* Judges the mounts of debugfs that process PID sees below root, but for those of which others has the same. Returns
 * how many mounts it sees, or a negative errno with its finding left. */
static ssize_t debugfs_judge(struct audit *a, const char *pid, const char *root, struct mount_list *ret,
                             const struct mount_list *others, size_t *ret_seen)
{
        char *path = arena_printf(a->arena, "/proc/%s/mountinfo", pid);
        int r = mount_list_read(a->observer, path, ret);

        if (r < 0)
                finding_unknown(a, NULL, r, arena_printf(a->arena, "read %s", path));
        for (size_t i = 0; r == 0 && i < ret->count; i++) {
                const struct mount *m = &ret->items[i];
                struct observed_stat st;
                struct finding *f;
                char *question;
                int error;

                if (strcmp(m->type, "debugfs") != 0 || (others && has_mount(others, m->id)))
                        continue;
                ++*ret_seen;
                path = arena_printf(a->arena, "%s%s", root, m->point);
                question = arena_printf(a->arena, "stat %s", path);
                error = observe_stat(a->observer, path, &st);
                if (error < 0) {
                        finding_unknown(a, NULL, error, question);
                        continue;
                }
                f = finding_add(
                        a, st.mode & 1 ? VERDICT_FAIL : VERDICT_PASS, NULL,
                        st.mode & 1 ? "Every local user can look into debugfs, where KVM counts what each guest does."
                                    : "Only root can look into debugfs.");
                finding_showf(a, f, EVIDENCE_HOST, question, "mode %o, owner %u:%u", st.mode, st.uid, st.gid);
        }
        return r < 0 ? r : (ssize_t)ret->count;
}

static void debugfs_host(struct audit *a)
{
        struct mount_list own = {0}, first = {0};
        size_t seen = 0;
        struct finding *f;
        ssize_t count = debugfs_judge(a, "self", "", &own, NULL, &seen);

        if (count >= 0 && a->host.ns_of_init)
                count = debugfs_judge(a, "1", "/proc/1/root", &first, &own, &seen);
        if (count < 0 || seen > 0)
                return;
        f = finding_add(a, a->host.ns_of_init ? VERDICT_PASS : VERDICT_UNKNOWN, NULL,
                        a->host.ns_of_init ? "debugfs is not mounted."
                                           : "debugfs is not mounted where this auditor runs; whether it is elsewhere "
                                             "on the host is not known.");
        if (!a->host.ns_of_init)
                f->needs = a->check->needs;
        finding_showf(a, f, EVIDENCE_HOST,
                      arena_printf(a->arena, "read /proc/%s/mountinfo", a->host.ns_of_init ? "1" : "self"),
                      "%zd mounts, none of type debugfs", count);
}

/* ---- lockdown, and what has happened to this kernel ---- */

/* Documentation/admin-guide/tainted-kernels.rst: those that bear on whether the kernel is what it was built as. */
static const struct {
        unsigned int bit;
        const char *what;
} taints[] = {
        {1, "a module was forced in"},
        {7, "the kernel has died once (oops)"},
        {9, "the kernel has warned of an error of its own"},
        {12, "a module from outside the kernel was loaded"},
        {13, "an unsigned module was loaded"},
};

static void lockdown_host(struct audit *a)
{
        static const char tainted_path[] = "/proc/sys/kernel/tainted",
                          lockdown_path[] = "/sys/kernel/security/lockdown";
        int r, tr;
        char *lockdown = observe_line(a->observer, lockdown_path, &r), *bad = arena_text(a->arena, "");
        int64_t tainted = 0;
        struct finding *f;

        tr = observe_number(a->observer, tainted_path, &tainted);
        if ((r < 0 && r != -ENOENT) || tr < 0) {
                finding_unknown(a, NULL, tr < 0 ? tr : r,
                                arena_printf(a->arena, "read %s", tr < 0 ? tainted_path : lockdown_path));
                return;
        }
        if (!lockdown || strstr(lockdown, "[none]"))
                bad = arena_text(a->arena, "root may change the kernel while it runs");
        for (size_t i = 0; i < ARRAY_LEN(taints); i++)
                if (tainted >> taints[i].bit & 1)
                        bad = arena_printf(a->arena, "%s%s%s", bad, *bad ? "; " : "", taints[i].what);
        f = *bad ? finding_add(a, VERDICT_WARN, NULL, "The running kernel need not be the one that was built: %s.", bad)
                 : finding_add(a, VERDICT_PASS, NULL, "Not even root can change the running kernel, and nothing has.");
        if (lockdown)
                finding_show(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", lockdown_path), lockdown,
                             strlen(lockdown));
        else
                finding_show_error(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", lockdown_path), r);
        finding_showf(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", tainted_path), "%" PRId64, tainted);
}

const struct check checks_kernel[] = {
        {
                .id = "KRN-SYSCTL",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The kernel gives local users no addresses, logs or interfaces that help an attack.",
                .examined =
                        "kptr_restrict, dmesg_restrict, perf_event_paranoid, unprivileged_bpf_disabled, kexec_load_disabled, unprivileged_userfaultfd, suid_dumpable, protected_*",
                .rule = "one that deviates WARN; what the kernel was built without is fine",
                .source = "Linux Documentation/admin-guide/sysctl/kernel.rst, vm.rst, fs.rst",
                .remedy = "set them in /etc/sysctl.d",
                .needs = "",
                .host = sysctl_host,
        },
        {
                .id = "KRN-YAMA",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "A process may not trace another of its user.",
                .examined = "/proc/sys/kernel/yama/ptrace_scope",
                .rule = "1 or more PASS; 0 or absent WARN. It does not cover /proc/PID/fd",
                .source = "Linux Documentation/admin-guide/LSM/Yama.rst; fs/proc/base.c",
                .remedy = "sysctl kernel.yama.ptrace_scope=1",
                .needs = "",
                .host = yama_host,
        },
        {
                .id = "KRN-LOCKDOWN",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "The running kernel is the one that was built.",
                .examined = "/sys/kernel/security/lockdown, /proc/sys/kernel/tainted",
                .rule = "no lockdown, foreign, forced or unsigned modules, warnings or oopses WARN",
                .source = "kernel_lockdown(7); Linux Documentation/admin-guide/tainted-kernels.rst",
                .remedy = "start the kernel with lockdown=integrity; find out what tainted it",
                .needs = "",
                .host = lockdown_host,
        },
        {
                .id = "KRN-DEBUGFS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "Local users cannot read what KVM counts about guests.",
                .examined = "mounts of debugfs that the host's first process sees, and their mode",
                .rule = "searchable by everybody FAIL",
                .source = "Linux arch/x86/kvm/debugfs.c; Documentation/filesystems/debugfs.rst",
                .remedy = "chmod 700 /sys/kernel/debug, or unmount it",
                .needs = "root",
                .host = debugfs_host,
        },
        {
                .id = "KRN-VERSION",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim =
                        "The newest installed kernel runs, and its number names no release with one of a few known errors of KVM.",
                .examined = "/proc/sys/kernel/osrelease, names in /lib/modules",
                .rule = "a newer one installed WARN; a kernel.org release before the fix FAIL; another kernel with such a number UNKNOWN",
                .source = "CVE records of the kernel's CNA: CVE-2025-40300, CVE-2026-23401, CVE-2026-31588",
                .remedy = "update the kernel and restart the host",
                .needs = "the distribution's word on which fixes its kernel has",
                .host = krn_version_host,
        },
        {
                .id = "KRN-NOISE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The kernel's log tells of no error that a guest may have caused.",
                .examined = "messages of /dev/kmsg of priority warning or worse with BUG:, WARNING: or kvm [PID]:",
                .rule = "an error of the kernel, or a message that names a guest WARN",
                .source = "Linux Documentation/ABI/testing/dev-kmsg; Documentation/admin-guide/tainted-kernels.rst",
                .remedy = "find out what the guest does",
                .needs = "root or CAP_SYSLOG",
                .host = krn_noise_host,
        },
        {.id = NULL},
};
