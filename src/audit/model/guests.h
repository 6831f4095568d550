/*
 * The guests of this host, whoever runs them: processes with an open virtual machine, and everything that belongs to
 * each.
 *
 * A virtual machine is found by the descriptor or the mapping that its monitor holds (/proc/PID/fd, /proc/PID/maps);
 * without the privilege to look there, by the time a process has spent in guest code (/proc/PID/stat) or by a worker
 * that KVM has in it. Two descriptors are one virtual machine when kcmp(2) says so: all anonymous inodes have the same
 * number.
 */
#pragma once

#include "audit/model/host.h"
#include "audit/model/process.h"

enum member_role {
        MEMBER_VMM,     /* holds the virtual machine */
        MEMBER_CHILD,   /* child of the VMM, or a child's child */
        MEMBER_JAILED,  /* in the VMM's PID namespace, which is not the host's nor another VMM's */
        MEMBER_BACKEND, /* maps the guest's RAM and is connected to the VMM by a socket (vhost-user) */
};

struct member {
        struct process *process;
        enum member_role role;
};

struct member_list {
        struct member *items; /* the VMM first */
        size_t count, room;
};

/* Guest RAM, as mapped by the VMM. */
struct ram {
        const struct mapping *mapping;
        bool inferred; /* by size and flags only: no name says so */
};

struct ram_list {
        struct ram *items;
        size_t count, room;
};

struct guest {
        size_t index;  /* in guest_list */
        char *name;    /* printable, unique on this host; a claim of an untrusted process */
        char *kind;    /* "QEMU", "bulkhead", "Firecracker", "Cloud Hypervisor", "crosvm", "kvmtool", "unknown" */
        char *manager; /* "libvirt", "bulkhead" or NULL */
        struct process *vmm;
        struct process *supervisor; /* the parent that is known to guard it and is no member: bulkhead's; else NULL */
        struct member_list members;
        struct ram_list ram;
        uint64_t ram_bytes;
        bool ended;                    /* while it was read: not in guest_list */
        size_t vms;                    /* distinct virtual machines in the VMM; 0: seen by guest time only */
        size_t vcpus;                  /* threads that run guest code */
        struct guest_filters *filters; /* of model/filters.h; NULL: not yet asked for */
};

struct guest_list {
        struct guest **items;
        size_t count, room;
};

struct process_list {
        struct process **items;
        size_t count, room;
};

/* One virtual machine, or one virtual processor, and who holds its descriptor. */
struct vm_holder {
        struct process *process;
        int fd;           /* -1: only mapped */
        const char *link; /* of the descriptor */
};

struct vm_file {
        struct vm_holder *items; /* the VMM first */
        size_t count, room;
        struct guest *guest; /* NULL: ended, or a processor that no monitor has */
};

struct vm_list {
        struct vm_file **items;
        size_t count, room;
};

struct inventory {
        struct process_list processes; /* all but kernel threads */
        struct process_list kernel_threads;
        struct guest_list guests; /* ordered by name */
        struct vm_list vms, vcpus;
        size_t untold_vcpus; /* processes that map a virtual processor of which they hold no descriptor */
        size_t unreadable;   /* processes whose descriptors this auditor may not list */
        int kcmp_error;      /* kcmp(2) does not answer: two descriptors may be one machine */
};

/* Finds all. Returns 0 or a negative errno with e filled. */
int inventory_read(struct observer *o, const struct host *h, struct inventory *ret, struct err *e);

/* Looks for virtual machines anew, and for nothing else. */
int inventory_count_vms(struct observer *o, struct inventory *ret, struct err *e);

/* How many virtual machines were found. */
size_t inventory_vms(const struct inventory *inv);

/* The process with that pid, or NULL. */
struct process *inventory_process(const struct inventory *inv, pid_t pid);
