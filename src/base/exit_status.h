/* Exit statuses of every bulkhead program; documented for users in bulkhead(1). */
#pragma once

enum exit_status {
        STATUS_OK = 0,        /* done; for run: the guest powered off */
        STATUS_FAILURE = 1,   /* a system call failed or an internal step broke */
        STATUS_USAGE = 2,     /* the command line or the configuration is wrong */
        STATUS_HOST = 3,      /* this host cannot run guests: KVM or a kernel feature is missing, no permission */
        STATUS_IMAGE = 4,     /* kernel, initrd or command line cannot be booted */
        STATUS_NAME = 5,      /* the name is taken, or no such guest */
        STATUS_ISOLATION = 6, /* an isolation layer that is required cannot be had; audit: a boundary does not hold */
        STATUS_GUEST = 7,     /* the guest cannot go on: KVM reported an internal error or a failed entry */
        STATUS_RESET = 8,     /* the guest reset itself and --on-reset exit was given */
        STATUS_DIED = 9,      /* a process of the guest died that should not have */
        STATUS_UNDETERMINED = 10, /* audit: nothing failed, but something of weight could not be determined */

        STATUS_VERDICT = 64, /* + 1..63: verdict other than 0 from the test register (--test-device) */
        STATUS_SIGNAL = 128, /* + n: ended by signal n */
};
