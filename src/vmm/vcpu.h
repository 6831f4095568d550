/* One vCPU: its descriptor, its shared page with KVM, and the thread that runs it. */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vmm/boot/boot.h"
#include "vmm/machine.h"
#include "vmm/x86_64/cpuid.h"

struct vcpu {
        unsigned int id;
        int fd; /* VMM_FD_VCPU_FIRST + id */
        struct kvm_run *run;
        struct machine *machine;
        struct cpuid_table *cpuid; /* shared, under the machine's lock; only while starting */
        pthread_t thread;
        pid_t tid;
        struct err start_error; /* why its thread could not get ready */
        bool started;
};

/*
 * Starts the threads of vCPUs 0 to count - 1. Each creates its vCPU at its fixed descriptor, maps its shared
 * page, sets its CPUID and MSRs, installs its narrow filter and waits, while the caller goes on with the rest
 * of the machine. cpuid (its per-vCPU fields change) and vcpus must stay until vcpus_await() has returned.
 * VMM_FD_VM must exist. Returns 0 or a negative errno.
 */
int vcpus_start(struct machine *m, struct cpuid_table *cpuid, struct vcpu *vcpus, unsigned int count,
                struct err *e);

/* Returns when all vCPUs exist and wait behind their filters (0), or with the first error. The caller may
 * then touch the vCPUs' registers; nothing of the guest runs until vcpus_release(). */
int vcpus_await(struct vcpu *vcpus, unsigned int count, struct err *e);

/* Lets them enter the guest. */
void vcpus_release(struct machine *m);

/* Makes every vCPU leave the guest and park; returns when they have, or after timeout_ms. */
void vcpus_stop(struct vcpu *vcpus, unsigned int count, int timeout_ms);
