/* Between the files of the life-cycle checks. */
#pragma once

#include "audit/audit.h"

void life_stale_host(struct audit *a);
void life_migr_guest(struct audit *a, struct guest *g);
