/*
 * Programs that leave parts of the jail out, for tests of what each part is good for. README.md tells how to make one.
 *
 * They are the product's own object files, linked again so that calls between them (ld --wrap) pass through this
 * directory's code, which leaves out what the build names. The product's sources know nothing of it.
 */
#pragma once

#include <stdbool.h>

#include "jail/policy.h"

/* Is this unit (README.md lists them) among those that the build leaves out, here and now? */
bool leaves_out(const char *unit);

/* From here on nothing is left out, or again what the build names. */
void leave_out_nothing(bool now);

/* What the programs are executed as: one that leaves out what the build names, or one that is to be whole. */
#define LEAVE_OUT_NAME       "(test build)"
#define LEAVE_OUT_WHOLE_NAME "(test build, whole)"

/* For a program's main(): is it executed by a supervisor of a test build, which has said so? It cannot speak itself. */
bool leave_out_started(int argc, char *argv[]);

/* What LEAVE_OUT_WORDS was in the supervisor's environment, in a device's program; "" where there is none. */
extern const char *leave_out_words;
#define LEAVE_OUT_WORDS_MAX 2048

/* The system call, whatever is left out. */
long __real_syscall(long call, long a, long b, long c, long d, long e, long f);

/* The unit that a jailed program's filter is: one function for each kind of program. */
const char *leave_out_filter_unit(const struct jail_policy *policy);

/* From here on calls are those with which the supervisor narrows itself, or they are no longer. */
void leave_out_narrowing(bool now);

/*
 * For tests that link a program of their own from these parts and define it: called by the thread that has just
 * installed a filter, or has left one out, with that filter. In bulkhead-vmm these are policy_vmm_main and
 * policy_vmm_vcpu, or with devices policy_vmm_main_devices and policy_vmm_vcpu_devices, each thread's last step before
 * it meets the others and the guest runs; in the process of a device, that of its role.
 */
void leave_out_after_filter(const struct jail_policy *policy);
