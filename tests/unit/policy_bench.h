/* What the tests of the policy compiler share: a directory for policy files, and the compiler's objects. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../../tools/policy/bpf_run.h"
#include "../../tools/policy/policy.h"

/* Everything a test touches; cmocka's state between setup and teardown. */
struct bench {
        char dir[64];
        struct policy *policy;
        struct bpf_program *prog;
        struct err err;
};

int policy_bench_setup(void **state);
int policy_bench_teardown(void **state);

/* Writes a file of the directory: a.policy, b.policy, c.policy, x.h or y.h. */
void file_put(struct bench *b, const char *name, const char *text);

/* Reads names from a header of the directory into the policy. Returns what policy_read_defines() does. */
int defines_read(struct bench *b, const char *name);

/* A new, empty policy. */
void policy_reset(struct bench *b);

/* Parses a.policy, with the names already in the policy. Returns 0 or a negative errno, with b->err. */
int parse_file(struct bench *b);

/* The same, then emits and verifies it. */
int compile_file(struct bench *b);

/* The same with a new policy and this text as a.policy. */
int compile_text(struct bench *b, const char *text);
void must_compile(struct bench *b, const char *text);

/* Runs the program on one call. */
bool allowed(const struct bench *b, int nr, uint64_t a0, uint64_t a1, uint64_t a2);

/* Text of `count` entries for one call, and one of another call behind them. The caller frees it. */
char *many_entries(unsigned int count, unsigned int conditions);

#define POLICY_TEST(name) cmocka_unit_test_setup_teardown(name, policy_bench_setup, policy_bench_teardown)
