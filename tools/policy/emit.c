/*
 * From rules to classic BPF. The program first refuses other architectures, then finds the call by binary
 * search among the sorted numbers: each comparison keeps the upper or the lower half of the calls still
 * possible, so that few instructions decide any number. That counts when the filter is installed too, since
 * the kernel then runs it once for every number (kernel/seccomp.c: seccomp_cache_prepare).
 *
 *         jge <lowest call of the upper half>, 0, lower half
 *         upper half: the same again, down to one call:
 *                 jeq <call>, 0, kill
 *                 alternative 1: load, compare, ... ; on failure to alternative 2; ret ALLOW
 *                 alternative 2: ...
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

/* A leaf of the search. */
struct call {
        uint32_t nr;
        unsigned int rule; /* the first of this call */
};

struct emitter {
        const struct policy *policy;
        struct bpf_program *prog;
        bool full; /* something did not fit; what stands in prog is useless */
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

static void condition_add(struct emitter *em, const struct condition *c)
{
        unsigned int start = em->prog->len;

        /* x86_64 is little-endian: the low half of an argument comes first. */
        if (c->wide)
                high_half_add(em, c);
        load_add(em, offsetof(struct seccomp_data, args) + 8UL * c->arg);
        half_compare(em, c, (uint32_t)c->value, (uint32_t)c->mask);
        jumps_patch(em, start, JUMP_PASS);
}

static void alternative_add(struct emitter *em, const struct rule *r)
{
        unsigned int start = em->prog->len;

        for (unsigned int i = 0; i < r->condition_count; i++)
                condition_add(em, &r->conditions[i]);
        return_add(em, SECCOMP_RET_ALLOW);
        jumps_patch(em, start, JUMP_FAIL);
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
        unsigned int head = em->prog->len;

        if (!alone)
                jump_add(em, BPF_JEQ, call->nr, 0, 0);
        for (unsigned int i = call->rule; i < p->rule_count; i++)
                if ((uint32_t)p->rules[i].nr == call->nr)
                        alternative_add(em, &p->rules[i]);
        if (em->full)
                return;
        em->prog->comments[head] = p->rules[call->rule].call;
        if (!alone)
                branch_close(em, head);
        /* An entry without conditions is its call's only one (parse.c) and always returns by itself. */
        if (!alone || p->rules[call->rule].condition_count > 0)
                return_add(em, SECCOMP_RET_KILL_PROCESS);
}

/* Decides the numbers first..last, among which are those of `count` calls, at least one. */
static void search_add(struct emitter *em, const struct call *calls, unsigned int count, uint32_t first, uint32_t last)
{
        unsigned int head = em->prog->len, lower = count / 2;

        if (count == 1) {
                call_add(em, calls, first == last);
                return;
        }
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
