/* Which processes the proc file systems show that a guest's processes can reach. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/namespaces.h"
#include "audit/text.h"

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo (proc_pid_mountinfo(5)). */
static char *mount_path(struct arena *a, const char *text)
{
        char *path = arena_text(a, text), *to = path;

        for (const char *from = text; *from;) {
                if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
                    from[3] >= '0' && from[3] <= '7') {
                        *(unsigned char *)to++ =
                                (unsigned char)((unsigned int)(from[1] - '0') << 6 |
                                                (unsigned int)(from[2] - '0') << 3 | (unsigned int)(from[3] - '0'));
                        from += 4;
                } else
                        *to++ = *from++;
        }
        *to = '\0';
        return path;
}

/* All of /proc, or the directory of a process. Single files of it, such as /proc/sys, name nobody. */
static bool shows_processes(const struct mount *m)
{
        return strcmp(m->type, "proc") == 0 &&
               (strcmp(m->root, "/") == 0 || (m->root[0] == '/' && m->root[1] >= '0' && m->root[1] <= '9'));
}

static bool hides_others(const struct mount *m)
{
        static const char *const options[] = {"hidepid=2", "hidepid=4", "hidepid=invisible", "hidepid=ptraceable"};

        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
                const char *found = strstr(m->super_options, options[i]);

                if (found && (found[strlen(options[i])] == '\0' || found[strlen(options[i])] == ','))
                        return true;
        }
        return false;
}

static bool shares_layer(const struct audit *a, const struct guest *g, enum layer layer)
{
        const struct pair_group_list *l = &a->pairs.shared[layer];

        for (size_t i = 0; i < l->count; i++)
                for (size_t k = 0; k < l->items[i].count; k++)
                        if (l->items[i].guests[k] == g->index)
                                return true;
        return false;
}

/*
 * Whether the processes of this auditor are in it, which is in the host's PID namespace: /proc/self exists in a proc
 * only for those whom it shows. 1 or 0, or a negative errno.
 */
static int shows_host(struct audit *a, const struct process *p, const struct mount *m, char **ret_question)
{
        char *point = mount_path(a->arena, m->point);
        struct answer self;
        int r;

        *ret_question =
                arena_printf(a->arena, "link /proc/%d/root%s/self", p->pid, strcmp(point, "/") == 0 ? "" : point);
        if (p->environ_error == 0 && m->dev == p->environ_stat.dev) /* the very file system asked here */
                return 1;
        r = observe(a->observer, &self, "%s", *ret_question);
        return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

struct sight {
        enum verdict verdict;
        const struct process *process;
        const struct mount *mount;
        char *question;
        int error;
};

static struct sight mount_judge(struct audit *a, const struct guest *g, const struct process *p, const struct mount *m)
{
        struct sight s = {.verdict = VERDICT_PASS, .process = p, .mount = m};
        int host = shows_host(a, p, m, &s.question);
        bool alone = a->pairs.values[g->index * LAYER_COUNT + LAYER_UID] != 0 && !shares_layer(a, g, LAYER_UID);

        if (host < 0) {
                s.verdict = VERDICT_UNKNOWN;
                s.error = host;
        } else if (host || shares_layer(a, g, LAYER_PIDNS))
                s.verdict = hides_others(m) && alone ? VERDICT_WARN : VERDICT_FAIL;
        return s;
}

static void sight_report(struct audit *a, struct guest *g, const struct sight *worst)
{
        struct finding *f;

        if (worst->verdict == VERDICT_UNKNOWN) {
                finding_unknown(a, g, worst->error, worst->question);
                return;
        }
        if (worst->verdict == VERDICT_FAIL)
                f = finding_add(
                        a, VERDICT_FAIL, g,
                        "%s can reach a proc file system that shows processes outside of it, those of every guest there "
                        "included.",
                        GUEST_MARK(a, g));
        else if (worst->verdict == VERDICT_WARN)
                f = finding_add(
                        a, VERDICT_WARN, g,
                        "%s can reach a proc file system that holds processes outside of it; only the option hidepid and "
                        "its user keep them from its sight.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g,
                                "%s can reach no proc file system that shows processes outside of it.",
                                GUEST_MARK(a, g));
        finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/mountinfo", worst->process->pid),
                     worst->mount ? worst->mount->line : "(no mount of type proc)",
                     strlen(worst->mount ? worst->mount->line : "(no mount of type proc)"));
}

void namespaces_proc_guest(struct audit *a, struct guest *g)
{
        struct sight worst = {.verdict = VERDICT_PASS, .process = g->vmm};

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p->mounts_error < 0 && worst.verdict < VERDICT_UNKNOWN)
                        worst = (struct sight){.verdict = VERDICT_UNKNOWN,
                                               .process = p,
                                               .question = arena_printf(a->arena, "read /proc/%d/mountinfo", p->pid),
                                               .error = p->mounts_error};
                for (size_t k = 0; k < p->mounts.count; k++) {
                        struct sight s;

                        if (!shows_processes(&p->mounts.items[k]))
                                continue;
                        s = mount_judge(a, g, p, &p->mounts.items[k]);
                        if (s.verdict > worst.verdict || !worst.mount)
                                worst = s.verdict >= worst.verdict ? s : worst;
                }
        }
        sight_report(a, g, &worst);
}
