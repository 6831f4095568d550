/* What tests of the programs of devices share: the child's way into the program, and the talk with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "jail/policy.h"
#include "spec/control.h"
#include "vhost_user/message.h"

/* The two sockets of a device's process, at this end. */
struct device_ends {
        int control, frontend;
};

/*
 * Forks; the child gets the descriptors that the jail hands over (resource -1: none), the filter of the jail's last
 * stage, and executes the program as the jail does. Returns its pid, and both sockets' ends that are not its.
 */
pid_t device_fork(const char *program, const char *name, const struct jail_policy *policy, int resource,
                  struct device_ends *ret);

bool readable(int fd, int timeout_ms);

/* The next message of the process to its supervisor, which must be of that type. */
void device_hear(const struct device_ends *d, uint16_t type, union control_message *ret);

/* Messages to the back end, and its answer. fd -1: none. */
void device_tell(const struct device_ends *d, struct vu_message *m, uint32_t request, uint32_t size);
void device_tell_u64(const struct device_ends *d, uint32_t request, uint64_t value, int fd);
void device_tell_state(const struct device_ends *d, uint32_t request, uint32_t index, uint32_t num);
struct vu_message device_answer(const struct device_ends *d, uint32_t request);
