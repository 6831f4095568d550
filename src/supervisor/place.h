/*
 * What a supervisor has on the host for one name: the name itself, signals, a cgroup, ids. The same for a guest and for
 * a device alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "jail/jail.h"
#include "state/state.h"
#include "supervisor/id_mapper.h"

struct place {
        const char *name;
        struct state_dir dir;
        struct state_guest guest;
        struct jail_cgroup cgroup;
        struct jail_ids ids;
        uint32_t slot; /* STATE_SLOT_NONE: it has no ids of its own */
        int signal_fd; /* SIGINT, SIGTERM, SIGHUP, SIGUSR1 */
        bool slot_taken, cgroup_made, swept;
        /* Of an ordinary user: */
        bool own_ids;            /* else what is in the jail runs as the user */
        bool delegated;          /* it has a cgroup, below cgroup_base */
        struct id_mapper mapper; /* with ids of its own */
        char cgroup_base[CGROUP_BASE_MAX];
};

#define PLACE_INIT(n)                                                     \
        ((struct place){.name = (n),                                      \
                        .dir = {.fd = -1, .guests_fd = -1, .ids_fd = -1}, \
                        .guest = {.dir_fd = -1, .lock_fd = -1},           \
                        .cgroup = {.unified_fd = -1},                     \
                        .slot = STATE_SLOT_NONE,                          \
                        .signal_fd = -1,                                  \
                        .mapper = ID_MAPPER_INIT})

/* Becomes undumpable, blocks signals, and takes the name. Returns 0 or a negative errno; place_release() in both cases.
 */
int place_take(struct place *p, struct err *e);

/* Cgroup and ids. limits_asked: the operator has asked for limits that only a cgroup can keep. Returns 0 or a negative
 * errno. */
int place_furnish(struct place *p, bool limits_asked, struct err *e);

/* Sweeps what dead supervisors left, once. */
void place_sweep(struct place *p);

/* Gives back everything, in the order that never frees an id or a name while something lives that has it: what is in
 * the jail has ended. Returns 0 or a negative errno. */
int place_release(struct place *p, struct err *e);

/* LAYER_BIT()s without which nothing is started; all: every layer that there is. */
uint64_t place_required_layers(bool all);

/* One line for the operator about what ("guest"), on a terminal that may be raw. */
__attribute__((format(printf, 4, 5))) void place_say(const char *what, const char *name, bool raw, const char *fmt,
                                                     ...);

/* The same, of the layers that it does without, and what each would need; nothing when it has all. */
void place_say_absent(const char *what, const char *name, bool raw, uint64_t layers);
