/* Which monitor runs a guest, and what the guest is called. Both are claims of an untrusted process. */
#pragma once

#include "audit/model/guests.h"

/* Sets name (printable), kind, manager and supervisor. Facts of the VMM must be complete. */
void guest_identify(struct observer *o, const struct inventory *inv, struct guest *g);
