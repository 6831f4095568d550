/* Registers of the boot processor at the guest's first instruction. */
#pragma once

#include "base/err.h"
#include "memory/guest_ram.h"
#include "vmm/boot/boot.h"

/* Writes GDT and page tables where the protocol wants them and the code at LAYOUT_RESET, all into guest RAM, and sets
 * the vCPU's registers. */
int boot_state_set(int vcpu_fd, const struct guest_ram *ram, const struct boot_entry *entry, struct err *e);

/* Model-specific registers that a reset processor has and KVM does not set: MTRRs on, write-back by default. */
int boot_msrs_set(int vcpu_fd, struct err *e);
