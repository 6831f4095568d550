/*
 * From rules to classic BPF. The program first refuses other architectures, then finds the call by binary
 * search: each comparison keeps the upper or the lower half of the numbers still possible, so that few instructions
 * decide any of them. That counts when the filter is installed too, since the kernel then runs it once for every number
 * (kernel/seccomp.c: seccomp_cache_prepare). It also translates the filter to machine code then, which each
 * instruction prolongs: entries of a call that start with the same condition share its test, and an argument that
 * is still in the accumulator is not loaded again.
 *
 *         jge <lowest call of the upper half>, 0, lower half
 *         upper half: the same again, down to one call:
 *                 jeq <call>, 0, kill
 *                 group 1: load, compare; on failure to group 2
 *                         its entries' other conditions, in groups again; ret ALLOW
 *                 group 2: ...
 *                 kill: ret KILL_PROCESS
 *         lower half: ...
 *
 * Numbers are compared whole, so those of x32, which carry __X32_SYSCALL_BIT, never match and need no test of
 * their own; policy_verify() shows it. Within a call the accumulator is clobbered, which is harmless: a
 * call's block never falls through.
 */
#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

/* Jump distances that are known only once the condition (PASS) or the alternative (FAIL) is complete. */
#define JUMP_PASS 0xfeU
#define JUMP_FAIL 0xffU

#define CONDITION_INSNS_MAX 6
static_assert(POLICY_CONDITIONS_MAX * CONDITION_INSNS_MAX + 1 < JUMP_PASS, "jumps in an alternative fit 8 bits");

/* About as many numbers as x86_64 has in use. It decides the shape of the search and nothing else. */
#define NUMBERS 470U

/* A leaf of the search. */
struct call {
        uint32_t nr;
        unsigned int rule; /* the first of this call */
};

#define LOADED_NOTHING POLICY_ARGS

struct emitter {
        const struct policy *policy;
        struct bpf_program *prog;
        unsigned int loaded; /* whose low half the accumulator holds, or LOADED_NOTHING */
        bool full;           /* something did not fit; what stands in prog is useless */
};

static void insn_add(struct emitter *em, unsigned int code, uint32_t k, unsigned int jt, unsigned int jf)
{
        if (em->prog->len == BPF_MAXINSNS) {
                em->full = true;
                return;
        }
        em->prog->filter[em->prog->len++] =
                (struct sock_filter){.code = (uint16_t)code, .jt = (uint8_t)jt, .jf = (uint8_t)jf, .k = k};
}

static void load_add(struct emitter *em, size_t offset)
{
        insn_add(em, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void jump_add(struct emitter *em, unsigned int op, uint32_t k, unsigned int jt, unsigned int jf)
{
        insn_add(em, BPF_JMP | op | BPF_K, k, jt, jf);
}

static void return_add(struct emitter *em, uint32_t action)
{
        insn_add(em, BPF_RET | BPF_K, action, 0, 0);
}

/* Gives the jumps in [from, len) that wait for `placeholder` the current end as their target. */
static void jumps_patch(struct emitter *em, unsigned int from, unsigned int placeholder)
{
        unsigned int end = em->prog->len;

        for (unsigned int at = from; at < end; at++) {
                struct sock_filter *i = &em->prog->filter[at];

                if (BPF_CLASS(i->code) != BPF_JMP)
                        continue;
                if (i->jt == placeholder)
                        i->jt = (uint8_t)(end - at - 1);
                if (i->jf == placeholder)
                        i->jf = (uint8_t)(end - at - 1);
        }
}

/* Compares a half of the argument, already loaded: the low one, or the high one where all bits must agree. */
static void half_compare(struct emitter *em, const struct condition *c, uint32_t value, uint32_t mask)
{
        switch (c->op) {
        case CONDITION_EQ:
                jump_add(em, BPF_JEQ, value, 0, JUMP_FAIL);
                break;
        case CONDITION_NE:
                jump_add(em, BPF_JEQ, value, JUMP_FAIL, 0);
                break;
        case CONDITION_LE:
                jump_add(em, BPF_JGT, value, JUMP_FAIL, 0);
                break;
        case CONDITION_GE:
                jump_add(em, BPF_JGE, value, 0, JUMP_FAIL);
                break;
        case CONDITION_MASKED_EQ:
                insn_add(em, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
                jump_add(em, BPF_JEQ, value, 0, JUMP_FAIL);
                break;
        }
}

/* The high half decides alone, or leaves the decision to the low half by falling through. */
static void high_half_add(struct emitter *em, const struct condition *c)
{
        uint32_t value = (uint32_t)(c->value >> 32);

        load_add(em, offsetof(struct seccomp_data, args) + 8UL * c->arg + 4);
        switch (c->op) {
        case CONDITION_EQ:
        case CONDITION_MASKED_EQ:
                half_compare(em, c, value, (uint32_t)(c->mask >> 32));
                break;
        case CONDITION_NE:
                jump_add(em, BPF_JEQ, value, 0, JUMP_PASS);
                break;
        case CONDITION_LE:
                jump_add(em, BPF_JGT, value, JUMP_FAIL, 0);
                jump_add(em, BPF_JEQ, value, 0, JUMP_PASS);
                break;
        case CONDITION_GE:
                jump_add(em, BPF_JGT, value, JUMP_PASS, 0);
                jump_add(em, BPF_JEQ, value, 0, JUMP_FAIL);
                break;
        }
}

/* Is one condition the same as the other? */
static bool condition_same(const struct condition *a, const struct condition *b)
{
        return a->arg == b->arg && a->wide == b->wide && a->op == b->op && a->value == b->value && a->mask == b->mask;
}

static void condition_add(struct emitter *em, const struct condition *c)
{
        unsigned int start = em->prog->len;

        /* x86_64 is little-endian: the low half of an argument comes first. */
        if (c->wide)
                high_half_add(em, c);
        if (c->wide || em->loaded != c->arg)
                load_add(em, offsetof(struct seccomp_data, args) + 8UL * c->arg);
        half_compare(em, c, (uint32_t)c->value, (uint32_t)c->mask);
        jumps_patch(em, start, JUMP_PASS);
        em->loaded = c->wide || c->op == CONDITION_MASKED_EQ ? LOADED_NOTHING : c->arg;
}

/* How many of the entries that start with the same condition as the first fit behind one test of it; they are moved to
 * the front, and all keep their order. */
static unsigned int group_gather(const struct rule **rules, unsigned int count, unsigned int depth)
{
        unsigned int same = 0, insns = CONDITION_INSNS_MAX;

        for (unsigned int i = 0; i < count; i++) {
                const struct rule *r = rules[i];
                unsigned int more = (r->condition_count - depth) * CONDITION_INSNS_MAX + 1;

                if (!condition_same(&r->conditions[depth], &rules[0]->conditions[depth]) || insns + more >= JUMP_PASS)
                        continue;
                insns += more;
                memmove(&rules[same + 1], &rules[same], (i - same) * sizeof(rules[0]));
                rules[same++] = r;
        }
        return same;
}

/* Entries of one call whose conditions before `depth` hold: allows what one of them allows, and goes on behind itself
 * with the rest. */
static void alternatives_add(struct emitter *em, const struct rule **rules, unsigned int count, unsigned int depth)
{
        while (count > 0 && !em->full) {
                unsigned int start = em->prog->len, same = group_gather(rules, count, depth);
                bool decided = false;

                condition_add(em, &rules[0]->conditions[depth]);
                for (unsigned int i = 0; i < same; i++)
                        decided |= rules[i]->condition_count == depth + 1;
                if (decided) {
                        return_add(em, SECCOMP_RET_ALLOW);
                } else {
                        alternatives_add(em, rules, same, depth + 1);
                        em->loaded = LOADED_NOTHING; /* one word or the other */
                }
                jumps_patch(em, start, JUMP_FAIL);
                rules += same;
                count -= same;
        }
}

/* Lets the false branch of the jump at `head` go to the current end; everything behind it is complete. */
static void branch_close(struct emitter *em, unsigned int head)
{
        struct bpf_program *prog = em->prog;
        unsigned int body = head + 1, body_len = prog->len - body;

        if (body_len <= UINT8_MAX) {
                prog->filter[head].jf = (uint8_t)body_len;
                return;
        }
        /* Too far for a conditional jump: step over a long one. The body's own jumps are relative. */
        insn_add(em, BPF_JMP | BPF_JA, 0, 0, 0);
        if (em->full)
                return;
        memmove(&prog->filter[body + 1], &prog->filter[body], body_len * sizeof(prog->filter[0]));
        memmove(&prog->comments[body + 1], &prog->comments[body], body_len * sizeof(prog->comments[0]));
        prog->filter[head].jt = 1;
        prog->filter[body] = (struct sock_filter){.code = BPF_JMP | BPF_JA, .k = body_len};
        prog->comments[body] = NULL;
}

/* Everything about one call. Unless its number comes here alone, the others that do are told apart and
 * killed. */
static void call_add(struct emitter *em, const struct call *call, bool alone)
{
        const struct policy *p = em->policy;
        const struct rule *rules[POLICY_RULES_MAX];
        unsigned int head = em->prog->len, count = 0;
        bool any_arguments = false;

        em->loaded = LOADED_NOTHING; /* the number */
        if (!alone)
                jump_add(em, BPF_JEQ, call->nr, 0, 0);
        for (unsigned int i = call->rule; i < p->rule_count; i++)
                if ((uint32_t)p->rules[i].nr == call->nr) {
                        rules[count++] = &p->rules[i];
                        any_arguments |= p->rules[i].condition_count == 0;
                }
        if (any_arguments)
                return_add(em, SECCOMP_RET_ALLOW);
        else
                alternatives_add(em, rules, count, 0);
        if (em->full)
                return;
        em->prog->comments[head] = p->rules[call->rule].call;
        if (!alone)
                branch_close(em, head);
        if (!alone || !any_arguments)
                return_add(em, SECCOMP_RET_KILL_PROCESS);
}

/* Decides the numbers first..last, among which are those of `count` calls, at least one. */
static void search_add(struct emitter *em, const struct call *calls, unsigned int count, uint32_t first, uint32_t last)
{
        unsigned int head = em->prog->len, lower = 1;
        uint32_t middle = first < NUMBERS ? first + ((last < NUMBERS ? last : NUMBERS) - first) / 2 : first;

        if (count == 1) {
                call_add(em, calls, first == last);
                return;
        }
        while (lower < count - 1 && calls[lower].nr < middle)
                lower++;
        jump_add(em, BPF_JGE, calls[lower].nr, 0, 0);
        search_add(em, calls + lower, count - lower, calls[lower].nr, last);
        if (em->full)
                return;
        branch_close(em, head);
        search_add(em, calls, lower, first, calls[lower].nr - 1);
}

static int call_compare(const void *a, const void *b)
{
        const struct call *x = a, *y = b;

        return x->nr < y->nr ? -1 : x->nr > y->nr;
}

int policy_emit(const struct policy *p, struct bpf_program *ret, struct err *e)
{
        struct emitter em = {.policy = p, .prog = ret};
        struct call calls[POLICY_RULES_MAX];
        unsigned int count = 0;

        for (unsigned int i = 0; i < p->rule_count; i++)
                if (policy_rule_is_first(p, i))
                        calls[count++] = (struct call){.nr = (uint32_t)p->rules[i].nr, .rule = i};
        qsort(calls, count, sizeof(calls[0]), call_compare);

        memset(ret, 0, sizeof(*ret));
        load_add(&em, offsetof(struct seccomp_data, arch));
        jump_add(&em, BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
        return_add(&em, SECCOMP_RET_KILL_PROCESS);
        load_add(&em, offsetof(struct seccomp_data, nr));
        search_add(&em, calls, count, 0, UINT32_MAX);
        if (em.full)
                return err_set(e, -E2BIG, "program of more than %d instructions", BPF_MAXINSNS);
        return 0;
}
