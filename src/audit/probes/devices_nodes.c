/* Device nodes that a guest's processes hold or could open, and devices that its monitor offers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "audit/probes/devices.h"
#include "audit/probes/fds.h"
#include "audit/text.h"

void vhost_guest(struct audit *a, struct guest *g)
{
        size_t n = 0;
        struct finding evidence = {0}, *f;

        if (fds_unread(a, g))
                return;
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count; i++)
                        if (p->fds.items[i].kind == FD_VHOST && n++ < 4)
                                finding_showf(a, &evidence, GUEST_OWNER(g),
                                              arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid,
                                                           p->fds.items[i].number),
                                              "%s", p->fds.items[i].link);
        }
        f = n ? finding_add(
                        a, VERDICT_WARN, g,
                        "The host's kernel reads rings that %s writes: a mistake there is one in the kernel, not in a jailed process.",
                        GUEST_MARK(a, g))
              : finding_add(a, VERDICT_PASS, g, "The host's kernel handles no rings of %s.", GUEST_MARK(a, g));
        f->evidence = evidence.evidence;
        finding_showf(a, f, GUEST_OWNER(g), "vhost among the descriptors of all its processes", "%zu", n);
}

/* ---- nodes ---- */

#define ANY UINT32_MAX

/* Documentation/admin-guide/devices.txt; ANY minor where a whole class is meant. */
static const struct {
        uint32_t major, minor;
        enum verdict v;
        const char *what;
} nodes[] = {
        {1, 3, VERDICT_PASS, "null"},
        {1, 5, VERDICT_PASS, "zero"},
        {1, 7, VERDICT_PASS, "full"},
        {1, 8, VERDICT_PASS, "random"},
        {1, 9, VERDICT_PASS, "urandom"},
        {5, 2, VERDICT_PASS, "ptmx"},
        {10, 126, VERDICT_PASS, "userfaultfd"},
        {10, 183, VERDICT_PASS, "hwrng"},
        {1, 1, VERDICT_FAIL, "the host's memory"},
        {1, 2, VERDICT_FAIL, "the host kernel's memory"},
        {1, 4, VERDICT_FAIL, "the host's I/O ports"},
        {1, 11, VERDICT_FAIL, "the host kernel's log"},
        {4, ANY, VERDICT_FAIL, "a terminal of the host's"},
        {5, 1, VERDICT_FAIL, "the host's console"},
        {7, ANY, VERDICT_FAIL, "a screen of the host's"},
        {10, 144, VERDICT_FAIL, "the host's firmware settings"},
        {10, 223, VERDICT_FAIL, "uinput, which makes input for the host"},
        {10, 229, VERDICT_FAIL, "fuse, which makes file systems"},
        {10, 234, VERDICT_FAIL, "the control of btrfs"},
        {10, 236, VERDICT_FAIL, "the control of the device mapper"},
        {10, 237, VERDICT_FAIL, "the control of loop devices"},
        {10, 239, VERDICT_FAIL, "uhid, which makes input for the host"},
        {13, ANY, VERDICT_FAIL, "input of the host's"},
        {21, ANY, VERDICT_FAIL, "a SCSI device of the host's, past its file systems"},
        {162, ANY, VERDICT_FAIL, "a raw device of the host's"},
        {202, ANY, VERDICT_FAIL, "model-specific registers of the host's processors"},
        {226, ANY, VERDICT_FAIL, "a graphics device of the host's"},
        {136, ANY, VERDICT_WARN, "a terminal"},
        {5, 0, VERDICT_WARN, "a terminal"},
};

/* What a descriptor was taken for may rest on the name of its node: the table of numbers comes first. */
static enum verdict node_judge(const struct fd *fd, const char **ret_what)
{
        uint32_t major = OBSERVED_MAJOR(fd->st.rdev), minor = OBSERVED_MINOR(fd->st.rdev);

        for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
                if (nodes[i].major == major && (nodes[i].minor == ANY || nodes[i].minor == minor)) {
                        *ret_what = nodes[i].what;
                        return nodes[i].v;
                }
        *ret_what = "a device of unknown purpose";
        return fd->kind != FD_CHAR || text_has_prefix(fd->link, "/dev/sev") ? VERDICT_PASS : VERDICT_WARN;
}

void nodes_guest(struct audit *a, struct guest *g)
{
        enum verdict worst = VERDICT_PASS;
        const char *what = "", *worst_what = "";
        size_t n = 0, shown = 0;
        struct finding evidence = {0}, *f;

        if (fds_unread(a, g))
                return;
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count; i++) {
                        const struct fd *fd = &p->fds.items[i];
                        enum verdict v;

                        if (fd->stat_error < 0 || !S_ISCHR(fd->st.mode))
                                continue;
                        n++;
                        v = node_judge(fd, &what);
                        if (v > worst) {
                                worst = v;
                                worst_what = what;
                        }
                        if (v > VERDICT_PASS && shown++ < 6)
                                finding_showf(a, &evidence, GUEST_OWNER(g),
                                              arena_printf(a->arena, "stat /proc/%d/fd/%d", p->pid, fd->number),
                                              "%s, device %u:%u: %s", fd->link, OBSERVED_MAJOR(fd->st.rdev),
                                              OBSERVED_MINOR(fd->st.rdev), what);
                }
        }
        f = worst == VERDICT_PASS
                    ? finding_add(a, VERDICT_PASS, g, "%s has no device of the host's open but those a monitor needs.",
                                  GUEST_MARK(a, g))
                    : finding_add(a, worst, g, "%s has %s open.", GUEST_MARK(a, g), worst_what);
        f->evidence = evidence.evidence;
        finding_showf(a, f, GUEST_OWNER(g), "character devices among the descriptors of all its processes", "%zu", n);
}

/* ---- emulated devices ---- */

/* Old or large device models of QEMU, with a public escape or memory error where there is a well-known one. */
static const struct {
        const char *name, *why;
} legacy[] = {
        {"isa-fdc", "CVE-2015-3456"},    {"floppy", "CVE-2015-3456"},          {"ide-", "CVE-2015-5154"},
        {"piix3-ide", "CVE-2015-5154"},  {"rtl8139", "CVE-2015-5165"},         {"ne2k_", "CVE-2015-8743"},
        {"pcnet", "CVE-2015-7504"},      {"e1000", "CVE-2021-20257"},          {"cirrus-vga", "CVE-2017-2615"},
        {"usb-", "CVE-2020-14364"},      {"piix3-usb-uhci", "CVE-2020-14364"}, {"nec-usb-xhci", "CVE-2020-14364"},
        {"qemu-xhci", "CVE-2020-14364"}, {"sdhci", "CVE-2020-17380"},          {"nvme", "CVE-2021-3929"},
        {"lsi53c895a", "CVE-2022-0216"}, {"megasas", "a large model"},         {"vmxnet3", "CVE-2021-20203"},
        {"ac97", "an old model"},        {"intel-hda", "CVE-2021-3611"},       {"am53c974", "CVE-2020-35505"},
        {"ati-vga", "CVE-2021-3638"},    {"vmware-svga", "an old model"},      {"ivshmem", "shares memory by design"},
};

static const char *device_is_legacy(const char *value)
{
        const char *name = text_has_prefix(value, "driver=") ? value + 7 : value,
                   *json = strstr(value, "\"driver\":\"");

        if (json)
                name = json + strlen("\"driver\":\"");
        for (size_t i = 0; i < sizeof(legacy) / sizeof(legacy[0]); i++)
                if (strncasecmp(name, legacy[i].name, strlen(legacy[i].name)) == 0)
                        return legacy[i].why;
        return strstr(value, "scsi=on") && strstr(value, "virtio-blk") ? "SCSI commands go to the host's disk" : NULL;
}

/* What the argument brings: NULL, or why that is no good. */
static const char *argument_judge(const char *option, const char *value)
{
        static const char *const disks[] = {"-hda", "-hdb", "-hdc", "-hdd",    "-cdrom",
                                            "-fda", "-fdb", "-usb", "-soundhw"};

        if (strcmp(option, "-device") == 0)
                return device_is_legacy(value);
        if (strcmp(option, "-drive") == 0 && (strstr(value, "if=ide") || strstr(value, "if=floppy")))
                return "an IDE or floppy controller: CVE-2015-5154, CVE-2015-3456";
        for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++)
                if (strcmp(option, disks[i]) == 0)
                        return "an IDE, floppy, USB or sound controller";
        return NULL;
}

void legacy_guest(struct audit *a, struct guest *g)
{
        const struct process *p = g->vmm;
        bool defaults = true;
        size_t bad = 0, devices = 0;
        char *question = arena_printf(a->arena, "read /proc/%d/cmdline", p->pid);
        struct finding evidence = {0}, *f;

        if (strcmp(g->kind, "QEMU") != 0) {
                bool known = strcmp(g->kind, "unknown") != 0;

                f = known ? finding_add(a, VERDICT_PASS, g, "The monitor of %s has no model of an old device.",
                                        GUEST_MARK(a, g))
                          : finding_add(a, VERDICT_UNKNOWN, g, "Which devices the monitor of %s emulates is not known.",
                                        GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "kind of monitor", "%s", g->kind);
                return;
        }
        if (p->argc == 0) {
                finding_unknown(a, g, -EACCES, question);
                return;
        }
        for (size_t i = 1; i < p->argc; i++) {
                const char *option = p->argv[i][0] == '-' && p->argv[i][1] == '-' ? p->argv[i] + 1 : p->argv[i];
                const char *value = i + 1 < p->argc ? p->argv[i + 1] : "", *why = argument_judge(option, value);

                defaults = defaults && strcmp(option, "-nodefaults") != 0;
                devices += strcmp(option, "-device") == 0;
                if (why && bad++ < 6)
                        finding_showf(a, &evidence, GUEST_OWNER(g), question, "%s %s: %s", option, value, why);
        }
        f = bad ? finding_add(a, VERDICT_WARN, g, "%s has emulated devices that have let guests out before.",
                              GUEST_MARK(a, g))
            : defaults
                    ? finding_add(
                              a, VERDICT_WARN, g,
                              "%s has the devices that QEMU gives every machine: floppy, CD, graphics, network card.",
                              GUEST_MARK(a, g))
                    : finding_add(a, VERDICT_PASS, g, "%s has no emulated device that is known for letting guests out.",
                                  GUEST_MARK(a, g));
        f->evidence = evidence.evidence;
        finding_showf(a, f, GUEST_OWNER(g), question, "-device: %zu times; -nodefaults: %s", devices,
                      defaults ? "no" : "yes");
}

/* ---- device cgroup ---- */

static bool every_mount_nodev(const struct audit *a, const struct process *p)
{
        if (p->mounts_error < 0 || p->ns_error[NS_MNT] < 0 || p->ns[NS_MNT] == a->host.ns[NS_MNT] ||
            p->mounts.count == 0)
                return false;
        for (size_t i = 0; i < p->mounts.count; i++) {
                char *options = arena_printf(a->arena, ",%s,", p->mounts.items[i].options);

                if (!strstr(options, ",nodev,"))
                        return false;
        }
        return true;
}

/* Allows everything, so it is no list. */
static bool list_is_open(const char *list)
{
        return text_has_prefix(list, "a *:* rwm") || strstr(list, "\na *:* rwm");
}

static enum verdict devcg_judge(struct audit *a, const struct process *p, char **ret_question, char **ret_shown,
                                int *ret_error)
{
        const char *v1 = process_cgroup(p, "devices");
        struct answer list;

        if (every_mount_nodev(a, p)) {
                *ret_question = arena_printf(a->arena, "read /proc/%d/mountinfo", p->pid);
                *ret_shown = p->mounts.items[0].line;
                return VERDICT_PASS;
        }
        *ret_question = arena_printf(a->arena, "read /sys/fs/cgroup/devices%s/devices.list",
                                     v1 && strcmp(v1, "/") != 0 ? v1 : "");
        if (!v1) {
                *ret_question = arena_printf(a->arena, "read /proc/%d/cgroup", p->pid);
                *ret_error = -EOPNOTSUPP;
                return VERDICT_UNKNOWN;
        }
        *ret_error = observe(a->observer, &list, "%s", *ret_question);
        if (*ret_error < 0)
                return VERDICT_UNKNOWN;
        *ret_shown = list.bytes;
        return !list_is_open(list.bytes) ? VERDICT_PASS : strcmp(v1, "/") == 0 ? VERDICT_WARN : VERDICT_FAIL;
}

void devcg_guest(struct audit *a, struct guest *g)
{
        enum verdict worst = VERDICT_NA;
        char *question = NULL, *shown = NULL;
        int error = 0;
        struct finding *f;

        for (size_t m = 0; m < g->members.count; m++) {
                char *q = NULL, *s = NULL;
                int r = 0;
                enum verdict v = devcg_judge(a, g->members.items[m].process, &q, &s, &r);

                if (v > worst) {
                        worst = v;
                        question = q;
                        shown = s;
                        error = r;
                }
        }
        if (worst == VERDICT_UNKNOWN && error != -EOPNOTSUPP) {
                finding_unknown(a, g, error, question);
                return;
        }
        f = worst == VERDICT_PASS
                    ? finding_add(a, VERDICT_PASS, g, "%s can open no device but those it was given.", GUEST_MARK(a, g))
            : worst == VERDICT_WARN
                    ? finding_add(
                              a, VERDICT_WARN, g,
                              "%s is in no device cgroup of its own: the modes of nodes alone keep devices from it.",
                              GUEST_MARK(a, g))
            : worst == VERDICT_FAIL
                    ? finding_add(a, VERDICT_FAIL, g, "The device cgroup of %s allows every device.", GUEST_MARK(a, g))
                    : finding_add(a, VERDICT_UNKNOWN, g,
                                  "Whether a program of its cgroup keeps devices from %s is not looked at.",
                                  GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), question, "%s", shown ? shown : "no hierarchy with the devices controller");
}
