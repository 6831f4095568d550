/* MSI-X table and pending bits (PCI 3.0, 6.8.2): pure state. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MSIX_VECTORS_MAX 32

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
};

void msix_init(struct msix *m, unsigned int count); /* reset state: every vector masked */

/* The message of a vector. Returns false when there is none to send: disabled, masked, or no such vector. */
bool msix_get(const struct msix *m, unsigned int vector, struct msix_message *ret);
