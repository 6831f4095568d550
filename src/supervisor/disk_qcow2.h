/* Images in format qcow2, as far as the supervisor looks into them: its head, which says what it depends on. */
#pragma once

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Refuses what is not such an image, and what would lead to a file that the operator has not named (a backing file, a
 * file for its data) or needs a secret. fd: the image, opened and locked, is_device: of a block device. Returns 0 or a
 * negative errno (STATUS_IMAGE).
 */
int disk_qcow2_check(const struct disk_spec *d, bool is_device, int fd, struct err *e);
