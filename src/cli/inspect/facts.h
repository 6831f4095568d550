/*
 * What the kernel says about the process of a guest. Everything in here is read back from the kernel by the
 * functions below, nothing is copied from what was asked for; layers.h compares the two.
 *
 * The readers take an open /proc/PID, so that all of them speak of one process, even if its pid is reused
 * meanwhile. The process is hostile: lengths and counts are bounded, and what it can name (threads,
 * descriptors) is data. They return 0 or a negative errno; -ESRCH and -ENOENT mean that it has ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define INSPECT_THREADS_MAX  256  /* RLIMIT_NPROC of the largest guest is lower: supervisor/vmm_process.h, VMM_TASKS */
#define INSPECT_FDS_MAX      1024 /* RLIMIT_NOFILE is lower: spec/vmm_fds.h, VMM_FD_LIMIT */
#define INSPECT_MAPPINGS_MAX 4096
#define INSPECT_MOUNTS_MAX   4096

enum ns_kind { NS_USER, NS_PID, NS_MNT, NS_NET, NS_IPC, NS_UTS, NS_CGROUP, NS_TIME, NS_COUNT };
extern const char *const ns_names[NS_COUNT]; /* as in /proc/PID/ns */

enum cap_set { CAPS_INHERITABLE, CAPS_PERMITTED, CAPS_EFFECTIVE, CAPS_BOUNDING, CAPS_AMBIENT, CAPS_COUNT };
extern const char *const cap_set_names[CAPS_COUNT];

/* Inode numbers; 0: this kernel has no such namespace, or the reader may not see it. */
struct ns_facts {
        uint64_t guest, own, init; /* of the guest's process, of this process, of the host's pid 1 */
};

/* What /proc/PID/task/TID/status says (proc_pid_status(5)). */
struct thread_facts {
        pid_t tid;
        char name[32];             /* printable ASCII */
        uint32_t uids[4], gids[4]; /* real, effective, saved, file system */
        unsigned int groups;
        uint64_t caps[CAPS_COUNT];
        int64_t pid_inside; /* in its own PID namespace; -1: in no nested one */
        int no_new_privs, seccomp_mode;
        int seccomp_filters;   /* -1: before Linux 5.9 */
        char store_bypass[40]; /* empty: the line is not there */
        char indirect_branch[40];
};

enum limit_kind { LIMIT_CORE, LIMIT_FSIZE, LIMIT_MEMLOCK, LIMIT_MSGQUEUE, LIMIT_NOFILE, LIMIT_NPROC, LIMIT_COUNT };
extern const char *const limit_names[LIMIT_COUNT]; /* "core", as ulimit(1) calls it */

#define LIMIT_UNLIMITED UINT64_MAX

struct limit_facts {
        uint64_t soft, hard;
};

enum fd_kind {
        FD_NULL,
        FD_SOCKET,
        FD_KVM_VM,
        FD_KVM_VCPU,
        FD_EVENTFD,
        FD_MEMFD,
        FD_EPOLL,
        FD_URING,
        FD_TIMER,
        FD_OTHER_ANON,
        FD_FILE,
};
extern const char *const fd_kind_names[];

struct fd_facts {
        int number;
        enum fd_kind kind;
        uint64_t device, inode, block_device; /* of a FD_FILE: st_dev, st_ino, st_rdev of a block device */
};

struct root_facts {
        size_t mounts;
        char fs_type[32]; /* of the first mount */
        bool mount_read_only, fs_read_only, at_root;
};

struct memory_facts {
        size_t ram_mappings; /* of the memfd guest_ram */
        uint64_t ram_bytes;
        bool ram_shared, ram_dontdump; /* all of them */
        size_t mergeable;              /* mappings of the whole process that ksm may merge */
        size_t writable_executable;
        bool seals_known;
        int seals;                                                         /* F_SEAL_* */
        enum { MERGE_ANY_UNKNOWN, MERGE_ANY_NO, MERGE_ANY_YES } merge_any; /* PR_SET_MEMORY_MERGE, since Linux 6.10 */
};

/* What only a process inside a namespace can see: known is false when this one could not go there. */
struct inside_facts {
        bool net_known, loopback_up;
        size_t interfaces;
        bool sysctls_known;
        unsigned int namespaces_allowed; /* kinds of namespaces that may still be created */
};

#define CGROUP_PARTS 4

struct cgroup_facts {
        bool unified;
        struct {
                const char *controller;
                char path[256];  /* in its hierarchy; empty: the process is in none */
                bool of_guest;   /* bulkhead/NAME below its base, and every thread is there */
                char value[192]; /* the limit as the kernel's file has it */
                bool limited;
        } parts[CGROUP_PARTS]; /* memory, pids, cpu, io */
        char swap[64];
        bool swap_limited;
};

struct inspect_facts {
        pid_t pid;
        struct ns_facts ns[NS_COUNT];
        struct thread_facts threads[INSPECT_THREADS_MAX]; /* the main thread first */
        size_t thread_count;
        struct fd_facts fds[INSPECT_FDS_MAX];
        size_t fd_count;
        bool fds_known; /* false: only root may list those of a process that is not dumpable */
        struct root_facts root;
        struct limit_facts limits[LIMIT_COUNT];
        int64_t oom_score_adj;
        uint32_t owner; /* of its files in /proc: 0 when it is not dumpable, else its user */
        struct memory_facts memory;
        struct inside_facts inside;
        bool core_cookie_known;
        uint64_t core_cookie, own_core_cookie; /* 0: none */
        struct cgroup_facts cgroup;
};

/* ret->pid must be set. */
int inspect_threads(int proc_fd, struct inspect_facts *ret);
int inspect_fds(int proc_fd, struct inspect_facts *ret);
/* Root, limits, oom_score_adj, owner and core-scheduling cookies; ret->pid must be set. */
int inspect_process(int proc_fd, struct inspect_facts *ret);
int inspect_namespaces(int proc_fd, struct inspect_facts *ret);
int inspect_memory(int proc_fd, struct inspect_facts *ret);
/* After inspect_threads(). spec: its name, and the block devices whose limits must be there; base: the cgroup below
 * which it has its own. */
int inspect_cgroup(int proc_fd, const struct guest_spec *spec, const char *base, struct inspect_facts *ret);
