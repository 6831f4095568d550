/* The auditor's interpreter of seccomp filters against the kernel's: what one takes or returns, the other does, too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>

#include <cmocka.h>

#include "audit/model/bpf.h"
#include "base/cleanup.h"

#define REFUSED 77 /* exit status of a child: the kernel did not take the filter */
#define PROBE   SYS_getppid
#define ARG(n)  ((uint32_t)offsetof(struct seccomp_data, args) + 8U * (n))

static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

/* In a child: 0 when the kernel takes the program. The child ends by its filter or by itself. */
static bool kernel_takes(const struct sock_filter *program, size_t count)
{
        const struct sock_fprog f = {.len = (unsigned short)count, .filter = (struct sock_filter *)program};
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                        _exit(1);
                _exit(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f) < 0 ? REFUSED : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return !(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED);
}

static void good_and_bad_programs(void **state)
{
        static const struct sock_filter cases[][3] = {
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 60)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2)},
                {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0)},
                {BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0)},
                {BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0)},
                {BPF_STMT(BPF_LD | BPF_IMM, 1)},
                {BPF_STMT(BPF_LDX | BPF_IMM, 1)},
                {BPF_STMT(BPF_ST, 15)},
                {BPF_STMT(BPF_STX, 16)},
                {BPF_STMT(BPF_MISC | BPF_TAX, 0)},
                {BPF_STMT(BPF_MISC | BPF_TXA, 0)},
                {BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1)},
                {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0)},
                {BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0)},
                {BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3)},
                {BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0)},
                {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 31)},
                {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32)},
                {BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0)},
                {BPF_STMT(BPF_ALU | BPF_NEG, 0)},
                {BPF_STMT(BPF_ALU | BPF_NEG | BPF_X, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JA, 2, 0, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JA, 0xffffffff, 0, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0)},
                {BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 2)},
                {BPF_JUMP(BPF_JMP | 0x50, 0, 0, 0)},
                {BPF_STMT(BPF_RET | BPF_A, 0)},
                {BPF_STMT(BPF_RET | BPF_X, 0)},
                {BPF_STMT(0xffff, 0)},
                {BPF_STMT(0x0120, 0)},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct sock_filter program[3] = {cases[i][0], allow, allow};

                /* A load from memory needs a store before it, which the kernel checks and this one need not. */
                if ((bpf_check(program, 3) == 0) != kernel_takes(program, 3))
                        fail_msg("case %zu: code 0x%x: the kernel sees it otherwise", i, program[0].code);
        }
}

static void lengths(void **state)
{
        _cleanup_free_ struct sock_filter *program = calloc(BPF_MAXINSNS + 1, sizeof(*program));
        const struct sock_filter load = BPF_STMT(BPF_LD | BPF_IMM, 0);

        (void)state;
        assert_non_null(program);
        for (size_t i = 0; i <= BPF_MAXINSNS; i++)
                program[i] = allow;
        assert_int_equal(bpf_check(program, 0), -EINVAL);
        assert_int_equal(bpf_check(program, 1), 0);
        assert_int_equal(bpf_check(program, BPF_MAXINSNS), 0);
        assert_int_equal(bpf_check(program, BPF_MAXINSNS + 1), -EINVAL);
        program[1] = load; /* nothing returns */
        assert_int_equal(bpf_check(program, 2), -EINVAL);
        assert_false(kernel_takes(program, 2));
}

/* What the kernel returns for the probe with these arguments, as the number of an error; -1 - n: the child ended by
 * signal n. */
static int kernel_runs(const struct sock_filter *program, size_t count, const uint64_t args[2])
{
        const struct sock_fprog f = {.len = (unsigned short)count, .filter = (struct sock_filter *)program};
        const struct rlimit no_core = {0};
        int status, result, ends[2];
        pid_t pid;

        assert_int_equal(pipe(ends), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                setrlimit(RLIMIT_CORE, &no_core);
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f) < 0)
                        _exit(REFUSED);
                result = syscall(PROBE, args[0], args[1]) < 0 ? errno : 0;
                _exit(write(ends[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
        }
        close(ends[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (read(ends[0], &result, sizeof(result)) != sizeof(result))
                result = WIFSIGNALED(status) ? -1 - WTERMSIG(status) : -1;
        close(ends[0]);
        return result;
}

static int mine_runs(const struct sock_filter *program, size_t count, const uint64_t args[2])
{
        const struct seccomp_data d = {.nr = PROBE, .arch = AUDIT_ARCH_X86_64, .args = {args[0], args[1]}};
        uint32_t r = bpf_run(program, count, &d);

        switch (r & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_ALLOW:
                return 0;
        case SECCOMP_RET_ERRNO:
                return (int)(r & SECCOMP_RET_DATA);
        default:
                return -1 - 31; /* SIGSYS */
        }
}

/* Loads both arguments into A and X, does one operation, and returns 12 bits of the result as an error. */
static void operations(void **state)
{
        static const struct sock_filter ops[] = {
                BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_MUL | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_OR | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_LSH | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0),
                BPF_STMT(BPF_ALU | BPF_NEG, 0),
                BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 77),
                BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 7),
                BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 31),
                BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
                BPF_STMT(BPF_MISC | BPF_TXA, 0),
                BPF_STMT(BPF_LD | BPF_MEM, 3),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 1, 0),
                BPF_JUMP(BPF_JMP | BPF_JGT | BPF_X, 0, 1, 0),
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 1),
                BPF_JUMP(BPF_JMP | BPF_JSET | BPF_X, 0, 1, 0),
                BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0x7fffffff, 1, 0),
                BPF_STMT(BPF_JMP | BPF_JA, 1),
        };
        static const uint32_t values[] = {0, 1, 7, 31, 32, 33, 4095, 0x7fffffff, 0x80000000, 0xffffffff};

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(ops); i++)
                for (size_t k = 0; k < ARRAY_LEN(values); k++) {
                        const struct sock_filter program[] = {
                                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 1, 0),
                                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(1)),
                                BPF_STMT(BPF_MISC | BPF_TAX, 0),
                                BPF_STMT(BPF_STX, 3),
                                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(0)),
                                ops[i],
                                BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 5),
                                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x7ff),
                                BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO | 0x800),
                                BPF_STMT(BPF_RET | BPF_A, 0),
                        };
                        const uint64_t args[2] = {values[(k * 7 + i) % ARRAY_LEN(values)], values[k]};

                        assert_int_equal(bpf_check(program, ARRAY_LEN(program)), 0);
                        assert_int_equal(mine_runs(program, ARRAY_LEN(program), args),
                                         kernel_runs(program, ARRAY_LEN(program), args));
                }
}

/* Whatever bytes: what passes the check runs to its end. */
static void garbage(void **state)
{
        struct sock_filter program[8];
        const struct seccomp_data d = {.nr = 1};

        (void)state;
        srandom(1);
        for (int run = 0; run < 200000; run++) {
                size_t count = 1 + (size_t)random() % ARRAY_LEN(program);

                for (size_t i = 0; i < count; i++)
                        program[i] = (struct sock_filter){.code = (uint16_t)(random() & 0xbf),
                                                          .jt = (uint8_t)(random() & 7),
                                                          .jf = (uint8_t)(random() & 7),
                                                          .k = (uint32_t)random() & (random() & 1 ? 15U : UINT32_MAX)};
                program[count - 1].code = BPF_RET | BPF_K;
                if (bpf_check(program, count) == 0)
                        (void)bpf_run(program, count, &d);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good_and_bad_programs),
                cmocka_unit_test(lengths),
                cmocka_unit_test(operations),
                cmocka_unit_test(garbage),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
