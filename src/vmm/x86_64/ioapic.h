/*
 * I/O APIC (82093AA, 24 pins, version 0x20 with EOI register) for KVM's split irqchip: a pure state machine
 * that turns pin changes into MSI messages. The caller serialises calls and callbacks do not call back into
 * it.
 *
 * The machine has neither a PIC nor system management mode, so ExtINT and SMI entries send nothing; reserved
 * delivery modes send nothing either. Fixed, lowest priority, NMI and INIT do; NMI and INIT are always edge
 * triggered. The polarity bit is kept and has no effect: a line is asserted or not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86_64/layout.h"

struct ioapic_msi {
        uint64_t address; /* x86 MSI address: 0xfee00000 | destination, redirection hint, destination mode */
        uint32_t data;    /* x86 MSI data: vector, delivery mode, level, trigger */
};

struct ioapic_ops {
        /* Send this interrupt message now. */
        void (*deliver)(void *ctx, const struct ioapic_msi *msi);
        /* What ioapic_eoi_route() says about a pin changed: KVM must learn the new routes, or it will not
         * report their EOI. Called before a message of the new route is delivered. */
        void (*routes_changed)(void *ctx);
};

/* Plain state only, so that it can be saved as it is. */
struct ioapic {
        uint32_t id; /* as the ID register shows it: in the top byte */
        uint8_t ioregsel;
        uint64_t redirection[LAYOUT_IOAPIC_PINS]; /* remote IRR included; delivery status is never pending */
        uint32_t lines;                           /* current level of each pin */
};

/* Reset state: every pin masked, every line low. */
void ioapic_init(struct ioapic *io);

/*
 * MMIO access of any length at any offset inside the page: only aligned 32-bit accesses of IOREGSEL (0x00),
 * IOWIN (0x10) and EOI (0x40, write only) do something; everything else reads 0 and ignores writes.
 */
uint32_t ioapic_read(const struct ioapic *io, uint32_t offset, unsigned int len);
void ioapic_write(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint32_t offset, unsigned int len,
                  uint32_t value);

/*
 * Drives a pin (0..23; others are ignored). Edge pins deliver on 0->1, and an edge while masked is lost;
 * level pins deliver while 1, unmasked and not in service.
 */
void ioapic_set_line(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin, bool level);

/*
 * KVM_EXIT_IOAPIC_EOI or a write of the EOI register: clears remote IRR of level entries with that vector; a
 * line still asserted is delivered again.
 */
void ioapic_eoi(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint8_t vector);

/* The message that pin sends. Returns false, *ret untouched, when it is masked or sends nothing. */
bool ioapic_message(const struct ioapic *io, unsigned int pin, struct ioapic_msi *ret);

/*
 * The level-triggered message of that pin whose EOI KVM has to report (an MSI route on that GSI). It exists
 * while the pin is unmasked and also while it is masked but in service: guests mask a pin in its handler and
 * signal the EOI afterwards. Returns false, *ret untouched, when there is none.
 */
bool ioapic_eoi_route(const struct ioapic *io, unsigned int pin, struct ioapic_msi *ret);
