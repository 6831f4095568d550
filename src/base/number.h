/* Numbers from text, and arithmetic that cannot wrap. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Parses a decimal number without sign, space or leftovers, 0..max. Returns 0, -EINVAL (not a number) or
 * -ERANGE. */
int number_parse(const char *text, uint64_t max, uint64_t *ret);

/*
 * Parses a size in bytes: a decimal number with an optional suffix K, M, G, T or P (powers of 1024).
 * Returns 0, -EINVAL or -ERANGE (more than 2^64-1 bytes).
 */
int size_parse(const char *text, uint64_t *ret_bytes);

static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *ret)
{
        return __builtin_add_overflow(a, b, ret);
}

/* True when [start, start+len) lies inside [0, size). Does not wrap. */
static inline bool range_fits(uint64_t start, uint64_t len, uint64_t size)
{
        return start <= size && len <= size - start;
}
