/* Mandatory access control: labels that confine a guest, and tell it from others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

#define CATEGORIES 1024 /* of the policies in use: c0 to c1023 */

struct categories {
        uint64_t bits[CATEGORIES / 64];
        size_t count;
};

/* "c1,c5.c9" */
static bool categories_parse(const char *text, struct categories *ret)
{
        struct categories c = {0};

        while (*text == 'c') {
                char *end;
                unsigned long first = strtoul(text + 1, &end, 10), last = first;

                if (end == text + 1)
                        return false;
                if (end[0] == '.' && end[1] == 'c')
                        last = strtoul(end + 2, &end, 10);
                if (first > last || last >= CATEGORIES)
                        return false;
                for (unsigned long i = first; i <= last; i++)
                        if (!(c.bits[i / 64] >> (i % 64) & 1)) {
                                c.bits[i / 64] |= 1ULL << (i % 64);
                                c.count++;
                        }
                text = end + (*end == ',');
        }
        *ret = c;
        return *text == '\0' && c.count > 0;
}

static bool categories_cover(const struct categories *x, const struct categories *y)
{
        for (size_t i = 0; i < CATEGORIES / 64; i++)
                if (y->bits[i] & ~x->bits[i])
                        return false;
        return true;
}

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

/* Equal labels: groups of the layer model. */
static void labels_judge_equal(struct audit *a, struct label *labels)
{
        const struct pair_group_list *groups = &a->pairs.shared[LAYER_MAC];

        for (size_t i = 0; i < groups->count; i++) {
                struct finding *f =
                        finding_add(a, VERDICT_FAIL, NULL,
                                    "%zu guests have one label: it confines them, but does not keep them from each "
                                    "other.",
                                    groups->items[i].count);

                lsm_show(a, f);
                for (size_t k = 0; k < groups->items[i].count; k++) {
                        size_t index = groups->items[i].guests[k];
                        const struct mac *m = &labels[index].mac;

                        *GROW(a->arena, &f->guests) = index;
                        labels[index].reported = true;
                        if (m->label)
                                finding_show(a, f, (int)index, m->question, m->label, strlen(m->label));
                }
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
