/*
 * bulkhead-vmm as if it were taken over: once every thread has its filter, one of them does what the guest's command
 * line says and nothing else happens any more. Linked into a program of tests/leave_out, whose hook it defines.
 *
 *   role=main|vcpu attempt=ID   makes that attempt (src/attempts) and ends the process with STATUS_OK
 *   attack=NAME                 attacks the control channel that way (control_attacks.c); the main thread does
 *
 * What the attacker knows of the host follows as name=value, see target_set(). The answer is a line on the console,
 * which both roles may write to. A command line without any of these is a guest's, which runs as ever.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attempts/attempts.h"
#include "escape.h"
#include "leave_out.h"
#include "memory/guest_ram.h"
#include "spec/control.h"
#include "spec/vmm_fds.h"

extern const struct jail_policy policy_vmm_main, policy_vmm_main_devices;

static char words[SPEC_CMDLINE_MAX]; /* the command line, cut at its blanks: the target points into it */
static struct attempt_target target = {.vm = VMM_FD_VM};
static const struct attempt *attempt;
static const char *attack;
static bool by_main;
static unsigned int threads; /* the main thread and the vCPUs */

static void word_take(const char *name, const char *value)
{
        if (strcmp(name, "attempt") == 0) {
                attempt = attempt_find(value);
        } else if (strcmp(name, "attack") == 0) {
                attack = value;
                by_main = true;
        } else if (strcmp(name, "role") == 0) {
                by_main = strcmp(value, "main") == 0;
        } else {
                target_set(&target, name, value);
        }
}

int __real_control_receive(int fd, union control_message *ret);
int __wrap_control_receive(int fd, union control_message *ret);
int __wrap_control_receive(int fd, union control_message *ret)
{
        int r = __real_control_receive(fd, ret);

        if (r == 0 && ret->head.type == CONTROL_CONFIG) {
                threads = ret->config.vcpus + 1;
                snprintf(words, sizeof(words), "%s", ret->config.cmdline);
                words_take(words, word_take);
        }
        return r;
}

int __real_guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                         struct err *e);
int __wrap_guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                         struct err *e);
int __wrap_guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                         struct err *e)
{
        int r = __real_guest_ram_map(ret, len_bytes, hole_start, hole_end, ret_fd, e);

        if (r == 0)
                target.ram = ret->regions[0].host;
        return r;
}

void escape_say(const char *text)
{
        (void)send(VMM_FD_CONSOLE, text, strlen(text), MSG_NOSIGNAL); /* nobody to tell */
}

/* Comes back in one thread of the role only, and when all threads are here: as it is in a guest that runs. */
static void meet(bool in_role)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
        static unsigned int here;
        static bool taken;
        bool chosen;

        pthread_mutex_lock(&lock);
        chosen = in_role && !taken;
        taken |= chosen;
        here++;
        pthread_cond_broadcast(&changed);
        while (here < threads || !chosen)
                pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
}

void leave_out_after_filter(const struct jail_policy *policy)
{
        struct attempt_result result;
        char line[256];

        if (!attempt && !attack)
                return;
        meet((policy == &policy_vmm_main || policy == &policy_vmm_main_devices) == by_main);
        escape_say("escape: begin\n");
        if (attack)
                control_attack(attack);
        result = attempt->make(&target, attempt);
        result_line(&result, line, sizeof(line));
        escape_say(line);
        _exit(STATUS_OK);
}
