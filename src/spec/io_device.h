/* The block device that an I/O limit is for, as a user names it. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/*
 * Turns text, MAJ:MIN in decimal or the path of a block device, into the device's numbers. The path is only
 * looked at with stat(2), never opened. That the numbers name a device is for the kernel to say. Errors have
 * STATUS_USAGE. Returns 0 or -EINVAL.
 */
int io_device_parse(const char *text, uint32_t *ret_major, uint32_t *ret_minor, struct err *e);
