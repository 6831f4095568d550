#include "filters.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "base/cleanup.h"

int filters_add(struct filters *f, const char *name_and_file, const char *const *defines, unsigned int define_count,
                struct err *e)
{
        const char *file = strchr(name_and_file, '=');
        struct filter *new = &f->filter[f->count];
        int r = 0;

        if (!file || f->count == FILTERS_MAX)
                return err_bad(e, STATUS_USAGE, "policy %s: not NAME=FILE, or too many", name_and_file);
        new->name = strndup(name_and_file, (size_t)(file - name_and_file));
        new->policy = policy_new();
        if (!new->name || !new->policy)
                return err_set(e, -ENOMEM, "policy %s", name_and_file);
        for (unsigned int i = 0; i < define_count && r == 0; i++)
                r = policy_read_defines(new->policy, defines[i], e);
        if (r == 0)
                r = policy_parse(new->policy, file + 1, e);
        if (r == 0)
                r = policy_emit(new->policy, &new->program, e);
        f->count += r == 0;
        return r;
}

unsigned int filters_find(const struct filters *f, const struct sock_filter *program, unsigned int len)
{
        for (unsigned int i = 0; i < f->count; i++)
                if (f->filter[i].program.len == len &&
                    memcmp(f->filter[i].program.filter, program, len * sizeof(*program)) == 0)
                        return i;
        return FILTER_UNKNOWN;
}

void filters_push(struct filters *f, struct filter_stack *stack, unsigned int filter)
{
        if (filter == FILTER_UNKNOWN || stack->count == FILTERS_STACK) {
                f->unknown++;
                return;
        }
        f->filter[filter].installed++;
        stack->filters[stack->count++] = filter;
}

void filters_count(struct filters *f, const struct filter_stack *stack, const struct seccomp_data *d, FILE *report)
{
        unsigned int call = d->nr >= 0 && d->nr < CALLS_MAX ? (unsigned int)d->nr : CALLS_MAX - 1;

        if (stack->count == 0)
                f->unfiltered++;
        else
                f->filter[stack->filters[stack->count - 1]].calls[call]++;
        for (unsigned int i = 0; i < stack->count; i++) {
                struct filter *filter = &f->filter[stack->filters[i]];
                const struct rule *rule = policy_match(filter->policy, d);

                if (rule) {
                        filter->used[rule - filter->policy->rules]++;
                        continue;
                }
                fprintf(report, "killed\t%s\t%d", filter->name, d->nr);
                for (size_t arg = 0; arg < ARRAY_LEN(d->args); arg++)
                        fprintf(report, "\t%#llx", (unsigned long long)d->args[arg]);
                fputc('\n', report);
        }
}

static void filter_report(const struct filter *filter, FILE *report)
{
        const struct policy *p = filter->policy;

        fprintf(report, "filter\t%s\t%lu\n", filter->name, filter->installed);
        for (unsigned int i = 0; i < p->rule_count; i++) {
                const struct rule *r = &p->rules[i];

                fprintf(report, "rule\t%s\t%lu\t%s\t%s:%u\t%s\t%s\t%s\n", filter->name, filter->used[i],
                        rule_mark_name(r->mark), p->files[r->file], r->line, r->call, r->text, r->reason);
        }
        for (int nr = 0; nr < CALLS_MAX; nr++) {
                _cleanup_free_ char *name = NULL;

                if (filter->calls[nr] == 0)
                        continue;
                name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);
                fprintf(report, "call\t%s\t%lu\t%s\n", filter->name, filter->calls[nr], name ? name : "?");
        }
}

void filters_report(const struct filters *f, FILE *report)
{
        for (unsigned int i = 0; i < f->count; i++)
                filter_report(&f->filter[i], report);
        fprintf(report, "unfiltered\t%lu\nunknown\t%lu\n", f->unfiltered, f->unknown);
}
