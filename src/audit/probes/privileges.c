/* Privileges: what a guest's processes could do with a system call. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/privileges.h"
#include "audit/probes/tables.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* linux/capability.h, in the order of their numbers. */
static const char *const capability_names[] = {
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
};

static char *capabilities_name(struct audit *a, uint64_t set)
{
        char *list = arena_text(a->arena, "");
        size_t known = 0;

        for (unsigned int i = 0; i < ARRAY_LEN(capability_names); i++)
                known += set >> i & 1;
        if (known == ARRAY_LEN(capability_names))
                return arena_text(a->arena, "all");
        for (unsigned int i = 0; i < 64; i++) {
                if (!(set >> i & 1))
                        continue;
                if (i < ARRAY_LEN(capability_names))
                        list = arena_printf(a->arena, "%s%sCAP_%s", list, *list ? ", " : "", capability_names[i]);
                else
                        list = arena_printf(a->arena, "%s%sno. %u", list, *list ? ", " : "", i);
        }
        return list;
}

/* Runs over every thread of a guest; false, with a finding, when not all of them could be read. */
static bool threads_known(struct audit *a, struct guest *g)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->threads_error == 0)
                        continue;
                finding_unknown(a, g, p->threads_error, arena_printf(a->arena, "list /proc/%d/task", p->pid));
                return false;
        }
        return true;
}

static void caps_guest(struct audit *a, struct guest *g)
{
        static const char *const lines[] = {"Name:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", NULL};
        const struct thread *with = NULL, *could = NULL;
        uint64_t held = 0, bound = 0;
        struct finding *f;

        if (!threads_known(a, g))
                return;
        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++) {
                        const uint64_t *caps = l->items[k].caps;
                        uint64_t now = caps[CAP_SET_EFF] | caps[CAP_SET_PRM] | caps[CAP_SET_AMB];
                        uint64_t later = caps[CAP_SET_BND] | caps[CAP_SET_INH];

                        with = now && !with ? &l->items[k] : with;
                        could = later && !could ? &l->items[k] : could;
                        held |= now;
                        bound |= later;
                }
        }
        if (held)
                f = finding_add(a, VERDICT_FAIL, g, "A thread of %s has capabilities: %s.", GUEST_MARK(a, g),
                                capabilities_name(a, held));
        else if (bound)
                f = finding_add(
                        a, VERDICT_WARN, g,
                        "No thread of %s has a capability, but a program it executes could gain some: its bounding or "
                        "inheritable set is not empty (%s).",
                        GUEST_MARK(a, g), capabilities_name(a, bound));
        else
                f = finding_add(a, VERDICT_PASS, g, "No thread of %s has, or can gain, a capability.",
                                GUEST_MARK(a, g));
        with = with ? with : could ? could : &g->vmm->threads.items[0];
        finding_show_lines(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", with->tid),
                           with->status, lines);
}

static void no_new_privileges_guest(struct audit *a, struct guest *g)
{
        static const char *const lines[] = {"Name:", "NoNewPrivs:", NULL};
        const struct thread *without = NULL, *unknown = NULL;
        size_t n = 0, threads = 0;
        struct finding *f;

        if (!threads_known(a, g))
                return;
        for (size_t i = 0; i < g->members.count; i++) {
                const struct thread_list *l = &g->members.items[i].process->threads;

                for (size_t k = 0; k < l->count; k++, threads++) {
                        const struct thread *t = &l->items[k];

                        if (t->no_new_privs < 0)
                                unknown = t;
                        else if (t->no_new_privs == 0) {
                                without = without ? without : t;
                                n++;
                        }
                }
        }
        if (without)
                f = finding_add(a, VERDICT_FAIL, g,
                                "%zu of %zu threads of %s could gain privileges by executing a set-user-ID program.", n,
                                threads, GUEST_MARK(a, g));
        else if (unknown)
                f = finding_add(a, VERDICT_UNKNOWN, g,
                                "This kernel does not tell whether threads of %s can gain privileges.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g, "No thread of %s can gain privileges by executing a program.",
                                GUEST_MARK(a, g));
        without = without ? without : unknown ? unknown : &g->vmm->threads.items[0];
        finding_show_lines(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/status", without->tid),
                           without->status, lines);
}

#define NEEDS_HOST_IDS "an auditor in the host's own user namespace"
#define NEEDS_PTRACE   "CAP_SYS_PTRACE or the guest's own user"

const struct check checks_privileges[] = {
        {
                .id = "PRIV-ROOT",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No process of a guest is the host's root, or in its group.",
                .examined =
                        "Uid and Gid, all four values, of every thread of the guest's processes, as the host sees them",
                .rule = "any 0 FAIL",
                .source = "libvirt docs/drvqemu.rst; Firecracker docs/jailer.md",
                .remedy = "run the monitor as a user of its own (libvirt: user=; jailer: --uid, --gid)",
                .needs = NEEDS_HOST_IDS,
                .guest = privileges_root_guest,
        },
        {
                .id = "PRIV-UIDUNIQ",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No two guests run as the same user or group.",
                .examined = "Uid and Gid, all four values, of every thread of each guest's processes",
                .rule = "one user: FAIL where neither a MAC label nor a PID namespace separates all of them, else WARN; one group "
                        "only WARN (a FAIL is WARN while at least three other layers separate every pair)",
                .source = "Firecracker docs/prod-host-setup.md: a unique uid and gid for each microVM",
                .remedy = "give each guest a user and a group of its own",
                .needs = "",
                .softened = LAYER_BIT(LAYER_UID),
                .pairs = privileges_users_pairs,
        },
        {
                .id = "PRIV-GROUPS",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No process of a guest is in a group that commands the host, its disks or its KVM.",
                .examined = "Gid and Groups of every thread of the guest's processes, by the names of /etc/group",
                .rule = "root, disk, kmem, adm, shadow, sudo, wheel, docker, libvirt, lxd or incus-admin FAIL; kvm WARN",
                .source = "Firecracker docs/jailer.md; credentials(7)",
                .remedy = "drop supplementary groups: setgroups(0, NULL)",
                .needs = NEEDS_HOST_IDS,
                .host = privileges_groups_host,
        },
        {
                .id = "PRIV-CAPS",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No thread of a guest has, or can gain, a capability.",
                .examined = "CapInh, CapPrm, CapEff, CapBnd and CapAmb of every thread of the guest's processes",
                .rule = "a permitted, effective or ambient one FAIL; one in the bounding or inheritable set only WARN",
                .source = "capabilities(7); Firecracker docs/jailer.md; crosvm documentation, appendix Minijail",
                .remedy = "drop all capabilities, those of the bounding set first",
                .needs = "",
                .guest = caps_guest,
        },
        {
                .id = "PRIV-NNP",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No thread of a guest can gain privileges by executing a program.",
                .examined = "NoNewPrivs of every thread of the guest's processes",
                .rule = "0 FAIL",
                .source = "kernel Documentation/userspace-api/no_new_privs.rst; seccomp(2)",
                .remedy = "prctl(PR_SET_NO_NEW_PRIVS, 1) before the monitor starts",
                .needs = "",
                .guest = no_new_privileges_guest,
        },
        {
                .id = "PRIV-MAC",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "Mandatory access control confines every process of a guest.",
                .examined =
                        "/sys/kernel/security/lsm, /sys/fs/selinux/enforce, and the label of every process of the guest",
                .rule = "unconfined, complaining or permissive FAIL (WARN while at least three other layers separate every "
                        "pair); a host without SELinux and AppArmor WARN",
                .source =
                        "libvirt docs/drvqemu.rst (sVirt); OpenStack Security Guide, hardening the virtualization layers",
                .remedy = "start guests with sVirt, or with an AppArmor profile that is enforced",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_MAC),
                .host = privileges_mac_host,
                .guest = privileges_mac_guest,
        },
        {
                .id = "PRIV-MACUNIQ",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "Mandatory access control keeps the guests from each other.",
                .examined = "SELinux categories, or the name of the AppArmor profile, of each guest's monitor",
                .rule = "one label for several guests, a label without categories, or categories that include another guest's, "
                        "FAIL (WARN while at least three other layers separate every pair)",
                .source = "libvirt docs/drvqemu.rst: basic confinement does not protect guests from each other",
                .remedy =
                        "let libvirt choose labels (type='dynamic'), or give each guest categories or a profile of its own",
                .needs = NEEDS_PTRACE,
                .softened = LAYER_BIT(LAYER_MAC),
                .pairs = privileges_mac_pairs,
        },
        {
                .id = "PRIV-DEVKVM",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "Only chosen users of the host can open the device nodes of KVM, vhost and VFIO.",
                .examined = "owner, mode and ACL of /dev/kvm, /dev/vhost-*, /dev/vfio/* and /dev/net/tun",
                .rule = "KVM, vhost or a VFIO group that others may read or write, or whose owner is not root, WARN; /dev/net/tun "
                        "and /dev/vfio/vfio are meant for everybody",
                .source = "kernel Documentation/virt/kvm/api.rst; drivers/vfio/container.c",
                .remedy = "mode 0660 and group kvm, by a udev rule",
                .needs = "",
                .host = privileges_devices_host,
        },
        {.id = NULL},
};
