/*
 * Classic BPF as the kernel takes it for seccomp filters: checked as kernel/seccomp.c and net/core/filter.c do, then
 * run over made-up system calls. Programs come out of a stranger's process: none is run that did not pass the check,
 * and a checked one ends, since it only jumps forward.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* 0 or -EINVAL: empty, longer than BPF_MAXINSNS, an instruction that seccomp does not allow, a jump or a load out of
 * bounds, or a last instruction that does not return. */
int bpf_check(const struct sock_filter *program, size_t count);

/* What a checked program returns for this call: a SECCOMP_RET_* action and its data. */
uint32_t bpf_run(const struct sock_filter *program, size_t count, const struct seccomp_data *data);
