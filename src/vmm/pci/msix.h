/* MSI-X table and pending bits (PCI 3.0, 6.8.2): pure state. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MSIX_VECTORS_MAX 32

/* The BAR that holds both: the table at 0, the pending bits in the second half. */
#define MSIX_BAR_BYTES   4096
#define MSIX_PBA_OFF     2048
#define MSIX_ENTRY_BYTES 16

struct msix_message {
        uint64_t address;
        uint32_t data;
};

struct msix {
        unsigned int count;
        struct {
                uint32_t address_lo, address_hi, data, control; /* bit 0 of control: masked */
        } table[MSIX_VECTORS_MAX];
        bool enabled, all_masked; /* message control, bits 15 and 14 */
        bool silent;              /* the function is no bus master: it can send nothing */
        uint32_t pending;         /* bit v: vector v waits to be sent (those that its owner records here) */
};

void msix_init(struct msix *m, unsigned int count); /* reset state: every vector masked */

/* The message of a vector. Returns false when there is none to send: disabled, masked, or no such vector. */
bool msix_get(const struct msix *m, unsigned int vector, struct msix_message *ret);

/*
 * Accesses to the BAR. Table and pending bits take aligned accesses of 4 or 8 bytes; all others read 0 and change
 * nothing. pending: what the pending bit array shows. A write returns the vector whose entry it was for, or m->count:
 * none.
 */
uint64_t msix_bar_read(const struct msix *m, uint32_t off, unsigned int width, uint64_t pending);
unsigned int msix_bar_write(struct msix *m, uint32_t off, unsigned int width, uint64_t value);

/* Is the access to the pending bits? (then the reader has to know them) */
bool msix_is_pba(uint32_t off);
