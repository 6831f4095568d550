#include "audit/model/filters.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#define CHAIN_MAX  64  /* filters of one thread */
#define CHAINS_MAX 256 /* distinct ones of a guest: each is compared with all, and run over every call */

static int filter_read(struct observer *o, pid_t tid, unsigned int index, struct filter *ret)
{
        struct answer a;
        int r = observe(o, &a, "seccomp %d %u", tid, index);

        if (r < 0)
                return r;
        if (a.len % sizeof(struct sock_filter) != 0)
                return -EBADMSG;
        ret->length = a.len / sizeof(struct sock_filter);
        ret->program = arena_array(o->arena, ret->length, sizeof(struct sock_filter));
        memcpy(ret->program, a.bytes, a.len);
        return bpf_check(ret->program, ret->length) < 0 ? -EBADMSG : 0;
}

/* Older kernels do not tell how many there are: then as many as answer. */
static int chain_read(struct observer *o, const struct thread *t, struct filter_chain *c)
{
        bool counted = t->seccomp_filters >= 0;

        if (t->seccomp == 1)
                c->strict = true;
        if (t->seccomp != 2)
                return 0;
        if (counted && t->seccomp_filters > CHAIN_MAX)
                return -E2BIG;
        for (unsigned int i = 0; !counted || i < (unsigned int)t->seccomp_filters; i++) {
                struct filter f = {0};
                int r = i == CHAIN_MAX ? -E2BIG : filter_read(o, t->tid, i, &f);

                if (r == -ENOENT && !counted && i > 0)
                        return 0;
                if (r < 0)
                        return r;
                *GROW(o->arena, c) = f;
        }
        return c->count > 0 ? 0 : -EBADMSG;
}

static bool chains_equal(const struct filter_chain *x, const struct filter_chain *y)
{
        if (x->strict != y->strict || x->count != y->count)
                return false;
        for (size_t i = 0; i < x->count; i++)
                if (x->items[i].length != y->items[i].length ||
                    memcmp(x->items[i].program, y->items[i].program,
                           x->items[i].length * sizeof(x->items[i].program[0])) != 0)
                        return false;
        return true;
}

static int chain_keep(struct observer *o, struct guest_filters *f, const struct filter_chain *c)
{
        for (size_t i = 0; i < f->count; i++)
                if (chains_equal(&f->items[i], c)) {
                        f->items[i].threads++;
                        return 0;
                }
        if (f->count == CHAINS_MAX)
                return -E2BIG;
        *GROW(o->arena, f) = *c;
        f->bare = f->bare || (!c->strict && c->count == 0);
        return 0;
}

static void process_filters_read(struct observer *o, const struct process *p, struct guest_filters *f)
{
        if (p->threads_error < 0) {
                f->error = p->threads_error;
                f->question = arena_printf(o->arena, "list /proc/%d/task", p->pid);
                return;
        }
        for (size_t i = 0; i < p->threads.count; i++) {
                const struct thread *t = &p->threads.items[i];
                struct filter_chain c = {.process = p, .thread = t, .threads = 1};
                int r = t->kernel_worker ? -ESRCH : chain_read(o, t, &c);

                if (r == -ESRCH) /* has ended, or never runs code of its process */
                        continue;
                if (r == 0)
                        r = chain_keep(o, f, &c);
                if (r < 0) {
                        f->error = r;
                        f->question = arena_printf(o->arena, "seccomp %d", t->tid);
                        return;
                }
        }
}

const struct guest_filters *guest_filters_read(struct observer *o, struct guest *g)
{
        if (g->filters)
                return g->filters;
        g->filters = arena_alloc(o->arena, sizeof(*g->filters));
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (p == g->vmm || p->threads_error != -ESRCH) /* a helper may end */
                        process_filters_read(o, p, g->filters);
        }
        if (g->filters->error == 0 && g->filters->count == 0) {
                g->filters->error = -ESRCH;
                g->filters->question = arena_printf(o->arena, "list /proc/%d/task", g->vmm->pid);
        }
        return g->filters;
}

static bool strict_allows(const struct seccomp_data *data)
{
        return data->nr == SYS_read || data->nr == SYS_write || data->nr == SYS_exit || data->nr == SYS_rt_sigreturn;
}

uint32_t filter_chain_action(const struct filter_chain *c, const struct seccomp_data *data)
{
        uint32_t lowest = SECCOMP_RET_ALLOW;

        if (c->strict)
                return strict_allows(data) ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_THREAD;
        for (size_t i = 0; i < c->count; i++) {
                uint32_t action = bpf_run(c->items[i].program, c->items[i].length, data) & SECCOMP_RET_ACTION_FULL;

                if ((int32_t)action < (int32_t)lowest) /* KILL_PROCESS is the lowest, being negative */
                        lowest = action;
        }
        return lowest;
}

enum filter_outcome filter_chain_outcome(const struct filter_chain *c, const struct seccomp_data *data)
{
        switch (filter_chain_action(c, data)) {
        case SECCOMP_RET_ALLOW:
        case SECCOMP_RET_LOG:
                return FILTER_ALLOWS;
        case SECCOMP_RET_USER_NOTIF:
        case SECCOMP_RET_TRACE:
                return FILTER_ASKS;
        default:
                return FILTER_REFUSES;
        }
}
