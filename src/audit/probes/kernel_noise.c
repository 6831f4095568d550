/* What the kernel has said about guests, and about errors of its own, since it was started. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/kernel.h"
#include "audit/text.h"

#define TICKS_PER_SECOND 100U /* USER_HZ of x86-64, of stat field 22 */

struct message {
        char *line;
        uint64_t microseconds;
        long pid;   /* of "kvm [PID]: ...", which names the monitor; 0: none */
        bool error; /* of the kernel itself */
};

struct message_list {
        struct message *items;
        size_t count, room;
};

/* "WARNING:" of warn_slowpath begins a message; elsewhere in one it is advice. */
static bool is_error(const char *line)
{
        const char *text = strchr(line, ' ');

        return strstr(line, "BUG:") || strstr(line, "kernel BUG at") || (text && text_has_prefix(text, " WARNING:"));
}

static void messages_read(struct audit *a, char *log, struct message_list *ret)
{
        char *line;

        while ((line = text_next_line(&log))) {
                const char *at = strstr(line, "kvm [");

                *GROW(a->arena, ret) = (struct message){
                        .line = line,
                        .microseconds = strtoull(line, NULL, 10),
                        .pid = at ? strtol(at + strlen("kvm ["), NULL, 10) : 0,
                        .error = is_error(line),
                };
        }
}

/* A message older than the process was about another with its number. */
static bool is_about(const struct message *m, const struct guest *g)
{
        return m->pid == g->vmm->pid && m->microseconds / (1000000 / TICKS_PER_SECOND) >= g->vmm->start_time;
}

struct said {
        size_t matching;
        char *first; /* NULL: none */
};

/* g NULL: errors of the kernel. */
static struct said messages_search(const struct message_list *l, const struct guest *g)
{
        struct said s = {0};

        for (size_t i = 0; i < l->count; i++) {
                if (g ? !is_about(&l->items[i], g) : !l->items[i].error)
                        continue;
                s.matching++;
                if (!s.first)
                        s.first = l->items[i].line;
        }
        return s;
}

void krn_noise_host(struct audit *a)
{
        struct answer log;
        int r = observe(a->observer, &log, "kernel-log");
        struct finding *f;
        struct message_list messages = {0};
        struct said s;

        if (r < 0) {
                finding_unknown(a, NULL, r, "kernel-log");
                return;
        }
        messages_read(a, log.bytes, &messages);
        s = messages_search(&messages, NULL);
        f = finding_add(a, s.matching ? VERDICT_WARN : VERDICT_PASS, NULL,
                        s.matching ? "The kernel has reported errors of its own since it was started (%zu)."
                                   : "The kernel's log tells of no error of its own.",
                        s.matching);
        /* The text of such a report can name whoever met it. */
        finding_showf(a, f, EVIDENCE_OPERATOR, "kernel-log", "%zu messages about KVM or errors%s%s", messages.count,
                      s.first ? ", such as: " : "", s.first ? s.first : "");
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                s = messages_search(&messages, g);
                f = finding_add(
                        a, s.matching ? VERDICT_WARN : VERDICT_PASS, g,
                        s.matching ? "The kernel's log tells of things that %s does and KVM does not know or allow."
                                   : "The kernel's log tells of nothing that %s does.",
                        GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), "kernel-log", "%zu messages about it%s%s", s.matching,
                              s.first ? ", such as: " : "", s.first ? s.first : "");
        }
}
