/* A UNIX socket with a name, that somebody else connects to. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct listener {
        int fd;     /* non-blocking */
        int dir_fd; /* where it is */
        char name[NAME_MAX + 1];
        uint64_t device, inode; /* what was made there */
};

#define LISTENER_INIT ((struct listener){.fd = -1, .dir_fd = -1})

/*
 * Makes it, with mode 0600; a socket that nobody listens on any more is replaced. Returns 0 or a negative errno, with
 * STATUS_USAGE when something else is there; listener_close() in both cases.
 */
int listener_open(const char *path, struct listener *ret, struct err *e);

/* Removes it, unless something else is there now. Can be called twice. */
void listener_close(struct listener *l);

struct ucred;

/*
 * Takes a connection, whose descriptor is the caller's; ret: who made it, all zeros where that cannot be told. Returns
 * a negative errno when there is none.
 */
int listener_accept(const struct listener *l, struct ucred *ret);
