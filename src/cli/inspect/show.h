/* An inspection, for people and for programs. */
#pragma once

#include "cli/inspect/layers.h"

struct device_inspection {
        bool running; /* else there is no process now, and nothing else is known */
        struct inspect_facts facts;
        struct layer_view layers[LAYER_COUNT];
};

struct inspection {
        struct guest_state state;
        struct inspect_facts facts;
        struct layer_view layers[LAYER_COUNT];
        struct device_inspection devices[VMM_DEVICES_MAX]; /* as many as state says */
};

/* What a device is, by its virtio type. */
const char *device_type_name(uint32_t type);

/* The back end that a device is served by, when that is outside of the jail; else NULL. */
const struct backend_spec *device_backend(const struct guest_state *s, uint32_t index);

/* Why a device that qemu-storage-daemon serves, in the jail, is not isolated as one of ours. */
#define STORAGE_DEGRADED \
        "qemu-storage-daemon serves it: its root has the files that it maps, and its filter is wider than ours"

void inspection_print(const struct inspection *x);

/* Prints JSON on standard output. Returns 0 or a negative errno. */
int inspection_print_json(const struct inspection *x, struct err *e);

#define SEALS_TEXT_MAX 64

/* F_SEAL_* as "seal, shrink, grow". */
void seals_print(char *buf, size_t size, int seals);
