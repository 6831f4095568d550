#include "bpf_run.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool load_fits(uint32_t offset)
{
        return offset % 4 == 0 && offset <= sizeof(struct seccomp_data) - 4;
}

static bool insn_ok(const struct sock_filter *filter, unsigned int len, unsigned int at)
{
        const struct sock_filter *i = &filter[at];
        unsigned int left = len - at - 1; /* instructions after this one: a jump of n lands on the n-th of them */

        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
                return left > 0 && load_fits(i->k);
        case BPF_ALU | BPF_AND | BPF_K:
                return left > 0;
        case BPF_JMP | BPF_JA:
                return i->k < left;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_K:
                return i->jt < left && i->jf < left;
        case BPF_RET | BPF_K:
                return i->k == SECCOMP_RET_ALLOW || i->k == SECCOMP_RET_KILL_PROCESS;
        default:
                return false;
        }
}

int bpf_check(const struct sock_filter *filter, unsigned int len, unsigned int *ret_at)
{
        if (len == 0 || len > BPF_MAXINSNS) {
                if (ret_at)
                        *ret_at = 0;
                return -EINVAL;
        }
        for (unsigned int at = 0; at < len; at++)
                if (!insn_ok(filter, len, at)) {
                        if (ret_at)
                                *ret_at = at;
                        return -EINVAL;
                }
        return 0;
}

static bool jump_taken(const struct sock_filter *i, uint32_t acc)
{
        switch (BPF_OP(i->code)) {
        case BPF_JEQ:
                return acc == i->k;
        case BPF_JGT:
                return acc > i->k;
        case BPF_JGE:
                return acc >= i->k;
        default: /* BPF_JSET */
                return (acc & i->k) != 0;
        }
}

uint32_t bpf_run(const struct sock_filter *filter, unsigned int len, const struct seccomp_data *data)
{
        uint32_t acc = 0;

        for (unsigned int pc = 0; pc < len; pc++) {
                const struct sock_filter *i = &filter[pc];

                if (!insn_ok(filter, len, pc))
                        break;
                switch (BPF_CLASS(i->code)) {
                case BPF_LD:
                        memcpy(&acc, (const char *)data + i->k, sizeof(acc));
                        break;
                case BPF_ALU:
                        acc &= i->k;
                        break;
                case BPF_JMP:
                        if (BPF_OP(i->code) == BPF_JA)
                                pc += i->k;
                        else
                                pc += jump_taken(i, acc) ? i->jt : i->jf;
                        break;
                default: /* BPF_RET */
                        return i->k;
                }
        }
        return SECCOMP_RET_KILL_PROCESS;
}
