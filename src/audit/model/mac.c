#include "audit/model/mac.h"

#include <errno.h>
#include <string.h>

#include "audit/text.h"
#include "base/cleanup.h"

static enum mac_kind kind_of(const struct host *h)
{
        char *list;

        list = h->lsm;
        for (; *list; list += strcspn(list, ","), list += *list == ',') {
                if (text_has_prefix(list, "apparmor"))
                        return MAC_APPARMOR;
                if (text_has_prefix(list, "selinux"))
                        return MAC_SELINUX;
        }
        return MAC_NONE;
}

/* Without securityfs: by the files of each, which this auditor itself has, too. */
static enum mac_kind kind_probed(struct observer *o)
{
        struct answer a;

        if (observe(o, &a, "read /sys/fs/selinux/enforce") == 0)
                return MAC_SELINUX;
        return observe(o, &a, "read /proc/self/attr/apparmor/current") == 0 ? MAC_APPARMOR : MAC_NONE;
}

/* "libvirt-UUID (enforce)": a profile that only complains confines nothing; one that kills is enforced. */
static void apparmor_judge(struct observer *o, struct mac *m)
{
        char *mode = strrchr(m->label, '(');

        if (!mode || (strcmp(mode, "(enforce)") != 0 && strcmp(mode, "(kill)") != 0))
                return;
        m->state = MAC_CONFINED;
        m->unique = arena_copy(o->arena, m->label, (size_t)(mode - m->label));
        m->unique[strcspn(m->unique, " ")] = '\0';
}

/* Types of the reference policy and of containers that may do all: unconfined_t, unconfined_service_t and their like.
 */
static bool is_unconfined(const char *type)
{
        static const char *const types[] = {"initrc_t", "kernel_t", "spc_t"};
        size_t n = strcspn(type, ":");

        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                if (strlen(types[i]) == n && strncmp(type, types[i], n) == 0)
                        return true;
        return text_has_prefix(type, "unconfined_");
}

/* "system_u:system_r:svirt_t:s0:c1,c2": categories come after the sensitivity. That a policy makes one type permissive
 * is not seen here. */
static void selinux_judge(struct observer *o, struct mac *m)
{
        int64_t enforcing;
        char *field = m->label;

        if (observe_number(o, "/sys/fs/selinux/enforce", &enforcing) < 0 || enforcing != 1)
                return;
        for (int i = 0; field && i < 4; i++) {
                field = strchr(field, ':');
                field = field ? field + 1 : NULL;
                if (i == 1 && field && is_unconfined(field))
                        return;
        }
        m->state = MAC_CONFINED;
        m->unique = field && *field == 'c' ? field : NULL;
}

void mac_read(struct observer *o, const struct host *h, const struct process *p, struct mac *ret)
{
        struct mac m = {.kind = h->lsm ? kind_of(h) : kind_probed(o)};

        if (m.kind != MAC_NONE) {
                char *path = arena_printf(o->arena, "/proc/%d/attr/%s", p->pid,
                                          m.kind == MAC_APPARMOR ? "apparmor/current" : "current");

                m.question = arena_printf(o->arena, "read %s", path);
                m.label = observe_line(o, path, &m.error);
                m.state = m.label ? MAC_UNCONFINED : MAC_UNKNOWN;
        }
        if (m.label && m.kind == MAC_APPARMOR)
                apparmor_judge(o, &m);
        else if (m.label)
                selinux_judge(o, &m);
        *ret = m;
}

char *mac_confining_label(struct observer *o, const struct host *h, const struct process *p)
{
        struct mac m;

        mac_read(o, h, p, &m);
        return m.state == MAC_CONFINED ? m.unique : NULL;
}
