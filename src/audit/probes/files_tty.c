/* Terminals on a guest's standard descriptors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit/probes/files.h"
#include "audit/text.h"

/* Documentation/admin-guide/devices.txt: virtual terminals and serial lines, /dev/tty and console, pseudo terminals. */
static bool is_terminal(const struct fd *fd)
{
        uint32_t major = OBSERVED_MAJOR(fd->st.rdev), minor = OBSERVED_MINOR(fd->st.rdev);

        return fd->stat_error == 0 && fd->kind == FD_CHAR &&
               (major == 4 || (major == 5 && minor != 2) || (major >= 136 && major <= 143));
}

struct terminal {
        const struct process *p;
        const struct fd *fd;
};

static bool terminal_of(const struct guest *g, struct terminal *ret)
{
        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count; i++)
                        if (p->fds.items[i].number <= 2 && is_terminal(&p->fds.items[i])) {
                                *ret = (struct terminal){p, &p->fds.items[i]};
                                return true;
                        }
        }
        return false;
}

static const struct guest *sharer(const struct audit *a, const struct pair_key_list *keys, const struct guest *g,
                                  uint64_t rdev)
{
        for (size_t i = 0; i < keys->count; i++)
                if (keys->items[i].value[0] == rdev && keys->items[i].guest != g->index)
                        return a->inv.guests.items[keys->items[i].guest];
        return NULL;
}

static void tty_guest(struct audit *a, struct guest *g, const struct pair_key_list *keys)
{
        static const char sysctl[] = "/proc/sys/dev/tty/legacy_tiocsti";
        const struct guest *other;
        struct terminal t;
        struct finding *f;
        int64_t pushes = 1;

        for (size_t m = 0; m < g->members.count; m++)
                if (g->members.items[m].process->fds_error < 0) {
                        finding_unknown(a, g, g->members.items[m].process->fds_error,
                                        arena_printf(a->arena, "list /proc/%d/fd", g->members.items[m].process->pid));
                        return;
                }
        if (!terminal_of(g, &t)) {
                f = finding_add(a, VERDICT_PASS, g, "No process of %s has a terminal.", GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "descriptors 0 to 2 of all its processes", "no terminal");
                return;
        }
        other = sharer(a, keys, g, t.fd->st.rdev);
        if (observe_number(a->observer, sysctl, &pushes) < 0)
                pushes = 1; /* kernels without the setting allow it */
        if (other) {
                f = finding_add(a, VERDICT_FAIL, g, "%s and %s have the same terminal.", GUEST_MARK(a, g),
                                GUEST_MARK(a, other));
                finding_concern(a, f, other);
        } else if (pushes)
                f = finding_add(a, VERDICT_FAIL, g,
                                "%s could type into the terminal that it was started from (TIOCSTI).",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_WARN, g, "%s has a terminal, whose settings and screen it can change.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/fd/%d", t.p->pid, t.fd->number), "%s",
                      t.fd->link);
        finding_showf(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", sysctl), "%s",
                      pushes ? "1, or not there" : "0");
}

void tty_host(struct audit *a)
{
        struct pair_key_list keys = {0};
        struct terminal t;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (terminal_of(a->inv.guests.items[i], &t))
                        *GROW(a->arena, &keys) = (struct pair_key){.value = {t.fd->st.rdev}, .guest = i};
        for (size_t i = 0; i < a->inv.guests.count; i++)
                tty_guest(a, a->inv.guests.items[i], &keys);
}
