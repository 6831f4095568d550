/* What the stage files share; private to src/jail. */
#pragma once

#include "jail/jail.h"

/* Fixed places of descriptors while the stages run; all are gone when the program runs. */
#define JAIL_FD_PROGRAM 200 /* close-on-exec */
#define JAIL_FD_PROC    201 /* the host's /proc: reaches this process's own sysctls after the root is gone */
#define JAIL_FD_ROOT    202 /* of a program with files: its own root */

struct jail {
        const struct jail_request *req;
        int control_fd; /* where the parent says MAPPED and hears of failures; its number changes in the fds stage */
        int proc_fd;    /* the host's /proc, and /dev/null: -1 where the fds stage can still open them by name */
        int null_fd;
        uint64_t layers; /* what is in force so far */
};

/* A new child: every stage, then the program. layers: the namespaces that it was born in. */
_Noreturn void jail_child_main(const struct jail_request *req, uint64_t layers, int proc_fd, int null_fd);

/* jail_start() for a request with join. */
int jail_join(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers, struct err *e);

/* Sends ROOTED with the descriptors of the namespaces that this process is in. */
int jail_namespaces_give(const struct jail *j, struct err *e);
int jail_cgroup_namespace_join(struct jail *j, struct err *e);

/* Each returns 0 or a negative errno, and sets the bits of the layers it put in force. */
int jail_stage_cgroup(struct jail *j, struct err *e);
int jail_stage_fds(struct jail *j, struct err *e);
int jail_stage_root(struct jail *j, struct err *e);
int jail_stage_root_verify(struct jail *j, struct err *e);
int jail_stage_net(struct jail *j, struct err *e);
int jail_stage_limits(struct jail *j, struct err *e);
int jail_stage_cpu(struct jail *j, struct err *e);
int jail_stage_files(struct jail *j, struct err *e);
int jail_stage_ids(struct jail *j, struct err *e);
int jail_stage_seccomp(struct jail *j, struct err *e);
