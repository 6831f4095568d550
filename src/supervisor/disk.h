/*
 * A guest's disk on the host: a regular file or a block device, opened and locked.
 *
 * The lock is that of QEMU (block/file-posix.c: raw_apply_lock_bytes(), raw_check_lock_bytes()): who uses an image has
 * a shared lock on byte 100 + n for each permission n that it uses, and on 200 + n for each that it lets nobody else
 * have; a lock that somebody has on the other byte of a pair is a conflict. It belongs to the open file description,
 * which the supervisor and the disk's process share, and ends when neither has it open any more.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"
#include "state/state.h"

/*
 * Opens and locks it: for reading and writing when nobody else uses it, read-only while nobody writes it. Returns 0
 * with the descriptor and what is behind it, -EBUSY with ret_resource filled but no descriptor when somebody else uses
 * it (e is left alone), or another negative errno.
 */
int disk_open(const struct disk_spec *d, int *ret_fd, struct state_resource *ret_resource, struct err *e);

/* Makes a file as long as that; a block device must be already. Never makes one shorter. Returns 0 or a negative errno
 * (STATUS_USAGE: not such a size, or a disk that is only read). */
int disk_grow(const struct disk_spec *d, int fd, uint64_t bytes, struct err *e);

/* Fills e for a disk that is in use: by whom, if that is a guest in dir other than own. Returns -EBUSY. */
int disk_refuse(const struct disk_spec *d, const struct state_resource *resource, const struct state_dir *dir,
                const char *own, struct err *e);
