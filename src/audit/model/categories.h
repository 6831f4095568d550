/* Categories of SELinux labels: what sVirt tells guests apart by. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATEGORIES 1024 /* of the policies in use: c0 to c1023 */

struct categories {
        uint64_t bits[CATEGORIES / 64];
        size_t count;
};

/* "c1,c5.c9". Returns false for what is not understood, and for none. */
bool categories_parse(const char *text, struct categories *ret);

/* Whether x has all of y's: a process with more categories than another's may use its files. */
bool categories_cover(const struct categories *x, const struct categories *y);
