/* What a vCPU came out of the guest for. */
#pragma once

#include "vmm/vcpu.h"

/* Handles one return from KVM_RUN: error is 0 or the negative errno it failed with. Whatever cannot go on ends the
 * machine with an error that names rip, the instruction's bytes and what to do. */
void vcpu_handle_exit(struct vcpu *v, int error);
