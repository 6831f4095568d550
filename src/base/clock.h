/* Time that only goes forward, and processor time. */
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

/* Microseconds since some point in the past. */
static inline int64_t clock_now_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Microseconds of processor time that the calling thread has used. A system call, unlike the others. */
static inline int64_t clock_thread_cpu_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
