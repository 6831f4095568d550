/* Guests and their processes: that none is missing, and that each has its virtual machine for itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit/probes/inventory.h"
#include "audit/probes/tables.h"
#include "audit/text.h"

#define CAP_SYS_PTRACE_BIT 19 /* linux/capability.h */

/* ---- every virtual machine is known ---- */

#define COUNT_TRIES    4
#define COUNT_PAUSE_MS 100 /* before the second try, and four times as long before each that follows */

static int kernel_count(struct audit *a, size_t *ret)
{
        struct answer count;
        int r = observe(a->observer, &count, "vm-count");

        if (r == 0)
                *ret = strtoull(count.bytes, NULL, 10);
        return r;
}

static void count_failed(struct audit *a, int error)
{
        struct observed_stat st;

        if (error == -ENOENT && observe_stat(a->observer, "/sys/module/kvm", &st) == -ENOENT) {
                struct finding *f = finding_add(a, VERDICT_NA, NULL, "This host's kernel has no KVM.");

                finding_show_error(a, f, EVIDENCE_HOST, "stat /sys/module/kvm", -ENOENT);
                return;
        }
        finding_unknown(a, NULL, error, "vm-count");
}

static void count_judge(struct audit *a, const struct inventory *inv, size_t least, size_t most)
{
        size_t found = inventory_vms(inv);
        struct finding *f;

        if (inv->kcmp_error < 0 && found >= least) {
                finding_unknown(a, NULL, inv->kcmp_error, "kcmp of descriptors of virtual machines");
                return;
        }
        if (found >= least && found <= most)
                f = finding_add(a, VERDICT_PASS, NULL, "The kernel counts as many virtual machines as were found.");
        else if (found > most)
                f = finding_add(
                        a, VERDICT_UNKNOWN, NULL,
                        "More virtual machines were found than the kernel counts: some may be counted twice here.");
        else if (inv->unreadable > 0 && !HOST_CAP(&a->host, CAP_SYS_PTRACE_BIT)) {
                f = finding_add(
                        a, VERDICT_UNKNOWN, NULL,
                        "%zu virtual machines of this host were not found: this auditor may not look into every "
                        "process.",
                        least - found);
                f->needs = a->check->needs;
        } else
                f = finding_add(
                        a, VERDICT_FAIL, NULL,
                        "%zu virtual machines of this host were not found, and nothing here is said about them.",
                        least - found);
        finding_showf(a, f, EVIDENCE_OPERATOR, "vm-count", "%zu to %zu", least, most);
        finding_showf(a, f, EVIDENCE_OPERATOR, "list /proc, link /proc/PID/fd/N, read /proc/PID/maps",
                      "%zu virtual machines found; %zu processes may not be looked into", found, inv->unreadable);
}

/* A virtual machine that is ending is held by nobody, but counted until the kernel has undone it. */
static void count_pause(int try)
{
        long ms = COUNT_PAUSE_MS;

        for (int i = 1; i < try; i++)
                ms *= 4;
        if (try > 0)
                nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Guests start and end meanwhile: what was found must lie between the kernel's counts before and after. */
static void count_host(struct audit *a)
{
        struct inventory inv = a->inv;
        size_t before = 0, after = 0, least, most;
        struct err e = ERR_INIT;
        int r = kernel_count(a, &after);

        least = most = after;
        for (int i = 0; r == 0 && i < COUNT_TRIES && (inventory_vms(&inv) < least || inventory_vms(&inv) > most); i++) {
                count_pause(i);
                r = kernel_count(a, &before);
                if (r == 0)
                        r = inventory_count_vms(a->observer, &inv, &e);
                if (r == 0)
                        r = kernel_count(a, &after);
                least = before < after ? before : after;
                most = before < after ? after : before;
        }
        if (r < 0)
                count_failed(a, r);
        else
                count_judge(a, &inv, least, most);
}

/* ---- nobody else holds a guest's virtual machine ---- */

static void holder_show(struct audit *a, struct finding *f, const struct vm_holder *h)
{
        const struct process *p = h->process;
        int owner = p->guest && f->guests.count == 1 && p->guest->index == f->guests.items[0] ? GUEST_OWNER(p->guest)
                                                                                              : EVIDENCE_OPERATOR;

        if (h->fd < 0)
                finding_showf(a, f, owner, arena_printf(a->arena, "read /proc/%d/maps", p->pid),
                              "%s: anon_inode:kvm-vcpu is mapped", SHOW(a, p->comm));
        else
                finding_showf(a, f, owner, arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid, h->fd), "%s: %s",
                              SHOW(a, p->comm), h->link);
}

static struct finding *stranger_add(struct audit *a, struct finding **of_guest, struct guest *g)
{
        if (!of_guest[g->index])
                of_guest[g->index] =
                        finding_add(a, VERDICT_FAIL, g,
                                    "A process that does not belong to %s holds its virtual machine or one of "
                                    "its virtual processors.",
                                    GUEST_MARK(a, g));
        return of_guest[g->index];
}

/* Holders of machines, or of virtual processors, that belong to another guest or to none. */
static void strangers_judge(struct audit *a, const struct vm_list *files, struct finding **of_guest)
{
        for (size_t i = 0; i < files->count; i++) {
                const struct vm_file *file = files->items[i];

                for (size_t k = 0; k < file->count && file->guest; k++) {
                        const struct guest *holder = file->items[k].process->guest;
                        struct finding *f;

                        if (holder == file->guest)
                                continue;
                        f = stranger_add(a, of_guest, file->guest);
                        if (holder)
                                finding_concern(a, f, holder);
                        holder_show(a, f, &file->items[k]);
                }
        }
}

static void holders_quiet_guest(struct audit *a, struct guest *g)
{
        bool blind = a->inv.unreadable > 0 || a->inv.kcmp_error < 0 || a->inv.untold_vcpus > 0 || g->vms == 0;
        struct finding *f;

        if (blind)
                f = finding_add(
                        a, VERDICT_UNKNOWN, g,
                        "No process but those of %s was seen to hold its virtual machine, but not every process "
                        "could be looked into.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g, "No process but those of %s holds its virtual machine.",
                                GUEST_MARK(a, g));
        f->needs = blind ? a->check->needs : NULL;
        finding_showf(
                a, f, EVIDENCE_OPERATOR, "link /proc/PID/fd/N of every process",
                "%zu of %zu processes may not be looked into; %zu map a virtual processor without a descriptor of it; "
                "kcmp: %s",
                a->inv.unreadable, a->inv.processes.count, a->inv.untold_vcpus,
                a->inv.kcmp_error < 0 ? strerror(-a->inv.kcmp_error) : "answers");
        for (size_t i = 0; i < g->vmm->fds.count; i++)
                if (g->vmm->fds.items[i].kind == FD_KVM_VM)
                        holder_show(a, f,
                                    &(struct vm_holder){g->vmm, g->vmm->fds.items[i].number, "anon_inode:kvm-vm"});
}

static void holders_host(struct audit *a)
{
        struct finding **of_guest = arena_array(a->arena, a->inv.guests.count, sizeof(struct finding *));

        strangers_judge(a, &a->inv.vms, of_guest);
        strangers_judge(a, &a->inv.vcpus, of_guest);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (!of_guest[i])
                        holders_quiet_guest(a, a->inv.guests.items[i]);
}

/* ---- one virtual machine per process ---- */

static void one_vm_guest(struct audit *a, struct guest *g)
{
        struct finding *f;

        if (g->vms == 0) {
                finding_unknown(a, g, g->vmm->fds_error < 0 ? g->vmm->fds_error : g->vmm->maps_error,
                                arena_printf(a->arena, "list /proc/%d/fd", g->vmm->pid));
                return;
        }
        if (g->vms > 1 && a->inv.kcmp_error < 0) {
                finding_unknown(a, g, a->inv.kcmp_error, "kcmp of descriptors of virtual machines");
                return;
        }
        if (g->vms > 1)
                f = finding_add(a, VERDICT_FAIL, g,
                                "One process runs %s and %zu more virtual machines: only its own code separates them.",
                                GUEST_MARK(a, g), g->vms - 1);
        else
                f = finding_add(a, VERDICT_PASS, g, "The monitor of %s runs this one virtual machine.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g),
                      arena_printf(a->arena, "link /proc/%d/fd/N, told apart by kcmp", g->vmm->pid),
                      "virtual machines: %zu", g->vms);
}

#define NEEDS_PTRACE "CAP_SYS_PTRACE or the guest's own user"

const struct check checks_inventory[] = {
        {
                .id = "INV-COUNT",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "This report covers every virtual machine of the host's kernel.",
                .examined =
                        "COUNT of the kernel's event when a virtual machine is made, less that one; against those found "
                        "in /proc",
                .rule = "found between the counts before and after PASS; fewer, several times within seconds, FAIL; no event, or no "
                        "privilege to look into every process, UNKNOWN",
                .source = "kernel virt/kvm/kvm_main.c, kvm_uevent_notify_change()",
                .remedy =
                        "run the audit as root in the host's own PID, network and user namespace; look for virtual machines "
                        "in containers",
                .needs = "root in the host's own namespaces, and /dev/kvm",
                .host = count_host,
        },
        {
                .id = "INV-HOLDERS",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "A guest's virtual machine is in the hands of its own processes only.",
                .examined =
                        "anon_inode:kvm-vm and anon_inode:kvm-vcpu among the descriptors and mappings of every process, "
                        "told apart by kcmp(2)",
                .rule = "a holder that is neither the monitor nor a process of its guest FAIL; processes that could not be "
                        "looked into UNKNOWN",
                .source =
                        "kernel virt/kvm/kvm_main.c: whoever holds a virtual processor can map its run page, and keeps the "
                        "machine alive",
                .remedy = "open KVM descriptors close-on-exec, and pass them to nobody",
                .needs = "root: CAP_SYS_PTRACE over every process",
                .host = holders_host,
        },
        {
                .id = "PROC-ONEVM",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A process runs one virtual machine only.",
                .examined = "distinct virtual machine descriptors of the monitor",
                .rule = "more than one FAIL",
                .source = "Firecracker docs/design.md; DISA Virtual Machine Manager SRG, separate execution domains",
                .remedy = "run one monitor process per guest",
                .needs = NEEDS_PTRACE,
                .guest = one_vm_guest,
        },
        {
                .id = "PROC-EXE",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "The programs that run a guest are those that are installed, and only root can change them.",
                .examined =
                        "/proc/PID/exe of every process of the guest: owner, mode, whether it was deleted; SHA-256 and "
                        "build ID for comparison",
                .rule = "writable by group or others, or not root's, FAIL; deleted or replaced since it was started WARN",
                .source = "Firecracker docs/prod-host-setup.md; proc_pid_exe(5)",
                .remedy = "install the program as root with mode 0755, and restart guests after an update",
                .needs = NEEDS_PTRACE,
                .host = process_exe_host,
        },
        {
                .id = "PROC-DUMPABLE",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No process of the same user can read a guest's memory through /proc.",
                .examined = "owner of /proc/PID/environ against the user of every process of the guest",
                .rule = "owned by another user: not dumpable, PASS; dumpable WARN; dumpable, and another guest has the same "
                        "user, or CAP_SYS_PTRACE over the host, and neither a PID namespace nor a MAC label of its own FAIL",
                .source = "kernel fs/proc/base.c, task_dump_owner(); ptrace(2), \"Ptrace access mode checking\"",
                .remedy = "prctl(PR_SET_DUMPABLE, 0) in the monitor, and a user of its own for each guest",
                .needs = "",
                .guest = process_dumpable_guest,
        },
        {
                .id = "PROC-TRACED",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No debugger is attached to a guest's processes.",
                .examined = "TracerPid of every thread of the guest's processes",
                .rule = "a tracer FAIL",
                .source = "proc_pid_status(5), ptrace(2)",
                .remedy = "detach the debugger",
                .needs = "",
                .guest = process_traced_guest,
        },
        {
                .id = "PROC-ARGV",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "No secret of a guest is on a command line.",
                .examined =
                        "/proc/PID/cmdline of every process of the guest: passwords, tokens, keys, data of secret objects, "
                        "passwords in URLs",
                .rule = "what looks like one WARN; names of files and of other objects do not count",
                .source = "proc_pid_cmdline(5); QEMU documentation, providing secret data",
                .remedy = "pass secrets in a file or through a descriptor",
                .needs = "",
                .guest = arguments_secrets_guest,
        },
        {
                .id = "PROC-PROFILE",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest's monitor was started with all the protection that it has of its own.",
                .examined =
                        "kind of the monitor, and its switches in /proc/PID/cmdline, which the monitor itself could change",
                .rule = "--no-seccomp, --seccomp false or log, --disable-sandbox, a gdb server, or QEMU without -sandbox or "
                        "-nodefaults FAIL; monitors without such switches NA",
                .source =
                        "Firecracker docs/seccomp.md; Cloud Hypervisor docs/seccomp.md; crosvm documentation, Sandboxing; "
                        "qemu(1), -sandbox",
                .remedy =
                        "leave the switch out; for QEMU add -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                        "resourcecontrol=deny and -nodefaults",
                .needs = "",
                .guest = arguments_profile_guest,
        },
        {
                .id = "PROC-ELF",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "The programs that run a guest are hardened against faults of their own.",
                .examined =
                        "/proc/PID/exe of every process of the guest: position-independent, read-only relocations, bound at "
                        "start, stack not executable, stack protector; mappings; personality; "
                        "/proc/sys/kernel/randomize_va_space",
                .rule = "not position-independent, an executable stack, or memory that is writable and executable FAIL; another "
                        "one missing WARN",
                .source = "OpenStack Security Guide, hardening the virtualization layers: compiler hardening",
                .remedy = "build with -fPIE -pie -fstack-protector-strong -Wl,-z,relro,-z,now,-z,noexecstack; "
                          "kernel.randomize_va_space=2",
                .needs = NEEDS_PTRACE,
                .host = process_elf_host,
        },
        {.id = NULL},
};
