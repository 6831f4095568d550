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
        pthread_t thread;
        pid_t tid;
        struct err start_error; /* why its thread could not get ready */
        bool started;
};

/* Creates vCPU id at its fixed descriptor, maps its shared page, sets its CPUID and MSRs. cpuid is changed (its per-vCPU
 * fields). Returns 0 or a negative errno. */
int vcpu_create(struct machine *m, unsigned int id, struct cpuid_table *cpuid, struct vcpu *ret, struct err *e);

/*
 * Starts the threads of all vCPUs. Each installs its narrow filter and then waits; returns when all have (0), or with
 * the first error. Nothing of the guest runs until vcpus_release().
 */
int vcpus_start(struct vcpu *vcpus, unsigned int count, struct err *e);

/* Lets them enter the guest. */
void vcpus_release(struct machine *m);

/* Makes every vCPU leave the guest and park; returns when they have, or after timeout_ms. */
void vcpus_stop(struct vcpu *vcpus, unsigned int count, int timeout_ms);
