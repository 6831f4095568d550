/* Descriptor numbers of a device's process, fixed so that its system-call filter can name them. Plain integers only. */
#pragma once

#define DEVICE_FD_CONTROL  3 /* SOCK_SEQPACKET to the supervisor: CONFIG, READY, RESIZE, FAILED */
#define DEVICE_FD_FRONTEND 4 /* vhost-user, to the VMM (or another front end) */
#define DEVICE_FD_RESOURCE 5 /* the one host resource: a disk's file or block device; rng: none */

/* Made by the process before its filter closes. */
#define DEVICE_FD_EPOLL 6
#define DEVICE_FD_RING  7 /* io_uring */
#define DEVICE_FD_EVENT 8 /* completions of io_uring */
#define DEVICE_FD_TIMER 9 /* rate limits */

/* Of qemu-storage-daemon, whose other descriptors have any number: its front end, when it has taken that in. */
#define DEVICE_FD_CLIENT 9

/*
 * Whatever the front end sends is received from here on and stays below the limit: of the numbers above, those that a
 * program has no use for are /dev/null.
 */
#define DEVICE_FD_PEER  10
#define DEVICE_FD_LIMIT 128

/* RLIMIT_MEMLOCK of a disk's process, in bytes: newer kernels count what an io_uring shares with it, for all of a user
 * id. */
#define DEVICE_BLK_LOCKED_BYTES 524288
