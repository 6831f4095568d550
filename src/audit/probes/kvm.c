/* The kernel's KVM: which module does the work, and how it is set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/probes/cpu.h"
#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/number.h"

#define MODULES   "/sys/module"
#define DEBUG_KVM "/sys/kernel/debug/kvm"

/* The module that runs guests on this host's processors: kvm_intel, kvm_amd or another kvm_NAME. NULL: none, or
 * unreadable with *ret_error set. Built into the kernel they are in /sys/module, too, for their parameters. */
static char *vendor_module(struct audit *a, int *ret_error)
{
        struct name_list names;
        char *other = NULL;

        *ret_error = observe_list(a->observer, MODULES, &names);
        for (size_t i = 0; *ret_error == 0 && i < names.count; i++) {
                char *name = names.items[i];

                if (strcmp(name, "kvm_intel") == 0 || strcmp(name, "kvm_amd") == 0)
                        return name;
                if (text_has_prefix(name, "kvm_"))
                        other = name;
        }
        return other;
}

static bool is_hardware(const char *module)
{
        return strcmp(module, "kvm_intel") == 0 || strcmp(module, "kvm_amd") == 0;
}

static char *parameter_read(struct audit *a, const char *module, const char *name, int *ret_error)
{
        return observe_line(a->observer, arena_printf(a->arena, MODULES "/%s/parameters/%s", module, name), ret_error);
}

static char *parameter(struct audit *a, const char *module, const char *name)
{
        return parameter_read(a, module, name, NULL);
}

static void parameter_show(struct audit *a, struct finding *f, const char *module, const char *name, const char *value)
{
        const char *question = arena_printf(a->arena, "read " MODULES "/%s/parameters/%s", module, name);

        if (value)
                finding_show(a, f, EVIDENCE_HOST, question, value, strlen(value));
        else
                finding_showf(a, f, EVIDENCE_HOST, question, "there is no such parameter");
}

/* Modules print switches as Y and N, or as numbers. */
static bool is_off(const char *value)
{
        return strcmp(value, "N") == 0 || strcmp(value, "0") == 0;
}

static void vendor_host(struct audit *a)
{
        int r;
        char *module = vendor_module(a, &r), *value;
        const char *tables = module && strcmp(module, "kvm_amd") == 0 ? "npt" : "ept";
        enum verdict v = VERDICT_PASS;
        const char *text = "The processors' own virtualization runs guests, with page tables of its own for them.";
        struct finding *f;

        if (r < 0) {
                finding_unknown(a, NULL, r, "list " MODULES);
                return;
        }
        if (!module) {
                f = finding_add(a, a->inv.guests.count ? VERDICT_UNKNOWN : VERDICT_NA, NULL,
                                "No module that runs guests is loaded.");
                finding_showf(a, f, EVIDENCE_HOST, "list " MODULES, "none of kvm_*");
                return;
        }
        value = is_hardware(module) ? parameter(a, module, tables) : NULL;
        if (!is_hardware(module)) {
                v = VERDICT_WARN;
                text = "Guests are not run by kvm_intel or kvm_amd but by another module, whose isolation is its own.";
        } else if (!value) {
                v = VERDICT_UNKNOWN;
                text = "Whether guests have page tables of the processor's own (EPT, NPT) is not known.";
        } else if (is_off(value)) {
                v = VERDICT_WARN;
                text = "Guests run on shadow page tables, which the kernel builds from what a guest writes.";
        }
        f = finding_add(a, v, NULL, "%s", text);
        finding_show(a, f, EVIDENCE_HOST, "list " MODULES, module, strlen(module));
        if (is_hardware(module))
                parameter_show(a, f, module, tables, value);
}

/* ---- guests within guests ---- */

static void nested_allowed(struct audit *a, const char *module, const char *value, int r)
{
        struct finding *f;

        if (r < 0 || !module) {
                finding_unknown(a, NULL, r < 0 ? r : -ENOENT, "list " MODULES);
                return;
        }
        if (!value) {
                f = finding_add(
                        a, VERDICT_UNKNOWN, NULL,
                        is_hardware(module)
                                ? "Whether guests may run guests of their own is not known."
                                : "The module that runs guests does not say whether they may run guests of their own.");
                finding_show(a, f, EVIDENCE_HOST, "list " MODULES, module, strlen(module));
        } else
                f = finding_add(
                        a, is_off(value) ? VERDICT_PASS : VERDICT_WARN, NULL,
                        is_off(value)
                                ? "Guests cannot run guests of their own."
                                : "Guests may run guests of their own: the kernel then emulates virtualization for them.");
        parameter_show(a, f, module, "nested", value);
}

/* A directory of /sys/kernel/debug/kvm is TID-FD: the thread that made the machine, and its descriptor. */
struct machine {
        long tid;
        uint64_t fd;
        char *directory;
};

struct machine_list {
        struct machine *items; /* by tid */
        size_t count, room;
};

static int by_tid(const void *x, const void *y)
{
        long a = ((const struct machine *)x)->tid, b = ((const struct machine *)y)->tid;

        return (a > b) - (a < b);
}

static int machines_read(struct audit *a, struct machine_list *ret)
{
        struct name_list names;
        int r = observe_list(a->observer, DEBUG_KVM, &names);

        for (size_t i = 0; r == 0 && i < names.count; i++) {
                struct machine m = {.directory = names.items[i]};
                char *end;

                m.tid = strtol(m.directory, &end, 10);
                if (*end == '-' && number_parse(end + 1, INT32_MAX, &m.fd) == 0)
                        *GROW(a->arena, ret) = m;
        }
        if (ret->count > 0)
                qsort(ret->items, ret->count, sizeof(ret->items[0]), by_tid);
        return r;
}

static bool holds_machine(const struct process *p, uint64_t number)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == FD_KVM_VM && (uint64_t)p->fds.items[i].number == number)
                        return true;
        return false;
}

/* The first machine that a thread made; more may follow it in the list. */
static const struct machine *machine_find(const struct machine_list *l, pid_t tid)
{
        size_t low = 0, high = l->count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (l->items[middle].tid < tid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return l->items + low;
}

static void nested_guest(struct audit *a, const struct guest *g, const struct machine_list *l)
{
        size_t seen = 0;
        int64_t runs, most = 0;
        char *shown = NULL;
        struct finding *f;

        for (size_t i = 0; i < g->vmm->threads.count; i++) {
                pid_t tid = g->vmm->threads.items[i].tid;

                for (const struct machine *m = machine_find(l, tid); m < l->items + l->count && m->tid == tid; m++) {
                        char *path = arena_printf(a->arena, DEBUG_KVM "/%s/nested_run", m->directory);
                        int r;

                        if (!holds_machine(g->vmm, m->fd))
                                continue;
                        r = observe_number(a->observer, path, &runs);
                        if (r < 0 && most == 0) {
                                finding_unknown(a, g, r, arena_printf(a->arena, "read %s", path));
                                return;
                        }
                        seen++;
                        if (r == 0 && (!shown || runs > most)) {
                                most = runs;
                                shown = arena_printf(a->arena, "read %s", path);
                        }
                }
        }
        if (!shown || (most == 0 && seen < g->vms)) {
                /* The thread that made it may have ended, and its number is all that the name says. */
                finding_unknown(a, g, -ENOENT, "list " DEBUG_KVM);
                return;
        }
        f = finding_add(a, most > 0 ? VERDICT_FAIL : VERDICT_PASS, g,
                        most > 0 ? "%s has run guests of its own: the kernel emulates virtualization for it."
                                 : "%s has run no guest of its own.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), shown, "%lld", (long long)most);
}

static void nested_host(struct audit *a)
{
        int r;
        char *module = vendor_module(a, &r), *value = module ? parameter(a, module, "nested") : NULL;
        struct machine_list machines = {0};
        bool off = value && is_off(value);

        nested_allowed(a, module, value, r);
        r = off ? 0 : machines_read(a, &machines);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                if (off)
                        parameter_show(a,
                                       finding_add(a, VERDICT_PASS, g, "%s has run no guest of its own: none may.",
                                                   GUEST_MARK(a, g)),
                                       module, "nested", value);
                else if (r < 0)
                        finding_unknown(a, g, r, "list " DEBUG_KVM);
                else
                        nested_guest(a, g, &machines);
        }
}

/* ---- parameters ---- */

static const struct {
        const char *name;
        enum verdict on; /* PASS: only shown */
        const char *why;
} parameters[] = {
        {"ignore_msrs", VERDICT_WARN, "ignore_msrs hides from monitors what registers guests try"},
        {"enable_vmware_backdoor", VERDICT_FAIL,
         "enable_vmware_backdoor lets programs in a guest reach an emulated port"},
        {"force_emulation_prefix", VERDICT_FAIL,
         "force_emulation_prefix lets a guest have any instruction emulated by the kernel"},
        {"allow_unsafe_mappings", VERDICT_WARN,
         "allow_unsafe_mappings lets the kernel use memory that it holds no reference to"},
        {"mitigate_smt_rsb", VERDICT_PASS, NULL},
        {"enable_pmu", VERDICT_PASS, NULL},
};

static void params_host(struct audit *a)
{
        char *values[ARRAY_LEN(parameters)], *bad = arena_text(a->arena, "");
        enum verdict v = VERDICT_PASS;
        size_t known = 0, unread = 0;
        struct finding *f;
        int r, error = 0;

        for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
                values[i] = parameter_read(a, "kvm", parameters[i].name, &r);
                known += values[i] != NULL;
                /* A parameter that is not there is one that this kernel's KVM does not have. */
                if (!values[i] && r != -ENOENT && parameters[i].on != VERDICT_PASS) {
                        error = r;
                        unread = i;
                }
                if (!values[i] || is_off(values[i]) || parameters[i].on == VERDICT_PASS)
                        continue;
                v = verdict_worse(v, parameters[i].on);
                bad = arena_printf(a->arena, "%s%s%s", bad, *bad ? "; " : "", parameters[i].why);
        }
        if (known == 0 && error == 0) {
                finding_unknown(a, NULL, -ENOENT, "list " MODULES "/kvm/parameters");
                return;
        }
        if (error < 0 && v != VERDICT_FAIL) {
                finding_unknown(a, NULL, error,
                                arena_printf(a->arena, "read " MODULES "/kvm/parameters/%s", parameters[unread].name));
                return;
        }
        f = v == VERDICT_PASS ? finding_add(a, v, NULL, "KVM's parameters are as safe as their defaults.")
                              : finding_add(a, v, NULL, "KVM has parameters that weaken it: %s.", bad);
        for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
                if (values[i])
                        parameter_show(a, f, "kvm", parameters[i].name, values[i]);
}

/* ---- split locks: Documentation/arch/x86/buslock.rst ---- */

static bool cpu_flag(struct audit *a, const char *flag)
{
        struct answer info;
        char *flags = observe(a->observer, &info, "read /proc/cpuinfo") == 0
                              ? text_field(a->arena, info.bytes, "flags\t\t:")
                              : NULL;

        return flags && strstr(arena_printf(a->arena, " %s ", flags), arena_printf(a->arena, " %s ", flag));
}

static void splitlock_host(struct audit *a)
{
        static const char path[] = "/proc/sys/kernel/split_lock_mitigate";
        int64_t mitigate = 1;
        int r = observe_number(a->observer, path, &mitigate);
        const char *cmdline = a->host.cmdline ? a->host.cmdline : "";
        bool off = strstr(cmdline, "split_lock_detect=off"), detects = cpu_flag(a, "split_lock_detect");
        struct finding *f;

        if (r < 0 && r != -ENOENT) {
                finding_unknown(a, NULL, r, arena_printf(a->arena, "read %s", path));
                return;
        }
        if (off || (r == 0 && mitigate == 0))
                f = finding_add(
                        a, VERDICT_FAIL, NULL,
                        "A guest can slow every processor of this host by atomic operations across cache lines: the kernel was told to let it.");
        else if (!detects)
                f = cpu_finding(
                        a, VERDICT_WARN, NULL,
                        "A guest can slow every processor of this host by atomic operations across cache lines: these processors do not report them.");
        else if (!a->host.cmdline || (r < 0 && !strstr(cmdline, "split_lock_detect=fatal"))) {
                /* Without the sysctl the kernel predates the slowing: it warns, and lets the guest go on. */
                finding_unknown(a, NULL, r < 0 ? r : -ENOENT,
                                r < 0 ? arena_printf(a->arena, "read %s", path) : "read /proc/cmdline");
                return;
        } else
                f = finding_add(a, VERDICT_PASS, NULL,
                                "A guest that locks memory across cache lines is slowed or stopped.");
        if (r == 0)
                finding_showf(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path), "%lld",
                              (long long)mitigate);
        else
                finding_show_error(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path), r);
        finding_showf(a, f, EVIDENCE_HOST, "read /proc/cpuinfo", "split_lock_detect is %samong the flags",
                      detects ? "" : "not ");
        if (off)
                finding_showf(a, f, EVIDENCE_HOST, "read /proc/cmdline", "split_lock_detect=off");
}

const struct check checks_kvm[] = {
        {
                .id = "KVM-VENDOR",
                .severity = SEVERITY_INFO,
                .worst = VERDICT_WARN,
                .claim = "The processors' own virtualization runs guests, with page tables of its own for them.",
                .examined = "kvm_* in /sys/module; parameter ept or npt",
                .rule = "kvm_intel or kvm_amd with ept or npt PASS; shadow page tables or another module WARN",
                .source = "Linux Documentation/admin-guide/kernel-parameters.txt; Documentation/virt/kvm/x86/mmu.rst",
                .remedy = "load kvm_intel or kvm_amd without ept=0 or npt=0",
                .needs = "",
                .host = vendor_host,
        },
        {
                .id = "KVM-NESTED",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "Guests run no guests of their own.",
                .examined = "parameter nested of kvm_intel or kvm_amd; nested_run of each machine in " DEBUG_KVM,
                .rule = "the host: nested off PASS, on WARN; a guest: nested off or never used PASS, used FAIL",
                .source = "Linux Documentation/virt/kvm/x86/running-nested-guests.rst; CVE-2021-3656",
                .remedy = "load kvm_intel or kvm_amd with nested=0",
                .needs = "root, and debugfs on /sys/kernel/debug",
                .host = nested_host,
        },
        {
                .id = "KVM-PARAMS",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "KVM has no parameter set that widens what a guest can do.",
                .examined =
                        "ignore_msrs, enable_vmware_backdoor, force_emulation_prefix, allow_unsafe_mappings in /sys/module/kvm/parameters",
                .rule = "enable_vmware_backdoor or force_emulation_prefix on FAIL; the others on WARN",
                .source = "Linux Documentation/admin-guide/kernel-parameters.txt; arch/x86/kvm/x86.c",
                .remedy = "remove the options from the boot loader's or modprobe's configuration",
                .needs = "the module kvm",
                .host = params_host,
        },
        {
                .id = "KVM-SPLITLOCK",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest cannot stall all processors by locking memory across cache lines.",
                .examined =
                        "/proc/sys/kernel/split_lock_mitigate; split_lock_detect in /proc/cpuinfo and /proc/cmdline",
                .rule = "mitigation or detection off FAIL; processors that cannot detect it WARN",
                .source = "Linux Documentation/arch/x86/buslock.rst; Documentation/admin-guide/sysctl/kernel.rst",
                .remedy = "sysctl kernel.split_lock_mitigate=1; remove split_lock_detect=off",
                .needs = "",
                .host = splitlock_host,
        },
        {.id = NULL},
};
