/*
 * From rules to classic BPF. The program first refuses other architectures, then tests the calls in the order
 * in which the files name them, so a hot call stands first:
 *
 *         jeq <call>, 0, next call
 *         alternative 1: load, compare, ... ; on failure to alternative 2; ret ALLOW
 *         alternative 2: ...
 *         ret KILL_PROCESS
 *     next call: ...
 *     ret KILL_PROCESS
 *
 * Numbers are compared whole, so those of x32, which carry __X32_SYSCALL_BIT, never match and need no test of
 * their own; policy_verify() shows it. Within a call the accumulator is clobbered, which is harmless: a
 * call's block never falls through.
 */
#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <string.h>

#include "policy.h"

/* Jump distances that are known only once the condition (PASS) or the alternative (FAIL) is complete. */
#define JUMP_PASS 0xfeU
#define JUMP_FAIL 0xffU

#define CONDITION_INSNS_MAX 6
static_assert(POLICY_CONDITIONS_MAX * CONDITION_INSNS_MAX + 1 < JUMP_PASS,
              "jumps in an alternative fit 8 bits");

struct emitter {
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

        load_add(em, offsetof(struct seccomp_data, args) + 8 * c->arg + 4);
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
        load_add(em, offsetof(struct seccomp_data, args) + 8 * c->arg);
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

/* Everything about the call of rule `first`, which is the first of that call. */
static void call_add(const struct policy *p, unsigned int first, struct emitter *em)
{
        struct sock_filter *filter = em->prog->filter;
        unsigned int head = em->prog->len, body_len;
        uint32_t nr = (uint32_t)p->rules[first].nr;

        jump_add(em, BPF_JEQ, nr, 0, 0);
        for (unsigned int i = first; i < p->rule_count; i++)
                if (p->rules[i].nr == p->rules[first].nr)
                        alternative_add(em, &p->rules[i]);
        /* An entry without conditions is its call's only one (parse.c) and always returns by itself. */
        if (p->rules[first].condition_count > 0)
                return_add(em, SECCOMP_RET_KILL_PROCESS);
        if (em->full)
                return;

        em->prog->comments[head] = p->rules[first].call;
        body_len = em->prog->len - head - 1;
        if (body_len <= UINT8_MAX) {
                filter[head].jf = (uint8_t)body_len;
                return;
        }
        /* Too far for a conditional jump: step over a long one. The body's own jumps are relative. */
        insn_add(em, BPF_JMP | BPF_JA, 0, 0, 0);
        if (em->full)
                return;
        memmove(&filter[head + 2], &filter[head + 1], body_len * sizeof(*filter));
        filter[head].jt = 1;
        filter[head + 1] = (struct sock_filter){.code = BPF_JMP | BPF_JA, .k = body_len};
}

int policy_emit(const struct policy *p, struct bpf_program *ret, struct err *e)
{
        struct emitter em = {.prog = ret};

        memset(ret, 0, sizeof(*ret));
        load_add(&em, offsetof(struct seccomp_data, arch));
        jump_add(&em, BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
        return_add(&em, SECCOMP_RET_KILL_PROCESS);
        load_add(&em, offsetof(struct seccomp_data, nr));
        for (unsigned int i = 0; i < p->rule_count; i++)
                if (policy_rule_is_first(p, i))
                        call_add(p, i, &em);
        return_add(&em, SECCOMP_RET_KILL_PROCESS);
        if (em.full)
                return err_set(e, -E2BIG, "program of more than %d instructions", BPF_MAXINSNS);
        return 0;
}
