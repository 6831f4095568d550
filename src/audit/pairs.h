/*
 * What separates each pair of guests: the layer model. A guest is all of its processes, and has in each layer a value
 * that stands for its compartment: guests that share a namespace, id or label, directly or through others, have the
 * same; a guest that lacks the layer in one of its processes, or of which not all is known, has none. Two guests are
 * separated by a layer when both values are known and differ. Pairs are never walked one by one: guests are sorted by
 * value, and those with the same value are a group.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum layer {
        LAYER_UID,   /* host uids of their threads, saved ones and all, are disjoint, and none is 0 */
        LAYER_MAC,   /* enforced AppArmor profile, or SELinux categories of which none includes the other's */
        LAYER_PIDNS, /* and none can be an ancestor of the other */
        LAYER_MNTNS, /* and a root directory that is neither the host's nor the other's */
        LAYER_NETNS,
        LAYER_IPCNS,
        LAYER_USERNS, /* and none can be an ancestor of the other */
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
        uint64_t *values;     /* [guest * LAYER_COUNT + layer]; 0: the host's own or not known: separates from nobody */
        unsigned int *unread; /* [guest]: LAYER_BITs whose value is 0 only because it is not known */
        size_t *class_of;     /* [guest] */
        struct pair_class_list classes;
        struct pair_group_list shared[LAYER_COUNT];
};

void pairs_read(struct audit *a);

/* The values of one layer, [guest], for pairs_read(): pairs_layers.c. */
void layer_values_read(struct audit *a, enum layer layer, uint64_t *ret_values, bool *ret_unread);

/* Layers that separate these two guests, as LAYER_BITs. */
unsigned int pair_layers(const struct audit *a, size_t guest1, size_t guest2);

struct pair_closest {
        size_t guests[2];
        unsigned int layers; /* that separate them */
};

/* The pair of this host's guests (with `of`: of that one and any other) that the fewest layers besides the LAYER_BITs
 * `without` separate. Returns false when there is no pair. */
bool pairs_closest(const struct audit *a, const size_t *of, unsigned int without, struct pair_closest *ret);

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
