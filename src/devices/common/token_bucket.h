/*
 * A rate limit. Pure: the caller says what time it is, on a clock that only goes forward. A bucket can go into debt:
 * what is larger than it is let through when it is not empty, and waited for afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
        uint64_t rate_per_s; /* 0: no limit */
        uint64_t burst;      /* the most that it holds */
        int64_t tokens;
        uint64_t part;   /* of the next token: billionths */
        uint64_t now_ns; /* when that was right */
};

#define TOKEN_BUCKET_RATE_MAX (1ULL << 50) /* tokens a second, and of a burst */

/* Full. rate_per_s and burst above TOKEN_BUCKET_RATE_MAX are that; a burst of 0 is 1. */
void token_bucket_init(struct token_bucket *b, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns);

/* May something be charged now? */
bool token_bucket_ready(struct token_bucket *b, uint64_t now_ns);

/* Takes tokens out, at most TOKEN_BUCKET_RATE_MAX, whether they are there or not. */
void token_bucket_charge(struct token_bucket *b, uint64_t tokens);

/* How long until token_bucket_ready(), from the time of its last call on; 0: it is. */
uint64_t token_bucket_wait_ns(const struct token_bucket *b);
