/* With which privileges the auditor asks. */
#pragma once

#include "base/err.h"

enum tier {
        TIER_ALL,   /* with all that the caller has */
        TIER_OWNER, /* as user 65534, able to look at other users' processes and to read files, and nothing else */
        TIER_LITE,  /* as user 65534, who may do nothing */
};

/*
 * Gives up for good whatever the tier does without. A caller who may not change ids keeps its own user and groups.
 * Nothing that takes the caller's rights, to write a file above all, can be done afterwards. Returns 0 or a negative
 * errno: then nothing may be asked.
 */
int tier_enter(enum tier tier, struct err *e);
