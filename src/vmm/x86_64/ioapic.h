/*
 * I/O APIC (82093AA, 24 pins, version 0x20 with EOI register) for KVM's split irqchip: a pure state machine
 * that turns pin changes into MSI messages. The caller serialises calls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86_64/layout.h"

struct ioapic_msi {
        uint64_t address; /* x86 MSI address: 0xfee00000 | destination, redirection, mode */
        uint32_t data;    /* x86 MSI data: vector, delivery mode, level, trigger */
};

struct ioapic_ops {
        /* Send this interrupt message now. */
        void (*deliver)(void *ctx, const struct ioapic_msi *msi);
        /* A redirection entry changed what level-triggered interrupts look like: KVM must learn the new
         * routes, or it will not report their EOI. */
        void (*routes_changed)(void *ctx);
};

struct ioapic {
        uint32_t id;
        uint8_t ioregsel;
        uint64_t redirection[LAYOUT_IOAPIC_PINS]; /* remote IRR and delivery status included */
        uint32_t lines;                           /* current level of each pin */
};

void ioapic_init(struct ioapic *io);

/* MMIO access of any length at any offset inside the page: only aligned 32-bit accesses of IOREGSEL (0x00),
 * IOWIN (0x10) and EOI (0x40) do something; everything else reads 0 and ignores writes. */
uint32_t ioapic_read(const struct ioapic *io, uint32_t offset, unsigned int len);
void ioapic_write(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint32_t offset,
                  unsigned int len, uint32_t value);

/* Drives a pin (0..23; others are ignored). Edge pins deliver on 0->1, level pins while 1 and not in service.
 */
void ioapic_set_line(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin,
                     bool level);

/* KVM_EXIT_IOAPIC_EOI or a write of the EOI register: clears remote IRR of level entries with that vector; a
 * line still asserted is delivered again. */
void ioapic_eoi(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint8_t vector);

/* The message that pin sends. Returns false when the pin is masked. */
bool ioapic_message(const struct ioapic *io, unsigned int pin, struct ioapic_msi *ret);
