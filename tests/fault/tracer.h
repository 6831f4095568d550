/* Follows a command and everything it starts, call by call, until its guests are up; makes one call of it fail. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "call.h"

#define ROLE_MAX        64
#define TASKS_MAX       128
#define KEYS_MAX        192 /* different calls of one thread */
#define MAIN_TABLE_SIZE 8

/* Which call fails, and how. */
struct fault {
        const char *role; /* NULL: none does, all are listed */
        const char *key;
        unsigned int occurrence; /* of the key in the role, from 1 */
        int error;               /* errno */
        bool after;              /* the call is made, and only then said to have failed */
};

/* Where main() is, relative to the program's entry point. */
struct main_offset {
        const char *program;
        long offset;
};

/*
 * A role is a program ("bulkhead-vmm"), what it calls itself (bulkhead becomes "bulkhead-supervisor"), what a program
 * has forked and not executed yet ("bulkhead-supervisor:child"), or a thread of a program, in the order in which they
 * were made ("bulkhead-vmm:thread1"). One that there was before gets "#2" after it.
 */
struct task {
        pid_t tid;
        char role[ROLE_MAX]; /* empty: it stopped before its parent told of it */
        bool is_thread;
        bool stopped_early;
        bool in_main;   /* past the C library's own start */
        bool closed;    /* past the part of it that is looked at */
        bool in_call;   /* between entry and exit */
        bool repeat;    /* the call at whose entry it stopped is made once more, and then really */
        bool spoil;     /* what the call returns is replaced at its exit */
        bool saw_ready; /* a supervisor that received READY */
        bool tell_next; /* the fault is behind it: its next call is of interest */
        unsigned int threads;
        uint64_t breakpoint; /* at main(); 0: none */
        long breakpoint_word;
        uint64_t number, args[6]; /* of the call it is in */
        struct {
                char key[CALL_KEY_MAX];
                unsigned int count;
        } keys[KEYS_MAX];
        size_t key_count;
};

struct tracer {
        FILE *out;
        struct fault fault;
        struct main_offset mains[MAIN_TABLE_SIZE];
        size_t main_count;
        bool injected;
        pid_t root;
        struct task tasks[TASKS_MAX];
        size_t task_count;
};

/* Names a task; one that had the name before keeps it. */
void role_set(struct tracer *t, struct task *task, const char *name);

/* A system-call stop. */
void trace_entry(struct tracer *t, struct task *task);
void trace_exit(struct tracer *t, struct task *task);

/* Is this the task that has the fault, still before it? */
bool trace_is_target(const struct tracer *t, const struct task *task);

/* Ends the program with a message: what follows would mean nothing. */
_Noreturn void give_up(const char *what);
