/* What the supervisor tells a device's process when its jail is built. */
#pragma once

#include "base/err.h"
#include "spec/control.h"

/*
 * Waits for it, and holds what it demands against layers (LAYER_BIT()s), which the process has put in force itself.
 * Returns 0, or a negative errno (STATUS_ISOLATION: a layer is missing).
 */
int device_config_receive(struct control_device_config *ret, uint64_t layers, struct err *e);
