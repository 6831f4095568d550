/* The two memory functions of the C library that compilers call on their own, with its contracts. */
#pragma once

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t len);
void *memset(void *dst, int value, size_t len);
