/* Device nodes through which every local user would reach KVM, vhost or VFIO. */
#include <errno.h>
#include <string.h>

#include "audit/probes/privileges.h"
#include "audit/text.h"

struct nodes {
        struct audit *a;
        struct finding *finding; /* evidence is collected in it; its verdict and text come last */
        enum verdict verdict;
        char *open; /* names of the nodes that are open to everybody */
        size_t seen;
        int error; /* of a node that could not be looked at */
        char *failed;
};

#define OTHER_RW 06U

static void node_show(struct nodes *n, const char *path, const struct observed_stat *st)
{
        struct answer acl;

        finding_showf(n->a, n->finding, EVIDENCE_HOST, arena_printf(n->a->arena, "stat %s", path),
                      "mode %o, uid %u, gid %u", st->mode & 07777U, st->uid, st->gid);
        if (observe(n->a->observer, &acl, "acl %s", path) == 0)
                finding_show(n->a, n->finding, EVIDENCE_HOST, arena_printf(n->a->arena, "acl %s", path), acl.bytes,
                             acl.len);
}

/* judged: a node that is worth a warning when everybody may use it; else it is only shown. */
static void node_look(struct nodes *n, const char *path, bool judged)
{
        struct observed_stat st;
        int r = observe_stat(n->a->observer, path, &st);

        if (r == -ENOENT)
                return;
        if (r < 0) {
                n->error = r;
                n->failed = arena_printf(n->a->arena, "stat %s", path);
                return;
        }
        n->seen++;
        node_show(n, path, &st);
        if (!judged || (!(st.mode & OTHER_RW) && st.uid == 0))
                return;
        n->verdict = VERDICT_WARN;
        n->open = arena_printf(n->a->arena, "%s%s%s", n->open, *n->open ? ", " : "", SHOW(n->a, path));
}

/* Nodes of a directory that begin with a prefix. */
static void nodes_look(struct nodes *n, const char *dir, const char *prefix)
{
        struct name_list names;
        int r = observe_list(n->a->observer, dir, &names);

        if (r < 0 && r != -ENOENT) {
                n->error = r;
                n->failed = arena_printf(n->a->arena, "list %s", dir);
        }
        for (size_t i = 0; r == 0 && i < names.count; i++)
                if (text_has_prefix(names.items[i], prefix) && strcmp(names.items[i], "devices") != 0 &&
                    strcmp(names.items[i], "vfio") != 0) /* /dev/vfio/vfio: an empty container, made for everybody */
                        node_look(n, arena_printf(n->a->arena, "%s/%s", dir, names.items[i]), true);
}

void privileges_devices_host(struct audit *a)
{
        struct nodes n = {.a = a, .verdict = VERDICT_PASS, .open = arena_text(a->arena, "")};

        n.finding = finding_add(a, VERDICT_PASS, NULL,
                                "Only chosen users can open the device nodes of KVM, vhost and VFIO.");
        node_look(&n, "/dev/kvm", true);
        nodes_look(&n, "/dev", "vhost-");
        nodes_look(&n, "/dev/vfio", "");
        nodes_look(&n, "/dev/vfio/devices", "");
        node_look(&n, "/dev/net/tun", false);
        if (n.verdict == VERDICT_PASS && n.error < 0) {
                n.verdict = VERDICT_UNKNOWN;
                n.finding->needs = a->check->needs;
                n.finding->text = arena_text(a->arena, "Not every device node could be looked at.");
        } else if (n.verdict == VERDICT_WARN)
                n.finding->text =
                        arena_printf(a->arena,
                                     "Every local user can open %s, and so reaches what the kernel does for virtual "
                                     "machines.",
                                     n.open);
        else if (n.seen == 0) {
                n.verdict = VERDICT_NA;
                n.finding->text = arena_text(a->arena, "There are no such device nodes.");
                finding_showf(a, n.finding, EVIDENCE_HOST, "stat /dev/kvm", "error: %s", strerror(ENOENT));
        }
        if (n.error < 0)
                finding_show_error(a, n.finding, EVIDENCE_HOST, n.failed, n.error);
        n.finding->verdict = n.finding->unsoftened = n.verdict;
}
