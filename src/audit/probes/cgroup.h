/*
 * Cgroups: where a process is in a controller's hierarchy, and the smallest limit from there upwards. Version 1, where
 * each controller can be mounted anywhere, version 2, and both at once (cgroups(7)).
 */
#pragma once

#include "audit/audit.h"

enum cgroup_controller { CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_IO, CGROUP_CONTROLLERS };

/* The cgroup of a guest's monitor. */
struct cgroup_tenant {
        const char *path; /* as in /proc/PID/cgroup */
        const struct guest *guest;
};

struct cgroup_tenant_list {
        struct cgroup_tenant *items; /* by path */
        size_t count, room;
};

struct cgroup_mounts {
        struct mount_list mounts; /* as this auditor sees them */
        int error;
        struct cgroup_tenant_list tenants[CGROUP_CONTROLLERS];
};

struct cgroup_place {
        bool v1;
        const char *mount; /* directory of the hierarchy's root */
        const char *path;  /* below it, beginning with '/' */
};

/* A limit that cannot be read is no limit until proven: see error. */
struct cgroup_limit {
        uint64_t value;       /* UINT64_MAX: none */
        unsigned int levels;  /* above the process's own cgroup */
        bool shared;          /* the limit's level holds another guest, too */
        char *question, *raw; /* what was read there */
        int error;            /* of question */
};

void cgroup_mounts_read(struct audit *a, struct cgroup_mounts *ret);

/*
 * Returns 0, -ENODATA when no hierarchy of this kernel has the controller, -ENOENT when it has one that is not mounted
 * where this auditor sees it, or why the process's cgroups could not be read.
 */
int cgroup_find(struct audit *a, const struct cgroup_mounts *m, const struct process *p, enum cgroup_controller c,
                struct cgroup_place *ret);

/* The directory of one line of /proc/PID/cgroup; NULL when it is not mounted here. */
char *cgroup_directory(struct audit *a, const struct cgroup_mounts *m, const struct cgroup_path *c);

/*
 * Reads the value in one cgroup's directory. Returns 0 with UINT64_MAX for no limit, or a negative errno (-ENOENT: this
 * level has no such file).
 */
typedef int cgroup_reader(struct audit *a, const char *dir, bool v1, uint64_t *ret, char **ret_question,
                          char **ret_raw);

/* The smallest value from the process's cgroup up to the root. */
void cgroup_limit_read(struct audit *a, const struct cgroup_mounts *m, const struct guest *g, const struct process *p,
                       enum cgroup_controller c, cgroup_reader *reader, struct cgroup_limit *ret);

/* "... two levels above its own cgroup" for texts; "" for its own. */
const char *cgroup_level_text(struct audit *a, const struct cgroup_limit *l);

/* A file with one number, or "max". */
int cgroup_number(struct audit *a, const char *dir, const char *file, uint64_t *ret, char **ret_question,
                  char **ret_raw);
