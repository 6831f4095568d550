/*
 * What hostile guests share: one device, a table of named cases, and after each of them the proof that a reset brings
 * the device back and that memory nobody gave it is as it was.
 *
 * Every case begins with the device running and its queue empty, and may do with it what it likes. Its reaction is
 * printed and judged by nobody, unless the case says that it must fail; the guest fails when memory changed, when a
 * reset does not work, or when a request after it does not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "boot.h"
#include "virtio_blk.h"

#define HOSTILE_DATA_BYTES    0x10000U
#define HOSTILE_TABLE_ENTRIES 1024U
#define HOSTILE_QUEUE_SIZE    64
#define HOSTILE_TICKS         (1ULL << 28) /* how long a device may take to react, about a tenth of a second */

#define VERDICT_HOSTILE_MEMORY 10 /* memory changed that the device was never given */
#define VERDICT_HOSTILE_DEAD   11 /* the device does not come back */
#define VERDICT_HOSTILE_DISK   12 /* sectors changed that no valid request was for */
#define VERDICT_HOSTILE_SERVED 13 /* a request succeeded that must not */

struct hostile_case {
        const char *name;
        void (*run)(uint64_t arg);
        uint64_t arg;
};

struct hostile {
        const char *family;
        struct virtio dev;
        struct virtq q;
        bool is_disk;
        bool read_only;                     /* set before hostile_init(): the disk's pattern is not written */
        uint64_t capacity;                  /* sectors */
        uint64_t wanted;                    /* features of the next start */
        uint8_t *data;                      /* HOSTILE_DATA_BYTES, guarded on both sides */
        volatile struct virtq_desc *table;  /* HOSTILE_TABLE_ENTRIES, for indirect descriptors; guarded */
        volatile struct blk_header *header; /* guarded */
        volatile uint8_t *status;           /* behind the header */
        uint64_t guarded;                   /* an address that no case gives to the device */
        uint64_t ram_end;                   /* of RAM below 4 GiB */
        uint64_t passed_over;               /* RAM from here to ram_end is not checked */
        bool submitted;                     /* by the case, with hostile_submit() */
        bool must_fail;                     /* set by a case: its request may not succeed */
        bool lenient;                       /* the command line says "lenient": must_fail does not matter */
};

extern struct hostile target;

/*
 * Finds the device ("disk" on the command line: the first disk, else the entropy device), starts it with the features
 * wanted, and fills unused RAM and guards. A disk's first and last eight sectors get a pattern. Returns false, and
 * says why: there is no such device, or it does not work.
 */
bool hostile_init(const struct boot_info *boot, const char *family, bool disk, uint64_t wanted);

/* Runs the cases ("case=NAME": that one alone). Returns the verdict. */
unsigned int hostile_run(const struct boot_info *boot, const struct hostile_case *cases, unsigned int count);

/* For cases. A descriptor. */
void hostile_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);

/* A valid chain from descriptor first on; returns the descriptor that the device writes data to. */
unsigned int hostile_chain(unsigned int first);

/* Makes a head available and notifies, whatever the device says about notifications. */
void hostile_submit(uint16_t head);

/* Waits until the device has reacted to what was submitted, or for ticks. */
void hostile_wait(uint64_t ticks);

/* Resets, and comes back with the device running. Ends the guest when it does not. */
void hostile_restart(void);
