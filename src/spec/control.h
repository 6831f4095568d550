/*
 * The control channel: one SOCK_SEQPACKET pair per guest between the supervisor and what runs in the jail. Fixed-width
 * messages, one per packet. The supervisor treats everything it receives as hostile: the VMM may be compromised.
 *
 *   supervisor                         child, then bulkhead-vmm
 *                                      <- ROOTED (the child has its empty root)
 *     MAPPED (the id maps are written) ->
 *                                      <- JAILED (every stage is done; exec follows)
 *     CONFIG                           ->
 *                                      <- READY (the narrow filters of all threads are in force, and the guest runs)
 *     POWER_BUTTON                     ->
 *                                      <- END or FAILED, then the process exits
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"
#include "spec/vmm_fds.h"

#define CONTROL_MAGIC     0x42554b48U /* "BUKH" */
#define CONTROL_VERSION   2
#define CONTROL_CPUID_MAX 256 /* entries: KVM_MAX_CPUID_ENTRIES */

enum control_type {
        CONTROL_ROOTED = 1,
        CONTROL_MAPPED,
        CONTROL_JAILED,
        CONTROL_CONFIG,
        CONTROL_POWER_BUTTON,
        CONTROL_READY,
        CONTROL_END,
        CONTROL_FAILED,
        CONTROL_DEVICE,        /* to the VMM, with a descriptor: the socket of a device that was started again */
        CONTROL_DEVICE_DOWN,   /* from the VMM: it has lost (or given up on) a device; the supervisor restarts it */
        CONTROL_DEVICE_CONFIG, /* to a device's process */
        CONTROL_RESIZE,        /* to a device's process */
        CONTROL_RESIZED,       /* its answer */
};

struct control_header {
        uint32_t magic;
        uint16_t version;
        uint16_t type; /* enum control_type */
        uint32_t size; /* of the whole message */
        uint32_t reserved;
};

/* ROOTED, MAPPED and POWER_BUTTON are a bare header. */

struct control_jailed {
        struct control_header head;
        uint64_t layers; /* LAYER_BIT()s put in force before exec */
};

struct control_config {
        struct control_header head;
        uint64_t memory_bytes;
        uint64_t required_layers; /* LAYER_BIT()s that the VMM itself must put in force, or not start */
        uint32_t vcpus;
        uint32_t cpu_model; /* enum cpu_model */
        uint32_t has_initrd;
        uint32_t test_device;
        uint32_t device_count; /* on VMM_FD_DEVICE_FIRST on */
        struct {
                uint16_t type, queues; /* VIRTIO_ID_BLOCK or VIRTIO_ID_RNG; queues: at most */
        } devices[VMM_DEVICES_MAX];
        uint32_t cpuid_count; /* what KVM_GET_SUPPORTED_CPUID answered, asked by the supervisor meanwhile */
        uint32_t reserved;
        struct kvm_cpuid_entry2 cpuid[CONTROL_CPUID_MAX];
        char cmdline[SPEC_CMDLINE_MAX];
};

struct control_ready {
        struct control_header head;
        uint64_t layers;       /* LAYER_BIT()s put in force after exec */
        uint32_t landlock_abi; /* 0: this kernel has no Landlock */
        uint32_t engine;       /* of a disk: enum disk_engine, the one that it has; else 0 */
};

enum control_reason { END_POWEROFF = 1, END_RESET, END_TRIPLE_FAULT, END_VERDICT };

struct control_end {
        struct control_header head;
        uint32_t reason; /* enum control_reason */
        uint32_t verdict;
};

struct control_failed {
        struct control_header head;
        uint32_t status; /* enum exit_status */
        uint32_t reserved;
        char text[ERR_TEXT_MAX];
};

struct control_device { /* DEVICE and DEVICE_DOWN */
        struct control_header head;
        uint32_t index;
        uint32_t failed; /* DEVICE: no descriptor, it will not come back: DEVICE_NEEDS_RESET */
};

struct control_device_config {
        struct control_header head;
        uint64_t required_layers; /* LAYER_BIT()s that the process itself must put in force, or not start */
        uint32_t queues;
        uint32_t reserved;
        struct disk_spec disk;    /* bulkhead-blk; path is empty here */
        uint64_t rng_bytes_per_s; /* bulkhead-rng */
};

struct control_resize { /* RESIZE and RESIZED */
        struct control_header head;
        uint64_t bytes;
        int32_t result; /* RESIZED: 0 or a negative errno */
        uint32_t reserved;
};

/* Large enough for every message. */
union control_message {
        struct control_header head;
        struct control_jailed jailed;
        struct control_config config;
        struct control_ready ready;
        struct control_end end;
        struct control_failed failed;
        struct control_device device;
        struct control_device_config device_config;
        struct control_resize resize;
};

#define CONTROL_HEADER(t, bytes)  \
        ((struct control_header){ \
                .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = (t), .size = (uint32_t)(bytes)})

/* Sends one message (head.size bytes). Never blocks longer than the socket buffer makes it. Returns 0 or negative
 * errno. */
int control_send(int fd, const void *message);

/*
 * Receives one message into ret and checks magic, version, type and that the size is exactly the type's size; texts
 * come back zero-terminated. Returns 0, -EPIPE (the peer is gone), -EAGAIN (nothing there, non-blocking fd),
 * -EPROTO (malformed) or another negative errno.
 */
int control_receive(int fd, union control_message *ret);

/* control_send() with a descriptor, which stays the caller's. */
int control_send_fd(int fd, const void *message, int passed);

/*
 * control_receive() that also takes the descriptor of a DEVICE message: *ret_fd, close-on-exec, the caller's, or -1
 * when none came. Descriptors with any other message, or more than one, are closed, and the message is -EPROTO.
 */
int control_receive_fd(int fd, union control_message *ret, int *ret_fd);

/* Sends e as FAILED. Returns 0 or a negative errno. */
int control_send_failed(int fd, const struct err *e);
