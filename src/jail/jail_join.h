/* The namespaces of a guest as descriptors, by which its devices' processes join them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/control.h"

/* In the order in which they go through a socket; a kernel may lack the last two. */
enum jail_namespace {
        JAIL_NS_USER,
        JAIL_NS_MOUNT,
        JAIL_NS_PID,
        JAIL_NS_NET,
        JAIL_NS_IPC,
        JAIL_NS_UTS,
        JAIL_NS_TIME,
        JAIL_NS_CGROUP,
        JAIL_NS_COUNT,
};

struct jail_namespaces {
        int fds[JAIL_NS_COUNT]; /* -1: the kernel has no such namespaces */
};

#define JAIL_NAMESPACES_INIT ((struct jail_namespaces){.fds = {-1, -1, -1, -1, -1, -1, -1, -1}})

void jail_namespaces_close(struct jail_namespaces *n);

/*
 * control_receive() from a child that was started with give_namespaces: *ret_namespaces is filled when ROOTED has been
 * received, and the caller's. layers: what jail_start() gave out. Returns what control_receive() does; -EPROTO also
 * when namespaces are missing.
 */
int jail_receive_rooted(int control_fd, uint64_t layers, union control_message *ret,
                        struct jail_namespaces *ret_namespaces);
