/* What the program of any policy must do: tried on the program, without asking how its conditions compare. */
#include <linux/audit.h>
#include <string.h>

#include "bpf_run.h"
#include "policy.h"

#define FDS_TRIED      1024
#define REQUESTS_TRIED 0x10000U /* those without a direction and size */

static bool passes(const struct bpf_program *prog, int nr, const uint64_t args[POLICY_ARGS])
{
        struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64};

        memcpy(d.args, args, sizeof(d.args));
        return bpf_run(prog->filter, prog->len, &d) == SECCOMP_RET_ALLOW;
}

/* Does an entry of this call allow this value of this argument, whatever its other conditions say? */
static bool value_is_named(const struct policy *p, int nr, unsigned int arg, uint32_t value)
{
        for (unsigned int i = 0; i < p->rule_count; i++)
                for (unsigned int j = 0; p->rules[i].nr == nr && j < p->rules[i].condition_count; j++) {
                        const struct condition *c = &p->rules[i].conditions[j];

                        if (c->arg == arg && ((c->op == CONDITION_EQ && (uint32_t)c->value == value) ||
                                              (c->op == CONDITION_MASKED_EQ && (value & c->mask) == c->value)))
                                return true;
                }
        return false;
}

static int broken(const struct rule *r, const char *what, uint32_t value, struct err *e)
{
        return err_bad(e, STATUS_FAILURE, "compiler is broken: %s passes with %s %#x, which no entry names", r->call,
                       what, value);
}

static int request_try(const struct policy *p, const struct bpf_program *prog, const struct rule *rule,
                       const uint64_t solution[POLICY_ARGS], uint32_t request, struct err *e)
{
        uint64_t args[POLICY_ARGS];

        memcpy(args, solution, sizeof(args));
        args[1] = request;
        return passes(prog, rule->nr, args) && !value_is_named(p, rule->nr, 1, request)
                       ? broken(rule, "request", request, e)
                       : 0;
}

/* Every request of the simple kind, every one the compiler knows by name, and those that differ in one bit. */
static int requests_try(const struct policy *p, const struct bpf_program *prog, const struct rule *rule,
                        const uint64_t args[POLICY_ARGS], struct err *e)
{
        uint32_t known;
        int r = 0;

        for (size_t i = 0; r == 0 && constant_at(i, &known); i++)
                r = request_try(p, prog, rule, args, known, e);
        for (uint32_t request = 0; r == 0 && request < REQUESTS_TRIED; request++)
                r = request_try(p, prog, rule, args, request, e);
        for (unsigned int bit = 0; r == 0 && bit < 32; bit++)
                r = request_try(p, prog, rule, args, (uint32_t)args[1] ^ (1U << bit), e);
        return r;
}

static int fds_try(const struct policy *p, const struct bpf_program *prog, const struct rule *rule, unsigned int arg,
                   const uint64_t solution[POLICY_ARGS], struct err *e)
{
        uint64_t args[POLICY_ARGS];

        memcpy(args, solution, sizeof(args));
        for (int fd = -200 /* AT_FDCWD is -100 */; fd < FDS_TRIED; fd++) {
                args[arg] = (uint32_t)fd;
                if (passes(prog, rule->nr, args) && !value_is_named(p, rule->nr, arg, (uint32_t)fd))
                        return broken(rule, "descriptor", (uint32_t)fd, e);
        }
        return 0;
}

int policy_keep_promises(const struct policy *p, const struct bpf_program *prog, struct err *e)
{
        for (unsigned int i = 0; i < p->rule_count; i++) {
                const struct rule *rule = &p->rules[i];
                uint64_t args[POLICY_ARGS];
                int r = rule_solve(rule, args, e);

                if (r == 0 && strcmp(rule->call, "ioctl") == 0)
                        r = requests_try(p, prog, rule, args, e);
                for (unsigned int arg = 0; r == 0 && p->require_fd && arg < POLICY_ARGS; arg++)
                        if (fd_arguments(rule->call) & (1U << arg))
                                r = fds_try(p, prog, rule, arg, args, e);
                if (r < 0)
                        return err_wrap(e, r, "%s:%u", p->files[rule->file], rule->line);
        }
        return 0;
}
