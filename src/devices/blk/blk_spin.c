#include "devices/blk/blk_spin.h"

void blk_spin_init(struct blk_spin *s)
{
        *s = (struct blk_spin){.ns = BLK_SPIN_NS, .credit = BLK_SPIN_CREDIT_MAX / 2, .pause = BLK_SPIN_PAUSE_MIN};
}

void blk_spin_given(struct blk_spin *s, uint64_t now_ns)
{
        if (s->given_ns == 0)
                s->given_ns = now_ns;
}

static void pause_lengthen(struct blk_spin *s)
{
        s->answers = 0;
        if (s->pause < BLK_SPIN_PAUSE_MAX)
                s->pause *= 2;
}

static void looked(struct blk_spin *s, bool in_time)
{
        if (in_time) {
                s->pause = BLK_SPIN_PAUSE_MIN;
                s->credit += s->credit < BLK_SPIN_CREDIT_MAX;
        } else if (--s->credit == 0) {
                pause_lengthen(s);
        }
}

void blk_spin_taken(struct blk_spin *s, uint64_t now_ns)
{
        bool in_time = now_ns - s->given_ns < s->ns;

        if (s->given_ns == 0)
                return;
        s->given_ns = 0;
        if (s->credit > 0)
                looked(s, in_time);
        else if (s->ns == 0)
                s->answers++;
        else if (in_time)
                s->credit = 1; /* this one may have been slow; the next shows what it is worth */
        else
                pause_lengthen(s);
        s->ns = s->credit > 0 ? BLK_SPIN_NS : s->answers >= s->pause ? BLK_SPIN_TRY_NS : 0;
}

bool blk_spin_on(const struct blk_spin *s, uint64_t now_ns)
{
        return s->given_ns != 0 && now_ns - s->given_ns < s->ns;
}
