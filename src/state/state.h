/*
 * What is on disk about the guests of a host: the runtime directory.
 *
 *   /run/bulkhead/            (root) or $XDG_RUNTIME_DIR/bulkhead, mode 0700
 *     guests/NAME/lock        locked by the supervisor for as long as it lives; the kernel tells its pid
 *     guests/NAME/state       struct guest_state
 *     guests/NAME/attested    what no other process can ask the kernel about the VMM and the devices' processes, and
 * each has said of itself, after it was in its jail and before it did anything for its guest. For programs that know
 * nothing of this one, text, a line each:
 *                                 landlock N          ABI of the Landlock rules in force, 0: none
 *                                 pid PID             of the VMM
 *                                 start_time TICKS    of that process: field 22 of /proc/PID/stat
 *                                 device N PID TICKS  the same three of a device's process; for each that is up
 *                             It holds for those processes alone; each restart of one writes it anew.
 *     guests/NAME/cgroup -> BASE
 *                             a symbolic link: the delegated cgroup below which an ordinary user's guest has its own
 *                             (the jail mounts its root over this directory in its own mount namespace)
 *     guests/NAME/requests    the supervisor's socket for requests (spec/request.h), of a guest with disks
 *     ids/SLOT -> NAME        a symbolic link: which guest owns which block of ids
 *
 * A guest exists while its lock is held. What a killed supervisor leaves behind is swept by the next command.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "jail/jail.h"
#include "spec/guest_spec.h"
#include "spec/vmm_fds.h"

#define STATE_VERSION  3
#define STATE_DIR_ROOT "/run/bulkhead"

/* Ids for guests when /etc/subuid and /etc/subgid name none for user "bulkhead": above every range that systemd and
 * shadow hand out (systemd.io/UIDS-GIDS), room for 16384 guests. */
#define STATE_IDS_DEFAULT_FIRST 0x70000000U
#define STATE_IDS_DEFAULT_COUNT 0x00100000U

/* A process, named so that a reused pid is not mistaken for it. */
struct process_id {
        int32_t pid;
        uint32_t reserved;
        uint64_t start_time; /* field 22 of /proc/PID/stat: clock ticks since boot */
};

/* The host's resource behind a device, however it is named: the file, and for a block device its number. */
struct state_resource {
        uint64_t device, inode; /* st_dev, st_ino */
        uint64_t block_device;  /* st_rdev; 0: a regular file */
};

struct device_state {
        struct process_id process; /* pid 0: none, it is being started (again), or was given up */
        uint32_t type;             /* VIRTIO_ID_BLOCK or VIRTIO_ID_RNG */
        uint32_t restarts;
        uint64_t layers; /* LAYER_BIT()s in force */
        uint32_t landlock_abi;
        uint32_t given_up; /* 0 or 1 */
        uint32_t outside;  /* 0, or 1: somebody else's process, and none of ours */
        int32_t peer_pid;  /* of such: who made its socket, as the kernel tells it; 0: not known */
        uint32_t peer_uid;
        uint32_t reserved2;
        struct state_resource resource; /* of a disk, else zeros */
        char id[SPEC_ID_MAX];
        uint8_t reserved[3];
};

struct guest_state {
        uint32_t version, size_bytes;
        struct process_id supervisor, vmm;
        uint32_t slot; /* STATE_SLOT_NONE: it has none of its own */
        struct jail_ids ids;
        uint64_t layers; /* LAYER_BIT()s in force */
        uint32_t landlock_abi;
        uint32_t resets;
        int64_t started_unix; /* seconds */
        uint32_t device_count;
        uint32_t alone; /* 0, or 1: no guest, but one device for another front end; vmm is its process, or none now */
        struct device_state devices[VMM_DEVICES_MAX];
        struct guest_spec spec;
};

/* The open runtime directory. */
struct state_dir {
        int fd;
        int guests_fd, ids_fd;
        char path[256];
};

/* Opens the runtime directory, creating what is missing. Returns 0 or a negative errno. */
int state_dir_open(struct state_dir *ret, struct err *e);
void state_dir_close(struct state_dir *d);

/* A guest's own directory, locked. */
struct state_guest {
        int dir_fd, lock_fd;
        char path[384]; /* absolute */
};

/* Takes the name: creates its directory and locks it; one that is being swept is waited for. STATUS_NAME when
 * a live supervisor holds it. */
int state_guest_take(struct state_dir *d, const char *name, struct state_guest *ret, struct err *e);

/* Takes the name of a dead guest, to sweep it; state_lock_owner() does not take the caller for a supervisor.
 * -EAGAIN when somebody holds it. */
int state_guest_take_dead(struct state_dir *d, const char *name, struct state_guest *ret);

/* Ends what a dead supervisor left running of its guest, whose name is taken, and removes its cgroup. Returns false
 * when something lives on. */
bool state_guest_end(const struct state_dir *d, const char *name);

/* Removes the guest's files and its directory, then gives up the lock. */
void state_guest_drop(struct state_dir *d, const char *name, struct state_guest *g);

/* The files that the next two functions put in place of older ones: both are made before there is anything to write. */
struct state_new {
        int attested_fd, state_fd;
};

#define STATE_NEW_INIT ((struct state_new){.attested_fd = -1, .state_fd = -1})

/* Returns 0 or a negative errno; state_new_close() in both cases. */
int state_new_open(const struct state_guest *g, struct state_new *ret, struct err *e);
void state_new_close(struct state_new *n);

/* Writes what the guest's processes attest of themselves, atomically. */
int state_attest(const struct state_guest *g, const struct state_new *n, const struct guest_state *s, struct err *e);

/* Writes state atomically. */
int state_write(const struct state_guest *g, const struct state_new *n, const struct guest_state *s, struct err *e);

/* Opens what state_attest() and state_write() need, and calls both: for a guest whose state has changed. */
int state_rewrite(const struct state_guest *g, const struct guest_state *s, struct err *e);

/*
 * Looks for the guest, other than own, that has this resource, and fills name. Returns false when none says so;
 * *ret_starting: there is one that has not said anything yet.
 */
bool state_resource_owner(const struct state_dir *d, const char *own, const struct state_resource *resource,
                          char name[SPEC_NAME_MAX], bool *ret_starting);

/* Reads and checks the state of a guest. -ENOENT when there is none (yet). */
int state_read(const struct state_dir *d, const char *name, struct guest_state *ret);

/* Pid of the supervisor that holds the lock of name, as the kernel tells it; 0: none does. */
pid_t state_lock_owner(const struct state_dir *d, const char *name);

/* The ids that guests of this user may have, in blocks of JAIL_IDS_PER_GUEST. */
struct state_ids_range {
        uint32_t first_uid, first_gid, blocks;
};

/*
 * Finds them in /etc/subuid and /etc/subgid (subuid(5)): for root the lines of user "bulkhead", or the default range;
 * for an ordinary user the user's own. Returns 0, -ENOENT when an ordinary user has no block in one of them, or
 * another negative errno: a file that cannot be read is not one without a line, because guests with ids of two ranges
 * could get the same.
 */
int state_ids_range(struct state_ids_range *ret);

#define STATE_SLOT_NONE UINT32_MAX

/* Takes a free block of ids for the guest whose name is taken, or the one that a dead guest of that name left: nothing
 * of that guest may be alive any more. Returns 0 and the slot and its ids. */
int state_ids_take(struct state_dir *d, const struct state_ids_range *range, const char *name, uint32_t *ret_slot,
                   struct jail_ids *ret_ids, struct err *e);
void state_ids_drop(struct state_dir *d, uint32_t slot);

/* Notes below which delegated cgroup the guest has its own, before that is made. */
int state_cgroup_note(const struct state_guest *g, const char *base, struct err *e);

/* Fills base with where the guest's cgroup is: "" for root's. Returns 0, -ENOENT when the guest has none, or another
 * negative errno. */
int state_cgroup_base(const struct state_dir *d, const char *name, char base[CGROUP_BASE_MAX]);

/* Start time of a process (field 22 of its stat), 0 when it does not exist. */
uint64_t process_start_time(pid_t pid);

/*
 * Removes everything that dead supervisors left: processes, cgroups, files, ids; and, where there is no guest, the
 * cgroups' parent. Never fails; what cannot be removed stays for the next command. own: the guest whose lock this
 * process holds, or NULL; it is not looked at, because closing any descriptor of a lock file gives up the locks that
 * this process has on it (fcntl(2)).
 */
void state_sweep(struct state_dir *d, const char *own);
