/* Whole reads and writes: no short counts, no EINTR for the caller to think about. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Writes all len bytes. Returns 0 or a negative errno (-EAGAIN included, when fd is non-blocking). */
int io_write_all(int fd, const void *buf, size_t len);

/* Reads exactly len bytes at offset off. Returns 0, -ENODATA when the file ends earlier, or a negative errno.
 */
int io_pread_all(int fd, void *buf, size_t len, uint64_t off);

/*
 * Reads a whole small file (procfs, cgroupfs, sysfs too) relative to dirfd into buf and terminates it with a
 * zero; a trailing newline is cut. Returns the length, -EFBIG when it does not fit, or another negative
 * errno.
 */
ssize_t io_read_file_at(int dirfd, const char *path, char *buf, size_t size);

/* Opens path relative to dirfd for writing and writes text in one write(2). Returns 0 or a negative errno. */
int io_write_file_at(int dirfd, const char *path, const char *text);
