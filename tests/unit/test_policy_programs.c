/* The policy compiler: what its programs do when they run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "jail/policy.h"
#include "policy_bench.h"

#define GARBAGE 0xdead000000000000ULL /* in an upper half */

extern const struct jail_policy policy_example;

static void allows_what_it_names(void **state)
{
        struct bench *b = *state;

        must_compile(b, "# comment\n"
                        "\n"
                        "ioctl [arg0 == 5, arg1 == KVM_RUN] : runs\n"
                        "ioctl [ arg0==5 ,arg1==KVM_GET_REGS ]: report\n"
                        "  read : # and : may stand [in] a reason\t\n"
                        "mmap [arg2 & PROT_EXEC == 0] : memory\r\n"
                        "futex [arg1 == FUTEX_WAIT|FUTEX_PRIVATE_FLAG] : lock\n"
                        "futex [arg1 == 0x81] : unlock");
        assert_int_equal(b->policy->rule_count, 6);
        assert_string_equal(b->policy->rules[2].reason, "# and : may stand [in] a reason");
        assert_int_equal(b->policy->rules[5].line, 8);

        assert_true(allowed(b, SYS_ioctl, 5, KVM_RUN, 0));
        assert_true(allowed(b, SYS_ioctl, 5, KVM_GET_REGS, 99));
        assert_false(allowed(b, SYS_ioctl, 5, KVM_SET_REGS, 0));
        assert_false(allowed(b, SYS_ioctl, 6, KVM_RUN, 0));
        assert_true(allowed(b, SYS_read, 1, 2, 3));
        assert_false(allowed(b, SYS_write, 1, 2, 3));
        assert_true(allowed(b, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE));
        assert_false(allowed(b, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC));
        assert_true(allowed(b, SYS_futex, 0, FUTEX_WAIT_PRIVATE, 0));
        assert_true(allowed(b, SYS_futex, 0, FUTEX_WAKE_PRIVATE, 0));
        assert_false(allowed(b, SYS_futex, 0, FUTEX_WAIT, 0));
}

static void closed_ways(void **state)
{
        static const uint32_t archs[] = {AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, 0, 0xffffffff};
        struct bench *b = *state;

        must_compile(b, "read : r\nioctl [arg1 == KVM_RUN] : r\n");
        for (size_t i = 0; i < ARRAY_LEN(archs); i++) {
                struct seccomp_data d = {.nr = SYS_read, .arch = archs[i]};

                assert_int_equal(bpf_run(b->prog->filter, b->prog->len, &d), SECCOMP_RET_KILL_PROCESS);
        }
        assert_true(allowed(b, SYS_read, 0, 0, 0));
        assert_false(allowed(b, SYS_read | 0x40000000, 0, 0, 0));
        assert_false(allowed(b, SYS_ioctl | 0x40000000, 0, KVM_RUN, 0));
        assert_false(allowed(b, -1, 0, 0, 0));
}

/* Conditions and arguments, with the verdict written by hand. */
static void comparisons(void **state)
{
        static const struct {
                const char *condition;
                uint64_t arg;
                bool allowed;
        } cases[] = {
                {"arg2 == 7", 7, true},
                {"arg2 == 7", GARBAGE | 7, true}, /* the kernel takes an int: this is 7 */
                {"arg2 == 7", 8, false},
                {"arg2:64 == 7", 7, true},
                {"arg2:64 == 7", GARBAGE | 7, false},
                {"arg2:64 == 0x100000007", 0x100000007, true},
                {"arg2:64 == 0x100000007", 7, false},
                {"arg2 == -1", 0xffffffff, true},
                {"arg2 == -1", UINT64_MAX, true},
                {"arg2:64 == -1", 0xffffffff, false},
                {"arg2:64 == -1", UINT64_MAX, true},
                {"arg2 == AT_FDCWD", (uint32_t)AT_FDCWD, true},
                {"arg2 != 7", 7, false},
                {"arg2 != 7", GARBAGE | 7, false}, /* garbage must not make a 7 something else */
                {"arg2 != 7", GARBAGE | 8, true},
                {"arg2:64 != 7", 7, false},
                {"arg2:64 != 7", GARBAGE | 7, true},
                {"arg2 <= 7", 7, true},
                {"arg2 <= 7", 8, false},
                {"arg2 <= 7", GARBAGE | 7, true},
                {"arg2 <= 7", 0xffffffff, false}, /* unsigned */
                {"arg2:64 <= 7", GARBAGE | 7, false},
                {"arg2:64 <= 0x200000007", 0x100000009, true},
                {"arg2:64 <= 0x200000007", 0x200000007, true},
                {"arg2:64 <= 0x200000007", 0x200000008, false},
                {"arg2:64 <= 0x200000007", 0x300000000, false},
                {"arg2:64 <= 0xffffffff", 0xffffffff, true},
                {"arg2:64 <= 0xffffffff", 0x100000000, false},
                {"arg2 >= 7", 7, true},
                {"arg2 >= 7", 6, false},
                {"arg2 >= 7", GARBAGE | 6, false}, /* nor a 6 something big */
                {"arg2:64 >= 7", GARBAGE | 6, true},
                {"arg2:64 >= 0x200000007", 0x200000007, true},
                {"arg2:64 >= 0x200000007", 0x200000006, false},
                {"arg2:64 >= 0x200000007", 0x1ffffffff, false},
                {"arg2:64 >= 0x200000007", 0x300000000, true},
                {"arg2 & 6 == 4", 5, true},
                {"arg2 & 6 == 4", 6, false},
                {"arg2 & 6 == 4", GARBAGE | 0xc, true},
                {"arg2 & 2|4 == 2|4", 6, true},
                {"arg2 & 2|4 == 2|4", 4, false},
                {"arg2:64 & 0xfffffffffffffffe == 0", 1, true},
                {"arg2:64 & 0xfffffffffffffffe == 0", 0x100000000, false},
                {"arg2 >= 4, arg2 <= 6, arg2 != 5", 4, true},
                {"arg2 >= 4, arg2 <= 6, arg2 != 5", 5, false},
                {"arg2 >= 4, arg2 <= 6, arg2 != 5", 7, false},
        };
        struct bench *b = *state;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char text[128];

                snprintf(text, sizeof(text), "read [%s] : r", cases[i].condition);
                must_compile(b, text);
                if (allowed(b, SYS_read, 0, 0, cases[i].arg) != cases[i].allowed)
                        fail_msg("[%s] with %#llx", cases[i].condition, (unsigned long long)cases[i].arg);
        }
}

/* The program of a policy, held to the promises of a stricter one. */
static int promises_broken(struct bench *b, const char *made_of, const char *held_to)
{
        static struct bpf_program prog;

        must_compile(b, made_of);
        prog = *b->prog;
        must_compile(b, held_to);
        return policy_keep_promises(b->policy, &prog, &b->err);
}

static void keeps_promises(void **state)
{
        static const char strict[] = "require fd\nioctl [arg0 == 3, arg1 == KVM_RUN] : r\nread [arg0 == 3] : r\n";
        struct bench *b = *state;

        assert_int_equal(promises_broken(b, strict, strict), 0);
        assert_int_equal(promises_broken(b, "ioctl [arg0 == 3, arg1 == TIOCGWINSZ] : r\nread [arg0 == 3] : r\n",
                                         strict),
                         -EINVAL);
        assert_non_null(strstr(b->err.text, "/a.policy:2: compiler is broken: ioctl passes with request 0x5413"));
        assert_int_equal(promises_broken(b, "ioctl [arg0 == 3, arg1 == KVM_SET_SREGS] : r\n",
                                         "ioctl [arg0 == 3, arg1 == KVM_GET_SREGS] : r\n"),
                         -EINVAL);
        assert_int_equal(promises_broken(b, "ioctl [arg0 == 4, arg1 == KVM_RUN] : r\n", strict), -EINVAL);
        assert_non_null(strstr(b->err.text, "ioctl passes with descriptor 0x4"));
        assert_int_equal(promises_broken(b, "read : r\n", strict), -EINVAL);
        assert_non_null(strstr(b->err.text, "/a.policy:3: compiler is broken: read passes with descriptor"));
        assert_int_equal(promises_broken(b, "read : r\n", "read [arg0 == 3] : r\n"), 0); /* nothing was promised */
}

/*
 * How many instructions decide call `nr` of a policy without conditions. What the kernel does for every
 * number when a filter is installed, so it must not grow with the number of calls.
 */
static unsigned int steps_of(const struct bpf_program *prog, uint32_t nr)
{
        unsigned int steps = 4, pc = 4; /* the architecture and the load of the number come first */

        assert_int_equal(prog->filter[3].code, BPF_LD | BPF_W | BPF_ABS);
        assert_int_equal(prog->filter[3].k, offsetof(struct seccomp_data, nr));
        for (;; steps++) {
                const struct sock_filter *i = &prog->filter[pc++];

                assert_true(pc <= prog->len);
                switch (i->code) {
                case BPF_JMP | BPF_JGE | BPF_K:
                        pc += nr >= i->k ? i->jt : i->jf;
                        break;
                case BPF_JMP | BPF_JEQ | BPF_K:
                        pc += nr == i->k ? i->jt : i->jf;
                        break;
                case BPF_JMP | BPF_JA:
                        pc += i->k;
                        break;
                default:
                        assert_int_equal(i->code, BPF_RET | BPF_K);
                        return steps;
                }
        }
}

/* Calls in any order are found by halving. */
static void searches(void **state)
{
        struct bench *b = *state;
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        /* 128 calls: two of each three from 191 down. 7 halvings, the leaf, its return. */
        assert_non_null(f);
        for (int nr = 191; nr >= 0; nr--) {
                char *name = nr % 3 == 1 ? NULL : seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

                if (name)
                        fprintf(f, "%s : r\n", name);
                free(name);
        }
        assert_int_equal(fclose(f), 0);
        must_compile(b, text);
        free(text);
        assert_int_equal(b->policy->rule_count, 128);
        for (uint32_t nr = 0; nr < 600; nr++) {
                assert_int_equal(allowed(b, (int)nr, 0, 0, 0), nr <= 191 && nr % 3 != 1);
                assert_true(steps_of(b->prog, nr) <= 4 + 7 + 2);
        }
        assert_true(steps_of(b->prog, UINT32_MAX) <= 4 + 7 + 2);

        /* Neighbours that the search alone tells apart need no comparison of their own. */
        must_compile(b, "write : r\nclose : r\nopen : r\nread : r\n");
        assert_int_equal(b->prog->len, 4 + 3 + 3 + 3);
        assert_true(allowed(b, SYS_write, 0, 0, 0));
        assert_false(allowed(b, SYS_close + 1, 0, 0, 0));

        /* A call without company. */
        must_compile(b, "close [arg0 == 5] : r\n");
        assert_true(allowed(b, SYS_close, 5, 0, 0));
        assert_false(allowed(b, SYS_close + 1, 5, 0, 0));
        assert_false(allowed(b, SYS_close - 1, 5, 0, 0));
}

/* Calls whose blocks are longer than a conditional jump reaches: each of the two needs a long one. */
static void far_jumps(void **state)
{
        struct bench *b = *state;
        struct sock_filter *f = b->prog->filter;
        unsigned int jumps = 0, names = 0;
        char *text = many_entries(180, 1);

        must_compile(b, text);
        free(text);
        assert_true(allowed(b, SYS_fcntl, 0, 179, 0));
        assert_false(allowed(b, SYS_fcntl, 0, 180, 0));
        assert_false(allowed(b, SYS_fcntl + 1, 0, 179, 0));
        assert_false(allowed(b, SYS_fcntl - 1, 0, 179, 0));
        assert_true(allowed(b, SYS_read, 0, 0, 0));
        assert_false(allowed(b, SYS_write, 0, 0, 0));
        for (unsigned int at = 1; at < b->prog->len; at++) {
                const char *name = b->prog->comments[at];

                if (name) {
                        assert_int_equal(f[at].code, BPF_JMP | BPF_JEQ | BPF_K);
                        assert_int_equal(f[at].k, strcmp(name, "fcntl") == 0 ? SYS_fcntl : SYS_read);
                        names++;
                }
                if (f[at].code != (BPF_JMP | BPF_JA))
                        continue;
                jumps++;
                f[at].k--;
                assert_int_equal(policy_verify(b->policy, b->prog, &b->err), -EINVAL);
                f[at].k++;
                f[at - 1].jt = 0;
                assert_int_equal(policy_verify(b->policy, b->prog, &b->err), -EINVAL);
                f[at - 1].jt = 1;
        }
        assert_int_equal(jumps, 2);
        assert_int_equal(names, 2);
        assert_int_equal(policy_verify(b->policy, b->prog, &b->err), 0);
}

/* What entries of a call begin with is tested once for as many of them as a conditional jump can step over. */
static void shared_conditions(void **state)
{
        struct bench *b = *state;
        char text[8192];
        int used = 0;

        for (unsigned int i = 0; i < 100; i++)
                used += snprintf(text + used, sizeof(text) - (size_t)used, "fcntl [arg0 == 5, arg1 == %u] : r\n", i);
        must_compile(b, text);
        assert_true(b->prog->len < 2 * 100 + 30);
        assert_true(allowed(b, SYS_fcntl, 5, 0, 0) && allowed(b, SYS_fcntl, 5, 99, 0));
        assert_false(allowed(b, SYS_fcntl, 5, 100, 0) || allowed(b, SYS_fcntl, 6, 99, 0));

        /* One condition may hold together with another: who fails behind the one is still tried behind the other. */
        must_compile(b, "fcntl [arg0 == 5, arg1 == 1] : a\nfcntl [arg0 & 1 == 1, arg1 == 2] : b\n"
                        "fcntl [arg0 == 5, arg1 == 3] : c\nfcntl [arg0 & 1 == 1, arg1 == 4, arg2 == 0] : d\n");
        for (uint64_t fd = 4; fd < 8; fd++)
                for (uint64_t command = 0; command < 6; command++)
                        assert_int_equal(allowed(b, SYS_fcntl, fd, command, 0),
                                         (fd == 5 && (command == 1 || command == 3)) ||
                                                 (fd % 2 == 1 && (command == 2 || command == 4)));
        assert_false(allowed(b, SYS_fcntl, 5, 4, 1));
}

static void must_notice(struct bench *b, const char *change, unsigned int at)
{
        if (policy_verify(b->policy, b->prog, &b->err) != -EINVAL)
                fail_msg("instruction %u: %s unnoticed", at, change);
}

/* The checker and the verifier must notice programs that are wrong, or their silence means nothing. */
static void notices_broken_programs(void **state)
{
        struct bench *b = *state;
        struct sock_filter *f = b->prog->filter;
        unsigned int tried = 0;

        must_compile(b, "ioctl [arg0 == 5, arg1 == KVM_RUN] : a\nioctl [arg0 == 5, arg1 == KVM_NMI] : a\n"
                        "read : b\nwrite [arg0 == 1] : b\ngetpid : b\nmmap [arg2 & 4 == 0] : c\n"
                        "lseek [arg1:64 >= 0x200000007, arg2 != 3] : d\n");
        for (unsigned int at = 0; at < b->prog->len; at++) {
                struct sock_filter good = f[at];

                if (good.code == (BPF_RET | BPF_K))
                        f[at].k = good.k == SECCOMP_RET_ALLOW ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
                else if (BPF_CLASS(good.code) == BPF_LD)
                        f[at].k = (good.k + 4) % sizeof(struct seccomp_data);
                else if (good.code == (BPF_JMP | BPF_JGE | BPF_K))
                        f[at].k++; /* one less may be a number that no call has, which changes nothing */
                else
                        f[at].k ^= 1;
                must_notice(b, "value changed", at);
                f[at] = good;
                if (BPF_CLASS(good.code) == BPF_JMP && good.jt != good.jf) {
                        f[at].jt = good.jf;
                        f[at].jf = good.jt;
                        must_notice(b, "branches swapped", at);
                        f[at] = good;
                        if (good.jt > 0)
                                f[at].jt--;
                        else
                                f[at].jf--;
                        must_notice(b, "branch shortened", at);
                        f[at] = good;
                        f[at].jf = good.jt;
                        must_notice(b, "comparison without effect", at);
                        f[at] = good;
                }
                tried++;
        }
        assert_true(tried > 40);
        assert_int_equal(policy_verify(b->policy, b->prog, &b->err), 0);
}

static void checks_programs(void **state)
{
        static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        static const struct sock_filter bad[][2] = {
                {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},
                {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_STMT(BPF_RET | BPF_A, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
                {BPF_STMT(BPF_ST, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        };
        struct seccomp_data d = {0};
        unsigned int at;

        assert_int_equal(bpf_check(&allow, 1, &at), 0);
        assert_int_equal(bpf_run(&allow, 1, &d), SECCOMP_RET_ALLOW);
        assert_int_equal(bpf_check(&allow, 0, &at), -EINVAL);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                at = 9;
                assert_int_equal(bpf_check(bad[i], 2, &at), -EINVAL);
                assert_int_equal(at, i == 0 ? 1 : 0);
                if (i > 0)
                        assert_int_equal(bpf_run(bad[i], 2, &d), SECCOMP_RET_KILL_PROCESS);
        }
}

/* libseccomp's program for the same rules: another hand's reading of what they mean. */
static unsigned int libseccomp_compile(const struct policy *p, struct sock_filter *ret, unsigned int max)
{
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
        int fd = memfd_create("filter", MFD_CLOEXEC);
        off_t size;

        assert_non_null(ctx);
        assert_true(fd >= 0);
        assert_int_equal(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), 0);
        for (unsigned int i = 0; i < p->rule_count; i++) {
                const struct rule *r = &p->rules[i];
                struct scmp_arg_cmp args[POLICY_CONDITIONS_MAX];

                for (unsigned int j = 0; j < r->condition_count; j++) {
                        const struct condition *c = &r->conditions[j];
                        uint64_t mask = c->op == CONDITION_MASKED_EQ ? c->mask : c->wide ? UINT64_MAX : UINT32_MAX;

                        assert_true(c->op == CONDITION_EQ || c->op == CONDITION_MASKED_EQ);
                        args[j] = (struct scmp_arg_cmp){c->arg, SCMP_CMP_MASKED_EQ, mask, c->value};
                }
                assert_int_equal(seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, r->nr, r->condition_count, args), 0);
        }
        assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
        seccomp_release(ctx);
        size = lseek(fd, 0, SEEK_END);
        assert_true(size > 0 && (size_t)size <= max * sizeof(*ret));
        assert_int_equal(io_pread_all(fd, ret, (size_t)size, 0), 0);
        close(fd);
        return (unsigned int)((size_t)size / sizeof(*ret));
}

static void agrees_with_libseccomp(void **state)
{
        static const int calls[] = {SYS_ioctl,  SYS_read,  SYS_mmap,
                                    SYS_futex,  SYS_write, SYS_lseek,
                                    SYS_execve, -1,        SYS_read | 0x40000000};
        static const uint64_t values[] = {0, 1, 2, 3, 4, 5, 6, 7, KVM_RUN, KVM_NMI, 128, 129, 0x100000003};
        static struct sock_filter theirs[BPF_MAXINSNS];
        struct bench *b = *state;
        unsigned int len, allows = 0;
        uint32_t seed = 1;

        must_compile(b, "ioctl [arg0 == 5, arg1 == KVM_RUN] : a\nioctl [arg0 == 6, arg1 == KVM_NMI] : a\n"
                        "read : b\nmmap [arg2 & 4 == 0] : c\nfutex [arg1 == 128] : d\nfutex [arg1 == 129] : d\n"
                        "write [arg0 == 3, arg2 & 6 == 2] : e\nwrite [arg1 == 2] : e\n"
                        "lseek [arg1:64 == 0x100000003] : f\n"
                        "close : g\nopenat : g\nexit_group : g\nfutex_waitv : g\nstat : g\nfstat : g\n"
                        "rt_sigreturn : g\nsetsockopt [arg1 == 1, arg2 == 2] : h\nepoll_wait : h\n");
        len = libseccomp_compile(b->policy, theirs, ARRAY_LEN(theirs));
        assert_int_equal(bpf_check(theirs, len, NULL), 0);
        for (unsigned int i = 0; i < 200000; i++) {
                struct seccomp_data d = {.arch = AUDIT_ARCH_X86_64};
                uint32_t action;

                seed = seed * 1664525 + 1013904223; /* Numerical Recipes' generator: repeatable is enough */
                d.nr = seed >> 31 ? calls[(seed >> 8) % ARRAY_LEN(calls)] : (int)((seed >> 8) % 400);
                for (unsigned int arg = 0; arg < 3; arg++) {
                        seed = seed * 1664525 + 1013904223;
                        d.args[arg] = values[(seed >> 8) % ARRAY_LEN(values)] | (seed >> 31 ? GARBAGE : 0);
                }
                action = bpf_run(b->prog->filter, b->prog->len, &d);
                assert_int_equal(action, bpf_run(theirs, len, &d));
                allows += action == SECCOMP_RET_ALLOW;
        }
        assert_true(allows > 10000 && allows < 190000);
}

static uint32_t example_run(int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
        struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .args = {a0, a1, a2, a3}};

        return bpf_run(policy_example.filter, policy_example.len, &d);
}

/* The program that the build made of example.policy, as a C array. */
static void example_is_compiled(void **state)
{
        assert_int_equal(bpf_check(policy_example.filter, policy_example.len, NULL), 0);
        assert_int_equal(example_run(SYS_ioctl, 4, KVM_RUN, 0, 0), SECCOMP_RET_ALLOW);
        assert_int_equal(example_run(SYS_ioctl, 3, KVM_RUN, 0, 0), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(example_run(SYS_ioctl, 4, KVM_SET_REGS, 0, 0), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(example_run(SYS_write, 3, 0, 4096, 0), SECCOMP_RET_ALLOW);
        assert_int_equal(example_run(SYS_write, 3, 0, 4097, 0), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(example_run(SYS_mmap, 0, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), SECCOMP_RET_ALLOW);
        assert_int_equal(example_run(SYS_mmap, 0, 1, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(example_run(SYS_mmap, 0, 1, PROT_READ, MAP_PRIVATE), SECCOMP_RET_KILL_PROCESS);
        assert_int_equal(example_run(SYS_exit_group, 0, 0, 0, 0), SECCOMP_RET_ALLOW);
        assert_int_equal(example_run(SYS_execve, 0, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                POLICY_TEST(allows_what_it_names),
                POLICY_TEST(closed_ways),
                POLICY_TEST(comparisons),
                POLICY_TEST(keeps_promises),
                POLICY_TEST(searches),
                POLICY_TEST(shared_conditions),
                POLICY_TEST(far_jumps),
                POLICY_TEST(notices_broken_programs),
                POLICY_TEST(checks_programs),
                POLICY_TEST(agrees_with_libseccomp),
                POLICY_TEST(example_is_compiled),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
