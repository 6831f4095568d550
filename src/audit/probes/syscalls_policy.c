/* What the filters of a guest's threads let through: each is run, as the kernel would, over made-up calls. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/syscall.h>

#include "audit/audit.h"
#include "audit/model/filters.h"
#include "audit/probes/syscalls.h"
#include "audit/probes/syscalls_risky.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define CALLS_MAX   548        /* no table has a number as high: x32's own are 512 to 547 */
#define NUMBER_FREE 0x0ffffffU /* nor will any have this one */
#define X32_BIT     0x40000000U
#define NAMED_MAX   8 /* calls that the text of a finding names */

static struct seccomp_data call_of(uint32_t nr, uint32_t arch, const uint64_t *arguments)
{
        struct seccomp_data d = {.nr = (int)nr, .arch = arch, .instruction_pointer = 0x7f0000002000ULL};

        if (arguments)
                memcpy(d.args, arguments, sizeof(d.args));
        return d;
}

/* A chain that is run over calls. asked counts those that another process decides, for the caller to judge. */
struct trial {
        const struct filter_chain *chain;
        size_t *asked;
};

static bool lets(const struct trial *t, uint32_t nr, uint32_t arch, const uint64_t *arguments)
{
        const struct seccomp_data d = call_of(nr, arch, arguments);
        enum filter_outcome outcome = filter_chain_outcome(t->chain, &d);

        *t->asked += outcome == FILTER_ASKS;
        return outcome == FILTER_ALLOWS;
}

static const uint64_t ones[6] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

/* With which arguments a call passes: "" none, " (any)", " (usual)", " (zeros)", " (ones)". */
static const char *passes_with(const struct trial *t, const struct risky_call *r)
{
        bool zeros = !r->only_typical && lets(t, r->nr, AUDIT_ARCH_X86_64, NULL);
        bool all_ones = !r->only_typical && lets(t, r->nr, AUDIT_ARCH_X86_64, ones);
        size_t usual = 0;

        for (size_t i = 0; i < r->typical_count; i++)
                usual += lets(t, r->nr, AUDIT_ARCH_X86_64, r->typical[i]);
        if (!r->only_typical && zeros && all_ones && usual == r->typical_count)
                return " (any arguments)";
        if (usual > 0)
                return usual == r->typical_count ? " (usual arguments)" : " (some usual arguments)";
        return zeros ? " (zeros)" : all_ones ? " (ones)" : "";
}

/* The filters, or NULL with a finding that says why none could be read. */
static const struct guest_filters *filters_of(struct audit *a, struct guest *g)
{
        const struct guest_filters *f = guest_filters_read(a->observer, g);

        if (f->count > 0)
                return f;
        finding_unknown(a, g, f->error, f->question);
        return NULL;
}

/* What was found so far is the worst that there can be, or the rest must be known, too. */
static void rest_judge(struct audit *a, struct finding *f, const struct guest *g, const struct guest_filters *filters,
                       size_t asked)
{
        if (filters->error < 0)
                finding_show_error(a, f, GUEST_OWNER(g), filters->question, filters->error);
        if (asked > 0)
                finding_showf(a, f, GUEST_OWNER(g), "actions USER_NOTIF and TRACE", "%zu of the calls tried", asked);
        if (f->verdict == a->check->worst || (filters->error == 0 && asked == 0))
                return;
        f->verdict = f->unsoftened = VERDICT_UNKNOWN;
        f->needs = filters->error < 0 ? a->check->needs : "the rules of the process that decides";
        f->text =
                filters->error < 0
                        ? arena_printf(a->arena, "Not all filters of %s could be read.", GUEST_MARK(a, g))
                        : arena_printf(a->arena,
                                       "A filter of %s leaves calls that are tried here to another process, which may "
                                       "let them go on.",
                                       GUEST_MARK(a, g));
}

static char *chain_question(struct audit *a, const struct filter_chain *c)
{
        return arena_printf(a->arena, "seccomp %d 0..%zu (threads with these filters: %zu)", c->thread->tid,
                            c->count ? c->count - 1 : 0, c->threads);
}

static void show_chains(struct audit *a, struct finding *f, const struct guest *g, const struct guest_filters *filters)
{
        for (size_t i = 0; i < filters->count; i++) {
                const struct filter_chain *c = &filters->items[i];
                char *text = arena_printf(a->arena, "thread \"%s\":", SHOW(a, c->thread->comm));

                for (size_t k = 0; k < c->count; k++)
                        text = arena_printf(a->arena, "%s %zu instructions;", text, c->items[k].length);
                finding_showf(a, f, GUEST_OWNER(g), chain_question(a, c), "%s %s", text,
                              c->strict  ? "strict mode"
                              : c->count ? "all evaluated"
                                         : "no filter");
        }
}

/* Names joined by commas, the first NAMED_MAX of them. */
struct name_text {
        char *text;
        size_t count;
};

static void name_add(struct audit *a, struct name_text *n, const char *name, const char *with)
{
        if (n->count < NAMED_MAX)
                n->text = arena_printf(a->arena, "%s%s%s%s", n->count ? n->text : "", n->count ? ", " : "", name, with);
        else if (n->count == NAMED_MAX)
                n->text = arena_printf(a->arena, "%s and more", n->text);
        n->count++;
}

struct policy_view {
        struct name_text takeover, reach;
        bool open; /* what is not named is allowed */
        size_t asked;
};

static void policy_chain(struct audit *a, struct finding *f, const struct guest *g, const struct filter_chain *c,
                         struct policy_view *v, bool *seen)
{
        const struct trial t = {c, &v->asked};
        char *all = arena_text(a->arena, "");

        for (size_t i = 0; i < risky_calls_count; i++) {
                const struct risky_call *r = &risky_calls[i];
                const char *with = passes_with(&t, r);

                if (!*with)
                        continue;
                all = arena_printf(a->arena, "%s%s%s; ", all, r->name, with);
                if (!seen[i])
                        name_add(a, r->risk == RISK_TAKEOVER ? &v->takeover : &v->reach, r->name, with);
                seen[i] = true;
        }
        if (lets(&t, NUMBER_FREE, AUDIT_ARCH_X86_64, NULL)) {
                v->open = true;
                all = arena_printf(a->arena, "a call that does not exist; %s", all);
        }
        if (*all)
                finding_showf(a, f, GUEST_OWNER(g), chain_question(a, c), "thread \"%s\" may: %s",
                              SHOW(a, c->thread->comm), all);
}

void syscalls_policy(struct audit *a, struct guest *g)
{
        const struct guest_filters *filters = filters_of(a, g);
        bool *seen = arena_array(a->arena, risky_calls_count, sizeof(*seen));
        struct policy_view v = {0};
        struct finding *f;

        if (!filters)
                return;
        f = finding_add(a, VERDICT_PASS, g, "%s", "");
        for (size_t i = 0; i < filters->count; i++)
                policy_chain(a, f, g, &filters->items[i], &v, seen);
        show_chains(a, f, g, filters);
        f->verdict = v.open || v.takeover.count ? VERDICT_FAIL : v.reach.count ? VERDICT_WARN : VERDICT_PASS;
        f->unsoftened = f->verdict;
        if (filters->bare)
                f->text = arena_printf(a->arena, "A thread of %s has no filter: it may make every system call.",
                                       GUEST_MARK(a, g));
        else if (v.open)
                f->text = arena_printf(
                        a->arena,
                        "A filter of %s refuses what it names and allows all else, calls that do not exist "
                        "yet among it.%s%s",
                        GUEST_MARK(a, g), v.takeover.count ? " It allows: " : "",
                        v.takeover.count ? v.takeover.text : "");
        else if (v.takeover.count)
                f->text = arena_printf(a->arena,
                                       "The filters of %s allow calls that take over a process or the host: %s.",
                                       GUEST_MARK(a, g), v.takeover.text);
        else if (v.reach.count)
                f->text = arena_printf(
                        a->arena, "The filters of %s allow calls that reach for files, networks or new processes: %s.",
                        GUEST_MARK(a, g), v.reach.text);
        else
                f->text =
                        arena_printf(a->arena,
                                     "The filters of every thread of %s refuse all %zu risky calls with the arguments "
                                     "tried, and calls that they do not know.",
                                     GUEST_MARK(a, g), risky_calls_count);
        rest_judge(a, f, g, filters, v.asked);
}

/* The first number of another table that passes, or -1. */
static int foreign_first(const struct trial *t, uint32_t arch, uint32_t bit, size_t *ret_count)
{
        int first = -1;

        *ret_count = 0;
        for (uint32_t nr = 0; nr < CALLS_MAX; nr++)
                if (lets(t, nr | bit, arch, NULL) || lets(t, nr | bit, arch, ones)) {
                        first = first < 0 ? (int)nr : first;
                        *ret_count += 1;
                }
        return first;
}

void syscalls_arch(struct audit *a, struct guest *g)
{
        static const struct {
                const char *name;
                uint32_t arch, bit;
        } tables[] = {{"i386", AUDIT_ARCH_I386, 0}, {"x32", AUDIT_ARCH_X86_64, X32_BIT}};
        const struct guest_filters *filters = filters_of(a, g);
        struct finding *f;
        size_t asked = 0;

        if (!filters)
                return;
        f = finding_add(a, VERDICT_PASS, g,
                        "The filters of %s refuse every call of the 32-bit tables (i386, x32), with zeros and ones "
                        "as arguments.",
                        GUEST_MARK(a, g));
        for (size_t i = 0; i < filters->count; i++)
                for (size_t k = 0; k < ARRAY_LEN(tables); k++) {
                        const struct filter_chain *c = &filters->items[i];
                        size_t count;
                        int first = foreign_first(&(struct trial){c, &asked}, tables[k].arch, tables[k].bit, &count);

                        if (first < 0)
                                continue;
                        f->verdict = f->unsoftened = VERDICT_FAIL;
                        f->text = arena_printf(a->arena,
                                               "A thread of %s may make system calls of a 32-bit table, whose numbers "
                                               "mean other calls.",
                                               GUEST_MARK(a, g));
                        finding_showf(a, f, GUEST_OWNER(g), chain_question(a, c),
                                      "thread \"%s\": %zu of %d numbers of %s pass, %d first", SHOW(a, c->thread->comm),
                                      count, CALLS_MAX, tables[k].name, first);
                }
        show_chains(a, f, g, filters);
        rest_judge(a, f, g, filters, asked);
}

struct ioctl_request {
        uint32_t request;
        const char *name;
};

/* Typing into a terminal, network devices, new machines, file attributes, and one that no device has. */
static const struct ioctl_request ioctls[] = {
        {0xdeadbeefU, "a request that no device has"},
        {TIOCSTI, "TIOCSTI"},
        {TIOCLINUX, "TIOCLINUX"},
        {SIOCSIFFLAGS, "SIOCSIFFLAGS"},
        {KVM_CREATE_VM, "KVM_CREATE_VM"},
        {(uint32_t)FS_IOC_SETFLAGS, "FS_IOC_SETFLAGS"},
        {(uint32_t)FS_IOC_FSSETXATTR, "FS_IOC_FSSETXATTR"},
        {(uint32_t)FICLONE, "FICLONE"},
};

/* With any descriptor that the process has, or none. */
static bool ioctl_passes(const struct trial *t, uint32_t request)
{
        uint64_t arguments[6] = {0, request, 0x7f0000001000ULL};

        for (uint64_t fd = 0; fd < 16; fd++) {
                arguments[0] = fd;
                if (lets(t, SYS_ioctl, AUDIT_ARCH_X86_64, arguments))
                        return true;
        }
        for (size_t i = 0; i < t->chain->process->fds.count; i++) {
                arguments[0] = (uint64_t)t->chain->process->fds.items[i].number;
                if (lets(t, SYS_ioctl, AUDIT_ARCH_X86_64, arguments))
                        return true;
        }
        arguments[0] = UINT32_MAX;
        return lets(t, SYS_ioctl, AUDIT_ARCH_X86_64, arguments);
}

void syscalls_ioctl(struct audit *a, struct guest *g)
{
        const struct guest_filters *filters = filters_of(a, g);
        bool seen[ARRAY_LEN(ioctls)] = {0};
        struct name_text named = {0};
        struct finding *f;
        size_t asked = 0;

        if (!filters)
                return;
        f = finding_add(a, VERDICT_PASS, g,
                        "The filters of %s know the requests of ioctl(2), and refuse the risky ones.",
                        GUEST_MARK(a, g));
        for (size_t i = 0; i < filters->count; i++) {
                const struct filter_chain *c = &filters->items[i];
                struct name_text mine = {0};

                for (size_t k = 0; k < ARRAY_LEN(ioctls); k++) {
                        if (!ioctl_passes(&(struct trial){c, &asked}, ioctls[k].request))
                                continue;
                        name_add(a, &mine, ioctls[k].name, "");
                        if (!seen[k])
                                name_add(a, &named, ioctls[k].name, "");
                        seen[k] = true;
                }
                if (mine.count)
                        finding_showf(a, f, GUEST_OWNER(g), chain_question(a, c), "thread \"%s\" may ioctl: %s",
                                      SHOW(a, c->thread->comm), mine.text);
        }
        if (named.count) {
                f->verdict = f->unsoftened = VERDICT_WARN;
                f->text = arena_printf(a->arena,
                                       "A thread of %s may make device requests that a monitor has no use for: %s.",
                                       GUEST_MARK(a, g), named.text);
        }
        show_chains(a, f, g, filters);
        rest_judge(a, f, g, filters, asked);
}

static const char *action_name(uint32_t action)
{
        switch (action) {
        case SECCOMP_RET_KILL_PROCESS:
                return "KILL_PROCESS";
        case SECCOMP_RET_KILL_THREAD:
                return "KILL_THREAD";
        case SECCOMP_RET_TRAP:
                return "TRAP";
        case SECCOMP_RET_ERRNO:
                return "ERRNO";
        case SECCOMP_RET_USER_NOTIF:
                return "USER_NOTIF";
        case SECCOMP_RET_TRACE:
                return "TRACE";
        case SECCOMP_RET_LOG:
                return "LOG";
        case SECCOMP_RET_ALLOW:
                return "ALLOW";
        default:
                return "unknown, as KILL_PROCESS";
        }
}

/* Of the usual arguments of a call, how many are refused. Names the first refusal that ends no process. */
static size_t action_try(struct audit *a, const struct filter_chain *c, const struct risky_call *r,
                         struct name_text *named)
{
        size_t refused = 0;
        bool told = false;

        for (size_t i = 0; i < r->typical_count; i++) {
                const struct seccomp_data d = call_of(r->nr, AUDIT_ARCH_X86_64, r->typical[i]);
                uint32_t action = filter_chain_action(c, &d);

                if (filter_chain_outcome(c, &d) == FILTER_ALLOWS)
                        continue; /* SYS-POLICY's */
                refused++;
                if (action != SECCOMP_RET_KILL_PROCESS && !told)
                        name_add(a, named, r->name, arena_printf(a->arena, " %s", action_name(action)));
                told = told || action != SECCOMP_RET_KILL_PROCESS;
        }
        return refused;
}

/* A refused call must end the process: an error lets what has taken it over try the next. */
void syscalls_action(struct audit *a, struct guest *g)
{
        const struct guest_filters *filters = filters_of(a, g);
        struct finding *f;

        if (!filters)
                return;
        f = finding_add(a, VERDICT_PASS, g,
                        "Every refused call that takes over a process or the host ends the whole process "
                        "of %s that makes it, with the arguments tried.",
                        GUEST_MARK(a, g));
        for (size_t i = 0; i < filters->count; i++) {
                const struct filter_chain *c = &filters->items[i];
                struct name_text named = {0};
                size_t refused = 0;

                for (size_t k = 0; k < risky_calls_count; k++)
                        if (risky_calls[k].risk == RISK_TAKEOVER)
                                refused += action_try(a, c, &risky_calls[k], &named);
                if (!refused)
                        name_add(a, &named, "nothing is refused", "");
                if (!named.count)
                        continue;
                f->verdict = f->unsoftened = VERDICT_WARN;
                f->text = arena_printf(a->arena,
                                       "A thread of %s survives, or its process does, a call that takes over a process "
                                       "or the host.",
                                       GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), chain_question(a, c), "thread \"%s\": %s", SHOW(a, c->thread->comm),
                              named.text);
        }
        show_chains(a, f, g, filters);
        rest_judge(a, f, g, filters, 0);
}
