/* Puts a new process into a jail of its own and starts a program in it. docs/jail.md tells the whole story. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "jail/jail_cgroup.h"
#include "jail/jail_join.h"
#include "jail/layers.h"
#include "jail/policy.h"

#define JAIL_IDS_PER_GUEST 64 /* inside ids 1..64; inside 0 is mapped to nothing */
#define JAIL_FDS_MAX       32

/* One descriptor the program gets: the caller's fd appears inside as target. */
struct jail_fd {
        int fd, target;
};

/* The host ids of a guest: uids uid.. and gids gid.., mapped to inside ids 1..count. */
struct jail_ids {
        uint32_t uid, gid;
        uint32_t count; /* JAIL_IDS_PER_GUEST, or 1: the ids of an ordinary user who has no others */
};

struct jail_limits {
        uint64_t open_files;      /* RLIMIT_NOFILE: one more than the highest fd */
        uint64_t processes;       /* RLIMIT_NPROC */
        uint64_t file_size_bytes; /* RLIMIT_FSIZE: also what a memfd may be sized to */
        uint64_t locked_bytes;    /* RLIMIT_MEMLOCK */
};

struct jail_request {
        const struct jail_namespaces
                *join;             /* of a guest whose root is there: another process for it; NULL: a new jail */
        bool give_namespaces;      /* of a new jail: ROOTED comes with them, see jail_receive_rooted() */
        const char *staging_dir;   /* of a new jail: any directory; the new root is mounted on it in the new mount
                                      namespace */
        const struct jail_fd *fds; /* the role's table; everything else is closed */
        size_t fd_count;           /* at most JAIL_FDS_MAX */
        int control_target;        /* the target among fds that is the control channel */
        int program_fd;            /* executed with execveat(2) */
        const char *program_name;  /* argv[0] */
        char *const *argv;         /* NULL: program_name alone */
        char *const *envp;         /* NULL: empty */
        bool own_root;             /* a program with files: becomes rooted in root_fd, see jail_files.h */
        int root_fd;
        const struct jail_cgroup *cgroup; /* NULL: none can be had (not root) */
        uint32_t inside_id;               /* uid and gid of the program inside: 1..JAIL_IDS_PER_GUEST */
        bool by_user;                     /* started by an ordinary user */
        bool own_ids;                     /* false: the one id is the user's, whose groups cannot be left */
        struct jail_limits limits;
        const struct jail_policy *policy; /* the setup filter; the program narrows it further itself */
};

/*
 * Starts the program. In the parent: returns 0 and the child's pid (in the caller's PID namespace), a pidfd that the
 * caller closes, and the namespace layers that the kernel gave; the caller then waits on the control channel for
 * ROOTED, calls jail_map_ids(), answers MAPPED, and waits for JAILED (or FAILED). On error nothing is left running. The
 * caller must be single-threaded.
 *
 * A process that joins sends no ROOTED; the ids are mapped already, and MAPPED may be waiting for it. It is a child of
 * the caller's like the first one, and the kernel holds the end of the first back until it has been reaped
 * (pid_namespaces(7)).
 */
int jail_start(const struct jail_request *req, pid_t *ret_pid, int *ret_pidfd, uint64_t *ret_layers, struct err *e);

/* Writes the child's uid and gid maps. Needs CAP_SETUID and CAP_SETGID, or that the one id is the caller's. */
int jail_map_ids(pid_t pid, const struct jail_ids *ids, struct err *e);

/*
 * The second half, called by the program itself right after exec and before it starts a thread: what exec resets or
 * would be in exec's way (dumpability, parent-death signal, executable mappings, Landlock). Fails closed: on an error
 * the program must not go on. ret_layers gets the layers put in force here, ret_landlock_abi 0 when the kernel has
 * none.
 */
int jail_seal(uint64_t *ret_layers, unsigned int *ret_landlock_abi, struct err *e);
