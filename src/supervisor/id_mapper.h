/*
 * Maps the ids of an ordinary user's guests: a child that executes newuidmap(1) and newgidmap(1), whose right to do so
 * comes from being set-user-ID, or from file capabilities. The supervisor narrows itself with no_new_privs, after which
 * neither counts, while a guest that resets needs its ids mapped again: so this child is made before, keeps no
 * descriptor but its channel, and does one thing: it maps the guest's block of ids into the user namespace of the
 * process it is told.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "jail/jail.h"

struct id_mapper {
        pid_t pid; /* -1: there is none */
        int fd;
};

#define ID_MAPPER_INIT ((struct id_mapper){.pid = -1, .fd = -1})

/* True when both programs are installed. */
bool id_mapper_available(void);

/* Starts it, for these ids. The caller must be single-threaded. Returns 0 or a negative errno. */
int id_mapper_start(struct id_mapper *ret, const struct jail_ids *ids, struct err *e);

/* Has the ids mapped into the user namespace of pid, which must be dumpable: the programs act as the user. Returns 0 or
 * a negative errno, with STATUS_ISOLATION and what the program said. */
int id_mapper_map(const struct id_mapper *m, pid_t pid, struct err *e);

/* Ends it. Can be called twice, and on ID_MAPPER_INIT. */
void id_mapper_stop(struct id_mapper *m);
