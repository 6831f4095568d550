/* The policies that a traced program may install as filters, and what was called under each. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>

#include "../../tools/policy/policy.h"

#define FILTERS_MAX    24 /* policies on the command line */
#define FILTERS_STACK  8  /* filters of one thread */
#define FILTER_UNKNOWN FILTERS_MAX
#define CALLS_MAX      600 /* numbers of x86_64 system calls are below it; the last counts everything else */

/* The filters in force in one thread, as indexes into struct filters; the newest last. */
struct filter_stack {
        unsigned int count;
        unsigned int filters[FILTERS_STACK];
};

struct filter {
        const char *name;
        struct policy *policy;
        struct bpf_program program;
        unsigned long installed;
        unsigned long used[POLICY_RULES_MAX]; /* per rule of the policy */
        unsigned long calls[CALLS_MAX];       /* of threads whose newest filter is this */
};

struct filters {
        unsigned int count;
        struct filter filter[FILTERS_MAX];
        unsigned long unfiltered; /* calls of threads that have no filter */
        unsigned long unknown;    /* filters that are none of ours */
};

/* Adds a policy, "NAME=FILE", whose entries use the names of these headers. */
int filters_add(struct filters *f, const char *name_and_file, const char *const *defines, unsigned int define_count,
                struct err *e);

/* The filter whose program this is, byte for byte; FILTER_UNKNOWN when there is none. */
unsigned int filters_find(const struct filters *f, const struct sock_filter *program, unsigned int len);

/* A filter was installed. */
void filters_push(struct filters *f, struct filter_stack *stack, unsigned int filter);

/* Counts one call of a thread with this stack. What a filter kills goes to `report` as a line. */
void filters_count(struct filters *f, const struct filter_stack *stack, const struct seccomp_data *d, FILE *report);

/*
 * Writes what was counted: lines of fields separated by tabs.
 *   filter NAME INSTALLED
 *   rule   FILTER COUNT MARK FILE:LINE CALL CONDITIONS REASON
 *   call   FILTER COUNT CALL
 *   killed FILTER NUMBER ARG0 ARG1 ARG2 ARG3 ARG4 ARG5    (as it happens, one line for each)
 *   unfiltered COUNT
 *   unknown COUNT
 */
void filters_report(const struct filters *f, FILE *report);
