/* What the supervisor opens on the host for one guest: the only place where a path becomes a descriptor. */
#pragma once

#include <linux/kvm.h>

#include "base/err.h"
#include "spec/control.h"
#include "spec/guest_spec.h"

struct resources {
        int kvm_fd;           /* /dev/kvm */
        int kernel_fd;        /* read-only */
        int initrd_fd;        /* read-only; -1: none */
        int program_fd;       /* bulkhead-vmm, kept so that a restart runs the same build */
        uint32_t cpuid_count; /* 0: not asked yet */
        struct kvm_cpuid_entry2 cpuid[CONTROL_CPUID_MAX];
};

#define RESOURCES_INIT ((struct resources){.kvm_fd = -1, .kernel_fd = -1, .initrd_fd = -1, .program_fd = -1})

/* Opens everything spec names. Returns 0 or a negative errno; resources_close() in both cases. */
int resources_open(const struct guest_spec *spec, struct resources *r, struct err *e);
void resources_close(struct resources *r);

/* Asks KVM what it supports, once. Takes half a millisecond where CPUID itself traps: call it while others work. */
int resources_query_cpuid(struct resources *r, struct err *e);
