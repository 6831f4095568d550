/*
 * What the kernel says about one process, parsed: facts only, no judgement. Every part has an error of its own (0 or a
 * negative errno), since which parts can be read depends on privileges; -ESRCH means that the process has ended. All
 * texts are the process's own and hostile; they are raw here and become printable when they enter a finding (text.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "audit/observe/observe.h"

enum ns_kind { NS_USER, NS_PID, NS_MNT, NS_NET, NS_IPC, NS_UTS, NS_CGROUP, NS_TIME, NS_COUNT };
extern const char *const ns_names[NS_COUNT]; /* as in /proc/PID/ns */

enum cap_set { CAP_SET_INH, CAP_SET_PRM, CAP_SET_EFF, CAP_SET_BND, CAP_SET_AMB, CAP_SETS };
extern const char *const cap_set_names[CAP_SETS]; /* as in /proc/PID/status: "CapInh" */

#define CAP_BIT(cap) (1ULL << (cap)) /* linux/capability.h */

#define CPUS_MAX 4096

struct cpu_set {
        uint64_t bits[CPUS_MAX / 64];
};

struct id_list {
        uint32_t *items;
        size_t count, room;
};

struct thread {
        pid_t tid;
        char *comm;
        uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
        struct id_list groups;
        uint64_t caps[CAP_SETS];
        int no_new_privs, seccomp, seccomp_filters; /* -1: the line is not there */
        pid_t tracer;
        char *store_bypass, *indirect_branch; /* NULL: the line is not there */
        struct cpu_set *cpus;                 /* Cpus_allowed_list */
        char *cpus_text;
        uint64_t guest_time;              /* stat field 43, clock ticks: over 0 has run guest code */
        unsigned int rt_priority, policy; /* stat fields 40, 41 */
        bool is_vcpu;                     /* guest_time > 0, or named as a vCPU thread of a known VMM */
        bool kernel_worker; /* made by the kernel in this process (vhost, io_uring): never runs its code */
        char *status;       /* the raw text, for evidence */
};

struct thread_list {
        struct thread *items; /* the main thread first */
        size_t count, room;
};

enum fd_kind {
        FD_OTHER,
        FD_KVM,      /* /dev/kvm */
        FD_KVM_VM,   /* anon_inode:kvm-vm */
        FD_KVM_VCPU, /* anon_inode:kvm-vcpu:N */
        FD_KVM_STATS,
        FD_EVENTFD,
        FD_IO_URING,
        FD_ANON,   /* another anonymous inode */
        FD_TUN,    /* /dev/net/tun, a tap device */
        FD_VHOST,  /* /dev/vhost-NAME */
        FD_VFIO,   /* /dev/vfio/N, [vfio-device] */
        FD_MEMFD,  /* /memfd:NAME */
        FD_SOCKET, /* socket:[INODE] */
        FD_PIPE,
        FD_REGULAR,
        FD_DIRECTORY,
        FD_BLOCK,
        FD_CHAR, /* another character device */
};

struct fd {
        int number;
        enum fd_kind kind;
        char *link;     /* target of /proc/PID/fd/N */
        uint64_t flags; /* fdinfo "flags:", open(2) flags; 0 when fdinfo could not be read */
        int64_t mnt_id; /* -1: not known */
        char *fdinfo;   /* raw; NULL: could not be read */
        int stat_error;
        struct observed_stat st;
        uint64_t socket_inode; /* of FD_SOCKET */
};

struct fd_list {
        struct fd *items;
        size_t count, room;
};

/* VmFlags of smaps, those that matter here. */
#define VM_SHARED    (1U << 0) /* sh */
#define VM_DONTDUMP  (1U << 1) /* dd */
#define VM_MERGEABLE (1U << 2) /* mg */
#define VM_LOCKED    (1U << 3) /* lo */
#define VM_HUGEPAGE  (1U << 4) /* hg */
#define VM_IO        (1U << 5) /* io */
#define VM_DONTCOPY  (1U << 6) /* dc */
#define VM_NORESERVE (1U << 7) /* nr */
#define VM_HUGETLB   (1U << 8) /* ht */

struct mapping {
        uint64_t start, end, offset, dev, ino;
        char perms[5]; /* "rw-s" */
        char *name;    /* "" for anonymous memory */
        unsigned int vm_flags;
        bool smaps; /* the next five are known */
        uint64_t rss_kb, swap_kb, ksm_kb, huge_kb, locked_kb;
        bool is_ram; /* set by guests.c */
};

struct mapping_list {
        struct mapping *items;
        size_t count, room;
};

struct mount {
        int id;
        uint64_t dev;                /* OBSERVED_DEV */
        char *root, *point, *source; /* unescaped */
        char *options, *optional, *type, *super_options;
        char *line; /* raw */
};

struct mount_list {
        struct mount *items;
        size_t count, room;
};

struct id_map_line {
        uint32_t inside, outside, count;
};

struct id_map {
        struct id_map_line *items;
        size_t count, room;
};

struct cgroup_path {
        char *controllers; /* "" for the unified hierarchy, else "cpu,cpuacct" or "name=systemd" */
        char *path;
};

struct cgroup_list {
        struct cgroup_path *items;
        size_t count, room;
};

struct guest;

struct process {
        bool full, ended; /* process_read_full has read it, or found that it has ended */
        /* Set by guests.c: */
        struct guest *guest; /* that it is a member of */
        size_t vms_held;     /* virtual machines that it has descriptors of */
        bool owns_vcpu;      /* one of the virtual processors that it holds is its own */

        pid_t pid, ppid;
        uint64_t start_time; /* stat field 22 */
        bool kernel_thread;
        char *comm;
        char *cmdline; /* raw: zero-separated */
        size_t cmdline_len;
        char **argv; /* of cmdline, NULL-terminated */
        size_t argc;

        int threads_error, fds_error, maps_error, mounts_error, cgroups_error;
        struct thread_list threads;
        struct fd_list fds;
        struct mapping_list maps; /* from smaps where full is asked for, else from maps */
        struct mount_list mounts;
        struct cgroup_list cgroups;

        int ns_error[NS_COUNT];
        uint64_t ns[NS_COUNT];  /* inode numbers */
        unsigned int pid_depth; /* numbers in NSpid: 1 is the host's PID namespace; 0 not known */

        int exe_error, root_error, environ_error;
        char *exe;                                              /* link target */
        struct observed_stat exe_stat, root_stat, environ_stat; /* environ's owner tells dumpability */
        struct id_map uid_map, gid_map;
        int uid_map_error, gid_map_error;
        char *uid_map_text;
        char *limits; /* raw /proc/PID/limits */
};

/* What every process is asked for: stat, fds (kinds and links only), maps. -ESRCH when it has ended. */
int process_read_brief(struct observer *o, pid_t pid, struct process *ret);

/* All the rest: threads, fdinfo and stat of every descriptor, smaps, mounts, cgroups, namespaces, maps of ids. Parts
 * that cannot be read have their error set. -ESRCH when it has ended. */
int process_read_full(struct observer *o, struct process *p);

/* The mounts in a mountinfo file (proc(5)), appended to *ret. Returns 0, a negative errno, or -EPROTO. */
int mount_list_read(struct observer *o, const char *path, struct mount_list *ret);

/* Field n (from 1) of a stat file (proc(5)); the second, the name in parentheses, may hold anything. */
bool stat_field(const char *stat, unsigned int n, uint64_t *ret);

/* Small helpers on facts. */
const struct mapping *process_find_mapping(const struct process *p, uint64_t dev, uint64_t ino);
uint32_t id_map_to_host(const struct id_map *m, uint32_t inside); /* UINT32_MAX: not mapped */
bool id_map_covers_host(const struct id_map *m, uint32_t outside);
bool cpu_sets_meet(const struct cpu_set *a, const struct cpu_set *b);
bool cpu_set_parse(const char *list, struct cpu_set *ret); /* "0-3,8" */
/* The value of a resource limit in raw /proc/PID/limits, UINT64_MAX: unlimited. name as there: "Max open files".
 * Returns false when the line is not there. */
bool limit_read(const char *limits, const char *name, uint64_t *ret_soft, uint64_t *ret_hard);
/* The path in the hierarchy with that controller; controller "" is the unified one. NULL: none. */
const char *process_cgroup(const struct process *p, const char *controller);
