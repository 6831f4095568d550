/* One run of bulkhead-vmm in its jail: from clone to reaped. */
#pragma once

#include <sys/types.h>

#include "jail/jail.h"
#include "spec/control.h"
#include "supervisor/devices.h"
#include "supervisor/id_mapper.h"
#include "supervisor/processor.h"
#include "supervisor/resources.h"

struct vmm_process {
        pid_t pid;
        int pidfd;       /* readable when it has died */
        int control_fd;  /* our end of the control channel, non-blocking */
        int console_fd;  /* our end of the console, until somebody takes it */
        uint64_t layers; /* what is in force so far: namespaces, then what JAILED and READY add */
        unsigned int landlock_abi;
        struct processor processor; /* of this process, not of the VMM */
};

#define VMM_PROCESS_INIT ((struct vmm_process){.pid = -1, .pidfd = -1, .control_fd = -1, .console_fd = -1})

struct vmm_start {
        const struct guest_spec *spec;
        struct resources *resources;
        struct jail_cgroup *cgroup; /* NULL: none can be had */
        const char *staging_dir;
        const struct jail_ids *ids;
        bool by_user; /* started by an ordinary user */
        bool own_ids; /* false: ids is the user's own */
        struct devices *devices;
        const struct id_mapper *mapper; /* NULL: this process has the right to map the ids */
};

/* Starts it: the child goes on to build its jail by itself. Returns 0 or a negative errno; vmm_process_end() in both
 * cases. */
int vmm_process_start(const struct vmm_start *start, struct vmm_process *ret, struct err *e);

/* Maps the guest's ids, tells the child, and asks KVM for its CPUID. Called when ROOTED has been heard. */
int vmm_process_map(const struct vmm_start *start, struct vmm_process *p, struct err *e);

/* Sends the configuration, which makes the VMM load the guest. Called once JAILED has been heard and judged. */
int vmm_process_configure(const struct vmm_start *start, struct vmm_process *p, uint64_t required_layers,
                          struct err *e);

/* Kills what is left, of the devices too, reaps it and closes everything. Returns the VMM's wait status (as waitpid(2)
 * gives it), 0 when there was no process. Can be called twice. */
int vmm_process_end(const struct vmm_start *start, struct vmm_process *p);

/* pids and threads of the whole guest. */
uint64_t vmm_process_tasks(const struct vmm_start *start);

/* pids and threads that the guest's cgroup and RLIMIT_NPROC must leave room for: vCPUs, the main thread, and what KVM
 * adds of its own (kvm-nx-lpage-recovery). */
#define VMM_TASKS(vcpus) ((uint64_t)(vcpus) + 1 + 4)
