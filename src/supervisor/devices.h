/*
 * The devices of a guest, each a process of its own in the guest's jail. A process that dies is started again, and the
 * VMM is sent a new socket to it when it has asked for one; every run of the guest has new processes.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "jail/jail.h"
#include "spec/control.h"
#include "state/state.h"
#include "supervisor/storage_program.h"

#define DEVICE_START_TIMEOUT_MS 30000 /* from clone to READY */
#define DEVICE_END_TIMEOUT_MS   200   /* from the end of its channel, or of that to the VMM, to its own */
#define DEVICE_BLAME_MS         100   /* how long a process takes from the end of its sockets to its own */
#define DEVICE_POLLS            (2 * VMM_DEVICES_MAX)

/* One that dies often is started again later and later: from the DEVICE_DEATHS_FREE + 1st death within
 * DEVICE_DEATHS_WINDOW_MS on after 10 ms, doubled each time, up to a second. One that does not even get READY
 * DEVICE_TRIES_MAX times in a row is given up. Whether it gets anything done only the VMM can tell, and says. */
#define DEVICE_DEATHS_FREE      2
#define DEVICE_DEATHS_WINDOW_MS 10000
#define DEVICE_DELAY_MIN_MS     10
#define DEVICE_DELAY_MAX_MS     1000
#define DEVICE_TRIES_MAX        5

enum device_phase {
        DEVICE_OFF,      /* not started yet in this run, or the run ends */
        DEVICE_WAITING,  /* is started again at deadline_ms */
        DEVICE_BUILDING, /* its jail */
        DEVICE_LOADING,  /* it has its configuration */
        DEVICE_UP,
        DEVICE_ENDING, /* a channel of it is closed, and it is killed if it is still there at deadline_ms */
        DEVICE_GIVEN_UP,
};

struct device_role; /* what all devices of a type have in common */

struct device {
        const struct device_role *role;
        const char *id;
        const struct disk_spec *disk;       /* NULL: not a disk */
        const struct backend_spec *outside; /* NULL: its process is ours, in the jail */
        uint32_t index, queues;
        int resource_fd;                /* the disk; -1: none */
        struct state_resource resource; /* what that is */
        uint32_t restarts;

        /* of a run */
        enum device_phase phase;
        pid_t pid;
        uint64_t start_time; /* of that process, see struct process_id */
        int pidfd, control_fd;
        int ending_fd;  /* the channel of the process before, while something of it may be under way */
        int vmm_socket; /* the VMM's end of the vhost-user socket, until it is sent */
        int own_socket; /* the process's end, until it has it */
        uint64_t layers;
        unsigned int landlock_abi;
        uint32_t engine;     /* of a disk, as its process says */
        bool is_up;          /* this process has been */
        bool was_up;         /* one of this run has been */
        bool lost;           /* by the VMM, this process */
        bool asked;          /* the VMM waits for a socket */
        bool resizing;       /* it has been told its new size and has not answered */
        int64_t deadline_ms; /* of a phase before DEVICE_UP */
        unsigned int tries;  /* in a row without READY */
        unsigned int deaths; /* in the window that started at window_ms */
        int64_t window_ms;
        pid_t peer_pid; /* of one outside: who made its socket, as the kernel tells it */
        uid_t peer_uid;
        char said[256]; /* by this process, or of it: why it is to end */
        char why[256];  /* the last one ended */
};

/* What starting a device's process takes beside the device. */
struct device_jail {
        const struct jail_cgroup *cgroup; /* NULL: none can be had */
        const struct jail_ids *ids;
        bool by_user, own_ids;
        uint64_t tasks; /* of the whole guest */
        uint64_t required_layers;
        const char *staging_dir; /* of a device alone, whose jail is its own: where the new root is mounted */
};

enum device_news { DEVICE_NEWS_UP, DEVICE_NEWS_DIED, DEVICE_NEWS_RESTARTED, DEVICE_NEWS_GIVEN_UP };

struct devices {
        size_t count;
        struct device list[VMM_DEVICES_MAX];
        int program_fds[3];             /* by role; kept so that a restart runs the same build */
        struct storage_program storage; /* of disks in format qcow2, likewise */
        /* of a run */
        struct device_jail jail;
        struct jail_namespaces namespaces;
        /* Something about d has changed that the operator or the state file should know. */
        void (*news)(void *ctx, const struct device *d, enum device_news news);
        /* A device has answered devices_resize(), or can no more: result is 0 or a negative errno. */
        void (*resized)(void *ctx, const struct device *d, int result);
        /*
         * A device alone: its process is the first of a jail of its own, whose ids this maps, and it serves the front
         * end that own_socket leads to. When that has left, it is not started again. NULL: the devices of a guest.
         */
        int (*map_ids)(void *ctx, pid_t pid, struct err *e);
        void *ctx;
};

void devices_init(struct devices *d);

/* Opens programs and disks of the guest that spec describes and whose name is taken in dir. Returns 0 or a negative
 * errno; devices_close() in both cases. */
int devices_open(struct devices *d, const struct guest_spec *spec, const struct state_dir *dir, struct err *e);
void devices_close(struct devices *d);

/* Is one of them a disk in format qcow2? */
bool devices_have_storage(const struct devices *d);

/* Makes the sockets between the VMM, which gets its ends at its start, and the devices of a run. Returns 0 or a
 * negative errno; devices_end() in both cases. */
int devices_connect(struct devices *d, const struct device_jail *jail, struct err *e);

/* Starts every device's process in the guest's namespaces, which become the devices'. Returns 0 or a negative errno. */
int devices_start(struct devices *d, const struct jail_namespaces *namespaces, struct err *e);

/* Fills p (DEVICE_POLLS entries) for poll(2); returns how many. */
size_t devices_poll(const struct devices *d, struct pollfd *p);

/* Until something is due: milliseconds, or -1 for never. */
int devices_wait_ms(const struct devices *d, int64_t now_ms);

/*
 * Handles what poll(2) has said of the first count entries, and what is due. vmm_fd: the VMM's control channel, -1 when
 * that is gone. Returns 0, or a negative errno when a device cannot be started for the first time.
 */
int devices_handle(struct devices *d, const struct pollfd *p, size_t count, int vmm_fd, struct err *e);

/* The VMM says that it has lost a device (a hostile one may say so at any time), or given it up. Returns 0, or -EPROTO
 * for one that there is not. */
int devices_lost(struct devices *d, const struct control_device *m, int vmm_fd, struct err *e);

/*
 * Gives the disk with this id a new size: a file grows, a block device must have grown. Returns 0 and *ret, the device
 * whose resized() is to come, or a negative errno (STATUS_USAGE when it cannot be had so).
 */
int devices_resize(struct devices *d, const char *id, uint64_t bytes, const struct device **ret, struct err *e);

/*
 * The VMM has failed before it ran: was it because a device's process, that was not up yet, ended by itself? Waits a
 * moment for that to show. Returns 0 when there is none, else a negative errno and why.
 */
int devices_blame(struct devices *d, struct err *e);

/* Kills and reaps every process of the run, which holds the VMM's end back until then. Can be called twice. */
void devices_end(struct devices *d);

/* What the state file says of them. */
void devices_describe(const struct devices *d, struct guest_state *s);

/* What CONFIG tells the VMM. */
void devices_configure(const struct devices *d, struct control_config *m);

/* pids and bytes that the guest's cgroup must leave room for, beside those of the VMM. */
uint64_t devices_tasks(const struct devices *d);
uint64_t devices_memory(const struct devices *d, uint64_t ram_bytes);
