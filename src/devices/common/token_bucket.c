#include "devices/common/token_bucket.h"

#define PARTS 1000000000ULL /* of a token, and nanoseconds of a second: at 1 a second, one makes the other */

/* The deepest debt: two charges of the largest size, so that the balance cannot wrap. */
#define DEBT_MAX ((int64_t)(2 * TOKEN_BUCKET_RATE_MAX))

static uint64_t min(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

void token_bucket_init(struct token_bucket *b, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns)
{
        *b = (struct token_bucket){.rate_per_s = min(rate_per_s, TOKEN_BUCKET_RATE_MAX),
                                   .burst = burst == 0 ? 1 : min(burst, TOKEN_BUCKET_RATE_MAX),
                                   .now_ns = now_ns};
        b->tokens = (int64_t)b->burst;
}

bool token_bucket_ready(struct token_bucket *b, uint64_t now_ns)
{
        unsigned __int128 gained;

        if (b->rate_per_s == 0)
                return true;
        if (now_ns <= b->now_ns)
                return b->tokens > 0;
        gained = (unsigned __int128)(now_ns - b->now_ns) * b->rate_per_s + b->part;
        b->now_ns = now_ns;
        if (gained / PARTS >= (uint64_t)((int64_t)b->burst - b->tokens)) {
                b->tokens = (int64_t)b->burst;
                b->part = 0;
        } else {
                b->tokens += (int64_t)(gained / PARTS);
                b->part = (uint64_t)(gained % PARTS);
        }
        return b->tokens > 0;
}

void token_bucket_charge(struct token_bucket *b, uint64_t tokens)
{
        if (b->rate_per_s == 0)
                return;
        b->tokens -= (int64_t)min(tokens, TOKEN_BUCKET_RATE_MAX);
        if (b->tokens < -DEBT_MAX)
                b->tokens = -DEBT_MAX;
}

uint64_t token_bucket_wait_ns(const struct token_bucket *b)
{
        unsigned __int128 missing;

        if (b->rate_per_s == 0 || b->tokens > 0)
                return 0;
        missing = (unsigned __int128)(1 - b->tokens) * PARTS - b->part;
        missing = (missing + b->rate_per_s - 1) / b->rate_per_s;
        return missing > UINT64_MAX ? UINT64_MAX : (uint64_t)missing;
}
