/*
 * One fault each, by which a test sees that a finding in bulkhead-vmm, or in the supervisor, fails a run: the programs
 * that have one are the sanitized build's with a call replaced by the linker. PLANT says which.
 */
#include <stdlib.h>

#include "state/state.h"
#include "vmm/exits.h"

#define PLANT_OVERFLOW  1 /* a vCPU thread writes past a heap block */
#define PLANT_UNDEFINED 2 /* a vCPU thread overflows an integer */
#define PLANT_RACE      3 /* threads count without a lock */
#define PLANT_STATE     4 /* the supervisor writes past a heap block */

static volatile unsigned int one = 1; /* a value that the compiler does not know */

#if PLANT == PLANT_OVERFLOW || PLANT == PLANT_STATE
static void fault(void)
{
        volatile char *block = malloc(one);

        if (block)
                block[one] = 0;
        free((void *)block);
}
#elif PLANT == PLANT_UNDEFINED
static void fault(void)
{
        volatile int sum = 0x7fffffff;

        sum += (int)one;
}
#else
static void fault(void)
{
        /* Long enough for two threads to be here at once. */
        for (int i = 0; i < 1000000; i++)
                one++;
}
#endif

#if PLANT == PLANT_STATE
__typeof__(state_write) __real_state_write, __wrap_state_write;
int __wrap_state_write(const struct state_guest *g, const struct state_new *n, const struct guest_state *s,
                       struct err *e)
{
        fault();
        return __real_state_write(g, n, s, e);
}
#elif PLANT == PLANT_RACE
__typeof__(machine_stopping) __real_machine_stopping, __wrap_machine_stopping;
bool __wrap_machine_stopping(struct machine *m)
{
        fault();
        return __real_machine_stopping(m);
}
#else
__typeof__(vcpu_handle_exit) __real_vcpu_handle_exit, __wrap_vcpu_handle_exit;
void __wrap_vcpu_handle_exit(struct vcpu *v, int error)
{
        fault();
        __real_vcpu_handle_exit(v, error);
}
#endif
