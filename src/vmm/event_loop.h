/* The main thread: console, power button, the end. */
#pragma once

#include "vmm/machine.h"
#include "vmm/vcpu.h"

/*
 * Serves the guest until it ends; then stops the vCPUs, hands over the last output and sends END. Returns 0, or a
 * negative errno with e filled: the guest failed, or the supervisor is gone.
 */
int event_loop(struct machine *m, struct vcpu *vcpus, struct err *e);
