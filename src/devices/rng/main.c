/* bulkhead-rng: the entropy device of one guest, started by the supervisor with the descriptors of spec/device_fds.h.
 */
#include "devices/rng/rng.h"

int main(void)
{
        device_main(&rng_program);
}
