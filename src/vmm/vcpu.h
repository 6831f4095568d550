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
        struct cpuid_table *cpuid; /* shared by all; only while starting */
        pthread_t thread;
        pid_t tid;
        struct err start_error; /* why it could not be made; e.text is empty when it could */
};

/*
 * Starts the threads of vCPUs 0 to count - 1. Each creates its vCPU at its fixed descriptor, maps its shared page, sets
 * its CPUID and MSRs, installs its narrow filter and comes to vcpus_meet(), while the caller goes on with the rest of
 * the machine. The first also sets its registers, for which it waits for vcpus_loaded(). cpuid (its per-vCPU fields
 * change) and vcpus must stay until vcpus_meet() has returned. VMM_FD_VM must exist. Returns 0 or a negative errno.
 */
int vcpus_start(struct machine *m, struct cpuid_table *cpuid, struct vcpu *vcpus, unsigned int count, struct err *e);

/* The guest is in RAM; entry says where it begins. */
void vcpus_loaded(struct machine *m, const struct boot_entry *entry);

/*
 * Where the caller, its own filter in force, meets the threads of all vCPUs: nobody runs guest code before everybody is
 * there, and whoever comes last goes on without waiting. Returns 0, or a negative errno when a vCPU could not be made;
 * then none of them runs.
 */
int vcpus_meet(struct vcpu *vcpus, unsigned int count, struct err *e);

/* Makes every vCPU leave the guest and park; returns when they have, or after timeout_ms. */
void vcpus_stop(struct vcpu *vcpus, unsigned int count, int timeout_ms);
