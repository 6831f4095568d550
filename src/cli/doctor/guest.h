/* Runs the tiny guest (guest.S), to find out what this host's KVM can execute. */
#pragma once

#include "cli/doctor/guest_abi.h"

enum guest_result {
        GUEST_RAN,
        GUEST_NOT_OFFERED,    /* this KVM's CPUID does not have the feature, so no kernel will use it */
        GUEST_WRONG,          /* ran, with a wrong result */
        GUEST_EXCEPTION,      /* raised an exception in the guest */
        GUEST_INTERNAL_ERROR, /* KVM gave up: KVM_EXIT_INTERNAL_ERROR */
        GUEST_SHUTDOWN,       /* triple fault */
        GUEST_OTHER_EXIT,     /* an exit, or an entry that failed, which nothing in the guest explains */
        GUEST_NO_VM,          /* the virtual machine could not be set up */
        GUEST_HUNG,           /* still running after GUEST_TIMEOUT_MS */
        GUEST_DIED,           /* the process that ran it died */
        GUEST_RESULT_COUNT,
};

#define GUEST_TIMEOUT_MS 2000

/*
 * Runs one probe (PROBE_*) in a virtual machine of its own, in a child process, for at most GUEST_TIMEOUT_MS;
 * nothing is left of either. kvm_fd is /dev/kvm. Never fails: what goes wrong is a result.
 */
enum guest_result probe_guest_run(int kvm_fd, unsigned int probe);

/* For people: "KVM reported an internal error". */
const char *guest_result_text(enum guest_result result);
