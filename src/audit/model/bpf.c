#include "audit/model/bpf.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool alu_known(uint16_t code)
{
        switch (BPF_OP(code)) {
        case BPF_ADD:
        case BPF_SUB:
        case BPF_MUL:
        case BPF_AND:
        case BPF_OR:
        case BPF_XOR:
        case BPF_DIV:
        case BPF_LSH:
        case BPF_RSH:
                return true;
        default:
                return false;
        }
}

static bool alu_ok(const struct sock_filter *i)
{
        if (i->code == (BPF_ALU | BPF_NEG))
                return true;
        if (!alu_known(i->code) || (i->code & ~(BPF_ALU | 0xf0 | BPF_X)) != 0)
                return false;
        if (BPF_SRC(i->code) == BPF_X)
                return true;
        if (BPF_OP(i->code) == BPF_DIV)
                return i->k != 0;
        if (BPF_OP(i->code) == BPF_LSH || BPF_OP(i->code) == BPF_RSH)
                return i->k < 32;
        return true;
}

/* left: instructions behind this one. */
static bool jump_ok(const struct sock_filter *i, size_t left)
{
        switch (i->code) {
        case BPF_JMP | BPF_JA:
                return i->k < left;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JEQ | BPF_X:
        case BPF_JMP | BPF_JGT | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_X:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_X:
        case BPF_JMP | BPF_JSET | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_X:
                return i->jt < left && i->jf < left;
        default:
                return false;
        }
}

static bool instruction_ok(const struct sock_filter *i, size_t left)
{
        switch (BPF_CLASS(i->code)) {
        case BPF_ALU:
                return alu_ok(i);
        case BPF_JMP:
                return jump_ok(i, left);
        default:
                break;
        }
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
                return i->k < sizeof(struct seccomp_data) && i->k % 4 == 0;
        case BPF_LD | BPF_MEM:
        case BPF_LDX | BPF_MEM:
        case BPF_ST:
        case BPF_STX:
                return i->k < BPF_MEMWORDS;
        case BPF_LD | BPF_W | BPF_LEN:
        case BPF_LDX | BPF_W | BPF_LEN:
        case BPF_LD | BPF_IMM:
        case BPF_LDX | BPF_IMM:
        case BPF_MISC | BPF_TAX:
        case BPF_MISC | BPF_TXA:
        case BPF_RET | BPF_K:
        case BPF_RET | BPF_A:
                return true;
        default:
                return false;
        }
}

int bpf_check(const struct sock_filter *program, size_t count)
{
        if (count == 0 || count > BPF_MAXINSNS || BPF_CLASS(program[count - 1].code) != BPF_RET)
                return -EINVAL;
        for (size_t i = 0; i < count; i++)
                if (!instruction_ok(&program[i], count - 1 - i))
                        return -EINVAL;
        return 0;
}

struct machine {
        uint32_t a, x, memory[BPF_MEMWORDS];
        bool stop; /* a division by zero: the program returns 0 */
};

static void alu(struct machine *m, const struct sock_filter *i)
{
        uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

        switch (BPF_OP(i->code)) {
        case BPF_ADD:
                m->a += v;
                break;
        case BPF_SUB:
                m->a -= v;
                break;
        case BPF_MUL:
                m->a *= v;
                break;
        case BPF_AND:
                m->a &= v;
                break;
        case BPF_OR:
                m->a |= v;
                break;
        case BPF_XOR:
                m->a ^= v;
                break;
        case BPF_LSH:
                m->a <<= v & 31; /* as ___bpf_prog_run() masks it */
                break;
        case BPF_RSH:
                m->a >>= v & 31;
                break;
        case BPF_DIV:
                m->stop = v == 0;
                m->a = v ? m->a / v : 0;
                break;
        default: /* BPF_NEG */
                m->a = 0U - m->a;
                break;
        }
}

/* How many instructions a jump leaves out. */
static uint32_t jump(const struct machine *m, const struct sock_filter *i)
{
        uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;
        bool taken;

        switch (BPF_OP(i->code)) {
        case BPF_JA:
                return i->k;
        case BPF_JEQ:
                taken = m->a == v;
                break;
        case BPF_JGT:
                taken = m->a > v;
                break;
        case BPF_JGE:
                taken = m->a >= v;
                break;
        default: /* BPF_JSET */
                taken = (m->a & v) != 0;
                break;
        }
        return taken ? i->jt : i->jf;
}

static uint32_t word_of(const struct seccomp_data *data, uint32_t offset)
{
        uint32_t v;

        memcpy(&v, (const char *)data + offset, sizeof(v));
        return v;
}

static void move(struct machine *m, const struct sock_filter *i, const struct seccomp_data *data)
{
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
                m->a = word_of(data, i->k);
                break;
        case BPF_LD | BPF_W | BPF_LEN:
                m->a = sizeof(*data);
                break;
        case BPF_LDX | BPF_W | BPF_LEN:
                m->x = sizeof(*data);
                break;
        case BPF_LD | BPF_IMM:
                m->a = i->k;
                break;
        case BPF_LDX | BPF_IMM:
                m->x = i->k;
                break;
        case BPF_LD | BPF_MEM:
                m->a = m->memory[i->k];
                break;
        case BPF_LDX | BPF_MEM:
                m->x = m->memory[i->k];
                break;
        case BPF_ST:
                m->memory[i->k] = m->a;
                break;
        case BPF_STX:
                m->memory[i->k] = m->x;
                break;
        case BPF_MISC | BPF_TAX:
                m->x = m->a;
                break;
        default: /* BPF_MISC | BPF_TXA */
                m->a = m->x;
                break;
        }
}

uint32_t bpf_run(const struct sock_filter *program, size_t count, const struct seccomp_data *data)
{
        struct machine m = {0};

        for (size_t i = 0; i < count && !m.stop; i++)
                switch (BPF_CLASS(program[i].code)) {
                case BPF_RET:
                        return BPF_RVAL(program[i].code) == BPF_A ? m.a : program[i].k;
                case BPF_ALU:
                        alu(&m, &program[i]);
                        break;
                case BPF_JMP:
                        i += jump(&m, &program[i]);
                        break;
                default:
                        move(&m, &program[i], data);
                        break;
                }
        return SECCOMP_RET_KILL_THREAD;
}
