/* Mandatory access control: labels that confine a guest, and tell it from others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/model/categories.h"
#include "audit/model/mac.h"
#include "audit/probes/privileges.h"
#include "audit/text.h"

static const char *lsm_question = "read /sys/kernel/security/lsm";

static void lsm_show(struct audit *a, struct finding *f)
{
        if (a->host.lsm)
                finding_show(a, f, EVIDENCE_HOST, lsm_question, a->host.lsm, strlen(a->host.lsm));
        else
                finding_showf(
                        a, f, EVIDENCE_HOST,
                        "read /sys/kernel/security/lsm, /sys/fs/selinux/enforce, /proc/self/attr/apparmor/current",
                        "the first cannot be read, so that the others tell");
}

/* Whether labels of guests are of a kind that is known here; false when there are none to judge. */
static bool labels_known(struct audit *a)
{
        struct mac m;

        if (a->inv.guests.count == 0)
                return false;
        mac_read(a->observer, &a->host, a->inv.guests.items[0]->vmm, &m);
        return m.state != MAC_ABSENT;
}

/* Kinds of MAC whose labels are not understood here. */
static bool other_mac(const struct audit *a)
{
        return a->host.lsm && (strstr(a->host.lsm, "smack") || strstr(a->host.lsm, "tomoyo"));
}

void privileges_mac_host(struct audit *a)
{
        struct finding *f;

        if (a->inv.guests.count == 0 || labels_known(a))
                return;
        if (other_mac(a))
                f = finding_add(
                        a, VERDICT_UNKNOWN, NULL,
                        "This host's mandatory access control is neither SELinux nor AppArmor: its labels are not "
                        "understood here.");
        else
                f = finding_add(
                        a, VERDICT_WARN, NULL,
                        "No mandatory access control is active on this host: nothing confines a monitor that has got "
                        "around the other layers.");
        lsm_show(a, f);
}

static void label_show(struct audit *a, struct finding *f, const struct guest *g, const struct mac *m)
{
        lsm_show(a, f);
        if (m->label)
                finding_show(a, f, GUEST_OWNER(g), m->question, m->label, strlen(m->label));
        if (m->kind == MAC_SELINUX) {
                char *enforce = observe_line(a->observer, "/sys/fs/selinux/enforce", NULL);

                finding_showf(a, f, EVIDENCE_HOST, "read /sys/fs/selinux/enforce", "%s",
                              enforce ? enforce : "cannot be read");
        }
}

void privileges_mac_guest(struct audit *a, struct guest *g)
{
        struct mac worst = {.state = MAC_CONFINED}, m;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                mac_read(a->observer, &a->host, g->members.items[i].process, &m);
                if (i == 0 || m.state == MAC_UNCONFINED || (m.state == MAC_UNKNOWN && worst.state == MAC_CONFINED))
                        worst = m;
                if (worst.state == MAC_UNCONFINED)
                        break;
        }
        switch (worst.state) {
        case MAC_ABSENT:
                f = finding_add(a, VERDICT_NA, g, "There is no SELinux or AppArmor label to judge.");
                break;
        case MAC_UNKNOWN:
                finding_unknown(a, g, worst.error, worst.question);
                return;
        case MAC_UNCONFINED:
                f = finding_add(a, VERDICT_FAIL, g, "A process of %s is not confined by the %s of this host.",
                                GUEST_MARK(a, g), worst.kind == MAC_SELINUX ? "SELinux" : "AppArmor");
                break;
        case MAC_CONFINED:
        default:
                f = finding_add(a, VERDICT_PASS, g, "Every process of %s is confined by %s.", GUEST_MARK(a, g),
                                worst.kind == MAC_SELINUX ? "SELinux" : "AppArmor");
        }
        label_show(a, f, g, &worst);
}

/* ---- among guests ---- */

struct label {
        struct mac mac;
        struct categories categories;
        bool reported;
};

static void label_fail(struct audit *a, struct label *l, struct guest *g, const char *why)
{
        struct finding *f =
                finding_add(a, VERDICT_FAIL, g, "No label keeps %s from other guests: %s", GUEST_MARK(a, g), why);

        l->reported = true;
        label_show(a, f, g, &l->mac);
}

static void label_judge_alone(struct audit *a, struct label *l, struct guest *g)
{
        if (l->mac.state == MAC_UNKNOWN) {
                finding_unknown(a, g, l->mac.error, l->mac.question);
                l->reported = true;
        } else if (l->mac.state == MAC_UNCONFINED)
                label_fail(a, l, g, "its monitor is not confined.");
        else if (!l->mac.unique)
                label_fail(a, l, g, "its label has no categories, and is that of every process of its type.");
        else if (l->mac.kind == MAC_SELINUX && !categories_parse(l->mac.unique, &l->categories))
                label_fail(a, l, g, "its categories are not understood here.");
}

static int by_unique(const void *a, const void *b, void *ctx)
{
        const struct label *labels = ctx;
        size_t x = *(const size_t *)a, y = *(const size_t *)b;
        int order = strcmp(labels[x].mac.unique, labels[y].mac.unique);

        return order ? order : (x > y) - (x < y);
}

static void equal_fail(struct audit *a, struct label *labels, const size_t *guests, size_t count)
{
        struct finding *f =
                finding_add(a, VERDICT_FAIL, NULL,
                            "%zu guests have one label: it confines them, but does not keep them from each other.",
                            count);

        lsm_show(a, f);
        for (size_t i = 0; i < count; i++) {
                const struct mac *m = &labels[guests[i]].mac;

                *GROW(a->arena, &f->guests) = guests[i];
                labels[guests[i]].reported = true;
                finding_show(a, f, (int)guests[i], m->question, m->label, strlen(m->label));
        }
}

static void labels_judge_equal(struct audit *a, struct label *labels)
{
        size_t *guests = arena_array(a->arena, a->inv.guests.count, sizeof(*guests)), n = 0, end;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (!labels[i].reported)
                        guests[n++] = i;
        qsort_r(guests, n, sizeof(*guests), by_unique, labels);
        for (size_t start = 0; start < n; start = end) {
                for (end = start + 1;
                     end < n && strcmp(labels[guests[start]].mac.unique, labels[guests[end]].mac.unique) == 0;)
                        end++;
                if (end - start > 1)
                        equal_fail(a, labels, guests + start, end - start);
        }
}

/* A process with more categories than another's may use its files: sVirt gives each guest two. */
static void labels_judge_covering(struct audit *a, struct label *labels)
{
        size_t n = a->inv.guests.count;

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; labels[i].categories.count > 2 && !labels[i].reported && k < n; k++)
                        if (k != i && labels[k].categories.count > 0 &&
                            categories_cover(&labels[i].categories, &labels[k].categories))
                                label_fail(a, &labels[i], a->inv.guests.items[i],
                                           "its categories include those of another guest, whose files it may use.");
}

void privileges_mac_pairs(struct audit *a)
{
        size_t n = a->inv.guests.count;
        struct label *labels = arena_array(a->arena, n, sizeof(*labels));

        if (!labels_known(a)) {
                struct finding *f = finding_add(a, other_mac(a) ? VERDICT_UNKNOWN : VERDICT_NA, NULL,
                                                "There are no SELinux or AppArmor labels to compare.");

                lsm_show(a, f);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                mac_read(a->observer, &a->host, a->inv.guests.items[i]->vmm, &labels[i].mac);
                label_judge_alone(a, &labels[i], a->inv.guests.items[i]);
        }
        labels_judge_equal(a, labels);
        labels_judge_covering(a, labels);
        for (size_t i = 0; i < n; i++) {
                struct finding *f;

                if (labels[i].reported)
                        continue;
                f = finding_add(a, VERDICT_PASS, a->inv.guests.items[i], "The label of %s is that of no other guest.",
                                GUEST_MARK(a, a->inv.guests.items[i]));
                label_show(a, f, a->inv.guests.items[i], &labels[i].mac);
        }
}
