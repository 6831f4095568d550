/* SYS-LANDLOCK: what the processes of a guest have said of their Landlock domains. */
#include <errno.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/probes/rows.h"
#include "audit/probes/syscalls.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/number.h"

/* What one process has said of itself. */
struct attested {
        uint64_t landlock, pid, start_time;
};

#define ATTESTED_MAX 64 /* processes of a guest: bulkhead has fewer devices */

struct attestation {
        size_t count;
        struct attested processes[ATTESTED_MAX];
};

/* "ABI PID TICKS", of a device's process. */
static bool attested_parse_device(char *text, struct attested *ret)
{
        uint64_t *const fields[] = {&ret->landlock, &ret->pid, &ret->start_time};
        char *word = text;

        for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
                char *end = strchr(word, ' ');

                if ((i == ARRAY_LEN(fields) - 1) != !end)
                        return false;
                if (end)
                        *end = '\0';
                if (number_parse(word, UINT64_MAX, fields[i]) < 0)
                        return false;
                word = end ? end + 1 : word;
        }
        return true;
}

/* Lines "WORD NUMBER..."; what is not known is for others. */
static void attestation_parse(char *text, struct attestation *ret)
{
        struct attested monitor = {0}, device;
        struct {
                const char *word;
                uint64_t *number;
                bool seen;
        } fields[] = {{"landlock ", &monitor.landlock, false},
                      {"pid ", &monitor.pid, false},
                      {"start_time ", &monitor.start_time, false}};
        char *line;

        ret->count = 0;
        while ((line = text_next_line(&text))) {
                for (size_t i = 0; i < ARRAY_LEN(fields); i++)
                        if (text_has_prefix(line, fields[i].word))
                                fields[i].seen =
                                        number_parse(line + strlen(fields[i].word), UINT64_MAX, fields[i].number) == 0;
                if (text_has_prefix(line, "device ") && ret->count < ATTESTED_MAX - 1 &&
                    attested_parse_device(line + strlen("device "), &device))
                        ret->processes[ret->count++] = device;
        }
        if (fields[0].seen && fields[1].seen && fields[2].seen)
                ret->processes[ret->count++] = monitor;
}

static const struct attested *attestation_of(const struct attestation *all, const struct process *p)
{
        for (size_t i = 0; i < all->count; i++)
                if (all->processes[i].pid == (uint64_t)p->pid && all->processes[i].start_time == p->start_time)
                        return &all->processes[i];
        return NULL;
}

static void landlock_unknown(struct audit *a, struct guest *g, const char *question, const char *shown)
{
        struct finding *f = finding_add(a, VERDICT_UNKNOWN, g,
                                        "Whether %s is in a Landlock domain cannot be seen from outside: only "
                                        "each process itself, or an attack, can tell.",
                                        GUEST_MARK(a, g));

        f->needs = "a monitor that attests it";
        finding_showf(a, f, GUEST_OWNER(g), question, "%s", shown);
}

static void landlock_judge(struct audit *a, struct guest *g, const char *question, const char *shown, uint64_t in_force)
{
        struct answer host;
        uint64_t abi = 0;
        int r = observe(a->observer, &host, "landlock");
        struct finding *f;

        if (r < 0 && in_force > 0) {
                finding_unknown(a, g, r, "landlock");
                return;
        }
        if (r == 0 && number_parse(host.bytes, UINT32_MAX, &abi) < 0) {
                finding_unknown(a, g, -EPROTO, "landlock");
                return;
        }
        if (in_force == 0)
                f = finding_add(a, VERDICT_WARN, g, "A process of %s says that no Landlock domain confines it.",
                                GUEST_MARK(a, g));
        else if (in_force < abi)
                f = finding_add(a, VERDICT_WARN, g,
                                "A process of %s says that it is in a Landlock domain which uses less than this "
                                "kernel has.",
                                GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_PASS, g,
                                "Each process of %s says that it is in a Landlock domain which uses all that this "
                                "kernel has.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), question, "%s", shown);
        if (r < 0)
                finding_show_error(a, f, EVIDENCE_HOST, "landlock", r);
        else
                finding_showf(a, f, EVIDENCE_HOST, "landlock", "ABI %s", host.bytes);
}

/* The least of what the guest's processes attest. Returns the first that attests nothing, or NULL. */
static const struct process *landlock_least(const struct guest *g, const struct attestation *all, uint64_t *ret)
{
        *ret = UINT64_MAX;
        for (size_t i = 0; i < g->members.count; i++) {
                const struct attested *own = attestation_of(all, g->members.items[i].process);

                if (!own)
                        return g->members.items[i].process;
                if (own->landlock < *ret)
                        *ret = own->landlock;
        }
        return NULL;
}

void syscalls_landlock(struct audit *a, struct guest *g)
{
        char *question = arena_printf(a->arena, "read /run/bulkhead/guests/%s/attested", g->name), *shown;
        const struct process *silent;
        struct attestation all;
        struct answer file;
        uint64_t least;
        int r;

        /* Its name is a stranger's text, and is to become a part of a path. */
        if (strcmp(g->kind, "bulkhead") != 0 || strchr(g->name, '/') || g->name[0] == '.') {
                landlock_unknown(a, g, "who runs it", g->kind);
                return;
        }
        r = observe(a->observer, &file, "%s", question);
        if (r < 0) {
                landlock_unknown(a, g, question, arena_printf(a->arena, "error: %s", strerror(-r)));
                return;
        }
        shown = arena_text(a->arena, file.bytes);
        attestation_parse(file.bytes, &all);
        silent = landlock_least(g, &all, &least);
        if (silent)
                landlock_unknown(a, g, question,
                                 arena_printf(a->arena, "nothing of process %d, started at %llu:\n%s", silent->pid,
                                              (unsigned long long)silent->start_time, shown));
        else
                landlock_judge(a, g, question, shown, least);
}
