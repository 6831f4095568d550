/*
 * What doctor asks of a host: one table of checks. Every check reaches the host through struct doctor_host
 * and nothing else, so that a test can take away one thing at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/doctor/guest.h"
#include "jail/layers.h"

enum doctor_kind {
        NEEDED_BY_GUESTS,  /* without it no guest runs */
        NEEDED_BY_KERNELS, /* without it guests run that do without, but no unmodified kernel */
        OPTIONAL,          /* a layer of isolation that some kernels lack */
        INFORMATIVE,
};

enum doctor_result { RESULT_OK, RESULT_MISSING, RESULT_UNKNOWN };

/* Features of the kernel: each layer of the jail by its own number, then what is not a layer, or only a part
 * of one. */
enum doctor_feature {
        FEATURE_LAYERS_END = LAYER_COUNT,
        FEATURE_CGROUP_MEMORY = LAYER_COUNT,
        FEATURE_CGROUP_PIDS,
        FEATURE_CGROUP_CPU,
        FEATURE_CGROUP_IO,
        FEATURE_MEMFD_SEALS,
        FEATURE_RUNTIME_DIR,
        FEATURE_SUBORDINATE_IDS,
        FEATURE_ID_PROGRAMS,
        FEATURE_USERS_NAMESPACES,
        FEATURE_USERS_APPARMOR,
        FEATURE_COUNT,
};

/* The host, real (host.c) or made up by a test. */
struct doctor_host {
        void *ctx;
        int (*kvm_open)(void *ctx); /* 0 or a negative errno */
        /* The name of the group that may read and write /dev/kvm. 0 or a negative errno: none may. */
        int (*kvm_group)(void *ctx, char *name, size_t size);
        int (*kvm_api_version)(void *ctx);        /* the version or a negative errno */
        int (*kvm_extension)(void *ctx, int cap); /* what KVM_CHECK_EXTENSION answers */
        enum guest_result (*guest)(void *ctx, unsigned int probe);
        /* 0 or more (for Landlock its ABI): it is there; a negative errno: why not. */
        int (*feature)(void *ctx, unsigned int feature);
};

struct doctor_answer {
        enum doctor_result result;
        char detail[160]; /* may be empty */
        char remedy[256]; /* empty: the check's */
};

struct doctor_check {
        char id[48]; /* unique, of [A-Za-z0-9_-] */
        const char *title;
        enum doctor_kind kind;
        void (*probe)(const struct doctor_host *host, int arg, struct doctor_answer *ret);
        int arg;
        const char *remedy; /* what it needs */
};

#define DOCTOR_CHECKS_MAX 128

/*
 * Fills list, of DOCTOR_CHECKS_MAX places, with every check. Returns how many there are. The checks are the same for
 * root and for an ordinary user, what they mean is not: root's guests need what a user's can do without, and a user
 * needs what holds root up nowhere.
 */
size_t doctor_checks(bool root, struct doctor_check *list);

struct doctor_verdict {
        bool guests, kernels; /* can be run here */
        unsigned int missing, unknown,
                absent; /* checks: needed and missing, needed and not known, optional and missing */
};

/* Asks every check, in order. answers has count places. */
void doctor_ask(const struct doctor_host *host, const struct doctor_check *list, size_t count,
                struct doctor_answer *answers, struct doctor_verdict *ret);
