/* Classic BPF as seccomp runs it: a checker and an interpreter for the instructions that the compiler emits.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

/*
 * Proves that the program always ends in one of two ways: every instruction is of the subset below, loads are
 * aligned and inside struct seccomp_data, every jump (classic BPF only jumps forward) lands inside the
 * program, the last instruction returns, and each return gives SECCOMP_RET_ALLOW or SECCOMP_RET_KILL_PROCESS.
 * Subset: LD|W|ABS, ALU|AND|K, JMP JA/JEQ/JGT/JGE/JSET|K, RET|K (linux/bpf_common.h).
 * len counts instructions, 1..BPF_MAXINSNS. Returns 0, or -EINVAL with *ret_at (may be NULL) the index of the
 * first offending instruction.
 */
int bpf_check(const struct sock_filter *filter, unsigned int len, unsigned int *ret_at);

/*
 * Runs a program that bpf_check() accepts on one system call. Returns its return value (SECCOMP_RET_*); a
 * program that leaves the subset or its own bounds returns SECCOMP_RET_KILL_PROCESS.
 */
uint32_t bpf_run(const struct sock_filter *filter, unsigned int len, const struct seccomp_data *data);
