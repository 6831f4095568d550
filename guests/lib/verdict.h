/* How a guest tells the host how it went. */
#pragma once

enum verdict {
        VERDICT_PASSED = 0,
        VERDICT_FAILED = 1,    /* a check failed; the reason is on the UART */
        VERDICT_EXCEPTION = 2, /* an exception nobody expected; vector, rip and error code are on the UART */
};

/* Writes the verdict to the test register, which ends the guest when the machine has one, and halts forever.
 */
_Noreturn void verdict(unsigned int value);
