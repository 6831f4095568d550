/* Unix sockets of the network namespaces that guests have to do with. */
#pragma once

#include "audit/model/guests.h"

struct unix_socket {
        uint64_t inode, peer; /* peer 0: none */
        uint64_t netns;
        bool listens;  /* a stream or packet socket that takes connections */
        bool datagram; /* takes messages from whoever can reach its name */
        bool has_file, abstract;
        uint64_t dev, ino; /* of its file; ino is cut to 32 bits */
        uint32_t uid;
        char *name; /* path or abstract name, raw up to its first zero; NULL: none */
        char *line; /* as answered, for evidence */
};

struct unix_socket_list {
        struct unix_socket *items; /* by inode */
        size_t count, room;
};

struct unix_sockets {
        struct unix_socket_list all;
        int error;      /* of a namespace that could not be asked */
        char *question; /* that failed */
};

/* Asks the network namespace of the host, and those of members and supervisors that hold other sockets, each once. */
void unix_sockets_read(struct observer *o, const struct host *h, const struct inventory *inv, struct unix_sockets *ret);

/* The socket with that inode, or NULL: not a unix socket, or of a namespace that nobody named here is in. */
const struct unix_socket *unix_socket_find(const struct unix_sockets *s, uint64_t inode);

/* A unix socket connects the two processes. */
bool unix_sockets_connect(const struct unix_sockets *s, const struct process *p, const struct process *q);
