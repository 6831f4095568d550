/*
 * The descriptors of bulkhead-vmm, made up: what goes to KVM, the console and the main thread is checked and counted,
 * and answered as the input says. Linked with -Wl,--wrap for ioctl, send and write.
 */
#pragma once

#include <linux/kvm.h>

#include "fuzz.h"
#include "vmm/machine.h"

struct fake_vmm {
        struct reader *script; /* answers come from here */
        struct machine *machine;
        bool console_full; /* the console takes nothing */
        bool console_gone;
        bool routing_fails;
        size_t console_bytes, wakes, messages;
        uint64_t rip; /* what KVM_GET_REGS and KVM_TRANSLATE say */
        uint64_t rip_physical;
        bool registers_fail, translate_fails;
};

extern struct fake_vmm fake_vmm;

/* A machine at power-on and descriptors that work. script stays with the caller. */
void fake_vmm_start(struct machine *m, struct reader *script, bool test_device);
void fake_vmm_stop(void);
