/* The compiler's two outputs: a C file for the program, a list for people. */
#include <string.h>

#include "policy.h"

void policy_write_c(const struct bpf_program *prog, const char *name, FILE *f)
{
        fprintf(f, "/* Made by policy-compiler from the policy of %s. Change that, not this file. */\n", name);
        fputs("#include \"jail/policy.h\"\n\n", f);
        fprintf(f, "extern const struct jail_policy policy_%s;\n\n", name);
        fputs("static const struct sock_filter filter[] = {\n", f);
        for (unsigned int at = 0; at < prog->len; at++) {
                const struct sock_filter *i = &prog->filter[at];

                if (prog->comments[at])
                        fprintf(f, "        /* %s */\n", prog->comments[at]);
                fprintf(f, "        {0x%02x, %u, %u, 0x%08x},\n", i->code, i->jt, i->jf, i->k);
        }
        fputs("};\n\n", f);
        fprintf(f, "const struct jail_policy policy_%s = {.filter = filter, .len = %u};\n", name, prog->len);
}

/* The request an ioctl entry allows (entry.c makes sure that there is one), or NULL for another call. */
static const struct condition *request_of(const struct rule *r)
{
        if (strcmp(r->call, "ioctl") != 0)
                return NULL;
        for (unsigned int i = 0; i < r->condition_count; i++)
                if (r->conditions[i].arg == 1 && r->conditions[i].op == CONDITION_EQ)
                        return &r->conditions[i];
        return NULL;
}

static unsigned int requests_count(const struct policy *p)
{
        unsigned int count = 0;

        for (unsigned int i = 0; i < p->rule_count; i++) {
                const struct condition *request = request_of(&p->rules[i]);
                bool seen = !request;

                for (unsigned int j = 0; j < i && !seen; j++) {
                        const struct condition *earlier = request_of(&p->rules[j]);

                        seen = earlier && earlier->value == request->value;
                }
                if (!seen)
                        count++;
        }
        return count;
}

static void call_write(const struct policy *p, unsigned int first, FILE *f)
{
        fprintf(f, "\n%s\n", p->rules[first].call);
        for (unsigned int i = first; i < p->rule_count; i++) {
                const struct rule *r = &p->rules[i];

                if (r->nr != p->rules[first].nr)
                        continue;
                if (r->condition_count > 0)
                        fprintf(f, "    [%s]: ", r->text);
                else
                        fputs("    any arguments: ", f);
                if (r->mark != MARK_NONE)
                        fprintf(f, "[%s] ", rule_mark_name(r->mark));
                fprintf(f, "%s\n", r->reason);
        }
}

void policy_write_list(const struct policy *p, const struct bpf_program *prog, const char *name, FILE *f)
{
        unsigned int calls = 0, checks = 0;

        for (unsigned int i = 0; i < p->rule_count; i++) {
                calls += policy_rule_is_first(p, i);
                checks += p->rules[i].condition_count;
        }
        fprintf(f, "Policy %s: %u calls, %u argument checks, %u ioctl requests, %u instructions.\n", name, calls,
                checks, requests_count(p), prog->len);
        fputs("Everything else kills the process.\n", f);
        for (unsigned int i = 0; i < p->rule_count; i++)
                if (policy_rule_is_first(p, i))
                        call_write(p, i, f);
}
