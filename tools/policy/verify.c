/*
 * The compiler's check of itself. What the policy says is evaluated here straight from the rules, without a
 * look at the code generator, and compared with what the program does on each case that decides something:
 *
 *   - the program as such ends every path in ALLOW or KILL_PROCESS (bpf_check);
 *   - numbers 0..NR_TESTED and the extremes, with plain arguments, as x86_64, as x32 and as other
 * architectures;
 *   - each entry with arguments that satisfy it, which must be allowed, again with garbage in the upper
 * halves;
 *   - all those numbers with the same arguments, so that none gets in through the block of another call;
 *   - from there each argument alone moved to every value at which a condition of that call may change its
 * mind (so an ioctl is tried with the neighbours and the opposite of each request).
 */
#include <errno.h>
#include <linux/audit.h>
#include <string.h>

#include "bpf_run.h"
#include "policy.h"

#define NR_TESTED 600U          /* system calls of x86_64 end below it, and will for years */
#define X32_BIT   0x40000000U   /* asm/unistd.h: __X32_SYSCALL_BIT */
#define GARBAGE   0xa5a5a5a5ULL /* for an upper half */
#define EDGES_MAX 8             /* values that one condition suggests */

static bool compare(enum condition_op op, uint64_t arg, uint64_t value, uint64_t mask)
{
        switch (op) {
        case CONDITION_EQ:
                return arg == value;
        case CONDITION_NE:
                return arg != value;
        case CONDITION_LE:
                return arg <= value;
        case CONDITION_GE:
                return arg >= value;
        case CONDITION_MASKED_EQ:
                return (arg & mask) == value;
        }
        return false;
}

bool condition_holds(const struct condition *c, const uint64_t args[POLICY_ARGS])
{
        uint64_t arg = args[c->arg];

        return compare(c->op, c->wide ? arg : (uint32_t)arg, c->value, c->mask);
}

static bool rule_holds(const struct rule *r, const uint64_t args[POLICY_ARGS])
{
        for (unsigned int i = 0; i < r->condition_count; i++)
                if (!condition_holds(&r->conditions[i], args))
                        return false;
        return true;
}

const struct rule *policy_match(const struct policy *p, const struct seccomp_data *d)
{
        uint64_t args[POLICY_ARGS];

        if (d->arch != AUDIT_ARCH_X86_64)
                return NULL;
        for (unsigned int i = 0; i < POLICY_ARGS; i++)
                args[i] = d->args[i];
        for (unsigned int i = 0; i < p->rule_count; i++)
                if (p->rules[i].nr == d->nr && rule_holds(&p->rules[i], args))
                        return &p->rules[i];
        return NULL;
}

bool policy_allows(const struct policy *p, const struct seccomp_data *d)
{
        return policy_match(p, d) != NULL;
}

static int mismatch(const struct seccomp_data *d, uint32_t action, struct err *e)
{
        return err_bad(e, STATUS_FAILURE,
                       "compiler is broken: call %d arch %#x (%#llx, %#llx, %#llx, %#llx, %#llx, %#llx) gives %#x",
                       d->nr, d->arch, (unsigned long long)d->args[0], (unsigned long long)d->args[1],
                       (unsigned long long)d->args[2], (unsigned long long)d->args[3], (unsigned long long)d->args[4],
                       (unsigned long long)d->args[5], action);
}

/* One call, which the program must decide as the policy does. */
static int case_check(const struct policy *p, const struct bpf_program *prog, const struct seccomp_data *d,
                      struct err *e)
{
        uint32_t expected = policy_allows(p, d) ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
        uint32_t action = bpf_run(prog->filter, prog->len, d);

        return action == expected ? 0 : mismatch(d, action, e);
}

/* The same call by ways that are closed whatever the policy says. */
static int closed_ways_check(const struct bpf_program *prog, const struct seccomp_data *d, struct err *e)
{
        static const uint32_t other_archs[] = {AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, 0, ~AUDIT_ARCH_X86_64};
        struct seccomp_data other = *d;
        uint32_t action;

        for (size_t i = 0; i < ARRAY_LEN(other_archs); i++) {
                other.arch = other_archs[i];
                action = bpf_run(prog->filter, prog->len, &other);
                if (action != SECCOMP_RET_KILL_PROCESS)
                        return mismatch(&other, action, e);
        }
        other.arch = AUDIT_ARCH_X86_64;
        other.nr = (int)((uint32_t)d->nr | X32_BIT);
        action = bpf_run(prog->filter, prog->len, &other);
        return action == SECCOMP_RET_KILL_PROCESS ? 0 : mismatch(&other, action, e);
}

/* Every number with the arguments of *args. */
static int numbers_check(const struct policy *p, const struct bpf_program *prog, const struct seccomp_data *args,
                         struct err *e)
{
        static const uint32_t extremes[] = {0x3fffffff, 0x7fffffff, 0x80000000, 0xffffffff};

        for (uint32_t i = 0; i <= NR_TESTED + ARRAY_LEN(extremes); i++) {
                struct seccomp_data d = *args;
                int r;

                d.nr = (int)(i <= NR_TESTED ? i : extremes[i - NR_TESTED - 1]);
                r = case_check(p, prog, &d, e);
                if (r == 0)
                        r = closed_ways_check(prog, &d, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Values on both sides of the place where a condition changes its mind. */
static void edges_of(const struct condition *c, uint64_t ret[EDGES_MAX])
{
        uint64_t mask = c->op == CONDITION_MASKED_EQ ? c->mask : ~0ULL;

        ret[0] = c->value;
        ret[1] = c->value + 1;
        ret[2] = c->value - 1;
        ret[3] = c->value | ~mask;          /* what the mask hides, set */
        ret[4] = c->value ^ (mask & -mask); /* the lowest bit that matters, turned */
        ret[5] = ~c->value;
        ret[6] = c->value + (1ULL << 32); /* the upper half's own neighbours */
        ret[7] = c->value - (1ULL << 32);
        if (!c->wide)
                for (unsigned int i = 0; i < EDGES_MAX; i++)
                        ret[i] = (uint32_t)ret[i];
}

/* Do the conditions of a rule that concern one argument hold? */
static bool argument_fits(const struct rule *r, unsigned int arg, const uint64_t args[POLICY_ARGS])
{
        for (unsigned int i = 0; i < r->condition_count; i++)
                if (r->conditions[i].arg == arg && !condition_holds(&r->conditions[i], args))
                        return false;
        return true;
}

/* Looks for a value of one argument among the edges of its conditions, and the union of its masked values. */
static bool argument_solve(const struct rule *r, unsigned int arg, uint64_t args[POLICY_ARGS])
{
        uint64_t edges[EDGES_MAX], bits = 0;

        args[arg] = 0;
        if (argument_fits(r, arg, args))
                return true;
        for (unsigned int i = 0; i < r->condition_count; i++) {
                if (r->conditions[i].arg != arg)
                        continue;
                edges_of(&r->conditions[i], edges);
                for (unsigned int j = 0; j < EDGES_MAX; j++) {
                        args[arg] = edges[j];
                        if (argument_fits(r, arg, args))
                                return true;
                }
                if (r->conditions[i].op == CONDITION_MASKED_EQ)
                        bits |= r->conditions[i].value;
        }
        args[arg] = bits;
        return argument_fits(r, arg, args);
}

static int must_allow(const struct bpf_program *prog, const struct seccomp_data *d, struct err *e)
{
        uint32_t action = bpf_run(prog->filter, prog->len, d);

        return action == SECCOMP_RET_ALLOW ? 0 : mismatch(d, action, e);
}

static bool argument_is_wide(const struct rule *r, unsigned int arg)
{
        for (unsigned int i = 0; i < r->condition_count; i++)
                if (r->conditions[i].arg == arg && r->conditions[i].wide)
                        return true;
        return false;
}

/* Moves one argument of *d over every edge that any entry of the same call has for it. */
static int edges_check(const struct policy *p, const struct bpf_program *prog, const struct seccomp_data *d,
                       unsigned int arg, struct err *e)
{
        for (unsigned int i = 0; i < p->rule_count; i++) {
                for (unsigned int j = 0; p->rules[i].nr == d->nr && j < p->rules[i].condition_count; j++) {
                        const struct condition *c = &p->rules[i].conditions[j];
                        uint64_t edges[EDGES_MAX];

                        if (c->arg != arg)
                                continue;
                        edges_of(c, edges);
                        for (unsigned int k = 0; k < EDGES_MAX; k++) {
                                struct seccomp_data moved = *d;
                                int r;

                                moved.args[arg] = edges[k];
                                r = case_check(p, prog, &moved, e);
                                moved.args[arg] ^= GARBAGE << 32;
                                if (r == 0)
                                        r = case_check(p, prog, &moved, e);
                                if (r < 0)
                                        return r;
                        }
                }
        }
        return 0;
}

int rule_solve(const struct rule *rule, uint64_t args[POLICY_ARGS], struct err *e)
{
        for (unsigned int arg = 0; arg < POLICY_ARGS; arg++)
                if (!argument_solve(rule, arg, args))
                        return err_bad(e, STATUS_FAILURE,
                                       "no value of arg%u found that meets its conditions: do they contradict?", arg);
        return 0;
}

static int rule_check(const struct policy *p, const struct bpf_program *prog, const struct rule *rule, struct err *e)
{
        struct seccomp_data d = {.nr = rule->nr, .arch = AUDIT_ARCH_X86_64};
        uint64_t args[POLICY_ARGS];
        int r = rule_solve(rule, args, e);

        if (r < 0)
                return r;
        memcpy(d.args, args, sizeof(args));
        r = must_allow(prog, &d, e);
        if (r == 0)
                r = numbers_check(p, prog, &d, e);
        for (unsigned int arg = 0; r == 0 && arg < POLICY_ARGS; arg++)
                r = edges_check(p, prog, &d, arg, e);
        for (unsigned int arg = 0; arg < POLICY_ARGS; arg++)
                if (!argument_is_wide(rule, arg))
                        d.args[arg] |= GARBAGE << 32;
        return r < 0 ? r : must_allow(prog, &d, e);
}

int policy_verify(const struct policy *p, const struct bpf_program *prog, struct err *e)
{
        struct seccomp_data plain = {.arch = AUDIT_ARCH_X86_64};
        unsigned int at;
        int r;

        if (bpf_check(prog->filter, prog->len, &at) < 0)
                return err_bad(e, STATUS_FAILURE, "compiler is broken: instruction %u is not allowed there", at);
        r = numbers_check(p, prog, &plain, e);
        if (r < 0)
                return err_wrap(e, r, "%s", p->files[p->rules[0].file]);
        for (unsigned int i = 0; i < p->rule_count; i++) {
                const struct rule *rule = &p->rules[i];

                r = rule_check(p, prog, rule, e);
                if (r < 0)
                        return err_wrap(e, r, "%s:%u", p->files[rule->file], rule->line);
        }
        return 0;
}
