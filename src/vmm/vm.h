/* The KVM virtual machine: created after exec, because a VM belongs to the address space that made it. */
#pragma once

#include "base/err.h"
#include "memory/guest_ram.h"

/*
 * On VMM_FD_KVM, creates the VM at VMM_FD_VM: required capabilities checked, split irqchip, MSR filter, KVM's own pages,
 * RAM as memory slots. Returns 0 or a negative errno (STATUS_HOST for what the host lacks).
 */
int vm_create(const struct guest_ram *ram, unsigned int vcpus, struct err *e);
