/* Devices of the host that a guest drives itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/devices.h"
#include "audit/probes/fds.h"
#include "audit/text.h"
#include "base/number.h"

#define GROUPS_MAX 64 /* of one guest */

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

struct group {
        const struct process *p;
        const struct fd *fd;
        char *number; /* NULL: not known */
};

/* The IOMMU group behind a descriptor of VFIO. By its device number, since a node can be called anything; those of
 * /dev/vfio/devices lead to a device, and that to its group. */
static char *group_number(struct audit *a, const struct fd *fd)
{
        struct answer link, group;
        const char *name = base_name(fd->link);
        uint64_t number;

        if (fd->stat_error == 0 && observe(a->observer, &link, "link /sys/dev/char/%u:%u", OBSERVED_MAJOR(fd->st.rdev),
                                           OBSERVED_MINOR(fd->st.rdev)) == 0) {
                name = base_name(link.bytes);
                if (observe(a->observer, &group, "link /sys/dev/char/%u:%u/device/iommu_group",
                            OBSERVED_MAJOR(fd->st.rdev), OBSERVED_MINOR(fd->st.rdev)) == 0)
                        name = base_name(group.bytes);
        }
        return number_parse(name, UINT32_MAX, &number) == 0 ? arena_text(a->arena, name) : NULL;
}

/* Descriptors of VFIO that stand for a group. *ret_any: there are some of VFIO at all. *ret_without: one without an
 * IOMMU. */
static size_t groups_of(struct audit *a, const struct guest *g, struct group ret[GROUPS_MAX],
                        const struct group **ret_without, bool *ret_any)
{
        size_t n = 0;

        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count && n < GROUPS_MAX; i++) {
                        const struct fd *fd = &p->fds.items[i];

                        if (fd->kind != FD_VFIO)
                                continue;
                        *ret_any = true;
                        if (fd->link[0] != '/' || strcmp(fd->link, "/dev/vfio/vfio") == 0)
                                continue; /* devices of a group, and the container of groups */
                        ret[n] = (struct group){.p = p, .fd = fd, .number = group_number(a, fd)};
                        if (text_has_prefix(base_name(fd->link), "noiommu-"))
                                *ret_without = &ret[n];
                        n++;
                }
        }
        return n;
}

struct device_verdict {
        enum verdict v;
        const char *why;
        char *shown;
        int error;
        char *question;
};

static void worse(struct device_verdict *o, enum verdict v, const char *why)
{
        if (v <= o->v)
                return;
        o->v = v;
        o->why = why;
}

/* A device of the group that a driver of the host's has. Bridges and what is parked belong to nobody. */
static void driver_judge(struct audit *a, const char *group, const char *device, struct device_verdict *o)
{
        static const char *const harmless[] = {"vfio-pci",      "pci-stub",      "pcieport",
                                               "mlx5_vfio_pci", "vfio-platform", "vfio_ap"};
        struct answer link;
        const char *driver = "none";
        int r = observe(a->observer, &link, "link /sys/kernel/iommu_groups/%s/devices/%s/driver", group, device);

        if (r < 0 && r != -ENOENT) {
                o->error = r;
                o->question =
                        arena_printf(a->arena, "link /sys/kernel/iommu_groups/%s/devices/%s/driver", group, device);
                return;
        }
        if (r == 0)
                driver = base_name(link.bytes);
        o->shown = arena_printf(a->arena, "%s%s: driver %s\n", o->shown, device, driver);
        for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
                if (r < 0 || strcmp(driver, harmless[i]) == 0)
                        return;
        worse(o, VERDICT_FAIL, "shares its IOMMU group with a device that the host uses");
}

static void group_judge(struct audit *a, const char *group, struct device_verdict *o)
{
        char *path = arena_printf(a->arena, "/sys/kernel/iommu_groups/%s/type", group), *type;
        struct name_list devices;
        int r;

        type = observe_line(a->observer, path, &r);
        if (!type) {
                o->error = r;
                o->question = arena_printf(a->arena, "read %s", path);
                return;
        }
        o->shown = arena_printf(a->arena, "%sgroup %s: type %s\n", o->shown, group, type);
        if (strcmp(type, "identity") == 0)
                worse(o, VERDICT_FAIL, "can write to any memory of the host: its IOMMU group is not translated");
        path = arena_printf(a->arena, "/sys/kernel/iommu_groups/%s/devices", group);
        r = observe_list(a->observer, path, &devices);
        if (r < 0) {
                o->error = r;
                o->question = arena_printf(a->arena, "list %s", path);
                return;
        }
        for (size_t i = 0; i < devices.count; i++)
                driver_judge(a, group, devices.items[i], o);
}

static const struct guest *also_held_by(const struct pair_key_list *keys, const struct guest *g, const struct audit *a,
                                        uint64_t group)
{
        for (size_t i = 0; i < keys->count; i++)
                if (keys->items[i].value[0] == group && keys->items[i].guest != g->index)
                        return a->inv.guests.items[keys->items[i].guest];
        return NULL;
}

static void iommu_guest(struct audit *a, struct guest *g, const struct pair_key_list *keys)
{
        struct group groups[GROUPS_MAX];
        const struct group *without = NULL;
        const struct guest *other = NULL;
        struct device_verdict o = {.v = VERDICT_PASS, .shown = arena_text(a->arena, "")};
        bool any = false;
        size_t n;
        struct finding *f;

        if (fds_unread(a, g))
                return;
        n = groups_of(a, g, groups, &without, &any);
        if (!any) {
                f = finding_add(a, VERDICT_NA, g, "%s drives no device of the host's.", GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "VFIO among the descriptors of all its processes", "0");
                return;
        }
        if (without)
                worse(&o, VERDICT_FAIL, "can write to any memory of the host: there is no IOMMU in between");
        for (size_t i = 0; i < n && !without; i++) {
                if (!groups[i].number) {
                        o.error = -ENOENT;
                        o.question =
                                arena_printf(a->arena, "link /proc/%d/fd/%d", groups[i].p->pid, groups[i].fd->number);
                        continue;
                }
                group_judge(a, groups[i].number, &o);
                if (!other)
                        other = also_held_by(keys, g, a, strtoull(groups[i].number, NULL, 10));
        }
        if (other)
                worse(&o, VERDICT_FAIL, "is in an IOMMU group that another guest has, too");
        if (n == 0) {
                o.error = -ENOENT;
                o.question = arena_text(a->arena, "link /proc/PID/fd/N: a VFIO device without its group");
        }
        if (o.error < 0 && o.v < VERDICT_FAIL) {
                finding_unknown(a, g, o.error, o.question);
                return;
        }
        f = o.v == VERDICT_PASS
                    ? finding_add(a, VERDICT_PASS, g, "Devices of the host that %s drives reach its memory alone.",
                                  GUEST_MARK(a, g))
                    : finding_add(a, o.v, g, "A device of the host that %s drives %s.", GUEST_MARK(a, g), o.why);
        if (other && o.v == VERDICT_FAIL)
                finding_concern(a, f, other);
        finding_showf(a, f, GUEST_OWNER(g),
                      arena_printf(a->arena, "link /proc/%d/fd/%d", groups[0].p->pid, groups[0].fd->number), "%s\n%s",
                      groups[0].fd->link, o.shown);
}

void iommu_host(struct audit *a)
{
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct group groups[GROUPS_MAX];
                const struct group *without = NULL;
                bool any = false;
                size_t n = groups_of(a, a->inv.guests.items[i], groups, &without, &any);

                for (size_t k = 0; k < n; k++)
                        if (groups[k].number)
                                *GROW(a->arena, &keys) =
                                        (struct pair_key){.value = {strtoull(groups[k].number, NULL, 10)}, .guest = i};
        }
        for (size_t i = 0; i < a->inv.guests.count; i++)
                iommu_guest(a, a->inv.guests.items[i], &keys);
}

void reset_guest(struct audit *a, struct guest *g)
{
        struct group groups[GROUPS_MAX];
        const struct group *without = NULL;
        struct device_verdict o = {.v = VERDICT_PASS, .shown = arena_text(a->arena, "")};
        bool any = false;
        size_t n, devices_seen = 0;
        struct finding *f;

        if (fds_unread(a, g))
                return;
        n = groups_of(a, g, groups, &without, &any);
        for (size_t i = 0; i < n; i++) {
                struct name_list devices;

                if (!groups[i].number ||
                    observe_list(a->observer,
                                 arena_printf(a->arena, "/sys/kernel/iommu_groups/%s/devices", groups[i].number),
                                 &devices) < 0)
                        continue;
                for (size_t k = 0; k < devices.count; k++) {
                        char *method = observe_line(
                                a->observer,
                                arena_printf(a->arena, "/sys/bus/pci/devices/%s/reset_method", devices.items[k]), NULL);

                        devices_seen++;
                        o.shown = arena_printf(a->arena, "%s%s: reset_method %s\n", o.shown, devices.items[k],
                                               method ? method : "none");
                        if (!method || !*method)
                                worse(&o, VERDICT_WARN, "");
                }
        }
        if (!any || devices_seen == 0) {
                f = finding_add(a, any ? VERDICT_UNKNOWN : VERDICT_NA, g,
                                any ? "Which devices %s drives is not to be seen."
                                    : "%s drives no device of the host's.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "VFIO groups among the descriptors of all its processes", "%zu", n);
                return;
        }
        f = o.v == VERDICT_WARN
                    ? finding_add(
                              a, VERDICT_WARN, g,
                              "The host cannot reset a device that %s drives: what the guest leaves in it meets the next.",
                              GUEST_MARK(a, g))
                    : finding_add(a, VERDICT_PASS, g, "The host can reset each device that %s drives.",
                                  GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), "read /sys/bus/pci/devices/ADDRESS/reset_method", "%s", o.shown);
}

/* ---- settings of the host ---- */

void unsafe_host(struct audit *a)
{
        static const struct {
                const char *path, *why;
        } settings[] = {
                {"/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                 "Devices of guests may send any interrupt: allow_unsafe_interrupts is set."},
                {"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
                 "Devices may be given to guests without an IOMMU: enable_unsafe_noiommu_mode is set."},
        };
        const char *why = NULL;
        struct finding evidence = {0}, *f;

        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
                int r;
                char *value = observe_line(a->observer, settings[i].path, &r),
                     *question = arena_printf(a->arena, "read %s", settings[i].path);

                if (!value && r != -ENOENT) {
                        finding_unknown(a, NULL, r, question);
                        return;
                }
                finding_showf(a, &evidence, EVIDENCE_HOST, question, "%s",
                              value ? value : "not there: the module is not loaded");
                if (value && (*value == 'Y' || *value == '1'))
                        why = settings[i].why;
        }
        if (!a->host.cmdline) {
                finding_unknown(a, NULL, -EACCES, "read /proc/cmdline");
                return;
        }
        if (strstr(a->host.cmdline, "pcie_acs_override"))
                why = "The kernel was told to take devices for separate that are not: pcie_acs_override.";
        finding_showf(a, &evidence, EVIDENCE_HOST, "read /proc/cmdline", "%s pcie_acs_override",
                      strstr(a->host.cmdline, "pcie_acs_override") ? "has" : "has no");
        f = why ? finding_add(a, VERDICT_FAIL, NULL, "%s", why)
                : finding_add(a, VERDICT_PASS, NULL, "No setting of this host weakens the isolation of devices.");
        f->evidence = evidence.evidence;
}
