/*
 * KVM's interrupt routing table, the only one of a VM: the messages of level-triggered I/O APIC pins, whose EOI it
 * reports, and those of the devices' queues, which it sends when their eventfds are written.
 */
#pragma once

#include "spec/vmm_fds.h"
#include "vmm/x86_64/layout.h"

struct machine;

/* GSIs below are the I/O APIC's pins: vm.c reserves them. */
#define ROUTES_GSI(device, queue) (LAYOUT_IOAPIC_PINS + 16U * (device) + (queue))
#define ROUTES_GSI_NOWHERE        ROUTES_GSI(VMM_DEVICES_MAX, 0U) /* never has a route */
#define ROUTES_MAX                ROUTES_GSI(VMM_DEVICES_MAX, 0U)

/* Tells KVM all routes. The machine's lock is held; a KVM that refuses ends the guest. */
void routes_set(struct machine *m);
