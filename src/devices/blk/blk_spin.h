/*
 * Whether to look for a driver's next request for a while before sleeping. A driver that polls, or is quick, answers a
 * completion within microseconds: to be told of that costs both sides more than to look. Looking is given up where it
 * is in vain more often than not, and tried again ever more rarely. How soon a driver would answer cannot be told from
 * how soon it wakes us: that takes its own time, and a driver that waits for this very processor seems quick then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BLK_SPIN_NS         32000  /* after a completion, at most */
#define BLK_SPIN_TRY_NS     256000 /* the same when it is tried: the driver may still be busy with waking us */
#define BLK_SPIN_CREDIT_MAX 8      /* looks in vain until it is given up */
#define BLK_SPIN_PAUSE_MIN  8      /* answers until it is tried again, */
#define BLK_SPIN_PAUSE_MAX  1024   /* when that was in vain again and again */

struct blk_spin {
        uint64_t given_ns;   /* when something was given back that has no answer yet; 0: never */
        uint32_t ns;         /* how long to look after that */
        unsigned int credit; /* 0: given up */
        unsigned int answers, pause;
};

void blk_spin_init(struct blk_spin *s);

/* Something was given back. now_ns: CLOCK_MONOTONIC. */
void blk_spin_given(struct blk_spin *s, uint64_t now_ns);

/* A request was taken. */
void blk_spin_taken(struct blk_spin *s, uint64_t now_ns);

/* Is it worth to go on looking? */
bool blk_spin_on(const struct blk_spin *s, uint64_t now_ns);
