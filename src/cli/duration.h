/* A span of time as people read it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Writes the two largest units of a number of seconds, as "3d 4h" or "12s". A negative number (the clock was
 * set back) is 0. */
void duration_print(char *buf, size_t size, int64_t seconds);
