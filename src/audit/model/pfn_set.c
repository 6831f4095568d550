#include "audit/model/pfn_set.h"

#define CHUNK_BITS  (1ULL << 20) /* 4 GiB of memory in 128 KiB */
#define CHUNK_COUNT (PFN_LIMIT / CHUNK_BITS)

static uint64_t *chunk_of(struct arena *a, struct pfn_set *s, uint64_t number)
{
        if (!s->chunks)
                s->chunks = arena_array(a, CHUNK_COUNT, sizeof(s->chunks[0]));
        if (!s->chunks[number])
                s->chunks[number] = arena_array(a, CHUNK_BITS / 64, sizeof(**s->chunks));
        return s->chunks[number];
}

static void word_add(struct pfn_set *s, uint64_t *word, uint64_t bits)
{
        s->count += (size_t)__builtin_popcountll(bits & ~*word);
        *word |= bits;
}

void pfn_set_add(struct arena *a, struct pfn_set *s, uint64_t pfn)
{
        word_add(s, &chunk_of(a, s, pfn / CHUNK_BITS)[pfn % CHUNK_BITS / 64], 1ULL << (pfn % 64));
}

bool pfn_set_has(const struct pfn_set *s, uint64_t pfn)
{
        const uint64_t *chunk = s->chunks ? s->chunks[pfn / CHUNK_BITS] : NULL;

        return chunk && (chunk[pfn % CHUNK_BITS / 64] >> (pfn % 64) & 1);
}

void pfn_set_move(struct arena *a, struct pfn_set *from, struct pfn_set *seen, struct pfn_set *again)
{
        for (uint64_t i = 0; i < CHUNK_COUNT && from->count > 0; i++) {
                uint64_t *chunk = from->chunks[i], *known = chunk ? chunk_of(a, seen, i) : NULL;

                for (uint64_t k = 0; chunk && k < CHUNK_BITS / 64; k++) {
                        if (chunk[k] & known[k])
                                word_add(again, &chunk_of(a, again, i)[k], chunk[k] & known[k]);
                        word_add(seen, &known[k], chunk[k]);
                        from->count -= (size_t)__builtin_popcountll(chunk[k]);
                        chunk[k] = 0;
                }
        }
}
