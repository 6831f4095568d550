/* Time that only goes forward. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Milliseconds since some point in the past (CLOCK_MONOTONIC, which cannot fail). */
static inline int64_t clock_now_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
