/* A set of page frame numbers: a bit each, in chunks that exist where a number was added. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/arena.h"

#define PFN_LIMIT (1ULL << 40) /* of the 52 bits of a physical address, those above a page's 12 */

struct pfn_set {
        uint64_t **chunks; /* NULL: empty */
        size_t count;
};

/* pfn must be below PFN_LIMIT. */
void pfn_set_add(struct arena *a, struct pfn_set *s, uint64_t pfn);
bool pfn_set_has(const struct pfn_set *s, uint64_t pfn);

/* Empties from into seen; what was in seen before goes into again, too. */
void pfn_set_move(struct arena *a, struct pfn_set *from, struct pfn_set *seen, struct pfn_set *again);
