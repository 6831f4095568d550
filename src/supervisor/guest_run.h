/* One run of a guest under its supervisor: from a started process to the reason why it ended. */
#pragma once

#include <stdbool.h>

#include "state/state.h"
#include "supervisor/console.h"
#include "supervisor/requests.h"
#include "supervisor/vmm_process.h"

enum run_reason {
        RUN_POWEROFF,
        RUN_RESET,   /* reset register or triple fault */
        RUN_VERDICT, /* the test register */
        RUN_LEFT,    /* Ctrl-] q */
        RUN_SIGNAL,  /* somebody ended the supervisor */
        RUN_FAILED,  /* the error says it */
};

struct run_result {
        enum run_reason reason;
        unsigned int verdict; /* RUN_VERDICT */
        int signal;           /* RUN_SIGNAL */
        bool triple_fault;    /* RUN_RESET */
};

struct guest_run {
        struct vmm_start start;
        struct console *console;
        struct requests *requests;
        int signal_fd;            /* SIGINT, SIGTERM, SIGHUP, SIGUSR1 (power button), SIGCHLD not */
        uint64_t required_layers; /* the start is refused without them */
        /* Called when the VMM has been sent its configuration: nothing more is set up from outside, and there is
         * nothing to do until READY, so what else the supervisor has to do costs no time here. */
        int (*configured)(void *ctx, const struct vmm_process *p, struct err *e);
        /* Called when READY has been heard: the state file. What the guest says waits for it. */
        int (*ready)(void *ctx, const struct vmm_process *p, struct err *e);
        void *ctx;
};

/* How long the jail and the loading of the guest may take. */
#define RUN_START_TIMEOUT_MS 60000
/* How long a VMM that said END may take to exit before it is killed, and how long its last output is waited for. */
#define RUN_END_TIMEOUT_MS   500

/* Runs the guest once. Returns 0 and a result, or a negative errno with e filled (result is RUN_FAILED then). Nothing
 * of the guest's processes is left in either case. */
int guest_run(const struct guest_run *run, struct run_result *ret, struct err *e);
