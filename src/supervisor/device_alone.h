/* A device without a guest of ours: its process serves other front ends (QEMU, for one), one after the other. */
#pragma once

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Serves the one device of spec, which has a name but no kernel, on the socket at path until a signal ends it. Each
 * front end gets a process of its own, in a jail of its own. Returns the exit status for the process; when that tells
 * of an error, e says it.
 */
int device_serve(const struct guest_spec *spec, const char *path, struct err *e);
