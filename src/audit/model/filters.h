/* The system-call filters of a guest's threads. Reading them stops each thread for a moment. */
#pragma once

#include "audit/model/bpf.h"
#include "audit/model/guests.h"

struct filter {
        struct sock_filter *program; /* checked */
        size_t length;
};

/* All filters of a thread: of what they return for a call, the lowest action counts (seccomp(2)). */
struct filter_chain {
        struct filter *items;
        size_t count, room;
        const struct process *process; /* the first thread that has them */
        const struct thread *thread;
        bool strict; /* mode 1: read, write, _exit and sigreturn only */
        size_t threads;
};

struct guest_filters {
        struct filter_chain *items; /* distinct ones */
        size_t count, room;
        int error; /* of a question that failed; -EBADMSG: what is no filter was answered; -E2BIG: there are more */
        char *question;
        bool bare; /* a thread without any filter: its chain has none */
};

/* Asked once per guest, then remembered. */
const struct guest_filters *guest_filters_read(struct observer *o, struct guest *g);

/* The action (SECCOMP_RET_ACTION_FULL) for a call. */
uint32_t filter_chain_action(const struct filter_chain *c, const struct seccomp_data *data);

enum filter_outcome {
        FILTER_REFUSES,
        FILTER_ASKS,   /* another process, which may let the call go on: USER_NOTIF, TRACE */
        FILTER_ALLOWS, /* be it with a line in the log */
};

enum filter_outcome filter_chain_outcome(const struct filter_chain *c, const struct seccomp_data *data);
