/*
 * What a guest is. A plain fixed-size struct: built from flags or from JSON, validated once, handed from the
 * command line to the supervisor as bytes (both are of one build; version and size are checked all the same).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SPEC_VERSION         2
#define SPEC_NAME_MAX        64   /* with the zero: 1..63 of [A-Za-z0-9._-], first one alphanumeric */
#define SPEC_PATH_MAX        1024 /* with the zero */
#define SPEC_CMDLINE_MAX     2048 /* with the zero: x86 COMMAND_LINE_SIZE */
#define SPEC_VCPUS_MAX       64
#define SPEC_MEMORY_MIN      (2ULL << 20) /* bytes: room for the first MiB and a small guest */
#define SPEC_MEMORY_MAX      (1ULL << 46) /* bytes: the host's physical address width decides before this does */
#define SPEC_CPU_LIMIT_MAX   ((SPEC_VCPUS_MAX + 1) * 100ULL) /* percent of one CPU: all vCPUs and one more */
#define SPEC_IO_LIMITS_MAX   8
#define SPEC_IO_RATE_MAX     (1ULL << 50) /* bytes or operations per second: beyond any device, fits JSON */
#define SPEC_DEV_MAJOR_MAX   4095         /* include/linux/kdev_t.h: 12 bits of major, 20 of minor number */
#define SPEC_DEV_MINOR_MAX   1048575
#define SPEC_DISKS_MAX       12
#define SPEC_ID_MAX          21  /* with the zero: VIRTIO_BLK_ID_BYTES is 20 */
#define SPEC_BACKENDS_MAX    3   /* with disks and an entropy device at most VMM_DEVICES_MAX */
#define SPEC_SOCKET_MAX      108 /* with the zero: sun_path (unix(7)) */
#define SPEC_QUEUES_MAX      16  /* of one device: vmm_fds.h has room for as many */
#define SPEC_RNG_ID          "rng"
#define SPEC_RNG_BYTES_PER_S (8ULL << 20) /* what the entropy device gives: some percent of a processor */
#define SPEC_DEFAULT_CMDLINE "console=ttyS0 panic=-1"
#define SPEC_DEFAULT_MEMORY  (512ULL << 20)

enum cpu_model { CPU_HOST, CPU_BASELINE };
enum on_reset { ON_RESET_RESTART, ON_RESET_EXIT };

/* Limits for one block device of the host, named by path or MAJ:MIN; 0: no limit of that kind. */
struct io_limit {
        uint32_t major, minor;
        uint64_t read_bytes_per_s, write_bytes_per_s;
        uint64_t read_ops_per_s, write_ops_per_s;
};

enum disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_URING, DISK_ENGINE_SYNC };

enum disk_format { DISK_FORMAT_RAW, DISK_FORMAT_QCOW2 };

/* An image or block device, in the format that is said; never probed for one. */
struct disk_spec {
        char path[SPEC_PATH_MAX];
        char id[SPEC_ID_MAX];      /* serial number the guest sees, and the name for `bulkhead resize`; unique; default
                                      disk0, disk1 ... */
        uint8_t read_only, direct; /* 0 or 1; direct: O_DIRECT */
        uint8_t engine;            /* enum disk_engine */
        uint32_t queues;           /* 1..16; 0: one a vCPU, at most 4 */
        uint32_t format;           /* enum disk_format; qcow2: no engine, no limits */
        uint64_t bytes_per_s, ops_per_s; /* token buckets; 0: no limit */
};

enum backend_type { BACKEND_BLK = 1, BACKEND_RNG };

/* A device that is somebody else's process, outside of the jail, behind vhost-user. */
struct backend_spec {
        char socket[SPEC_SOCKET_MAX];
        char id[SPEC_ID_MAX]; /* unique, also among disks; default vhost-user0, vhost-user1 ... */
        uint8_t type;         /* enum backend_type */
        uint8_t reserved[6];
};

struct guest_spec {
        uint32_t version;    /* SPEC_VERSION */
        uint32_t size_bytes; /* sizeof(struct guest_spec) */
        char name[SPEC_NAME_MAX];
        char kernel[SPEC_PATH_MAX];
        char initrd[SPEC_PATH_MAX]; /* empty: none */
        char cmdline[SPEC_CMDLINE_MAX];
        uint64_t memory_bytes; /* multiple of 1 MiB */
        uint32_t vcpus;
        uint32_t cpu_model;         /* enum cpu_model */
        uint32_t on_reset;          /* enum on_reset */
        uint32_t cpu_limit_percent; /* of one CPU; 0: (vcpus + 1) * 100 */
        uint32_t io_limit_count;
        uint8_t require_all_layers; /* 0 or 1 */
        uint8_t test_device;        /* 0 or 1: the test register exists */
        uint8_t rng;                /* 0 or 1: an entropy device */
        uint8_t reserved;
        uint32_t disk_count;
        uint32_t backend_count;
        struct disk_spec disks[SPEC_DISKS_MAX];
        struct backend_spec backends[SPEC_BACKENDS_MAX];
        struct io_limit io_limits[SPEC_IO_LIMITS_MAX];
};

/* Every field at its default, name and kernel empty. */
void guest_spec_init(struct guest_spec *s);

/*
 * Checks everything that can be checked without the host: lengths, zero termination, ranges, enums, the
 * name's alphabet, that name and kernel are there. Errors have STATUS_USAGE (name, numbers) or STATUS_IMAGE
 * (command line too long). Returns 0 or -EINVAL.
 */
int guest_spec_validate(const struct guest_spec *s, struct err *e);

/*
 * Takes the len bytes that another process made of a configuration file, before the flags are applied: copies them
 * once, checks length, version and size (STATUS_FAILURE: the two programs are not of one build), validates the copy as
 * guest_spec_validate() does, but that name and kernel may still be empty, and only then gives it out. Returns 0 or
 * -EINVAL.
 */
int guest_spec_draft_from_bytes(const void *buf, size_t len, struct guest_spec *ret, struct err *e);

/* Is this a valid guest name? */
bool guest_name_valid(const char *name);

/*
 * Setters shared by flags and JSON: each checks its own value and names the field, by its JSON key, in the
 * error (STATUS_USAGE; STATUS_IMAGE for the command line's length). A failed setter changes nothing. They
 * return 0 or -EINVAL.
 */
int guest_spec_set_name(struct guest_spec *s, const char *name, struct err *e);
int guest_spec_set_kernel(struct guest_spec *s, const char *path, struct err *e);
int guest_spec_set_initrd(struct guest_spec *s, const char *path, struct err *e); /* "": none */
int guest_spec_set_cmdline(struct guest_spec *s, const char *text, struct err *e);
int guest_spec_set_vcpus(struct guest_spec *s, uint64_t vcpus, struct err *e);
int guest_spec_set_memory(struct guest_spec *s, uint64_t bytes, struct err *e);
int guest_spec_set_cpu_model(struct guest_spec *s, const char *word, struct err *e); /* "host" | "baseline" */
int guest_spec_set_on_reset(struct guest_spec *s, const char *word, struct err *e);  /* "restart" | "exit" */
int guest_spec_set_cpu_limit(struct guest_spec *s, uint64_t percent, struct err *e); /* 1..6500 */

/*
 * Adds the limits of one device, at least one of them not 0. When the device has an entry already, the limits
 * given here replace the entry's, and the others of the entry stay. At most SPEC_IO_LIMITS_MAX devices.
 */
int guest_spec_add_io_limit(struct guest_spec *s, const struct io_limit *limit, struct err *e);

/*
 * Adds a disk, whose fields are set (disk_spec.h). One without an id gets "disk" and its place, from 0 on. At most
 * SPEC_DISKS_MAX.
 */
int guest_spec_add_disk(struct guest_spec *s, const struct disk_spec *disk, struct err *e);

/* The same for a back end (backend_spec.h): one without an id gets "vhost-user" and its place. At most
 * SPEC_BACKENDS_MAX. */
int guest_spec_add_backend(struct guest_spec *s, const struct backend_spec *backend, struct err *e);

/* The words for printing; "unknown" for a value outside the enum. */
const char *cpu_model_name(uint32_t model);
const char *on_reset_name(uint32_t on_reset);
