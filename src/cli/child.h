/* What a process cannot take back is done in a child of its own, for a bounded time. */
#pragma once

#include <sys/types.h>

/*
 * Waits for a child to end, at most timeout_ms, then kills it; it is reaped in every case. Returns 0 and its
 * wait status, -ETIMEDOUT when it had to be killed, or another negative errno.
 */
int child_wait(pid_t pid, int timeout_ms, int *ret_status);

/*
 * Calls fn(arg) in a child, at most CHILD_TIMEOUT_MS. Returns what fn returned, which is 0..127 or a negative
 * errno down to -127; -ETIMEDOUT; -ECHILD when the child was killed by a signal.
 */
int child_call(int (*fn)(int arg), int arg);

#define CHILD_TIMEOUT_MS 3000
