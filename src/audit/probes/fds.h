/* Descriptors of a guest's processes that a check rests on. */
#pragma once

#include "audit/audit.h"

/* True, with a finding left, when some of them could not be looked at. A helper that has ended has none. */
bool fds_unread(struct audit *a, const struct guest *g);
