/* Guest RAM among the mappings of a monitor. */
#pragma once

#include "audit/model/guests.h"

/* Sets ram and ram_bytes; the mappings of the VMM must be there. */
void guest_ram_find(struct observer *o, struct guest *g);
