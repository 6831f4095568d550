/* What is claimed of a guest's jail, layer by layer, against what the kernel says. */
#pragma once

#include "cli/inspect/facts.h"
#include "state/state.h"

enum layer_found {
        FOUND_YES,
        FOUND_NO,
        FOUND_UNKNOWN, /* no kernel shows it from outside, or this one does not */
};

enum layer_verdict {
        LAYER_IN_FORCE,     /* found in the kernel */
        LAYER_ATTESTED,     /* claimed in the state file; the kernel does not show it */
        LAYER_UNCLAIMED,    /* not claimed, and found all the same */
        LAYER_ABSENT,       /* not claimed, and not found */
        LAYER_CONTRADICTED, /* claimed, not found */
};

struct layer_view {
        enum layer_verdict verdict;
        char detail[128];  /* what the kernel says; may be empty */
        const char *needs; /* what would put it in force */
};

/* What the supervisor wrote down of one process. */
struct layer_claim {
        uint64_t layers; /* LAYER_BIT()s */
        uint32_t landlock_abi;
        struct jail_ids ids; /* of the guest */
        size_t devices;      /* of the guest */
        /* Of a device's process: */
        const struct device_state *device; /* NULL: the VMM */
        size_t index;
        bool storage;                    /* it is qemu-storage-daemon, and not a program of ours */
        const struct inspect_facts *vmm; /* whose namespaces it must be in; NULL: it has its own */
};

/* Is it a disk that qemu-storage-daemon serves? */
bool device_is_storage(const struct guest_state *state, size_t index);

struct layer_claim layer_claim_vmm(const struct guest_state *state);
struct layer_claim layer_claim_device(const struct guest_state *state, size_t index, const struct inspect_facts *vmm);

/* Judges one layer: what is claimed of a process against what the kernel says of it. */
void layer_judge(enum jail_layer layer, const struct layer_claim *claim, const struct inspect_facts *f,
                 struct layer_view *ret);

const char *layer_verdict_text(enum layer_verdict v); /* "in force" */
/* Who says so. */
const char *layer_source_text(enum jail_layer layer, enum layer_verdict v, bool of_device);
