/* virtio-entropy (virtio 1.2, 5.4): one queue, whose buffers are filled with random bytes. */
#pragma once

#include "devices/common/device.h"

#define RNG_CHAIN_BYTES_MAX \
        16384 /* of one request; the rest of a larger buffer is not used, as the specification allows */
#define RNG_CHAINS_PER_TURN 16 /* then the event loop is asked whether there is other work */

extern const struct device_program rng_program;
