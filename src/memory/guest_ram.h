/*
 * Guest RAM. In the VMM: one sealed memfd, mapped once, cut into the regions that KVM sees as memory slots. In a
 * device's process: regions that the VMM (or another front end) has handed over by descriptor, each with a mapping of
 * its own. The only place that knows what RAM is made of, and the only place that turns a guest address into a pointer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef uint64_t gpa_t; /* guest physical address: an integer, never a pointer */

#define GUEST_RAM_REGIONS_MAX 32 /* a VMM of ours has two: below and above the PCI hole; other front ends have more */

struct ram_region {
        gpa_t base;
        uint64_t len_bytes;
        uint8_t *host;           /* where this process maps it */
        uint64_t file_off_bytes; /* of base in the descriptor that holds it */
        uint64_t peer;           /* the front end's own address of base: vhost-user names rings by it */
};

struct guest_ram {
        uint64_t len_bytes; /* sum of the regions */
        unsigned int region_count;
        struct ram_region regions[GUEST_RAM_REGIONS_MAX];
};

/*
 * Creates len_bytes (a multiple of 4 KiB, not 0) of RAM as a memfd that can neither grow nor shrink nor be
 * resealed, maps it shared, excludes it from core dumps and from page merging, and lays it around the hole
 * [hole_start, hole_end). Returns 0 or a negative errno. guest_ram_unmap() undoes it.
 */
int guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                  struct err *e); /* ret_fd: the memfd, which the caller closes; NULL: it is closed here */

/*
 * Maps [off, off+len) of fd, which stays the caller's, as guest addresses [base, base+len): read and write, shared, out
 * of core dumps. All hostile: page alignment, overlaps in guest and peer addresses, overflow and the file's size are
 * checked. (A file that shrinks later ends this process, which is nobody's but the front end's guest's, by SIGBUS.)
 * Returns 0, -EINVAL, -EEXIST (overlap), -ENOSPC (too many) or what mmap(2) says.
 */
int guest_ram_add(struct guest_ram *ram, int fd, uint64_t off_bytes, gpa_t base, uint64_t len_bytes, uint64_t peer,
                  struct err *e);

/* Unmaps exactly that region. Pointers into it are dangling from then on. Returns 0 or -ENOENT. */
int guest_ram_remove(struct guest_ram *ram, gpa_t base, uint64_t len_bytes, uint64_t peer);

/* The guest address of a front end's address, when [peer, peer+len) lies inside one region. Returns 0 or -EFAULT. */
int guest_ram_from_peer(const struct guest_ram *ram, uint64_t peer, uint64_t len_bytes, gpa_t *ret);

/* Unmaps; accepts a zeroed object and can be called twice. */
void guest_ram_unmap(struct guest_ram *ram);

/*
 * The one checked accessor: a pointer to [gpa, gpa+len_bytes) when the whole range lies inside one region,
 * else NULL. What it points at can change at any time under the guest's hands: copy once, validate the copy.
 */
void *guest_ram_at(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes);

/* The same for a range that may go on in another region: *ret_bytes is how much of it, at most len_bytes, lies in the
 * first. NULL when gpa is not RAM or len_bytes is 0. */
void *guest_ram_part(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes, uint64_t *ret_bytes);

/* Copies len bytes to guest memory. Returns 0 or -EFAULT when the range is not RAM. */
int guest_ram_write(const struct guest_ram *ram, gpa_t gpa, const void *data, uint64_t len_bytes);

/* Fills guest memory from fd at offset off. Returns 0, -EFAULT, -ENODATA (file too short) or another negative
 * errno. */
int guest_ram_read_file(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes, int fd, uint64_t off);
