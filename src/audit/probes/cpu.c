/* Processors: what the kernel says about their weaknesses, and how it was started. Threads of a core: cpu_smt.c. */
#include "audit/probes/cpu.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"
#define KVM_PARAMETERS  "/sys/module/kvm/parameters"

struct finding *cpu_finding(struct audit *a, enum verdict v, const struct guest *g, const char *fmt, ...)
{
        bool hidden = (a->host.nested || !a->host.nested_known) && v != VERDICT_FAIL && v != VERDICT_NA;
        struct finding *f;
        va_list ap;
        char *text;

        va_start(ap, fmt);
        text = arena_vprintf(a->arena, fmt, ap);
        va_end(ap);
        f = finding_add(
                a, hidden ? VERDICT_UNKNOWN : v, g, "%s%s%s", hidden ? "As this kernel sees it: " : "", text,
                !hidden ? ""
                : a->host.nested
                        ? " But this host is itself a virtual machine, and what its own host does is not visible."
                        : " But whether this host is itself a virtual machine is not known.");
        if (hidden) {
                f->needs = "the same audit of the machine that runs this host";
                finding_showf(a, f, EVIDENCE_HOST, "read /proc/cpuinfo",
                              a->host.nested ? "flags: ... hypervisor ..." : "there is no line of flags");
        }
        return f;
}

char *cpu_vulnerability(struct audit *a, const char *name, int *ret_error)
{
        return observe_line(a->observer, arena_printf(a->arena, VULNERABILITIES "/%s", name), ret_error);
}

void cpu_vulnerability_show(struct audit *a, struct finding *f, const char *name, const char *line)
{
        finding_show(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read " VULNERABILITIES "/%s", name), line,
                     strlen(line));
}

/*
 * One clause of a line: they are separated by semicolons, and a weakness can be in any of them. Where a clause says
 * what holds for guests ("Vulnerable, KVM: SW loop", "Mitigation: Vulnerable, KVM: Not affected"), that part counts.
 */
static enum verdict clause_verdict(const char *clause)
{
        static const char *const bad[] = {"ulnerable", "o microcode", "Mitigation: None", "no swapgs barriers",
                                          /* of tsa: not when a guest is left */
                                          "user/kernel boundary"};
        const char *kvm = strstr(clause, "KVM: ");

        if (kvm)
                clause = kvm;
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
                if (strstr(clause, bad[i]))
                        return VERDICT_FAIL;
        return strstr(clause, "nknown") ? VERDICT_UNKNOWN : VERDICT_PASS;
}

enum verdict cpu_line_verdict(struct audit *a, const char *line)
{
        static const char *const known[] = {"Not affected", "Mitigation: ", "KVM: ",
                                            "Vulnerable",   "Unknown",      "Processor "};
        enum verdict v = VERDICT_UNKNOWN; /* until it begins as the kernel's lines do */
        char *clause = arena_text(a->arena, line);

        for (size_t i = 0; i < ARRAY_LEN(known); i++)
                if (text_has_prefix(line, known[i]))
                        v = VERDICT_PASS;
        while (clause) {
                char *end = strchr(clause, ';');

                if (end)
                        *end = '\0';
                v = verdict_worse(v, clause_verdict(clause));
                clause = end ? end + 1 : NULL;
        }
        return v;
}

/* Those with a check of their own. */
static bool has_own_check(const char *name)
{
        static const char *const names[] = {"l1tf", "itlb_multihit", "vmscape", "spec_rstack_overflow",
                                            "old_microcode"};

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (strcmp(name, names[i]) == 0)
                        return true;
        return false;
}

static void vuln_host(struct audit *a)
{
        char *fine = arena_text(a->arena, "");
        struct name_list names;
        struct finding *f;
        size_t passed = 0;
        int r = observe_list(a->observer, VULNERABILITIES, &names);

        if (r < 0) {
                finding_unknown(a, NULL, r, "list " VULNERABILITIES);
                return;
        }
        for (size_t i = 0; i < names.count; i++) {
                const char *name = names.items[i];
                char *line = has_own_check(name) ? NULL : cpu_vulnerability(a, name, &r);
                enum verdict v;

                if (has_own_check(name))
                        continue;
                if (!line) {
                        finding_unknown(a, NULL, r, arena_printf(a->arena, "read " VULNERABILITIES "/%s", name));
                        continue;
                }
                v = cpu_line_verdict(a, line);
                if (v == VERDICT_PASS) {
                        fine = arena_printf(a->arena, "%s%s: %s\n", fine, name, line);
                        passed++;
                        continue;
                }
                f = cpu_finding(a, v, NULL,
                                v == VERDICT_FAIL ? "The kernel says that this host is open to %s."
                                                  : "The kernel does not know whether this host is open to %s.",
                                SHOW(a, name));
                cpu_vulnerability_show(a, f, name, line);
        }
        if (passed == 0)
                return;
        f = cpu_finding(
                a, VERDICT_PASS, NULL,
                "The kernel knows %zu weaknesses of processors that it mitigates here or that these processors do not have.",
                passed);
        for (char *rest = fine, *line; (line = text_next_line(&rest));) {
                char *end = strchr(line, ':');

                if (!end)
                        continue;
                *end = '\0';
                cpu_vulnerability_show(a, f, line, end + 2);
        }
}

/* ---- L1TF: Documentation/admin-guide/hw-vuln/l1tf.rst; the words are those of l1tf_show_state(), which differ from
 * it. ---- */

static void l1tf_host(struct audit *a)
{
        static const char *const parameters[] = {"/sys/module/kvm_intel/parameters/vmentry_l1d_flush",
                                                 "/sys/module/kvm_intel/parameters/ept"};
        int r;
        char *line = cpu_vulnerability(a, "l1tf", &r);
        enum verdict v = VERDICT_PASS;
        const char *text = "A guest cannot read the first-level cache of its processor by L1 terminal faults.";
        struct finding *f;

        if (!line) {
                finding_unknown(a, NULL, r, "read " VULNERABILITIES "/l1tf");
                return;
        }
        if (strstr(line, "VMX: vulnerable") || strstr(line, "L1D vulnerable") || text_has_prefix(line, "Vulnerable")) {
                v = VERDICT_FAIL;
                text = "A guest can read what is in the first-level cache of its processor: it is not flushed before guest code runs.";
        } else if (strstr(line, "SMT vulnerable") && !smt_guests_apart(a)) {
                v = VERDICT_FAIL;
                text = "A guest can read what the other thread of its core puts into the first-level cache.";
        } else if (strstr(line, "SMT vulnerable")) {
                v = VERDICT_WARN;
                text = "No two guests share a core, but the host's own work beside a guest can be read from the first-level cache.";
        } else if (strstr(line, "conditional cache flushes")) {
                v = VERDICT_WARN;
                text = "The first-level cache is flushed before guest code only after paths of the kernel that are known to load secrets.";
        } else if (!text_has_prefix(line, "Not affected") && !strstr(line, "VMX: ")) {
                v = VERDICT_UNKNOWN;
                text = "The kernel does not say what it does about L1 terminal faults of guests.";
        }
        f = cpu_finding(a, v, NULL, "%s", text);
        cpu_vulnerability_show(a, f, "l1tf", line);
        for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
                line = observe_line(a->observer, parameters[i], NULL);
                if (line)
                        finding_show(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", parameters[i]), line,
                                     strlen(line));
        }
}

/* ---- VMSCAPE: Documentation/admin-guide/hw-vuln/vmscape.rst ---- */

static void vmscape_absent(struct audit *a, int error)
{
        struct finding *f;
        struct name_list names;
        bool others = observe_list(a->observer, VULNERABILITIES, &names) == 0 && names.count > 0;

        if (error != -ENOENT || !others) {
                finding_unknown(a, NULL, error, "read " VULNERABILITIES "/vmscape");
                return;
        }
        /* The file came with the mitigation, also into older kernels: without it there is none. */
        f = cpu_finding(
                a, a->host.nested ? VERDICT_UNKNOWN : VERDICT_FAIL, NULL,
                "The kernel predates the mitigation of CVE-2025-40300: a guest can steer the branch prediction of its monitor.");
        finding_show_error(a, f, EVIDENCE_HOST, "read " VULNERABILITIES "/vmscape", error);
        finding_showf(a, f, EVIDENCE_HOST, "list " VULNERABILITIES, "%zu files", names.count);
}

static void vmscape_host(struct audit *a)
{
        int r;
        int spectre_error;
        char *line = cpu_vulnerability(a, "vmscape", &r), *spectre = cpu_vulnerability(a, "spectre_v2", &spectre_error);
        enum verdict v = line ? cpu_line_verdict(a, line) : VERDICT_UNKNOWN;
        struct finding *f;
        struct smt smt;
        bool across;

        if (!line) {
                vmscape_absent(a, r);
                return;
        }
        smt_read(a, &smt);
        if (v == VERDICT_PASS && text_has_prefix(line, "Mitigation") && (smt.error < 0 || (smt.active && !spectre))) {
                finding_unknown(a, NULL, smt.error < 0 ? smt.error : spectre_error,
                                smt.error < 0 ? "read /sys/devices/system/cpu/smt/active"
                                              : "read " VULNERABILITIES "/spectre_v2");
                return;
        }
        /* Without a word about STIBP it is implied by enhanced IBRS (stibp_state()). */
        across = v == VERDICT_PASS && smt.active && text_has_prefix(line, "Mitigation") && spectre &&
                 (strstr(spectre, "STIBP: disabled") || strstr(spectre, "STIBP: conditional"));
        f = cpu_finding(
                a, across ? VERDICT_WARN : v, NULL,
                across ? "A guest cannot steer the branch prediction of its monitor, but of a monitor on the other thread of its core."
                : v == VERDICT_FAIL
                        ? "A guest can steer the branch prediction of its monitor, which holds the host's side of its devices."
                : v == VERDICT_PASS
                        ? "A guest cannot steer the branch prediction of its monitor."
                        : "The kernel does not know whether a guest can steer the branch prediction of its monitor.");
        cpu_vulnerability_show(a, f, "vmscape", line);
        if (across) {
                cpu_vulnerability_show(a, f, "spectre_v2", spectre);
                smt_show(a, f, &smt);
        }
}

static void nxhp_host(struct audit *a)
{
        int r;
        char *line = cpu_vulnerability(a, "itlb_multihit", &r),
             *parameter = observe_line(a->observer, KVM_PARAMETERS "/nx_huge_pages", NULL);
        enum verdict v;
        struct finding *f;

        if (!line) {
                finding_unknown(a, NULL, r, "read " VULNERABILITIES "/itlb_multihit");
                return;
        }
        v = cpu_line_verdict(a, line);
        f = cpu_finding(a, v, NULL,
                        v == VERDICT_FAIL
                                ? "A guest can stop its processor for good by changing the size of a page it executes."
                        : v == VERDICT_PASS
                                ? "A guest cannot stop its processor by changing the size of a page it executes."
                                : "The kernel does not know whether a guest can stop its processor by page sizes.");
        cpu_vulnerability_show(a, f, "itlb_multihit", line);
        if (parameter)
                finding_show(a, f, EVIDENCE_HOST, "read " KVM_PARAMETERS "/nx_huge_pages", parameter,
                             strlen(parameter));
}

/* ---- the kernel's command line: Documentation/admin-guide/kernel-parameters.txt ---- */

static const char *const bad_parameters[] = {
        "nospectre_v2",
        "nospectre_v1",
        "spectre_v2=off",
        "spectre_v2_user=off",
        "spectre_bhi=off",
        "l1tf=off",
        "mds=off",
        "tsx_async_abort=off",
        "mmio_stale_data=off",
        "retbleed=off",
        "srbds=off",
        "gather_data_sampling=off",
        "reg_file_data_sampling=off",
        "spec_rstack_overflow=off",
        "spec_store_bypass_disable=off",
        "nospec_store_bypass_disable",
        "indirect_target_selection=off",
        "tsa=off",
        "vmscape=off",
        "nopti",
        "pti=off",
        "tsx=on",
        "pcie_acs_override",
        "iommu=off",
        "intel_iommu=off",
        "amd_iommu=off",
        "kvm.nx_huge_pages=off",
        "kvm.nx_huge_pages=never",
        "kvm-intel.vmentry_l1d_flush=never",
        "kvm_intel.vmentry_l1d_flush=never",
};

/* mitigations=LIST: which of its words give up what separates guests, or NULL. */
static const char *mitigations_bad(const char *list)
{
        static const char *const words[] = {"no_guest_guest", "no_guest_host"};

        if (text_has_prefix(list, "off"))
                return "off";
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
                if (strstr(list, words[i]))
                        return words[i];
        return NULL;
}

static bool parameter_bad(const char *word)
{
        if (text_has_prefix(word, "mitigations="))
                return mitigations_bad(word + strlen("mitigations=")) != NULL;
        for (size_t i = 0; i < ARRAY_LEN(bad_parameters); i++) {
                size_t n = strlen(bad_parameters[i]);

                if (strncmp(word, bad_parameters[i], n) == 0 && (word[n] == '\0' || word[n] == '=' || word[n] == ','))
                        return true;
        }
        return false;
}

static void cmdline_host(struct audit *a)
{
        char *bad = arena_text(a->arena, ""), *rest;
        struct finding *f;

        if (!a->host.cmdline) {
                finding_unknown(a, NULL, -ENOENT, "read /proc/cmdline");
                return;
        }
        rest = arena_text(a->arena, a->host.cmdline);
        for (char *word; *(rest += strspn(rest, " "));) {
                word = rest;
                rest += strcspn(rest, " ");
                if (*rest)
                        *rest++ = '\0';
                if (strcmp(word, "--") == 0) /* what follows is for init */
                        break;
                if (parameter_bad(word))
                        bad = arena_printf(a->arena, "%s%s%s", bad, *bad ? " " : "", word);
        }
        if (*bad)
                f = cpu_finding(a, VERDICT_FAIL, NULL,
                                "The kernel was started with parameters that give up protection between guests: %s.",
                                SHOW(a, bad));
        else
                f = cpu_finding(a, VERDICT_PASS, NULL,
                                "No parameter of the kernel's command line gives up a mitigation.");
        finding_show(a, f, EVIDENCE_HOST, "read /proc/cmdline", a->host.cmdline, strlen(a->host.cmdline));
}

const struct check checks_cpu[] = {
        {
                .id = "CPU-VULN",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The kernel mitigates every weakness of this host's processors that it knows.",
                .examined = "the lines of " VULNERABILITIES ", except those with a check of their own",
                .rule = "vulnerable, no microcode or no mitigation in any part of a line FAIL, unknown UNKNOWN; where a line says what holds for KVM, that counts",
                .source = "Linux arch/x86/kernel/cpu/bugs.c; Documentation/admin-guide/hw-vuln",
                .remedy = "update microcode and kernel; start the kernel without mitigations=off and the like",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .host = vuln_host,
        },
        {
                .id = "CPU-SMT",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_WARN,
                .claim = "No processor core runs two threads at once.",
                .examined = "/sys/devices/system/cpu/smt/active and control",
                .rule = "active 0 PASS, 1 WARN: whether two guests ever meet on a core is CPU-SMTPAIR",
                .source =
                        "Firecracker docs/prod-host-setup.md; Linux Documentation/admin-guide/hw-vuln/core-scheduling.rst",
                .remedy =
                        "start the kernel with nosmt=force, or give each guest a core-scheduling cookie or cores of its own",
                .needs = "a kernel with /sys/devices/system/cpu/smt",
                .host = cpu_smt_host,
        },
        {
                .id = "CPU-SMTPAIR",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No two guests run on the two threads of one core at the same time.",
                .examined =
                        "for each vCPU thread the processors it may use, their threads of a core, and its core-scheduling cookie",
                .rule = "no core in common, or different cookies on every vCPU thread PASS (WARN where the kernel reports SMT vulnerable); else FAIL",
                .source = "Linux Documentation/admin-guide/hw-vuln/core-scheduling.rst",
                .remedy =
                        "prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE) in each monitor, or pin guests to cores of their own",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .pairs = cpu_smtpair_pairs,
        },
        {
                .id = "CPU-L1TF",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot read the first-level cache of its processor by L1 terminal faults.",
                .examined = VULNERABILITIES "/l1tf; vmentry_l1d_flush and ept of kvm_intel",
                .rule = "no flush FAIL; conditional flush WARN; SMT vulnerable FAIL unless no two guests share a core",
                .source =
                        "Linux Documentation/admin-guide/hw-vuln/l1tf.rst; arch/x86/kernel/cpu/bugs.c, l1tf_show_state()",
                .remedy = "start the kernel with l1tf=full,force, or kvm-intel.vmentry_l1d_flush=always and nosmt",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .host = l1tf_host,
        },
        {
                .id = "CPU-SHARE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "Guests share no processor, or its branch predictor is flushed between them.",
                .examined = "the processors that each vCPU thread may use (Cpus_allowed_list); IBPB in " VULNERABILITIES
                            "/spectre_v2",
                .rule = "no processor in common PASS; in common with IBPB PASS; without FAIL",
                .source = "Linux Documentation/admin-guide/hw-vuln/spectre.rst",
                .remedy =
                        "start the kernel without spectre_v2_user=off and mitigations=off, or pin guests to processors of their own",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .pairs = cpu_share_pairs,
        },
        {
                .id = "CPU-VMSCAPE",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot steer the branch prediction of its monitor.",
                .examined = VULNERABILITIES "/vmscape; with SMT, STIBP in spectre_v2",
                .rule = "Vulnerable or no such file FAIL; SMT without STIBP at all times WARN",
                .source = "Linux Documentation/admin-guide/hw-vuln/vmscape.rst (CVE-2025-40300)",
                .remedy = "update the kernel; start it without vmscape=off; spectre_v2_user=on or nosmt",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .host = vmscape_host,
        },
        {
                .id = "CPU-NXHP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot stop a processor by changing the size of a page it executes.",
                .examined = VULNERABILITIES "/itlb_multihit; nx_huge_pages of kvm",
                .rule = "KVM: Vulnerable FAIL; mitigated or not affected PASS",
                .source = "Linux Documentation/admin-guide/hw-vuln/multihit.rst",
                .remedy = "kvm.nx_huge_pages=auto",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .host = nxhp_host,
        },
        {
                .id = "CPU-CMDLINE",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The kernel was not told to leave out mitigations.",
                .examined = "the parameters in /proc/cmdline, up to those for init",
                .rule = "one that turns a mitigation or the IOMMU off FAIL",
                .source = "Linux Documentation/admin-guide/kernel-parameters.txt; attack_vector_controls.rst",
                .remedy = "remove the parameters from the boot loader's configuration",
                .needs = "",
                .host = cmdline_host,
        },
        {
                .id = "CPU-SPEC",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "Every thread of a guest is protected from what runs on the other thread of its core.",
                .examined =
                        "Speculation_Store_Bypass and SpeculationIndirectBranch of every thread; /sys/devices/system/cpu/smt/active",
                .rule = "vulnerable or enabled with SMT WARN",
                .source =
                        "Linux Documentation/userspace-api/spec_ctrl.rst; Documentation/admin-guide/hw-vuln/spectre.rst",
                .remedy = "prctl(PR_SET_SPECULATION_CTRL) in the monitor, or nosmt",
                .needs = "a kernel with /sys/devices/system/cpu/smt",
                .guest = cpu_spec_guest,
        },
        {
                .id = "CPU-SRSO",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot steer returns of the host's kernel or of another guest.",
                .examined = VULNERABILITIES "/spec_rstack_overflow",
                .rule = "Vulnerable or no microcode FAIL; microcode alone WARN: it protects guests from each other, not the host",
                .source = "Linux Documentation/admin-guide/hw-vuln/srso.rst",
                .remedy = "update microcode and kernel; spec_rstack_overflow=safe-ret",
                .needs = "a kernel with /sys/devices/system/cpu/vulnerabilities",
                .host = cpu_srso_host,
        },
        {
                .id = "CPU-UCODE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "All processors run the same microcode, and the kernel knows none newer.",
                .examined = "/sys/devices/system/cpu/cpu*/microcode/version; " VULNERABILITIES "/old_microcode",
                .rule = "different or old FAIL",
                .source =
                        "Linux Documentation/admin-guide/hw-vuln/old_microcode.rst; Firecracker docs/prod-host-setup.md",
                .remedy = "update microcode, and restart the host",
                .needs = "a host that is no virtual machine",
                .host = cpu_ucode_host,
        },
        {.id = NULL},
};
