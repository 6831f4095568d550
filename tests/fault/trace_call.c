/* What the tracer does at the entry and at the exit of a call. */
#include "tracer.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include "spec/control.h"

static unsigned int occurrence(struct task *task, const char *key)
{
        size_t i = 0;

        while (i < task->key_count && strcmp(task->keys[i].key, key) != 0)
                i++;
        if (i == KEYS_MAX)
                give_up("a thread makes too many different calls");
        if (i == task->key_count) {
                snprintf(task->keys[i].key, sizeof(task->keys[i].key), "%s", key);
                task->keys[i].count = 0;
                task->key_count++;
        }
        return ++task->keys[i].count;
}

static bool role_is(const struct task *task, const char *program)
{
        size_t len = strlen(program);

        return strncmp(task->role, program, len) == 0 && (task->role[len] == '\0' || task->role[len] == '#');
}

static bool is_ready_message(const struct task *task)
{
        struct control_header head;

        return tracee_read(task->tid, task->args[1], &head, sizeof(head)) == 0 && head.magic == CONTROL_MAGIC &&
               head.type == CONTROL_READY;
}

/*
 * The start of a guest is over for the VMM's main thread when it has sent READY, for a vCPU's thread when it enters the
 * guest, and for the supervisor when it waits again after it has dealt with READY.
 */
static bool is_last_of_start(struct tracer *t, struct task *task)
{
        if (role_is(task, "bulkhead-vmm"))
                return task->number == SYS_sendto && is_ready_message(task);
        if (task->is_thread)
                return task->number == SYS_ioctl && (uint32_t)task->args[1] == KVM_RUN;
        if (role_is(task, "bulkhead-supervisor") && task->saw_ready && task->number == SYS_poll) {
                fprintf(t->out, "ready\n");
                return true;
        }
        return false;
}

bool trace_is_target(const struct tracer *t, const struct task *task)
{
        return t->fault.role && !t->injected && !task->closed && strcmp(task->role, t->fault.role) == 0;
}

static void result_set(const struct tracer *t, const struct task *task)
{
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, task->tid, 0, &regs) < 0)
                return; /* killed meanwhile */
        regs.rax = (unsigned long long)-t->fault.error;
        ptrace(PTRACE_SETREGS, task->tid, 0, &regs);
}

/* Takes the task back to just before its call. */
static void rewind_call(struct task *task)
{
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, task->tid, 0, &regs) < 0)
                return;
        regs.rip -= 2; /* the length of SYSCALL */
        regs.rax = regs.orig_rax;
        ptrace(PTRACE_SETREGS, task->tid, 0, &regs);
        task->repeat = true;
}

static void inject(struct tracer *t, struct task *task)
{
        char detail[CALL_DETAIL_MAX];

        call_detail(detail, task->tid, task->number, task->args);
        fprintf(t->out, "injected %s\n", detail);
        t->injected = true;
        task->tell_next = true;
        task->spoil = t->fault.after;
        if (t->fault.after)
                rewind_call(task);
        else
                result_set(t, task);
}

void trace_entry(struct tracer *t, struct task *task)
{
        /* Under PTRACE_SYSEMU, so this call is not made, and no filter looks at it. */
        bool emulated = trace_is_target(t, task) && !task->repeat;
        char key[CALL_KEY_MAX], detail[CALL_DETAIL_MAX];
        unsigned int n;

        task->in_call = true;
        if (task->repeat) {
                task->repeat = false;
                return;
        }
        call_key(key, task->number, task->args);
        n = occurrence(task, key);
        if (task->tell_next) {
                fprintf(t->out, "next %s\n", key);
                task->tell_next = false;
        }
        if (!t->fault.role) {
                call_detail(detail, task->tid, task->number, task->args);
                fprintf(t->out, "call %s %s %u %s %s\n", task->role, key, n, task->in_main ? "main" : "start", detail);
        }
        if (emulated) {
                if (n == t->fault.occurrence && task->in_main && strcmp(key, t->fault.key) == 0)
                        inject(t, task);
                else
                        rewind_call(task);
        }
        if (is_last_of_start(t, task))
                task->closed = !task->tell_next; /* a fault at the very last call: what follows it is of interest */
}

void trace_exit(struct tracer *t, struct task *task)
{
        if (task->repeat) /* of the call that was not made */
                return;
        task->in_call = false;
        if (task->spoil) {
                task->spoil = false;
                result_set(t, task);
        }
        if (task->number == SYS_prctl && task->args[0] == PR_SET_NAME && role_is(task, "bulkhead")) {
                role_set(t, task, "bulkhead-supervisor");
                task->key_count = 0;
        }
        if (task->number == SYS_recvfrom && role_is(task, "bulkhead-supervisor") && is_ready_message(task))
                task->saw_ready = true;
}
