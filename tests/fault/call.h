/* A system call as the tracer names it: stable from one run to the next, unlike its addresses, pids and paths. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CALL_KEY_MAX    48
#define CALL_DETAIL_MAX 96

/*
 * Writes the key of a call: its name, and for a multiplexer ("ioctl:0xae80", "prctl:0x26") the operation too. No space
 * is in it.
 */
void call_key(char key[CALL_KEY_MAX], uint64_t number, const uint64_t args[6]);

/* Writes what helps to recognise the call, mostly a path, or what a descriptor is; read from the stopped process. Empty
 * when there is nothing to say. */
void call_detail(char detail[CALL_DETAIL_MAX], pid_t tid, uint64_t number, const uint64_t args[6]);

/* Copies len bytes at an address of a stopped process. Returns 0 or a negative errno. */
int tracee_read(pid_t tid, uint64_t address, void *buf, size_t len);
