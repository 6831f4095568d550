#include "audit/model/pfn_set.h"

#define CHUNK_BITS  (1ULL << 20) /* 4 GiB of memory in 128 KiB */
#define CHUNK_COUNT (PFN_LIMIT / CHUNK_BITS)

void pfn_set_add(struct arena *a, struct pfn_set *s, uint64_t pfn)
{
        uint64_t **chunk, *word, bit = 1ULL << (pfn % 64);

        if (!s->chunks)
                s->chunks = arena_array(a, CHUNK_COUNT, sizeof(s->chunks[0]));
        chunk = &s->chunks[pfn / CHUNK_BITS];
        if (!*chunk)
                *chunk = arena_array(a, CHUNK_BITS / 64, sizeof(**chunk));
        word = &(*chunk)[pfn % CHUNK_BITS / 64];
        s->count += !(*word & bit);
        *word |= bit;
}

bool pfn_set_has(const struct pfn_set *s, uint64_t pfn)
{
        const uint64_t *chunk = s->chunks ? s->chunks[pfn / CHUNK_BITS] : NULL;

        return chunk && (chunk[pfn % CHUNK_BITS / 64] >> (pfn % 64) & 1);
}
