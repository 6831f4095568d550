/*
 * What a program that has been taken over could try, one function per attempt. An id is that of its row and its number
 * in the row: E1.1. docs/jail.md has the table with what stands in each attempt's way.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum attempt_outcome {
        ATTEMPT_REFUSED,   /* error says how */
        ATTEMPT_CONTAINED, /* went through and reached nothing that is not the caller's own: the attempt has looked */
        ATTEMPT_SUCCEEDED, /* went through */
        ATTEMPT_NOT_RUN,   /* nothing to try it on; detail says what is missing */
};

struct attempt_result {
        enum attempt_outcome outcome;
        int error;          /* positive errno of ATTEMPT_REFUSED */
        const char *detail; /* a constant; NULL: nothing to add */
};

/* What the attacker is taken to know; 0 and NULL: does not know. All pids, paths and keys are the host's. */
struct attempt_target {
        int neighbour;               /* pid of another guest's process */
        int supervisor;              /* pid of the process that started the caller's jail */
        const char *file;            /* a neighbour's file */
        const char *socket_path;     /* somebody listens there */
        const char *abstract_socket; /* somebody listens there; the name without its leading zero byte */
        const char *queue;           /* a POSIX message queue, with its slash */
        const char *key;             /* description of a "user" key in the host's session keyring */
        int ipc_key;                 /* of a System V segment, semaphore set and message queue */
        int tcp_port;                /* somebody listens there on 127.0.0.1 */
        int tap;                     /* descriptor of the caller's own tap */
        int vm;                      /* descriptor of the caller's own KVM virtual machine */
        void *ram;                   /* the guest's memory, shared with a sealed memfd */
};

struct attempt {
        const char *id;
        const char *what; /* completes "the attempt to ..." */
        struct attempt_result (*make)(const struct attempt_target *t, const struct attempt *a);
        long number;      /* what make() does it with, where several attempts share it */
        const char *text; /* likewise */
};

/* The exit status of the program that the attempts to run one run. */
#define ATTEMPT_PROGRAM_STATUS 77

/* The rows in order, up to NULL; each row is an array of attempts up to one without id. */
extern const struct attempt *const attempts[];

/* NULL when there is none. */
const struct attempt *attempt_find(const char *id);
