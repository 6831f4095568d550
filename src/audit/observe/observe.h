/*
 * One question to the host, one answer: everything the auditor knows comes through here. Two back ends answer: the live
 * host, and a fixture that was recorded from one (or made by hand). Checks cannot tell which, and each answer is
 * evidence together with its question.
 *
 * A question is a verb and its subject with one blank between them:
 *
 *   read PATH             the file's bytes, OBSERVE_FILE_MAX at most (-EFBIG)
 *   head PATH             the first OBSERVE_HEAD_MAX bytes of a regular file or block device
 *   list PATH             names in a directory without . and .., one a line, each escaped (text_escape), sorted;
 *                         OBSERVE_LIST_MAX at most (-E2BIG)
 *   link PATH             target of a symbolic or magic link
 *   stat PATH, lstat PATH "MODE UID GID DEV INO RDEV SIZE NLINK MTIME", mode octal, dev and rdev as MAJ:MIN
 *   acl PATH              the POSIX access ACL, "user:ID:rwx" a line; -ENODATA: none
 *   kcmp PID FD PID FD    0 the two descriptors are one open file, 1 the first sorts lower, 2 higher (kcmp(2))
 *   seals PID FD          F_SEAL_* bits of a memfd, decimal
 *   cookie TID            core-scheduling cookie, decimal; -ENODEV: no SMT
 *   seccomp TID N         filter N as struct sock_filter array (stops the thread for a moment: tier --deep)
 *   pages PID START END   present pages of that range: lines "PFN COUNT" (addresses hex without 0x, PFN decimal)
 *   pageflags PFN         /proc/kpageflags of the page, decimal
 *   dm-table MAJ:MIN      table of a device-mapper device: "START LENGTH TARGET PARAMETERS" a line
 *   unix-sockets PID      unix sockets of its network namespace: "INODE TYPE STATE PEER UID DEV:INO NAME" a line
 *   sha256 PATH           of a regular file, hexadecimal
 *   build-id PATH         of an ELF file, hexadecimal; -ENODATA: none
 *   links NS, bridge-vlans NS, ingress NS, addresses NS, routes NS: of a network namespace, in live_netlink_links.c
 *   listeners NS, vsock-listeners: sockets that wait for strangers, in live_netlink_sockets.c
 *   nft NS                packet filters, in live_netlink_nft.c
 *   net-sysctl NS NAME, tun-netns PID FD: in live_netlink.c
 *   landlock              ABI of Landlock, decimal; -EOPNOTSUPP: not enabled
 *   elf PATH              how a program was hardened: lines "type DYN|EXEC", "relro", "now", "stack", "protector"
 *   kernel-log            messages of the kernel about KVM and errors of its own: "MICROSECONDS TEXT" a line
 *   vm-count              VMs of this host as the kernel counts them, the asker's own left out
 *
 * and those that the other live_*.c files document at their handlers. PATH is below
 * /proc, /sys, /dev or a path of the host. A path below /proc/PID is read through a descriptor of that directory which
 * is kept, so that all answers about a pid are about one process: when it has ended, they are -ESRCH, even if the pid
 * is in use again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "audit/arena.h"
#include "base/err.h"

#define OBSERVE_FILE_MAX (32U << 20)
#define OBSERVE_LIST_MAX (1U << 20) /* names in a directory (-E2BIG) */
#define OBSERVE_HEAD_MAX (64U << 10)

struct answer {
        int error;   /* 0 or a negative errno */
        char *bytes; /* in the arena; a zero follows; NULL when error is set */
        size_t len;
};

struct observer {
        struct arena *arena;
        void (*ask)(struct observer *o, const char *question, struct answer *ret);
        void (*forget)(struct observer *o, pid_t pid); /* NULL: nothing to forget */
        void (*close)(struct observer *o);
};

/* Asks; the question is a printf format. Returns ret->error. */
int observe(struct observer *o, struct answer *ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct observed_stat {
        uint32_t mode, uid, gid;
        uint64_t dev, ino, rdev, size, nlink; /* dev, rdev: OBSERVED_DEV() */
        int64_t mtime_s;
};

#define OBSERVED_DEV(major, minor) ((uint64_t)(major) << 32 | (minor))
#define OBSERVED_MAJOR(dev)        ((uint32_t)((dev) >> 32))
#define OBSERVED_MINOR(dev)        ((uint32_t)(dev))

/* "stat PATH" (or "lstat PATH"), parsed. Returns 0, a negative errno, or -EPROTO for an answer that is not as above. */
int observe_stat(struct observer *o, const char *path, struct observed_stat *ret);
int observe_lstat(struct observer *o, const char *path, struct observed_stat *ret);

struct name_list {
        char **items; /* unescaped; may hold any byte but '/' and 0 */
        size_t count, room;
};

/* "list PATH", parsed. */
int observe_list(struct observer *o, const char *path, struct name_list *ret);

/* "read PATH" of a file that holds one line: without its newline. Returns NULL, with *ret_error (may be NULL) set. */
char *observe_line(struct observer *o, const char *path, int *ret_error);

/* "read PATH" of a file that holds one decimal number, with sign. Returns 0 or a negative errno. */
int observe_number(struct observer *o, const char *path, int64_t *ret);

/* The descriptor of /proc/PID may be closed: the caller has no more questions about this process. */
void observe_forget(struct observer *o, pid_t pid);

/* The live host. Returns NULL with e filled when /proc is not there. */
struct observer *observer_live(struct arena *a, struct err *e);

/* A recorded host: the file format is in fixture.c. */
struct observer *observer_fixture(struct arena *a, const char *path, struct err *e);

/* Asks inner and writes every question with its answer to path as a fixture. Takes inner over. */
struct observer *observer_recording(struct arena *a, struct observer *inner, const char *path, struct err *e);
