/*
 * A device as the VMM has it: virtio over PCI for the guest, vhost-user to the process that holds the host's resource.
 * Its data passes between the two without the VMM, by eventfds that KVM reads and writes.
 *
 * vCPU threads only note, under the machine's lock, what the guest wants; the main thread talks to the process, without
 * the lock, and reports under it. A process that dies is replaced by the supervisor, and goes on where the dead one
 * was.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/control.h"
#include "vhost_user/frontend.h"
#include "vmm/pci/virtio_pci.h"

struct machine;

enum device_at {
        DEVICE_IDLE,    /* connected; nothing of the guest's is known to the process */
        DEVICE_RUNNING, /* serves its queues */
        DEVICE_LOST,    /* the supervisor has been told, and will send a new socket, or that there is none */
        DEVICE_GONE,    /* for the rest of the guest's life */
};

/* What the guest set up, as it was at DRIVER_OK. */
struct device_setup {
        uint64_t features;
        unsigned int count; /* of queues */
        struct vu_frontend_queue queues[VIRTIO_PCI_QUEUES_MAX];
};

/* The interrupt of a queue. */
struct device_line {
        bool keeps;    /* has a vector: what is signalled meanwhile is delivered when it is unmasked */
        bool routed;   /* KVM's table has its message */
        bool assigned; /* KVM reads its eventfd */
        struct msix_message message;
};

struct device_type {
        uint16_t virtio_id;
        uint16_t queue_size_max;
        uint64_t features; /* those that may pass from the process to the guest */
        uint32_t config_bytes;
        uint64_t writable_feature; /* with it, the driver may write one byte of configuration space, 0 or 1; 0: none */
        uint32_t writable_off;
        const char *name;
};

struct device {
        struct machine *machine;
        const struct device_type *type;
        unsigned int index;

        /* the main thread's */
        enum device_at at;
        struct vu_frontend front;
        bool begun;                  /* a process was told to start since the last reset: the next one goes on */
        unsigned int tries;          /* processes in a row that got nothing done */
        struct device_setup running; /* what the process was told */
        uint16_t used_at_start[VIRTIO_PCI_QUEUES_MAX]; /* index of each used ring */

        /* under the machine's lock */
        struct virtio_pci transport;
        bool run;                 /* what the guest wants */
        bool start_due, stop_due; /* the guest waits for virtio_pci_started() or _stopped() */
        bool write_due;           /* written has to go to the process */
        bool has_written;
        uint8_t written; /* what the driver wrote to the writable byte */
        struct device_setup setup;
        struct device_line lines[VIRTIO_PCI_QUEUES_MAX];
        uint64_t window; /* of notifications, while decoded */
        bool decoded;
};

#define DEVICE_TRIES_MAX 5 /* then it is given up */

/* The type with that number, or NULL. */
const struct device_type *device_type_find(uint16_t virtio_id);

/* Configuration space as the process gave it, made fit for the guest: no more queues than it has; a cache, which
 * flushes empty. */
void device_type_adjust(const struct device_type *t, uint8_t *config, uint32_t config_bytes, unsigned int queues);

/*
 * Before the filters close: makes each device's eventfds, introduces the VMM to its process, and puts it on the bus.
 * array has VMM_DEVICES_MAX places, all zero, and stays. Returns 0 or a negative errno; a process that does not answer
 * is STATUS_HOST.
 */
int devices_open(struct machine *m, struct device *array, const struct control_config *c, struct err *e);

/* ---- device_goal.c: the main thread ---- */

/*
 * Introduces the VMM to a process on socket, which becomes the device's, at their fixed numbers. queues: at most.
 * Returns 0 or a negative errno, and leaves vu_frontend_disconnect() to the caller.
 */
int device_connect(struct device *d, int socket, unsigned int queues, struct err *e);

/* What poll(2) is to wait for. Returns the number of entries: at most DEVICES_POLL_MAX. */
struct pollfd;
#define DEVICES_POLL_MAX (2 * VMM_DEVICES_MAX)
unsigned int devices_poll(const struct machine *m, struct pollfd *p);

/*
 * Handles what poll(2) said, then brings every device to where the guest wants it. Returns 0, or a negative errno when
 * the supervisor cannot be told.
 */
int devices_attend(struct machine *m, const struct pollfd *p, struct err *e);

/* DEVICE: socket (the device's from now on; -1: the supervisor has given up). Returns 0 or a negative errno, e filled.
 */
int devices_replace(struct machine *m, const struct control_device *message, int socket, struct err *e);

/* ---- device_kvm.c: what the transport asks for, with the machine's lock held ---- */

extern const struct virtio_pci_ops device_ops;

/* Has KVM's ioeventfds for the length any? Asked once, on VMM_FD_KVM. */
int device_kvm_probe(struct machine *m, struct err *e);

/* Makes the other side look at every queue: both may have missed a signal when a process died. Any thread. */
void device_signal_queues(unsigned int index, unsigned int count);
