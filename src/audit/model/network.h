/*
 * The network as the kernel has it: which interface belongs to which guest, and what each interface is attached to.
 * Read when the first check asks for it.
 *
 * An interface is in a network namespace (here: a space). That of a tap need not be its monitor's: a descriptor can be
 * made in one namespace and used in another.
 */
#pragma once

#include "audit/model/guests.h"

struct net_link {
        uint32_t index, master, below; /* below: index of the interface below it, or of a veth's peer; 0: none */
        bool below_elsewhere;          /* in another namespace */
        char *name;                    /* raw */
        char *kind;                    /* "tun", "bridge", "veth", ...; "-" for hardware */
        char *words;                   /* the rest of the line: net_link_word() */
        char *line;                    /* raw, for evidence */
        bool port, isolated;           /* of a bridge */
        bool filtered;                 /* rules of tc or XDP may drop what comes in, or send it elsewhere */
};

struct net_link_list {
        struct net_link *items; /* by index */
        size_t count, room;
};

struct net_chain {
        char *family, *table, *name, *type, *hook, *policy, *device, *line;
        size_t rules;
};

struct net_chain_list {
        struct net_chain *items;
        size_t count, room;
};

struct net_rule {
        char *family, *table, *chain, *words, *line;
};

struct net_rule_list {
        struct net_rule *items;
        size_t count, room;
};

struct net_filter {
        int error; /* of the question */
        struct net_chain_list chains;
        struct net_rule_list rules;
        bool legacy; /* iptables of the old kind is in use: its rules are not among these */
        int legacy_error;
};

struct net_address {
        uint32_t index;
        bool v6;
        char *text; /* without length */
        char *line;
};

struct net_address_list {
        struct net_address *items; /* by index */
        size_t count, room;
};

struct net_listener {
        char *address, *line;
        bool udp;
        uint16_t port;
        uint32_t index; /* of the interface that it is bound to; 0: any */
};

struct net_listener_list {
        struct net_listener *items;
        size_t count, room;
};

struct net_space {
        uint64_t inode;
        char *subject; /* of questions about it: "self" or a pid */
        bool is_host;
        int error; /* of links */
        struct net_link_list links;
        struct net_link **by_name;
        size_t base; /* number of its first link among those of all spaces */

        /* Read when asked for. */
        struct net_filter *filter;
        struct net_address_list *addresses;
        int addresses_error;
        struct net_listener_list *listeners;
        int listeners_error;
        bool routes_read, metadata_dropped; /* a route drops what goes to the metadata address */
};

struct net_space_list {
        struct net_space **items;
        size_t count, room;
};

/* An interface of a guest: the descriptor by which its monitor or another member of it moves frames. */
struct nic {
        struct guest *guest;
        const struct process *holder;
        const struct fd *fd;
        char *name; /* raw, as the descriptor says; a macvtap's node says an index */
        bool macvtap;
        struct net_space *space; /* NULL: not found, with error set */
        struct net_link *link;   /* NULL likewise */
        int error;               /* -ENODEV: in none of the namespaces looked at */
        char *question;          /* the last that was asked for it */
};

struct nic_list {
        struct nic *items; /* ordered by guest */
        size_t count, room;
};

struct network {
        struct net_space_list spaces; /* of guests' interfaces, and the host's first */
        struct nic_list nics;
        size_t *first; /* [guest + 1] of the nics */
        size_t links;  /* of all spaces */
};

struct audit;

/* The network, read once. */
struct network *network(struct audit *a);

/* Nics of a guest. */
#define FOR_EACH_NIC(net, g, n)                                                                       \
        for (struct nic *n = (net)->nics.items ? (net)->nics.items + (net)->first[(g)->index] : NULL; \
             n && n < (net)->nics.items + (net)->first[(g)->index + 1]; n++)

size_t nic_count(const struct network *net, const struct guest *g);

/* The namespace with that inode, asked by that process where it is not the auditor's own; read when it is not yet. */
struct net_space *net_space_get(struct audit *a, struct network *net, uint64_t inode, pid_t pid);

/* The next word of a line, up to a blank, terminated in place; "" at the end. */
char *net_word_take(char **rest);

struct net_link *net_link_by_index(const struct net_space *s, uint32_t index);
struct net_link *net_link_by_name(const struct net_space *s, const char *name);

/* The value of WORD= of a link; NULL: it has none. */
char *net_link_word(struct audit *a, const struct net_link *l, const char *word);

/* The bridge (or other switch) that the link is a port of; NULL: none. */
struct net_link *net_link_master(const struct net_space *s, const struct net_link *l);

/* The interface by which the host itself speaks with the guest: the bridge, or the tap where it is in none. */
struct net_link *nic_host_side(const struct nic *n);

/* Packet filters, addresses and listening sockets of a namespace, read once. */
const struct net_filter *net_filter(struct audit *a, struct net_space *s);
const struct net_address_list *net_addresses(struct audit *a, struct net_space *s);
const struct net_listener_list *net_listeners(struct audit *a, struct net_space *s);

/* A setting below /proc/sys/net of a namespace: its number or a negative errno. One that is not there is 0. */
int net_setting(struct audit *a, const struct net_space *s, const char *name);

enum filter_state {
        FILTER_OPEN,    /* nothing filters there */
        FILTER_DROPS,   /* everything is dropped */
        FILTER_RULES,   /* rules decide */
        FILTER_UNKNOWN, /* they could not be read */
};

/* What becomes of packets at a hook ("input", "forward") for a family ("ip", "ip6", "bridge"); hooks on the way to it
 * count. *ret_chain (may be NULL) is the chain that decides, if one does. */
enum filter_state net_filter_state(struct audit *a, struct net_space *s, const char *family, const char *hook,
                                   const struct net_chain **ret_chain);
