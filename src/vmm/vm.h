/* The KVM virtual machine: created after exec, because a VM belongs to the address space that made it. */
#pragma once

#include "base/err.h"
#include "memory/guest_ram.h"

/*
 * On VMM_FD_KVM, creates the VM at VMM_FD_VM: required capabilities checked, split irqchip, KVM's own pages placed, no
 * PMU, the MSR filter. What must come before the first vCPU. Returns 0 or a negative errno (STATUS_HOST for what the
 * host lacks).
 */
int vm_create(struct err *e);

/* Gives the VM its RAM as memory slots; vCPUs may exist already. Returns 0 or a negative errno. */
int vm_register_ram(const struct guest_ram *ram, struct err *e);
