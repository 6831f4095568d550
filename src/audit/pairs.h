/*
 * What separates each pair of guests: the layer model. A guest has, for each layer, the value that identifies its
 * compartment (inode of the namespace, uid, label); two guests are separated by a layer when both values are known and
 * differ. Pairs are never walked one by one: guests are sorted by value, and those with the same value are a group.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum layer {
        LAYER_UID, /* host uids of their processes are disjoint */
        LAYER_MAC, /* SELinux categories or AppArmor profile of their own, enforced */
        LAYER_PIDNS,
        LAYER_MNTNS, /* and a root directory that is not the host's */
        LAYER_NETNS,
        LAYER_IPCNS,
        LAYER_USERNS,
        LAYER_CGROUP,
        LAYER_SECCOMP, /* every thread of both is filtered: no value, a property */
        LAYER_COUNT,
};

#define LAYER_BIT(layer) (1U << (layer))

extern const char *const layer_names[LAYER_COUNT];

struct audit;
struct guest;

/* Guests that a layer does not separate: all that have the same value. */
struct pair_group {
        size_t *guests; /* indexes, rising */
        size_t count;   /* two or more */
};

struct pair_group_list {
        struct pair_group *items;
        size_t count, room;
};

/* Guests whose values are of the same kind, layer by layer: unique on this host, the same group, or none. What
 * separates a guest of one class from a guest of another is the same for all of them, so that classes are compared, not
 * guests. */
struct pair_class {
        uint64_t tokens[LAYER_COUNT];
        size_t count, first; /* guests in it, and the index of the first */
};

struct pair_class_list {
        struct pair_class *items;
        size_t count, room;
};

struct pair_model {
        uint64_t *values; /* [guest * LAYER_COUNT + layer]; 0: the host's own or not known: separates from nobody */
        size_t *class_of; /* [guest] */
        struct pair_class_list classes;
        struct pair_group_list shared[LAYER_COUNT];
};

void pairs_read(struct audit *a);

/* True when at least `least` layers other than those of the LAYER_BITs `without` separate every pair of this host's
 * guests. False when there are fewer than two guests: nothing is proved by no pair. */
bool pairs_all_separated(const struct audit *a, unsigned int without, unsigned int least);

/* Layers that separate these two guests, as LAYER_BITs. */
unsigned int pair_layers(const struct audit *a, size_t guest1, size_t guest2);

/* The fewest layers that separate any two guests; LAYER_COUNT where there are fewer than two. */
unsigned int pairs_fewest(const struct audit *a);

/* Sets ret[i] when some other of these guests is separated from guests[i] by none of the LAYER_BITs `layers`; the rest
 * of ret stays. Returns whether there was one. */
bool pairs_unseparated(const struct audit *a, const size_t *guests, size_t count, unsigned int layers, bool *ret);

/* For checks that group guests by another value: an object (dev and inode), a range, an id. */
struct pair_key {
        uint64_t value[2]; /* dev and ino, or value and 0 */
        size_t guest;      /* index */
        size_t extra;      /* the caller's */
};

struct pair_key_list {
        struct pair_key *items;
        size_t count, room;
};

/* Sorts keys by value, then guest. */
void pair_keys_sort(struct pair_key_list *keys);

/*
 * Calls fn for each run of keys with equal value that holds keys of two or more guests. Keys must be sorted.
 */
void pair_keys_shared(const struct pair_key_list *keys,
                      void (*fn)(void *ctx, const struct pair_key *keys, size_t count), void *ctx);
