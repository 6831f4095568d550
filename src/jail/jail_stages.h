/* What the stage files share; private to src/jail. */
#pragma once

#include "jail/jail.h"

/* Fixed places of two descriptors while the stages run; both are gone when the program runs. */
#define JAIL_FD_PROGRAM 200 /* close-on-exec */
#define JAIL_FD_PROC    201 /* the host's /proc: reaches this process's own sysctls after the root is gone */

struct jail {
        const struct jail_request *req;
        int control_fd;  /* where the parent says MAPPED and hears of failures; its number changes in the fds stage */
        uint64_t layers; /* what is in force so far */
};

/* Each returns 0 or a negative errno, and sets the bits of the layers it put in force. */
int jail_stage_cgroup(struct jail *j, struct err *e);
int jail_stage_fds(struct jail *j, struct err *e);
int jail_stage_root(struct jail *j, struct err *e);
int jail_stage_net(struct jail *j, struct err *e);
int jail_stage_limits(struct jail *j, struct err *e);
int jail_stage_cpu(struct jail *j, struct err *e);
int jail_stage_ids(struct jail *j, struct err *e);
int jail_stage_seccomp(struct jail *j, struct err *e);
